// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The PCI configuration space, as far as it can be written.
//!
//! Source: PCI Local Bus 3.0, sections 6.1 and 6.2.5.

use super::BAR2_LEN;

/// Bytes of the space.
pub(super) const LEN: usize = 256;

/// The type of BAR 0, with BAR 1 as its upper half: 64 bits, prefetchable. That of BAR 2 is 0.
const MEMORY_64: u32 = 0xc;

/// The bytes, and which of their bits a write changes.
#[derive(Debug)]
pub(super) struct ConfigSpace {
    bytes: [u8; LEN],
    writable: [u8; LEN],
}

impl ConfigSpace {
    /// That of a device that says `bytes` of itself, and whose BAR 0 has `bar0_len` bytes, a power
    /// of two.
    pub(super) fn new(bytes: &[u8; LEN], bar0_len: u64) -> Self {
        let mut space = Self { bytes: *bytes, writable: [0; LEN] };
        space.bytes[0x10..0x14].copy_from_slice(&MEMORY_64.to_le_bytes());
        // The bits below a BAR's size stay 0, which is how its size is found.
        space.writable[0x10..0x18].copy_from_slice(&(!(bar0_len - 1)).to_le_bytes());
        space.writable[0x18..0x1c].copy_from_slice(&(!(BAR2_LEN as u32 - 1)).to_le_bytes());
        // I/O, memory, bus master; INTx off.
        space.writable[0x04..0x06].copy_from_slice(&0x0407_u16.to_le_bytes());
        // Interrupt line: firmware notes there what it likes.
        space.writable[0x3c] = 0xff;
        space
    }

    /// Fills `out` from `offset` on; `None` outside.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Option<()> {
        let start = usize::try_from(offset).ok()?;
        out.copy_from_slice(self.bytes.get(start..start.checked_add(out.len())?)?);
        Some(())
    }

    /// Takes the bits of `data` that can be written; `None` outside.
    pub(super) fn write(&mut self, offset: u64, data: &[u8]) -> Option<()> {
        let start = usize::try_from(offset).ok()?;
        let range = start..start.checked_add(data.len())?;
        let bytes = self.bytes.get_mut(range.clone())?;
        for ((byte, mask), new) in bytes.iter_mut().zip(&self.writable[range]).zip(data) {
            *byte = *byte & !mask | new & mask;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<const N: usize>(space: &ConfigSpace, at: u64) -> [u8; N] {
        let mut out = [0; N];
        space.read(at, &mut out).unwrap();
        out
    }

    #[test]
    fn bars_tell_their_size() {
        let mut space = ConfigSpace::new(&[0; LEN], 1 << 23);
        for at in [0x10, 0x14, 0x18, 0x1c, 0x20] {
            space.write(at, &[0xff; 4]).unwrap();
        }
        assert_eq!(u64::from_le_bytes(read(&space, 0x10)), !((1 << 23) - 1) | 0xc);
        assert_eq!(u32::from_le_bytes(read(&space, 0x18)), 0xffff_f000);
        assert_eq!(u64::from_le_bytes(read(&space, 0x1c)), 0);
    }

    #[test]
    fn what_it_says_of_itself_stays() {
        let mut space = ConfigSpace::new(&[0x55; LEN], 4096);
        space.write(0x40, &[0; 16]).unwrap();
        assert_eq!(read(&space, 0x40), [0x55; 16]);
        space.write(0x04, &[0xff, 0xff]).unwrap();
        assert_eq!(read(&space, 0x04), [0x57, 0x55]);
    }

    #[test]
    fn nothing_is_outside() {
        let mut space = ConfigSpace::new(&[0; LEN], 4096);
        assert!(space.read(253, &mut [0; 4]).is_none());
        assert!(space.read(u64::MAX, &mut [0; 4]).is_none());
        assert!(space.write(256, &[0]).is_none());
    }
}
