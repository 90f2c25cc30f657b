// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The PCI configuration space: who the device is, and where its framebuffer region is named.
//!
//! Source: PCI Local Bus 3.0, sections 6.1, 6.2.5 and appendix H; `docs/framebuffer-region.md`.

use super::{BAR0_LEN, FB_REGION};

/// Bytes of the space.
pub(super) const LEN: usize = 256;

/// Nobody's device, on a board of the range that QEMU's devices have.
const IDS: [u16; 2] = [0x1234, 0xd15d];
const BOARD: [u16; 2] = [0x1af4, 0x1100];
const DISPLAY_OTHER: u16 = 0x0380;

/// Where the capability is.
const CAPABILITY: usize = 0x40;
/// The types of BAR 0, and of BAR 2 with BAR 3 as its upper half: 64 bits, prefetchable.
const MEMORY: u32 = 0;
const MEMORY_64: u32 = 0xc;

/// The bytes, and which of their bits a write changes.
#[derive(Debug)]
pub(super) struct ConfigSpace {
    bytes: [u8; LEN],
    writable: [u8; LEN],
}

impl ConfigSpace {
    /// That of a device whose BAR 2 has `bar2_len` bytes, a power of two.
    pub(super) fn new(bar2_len: u64) -> Self {
        let mut space = Self { bytes: [0; LEN], writable: [0; LEN] };
        space.put(0x00, &IDS.map(u16::to_le_bytes).concat());
        // I/O, memory, bus master; INTx off.
        space.writable[0x04..0x06].copy_from_slice(&0x0407_u16.to_le_bytes());
        space.put(0x06, &[0x10]);
        space.put(0x0a, &DISPLAY_OTHER.to_le_bytes());
        space.put(0x2c, &BOARD.map(u16::to_le_bytes).concat());
        space.put(0x34, &[CAPABILITY as u8]);
        // Interrupt line: firmware notes there what it likes.
        space.writable[0x3c] = 0xff;

        let bar2 = u64::from(MEMORY_64);
        space.put(0x10, &MEMORY.to_le_bytes());
        space.put(0x18, &bar2.to_le_bytes());
        // The bits below a BAR's size stay 0, which is how its size is found.
        space.writable[0x10..0x14].copy_from_slice(&(!(BAR0_LEN as u32 - 1)).to_le_bytes());
        space.writable[0x18..0x20].copy_from_slice(&(!(bar2_len - 1)).to_le_bytes());

        space.put(CAPABILITY, &[0x09, 0, 16, 1]);
        space.put(CAPABILITY + 4, b"VFBR");
        space.put(CAPABILITY + 8, &FB_REGION.to_le_bytes());
        space
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
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
        let mut space = ConfigSpace::new(1 << 23);
        for at in [0x10, 0x14, 0x18, 0x1c, 0x20] {
            space.write(at, &[0xff; 4]).unwrap();
        }
        assert_eq!(u32::from_le_bytes(read(&space, 0x10)), 0xffff_f000);
        assert_eq!(u32::from_le_bytes(read(&space, 0x14)), 0);
        assert_eq!(u64::from_le_bytes(read(&space, 0x18)), !((1 << 23) - 1) | 0xc);
        assert_eq!(u32::from_le_bytes(read(&space, 0x20)), 0);
    }

    #[test]
    fn the_capability_names_the_region() {
        let mut space = ConfigSpace::new(4096);
        space.write(0x40, &[0; 16]).unwrap();
        let [at] = read(&space, 0x34);
        let bytes: [u8; 16] = read(&space, at.into());
        assert_eq!(&bytes[..8], b"\x09\0\x10\x01VFBR");
        assert_eq!(bytes[8..], [9, 0, 0, 0, 0, 0, 0, 0]);
        let [_, _, status, _]: [u8; 4] = read(&space, 4);
        assert_eq!(status, 0x10, "there is a list of capabilities");
    }

    #[test]
    fn nothing_is_outside() {
        let mut space = ConfigSpace::new(4096);
        assert!(space.read(253, &mut [0; 4]).is_none());
        assert!(space.read(u64::MAX, &mut [0; 4]).is_none());
        assert!(space.write(256, &[0]).is_none());
    }
}
