// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The specification, as simple as it can be written down.

use std::collections::BTreeMap;

/// Which bit of the control word is which.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Bytes go to the guest.
    pub read: u32,
    /// The offset moves.
    pub skip: u32,
    /// The upper half is a key.
    pub select: u32,
    /// Bytes come from the guest.
    pub write: u32,
}

impl Layout {
    /// As in `docs/specs/fw_cfg.rst`.
    pub const SPECIFIED: Self = Self { read: 2, skip: 4, select: 8, write: 16 };
    /// With gaps between the bits: SELECT and WRITE together come out as SKIP, which is what
    /// cloud-hypervisor's own device takes them for.
    pub const SKEWED: Self = Self { read: 2, skip: 8, select: 0x80, write: 0x8000 };
}

/// The byte at `at` of the long item.
pub(super) const fn pattern(at: u32) -> u8 {
    (at ^ (at >> 8)).wrapping_mul(31) as u8
}

const GENERATED: u16 = 0x21;
const WRITABLE: u16 = 0x23;

#[derive(Debug)]
pub(super) struct Model {
    layout: Layout,
    regions: Vec<(u64, Vec<u8>)>,
    items: BTreeMap<u16, Vec<u8>>,
    selected: u16,
    offset: usize,
    high: u64,
    writes: Vec<(u32, Vec<u8>)>,
    errors: u64,
    unspecified: Vec<(u64, u64)>,
}

impl Model {
    pub(super) fn new(regions: &[(u64, usize)], layout: Layout) -> Self {
        let mut directory = vec![0, 0, 0, 5];
        let files = ["a/bytes", "b/generated", "c/read-at", "d/writable", "e/empty"];
        for (key, (name, size)) in (0x20_u16..).zip(files.iter().zip([10_u32, 5, 6000, 28, 0])) {
            directory.extend(size.to_be_bytes());
            directory.extend(key.to_be_bytes());
            directory.extend([0, 0]);
            directory.extend(name.bytes());
            directory.extend(vec![0; 56 - name.len()]);
        }
        let items = [
            (0x00, b"QEMU".to_vec()),
            (0x01, vec![3, 0, 0, 0]),
            (0x05, vec![1, 0, 0, 0]),
            (0x19, directory),
            (0x20, b"0123456789".to_vec()),
            (GENERATED, vec![0; 5]),
            (0x22, (0..6000).map(pattern).collect()),
            (WRITABLE, vec![7; 28]),
            (0x24, vec![]),
            (0x8001, b"arc".to_vec()),
        ];
        Self {
            layout,
            regions: regions.iter().map(|&(at, len)| (at, vec![0; len])).collect(),
            items: items.into(),
            selected: 0,
            offset: 0,
            high: 0,
            writes: Vec::new(),
            errors: 0,
            unspecified: Vec::new(),
        }
    }

    pub(super) fn regions(&self) -> &[(u64, Vec<u8>)] {
        &self.regions
    }

    pub(super) fn take_writes(&mut self) -> Vec<(u32, Vec<u8>)> {
        std::mem::take(&mut self.writes)
    }

    pub(super) fn take_errors(&mut self) -> u64 {
        std::mem::take(&mut self.errors)
    }

    pub(super) fn take_unspecified(&mut self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.unspecified)
    }

    /// Takes memory over from where it was written.
    pub(super) fn adopt(&mut self, at: u64, len: u64, peek: impl Fn(u64) -> u8) {
        for (start, bytes) in &mut self.regions {
            for (address, byte) in (*start..).zip(bytes) {
                if address >= at && address - at < len {
                    *byte = peek(address);
                }
            }
        }
    }

    fn memory(&mut self, at: Option<u64>) -> Option<&mut u8> {
        let at = at?;
        self.regions.iter_mut().find_map(|(start, bytes)| {
            let index = at.checked_sub(*start)?;
            bytes.get_mut(usize::try_from(index).ok()?)
        })
    }

    fn load(&mut self, at: u64, len: u64) -> Option<Vec<u8>> {
        // No address is past the last: a range up to the very end of the 64 bits is outside.
        at.checked_add(len)?;
        (0..len).map(|n| self.memory(at.checked_add(n)).map(|byte| *byte)).collect()
    }

    fn select(&mut self, key: u16) {
        self.selected = key & !0x4000;
        self.offset = 0;
        if self.selected == GENERATED {
            let count = &mut self.items.entry(GENERATED).or_default()[0];
            *count = count.wrapping_add(1);
        }
    }

    /// The byte that the data register has next.
    fn next(&mut self) -> u8 {
        let byte = self.items.get(&self.selected).and_then(|item| item.get(self.offset)).copied();
        self.offset += usize::from(byte.is_some());
        byte.unwrap_or(0)
    }

    pub(super) fn pio_read(&mut self, offset: u16, len: usize) -> Vec<u8> {
        match usize::from(offset) {
            1 => (0..len).map(|_| self.next()).collect(),
            at @ 4..12 if at + len <= 12 => b"QEMU CFG"[at - 4..][..len].to_vec(),
            _ => self.nothing(len),
        }
    }

    pub(super) fn mmio_read(&mut self, offset: u64, len: usize) -> Vec<u8> {
        match offset as usize {
            at @ 0..8 if at + len <= 8 => (0..len).map(|_| self.next()).collect(),
            at @ 16..24 if at + len <= 24 => b"QEMU CFG"[at - 16..][..len].to_vec(),
            _ => self.nothing(len),
        }
    }

    fn nothing(&mut self, len: usize) -> Vec<u8> {
        self.errors += 1;
        vec![0; len]
    }

    pub(super) fn pio_write(&mut self, offset: u16, data: &[u8]) {
        match offset {
            0 if data.len() == 2 => self.select(u16::from(data[1]) << 8 | u16::from(data[0])),
            1 => {}
            4..12 => self.dma_register(offset - 4, data),
            _ => self.errors += 1,
        }
    }

    pub(super) fn mmio_write(&mut self, offset: u64, data: &[u8]) {
        match offset {
            0..8 => {}
            8 if data.len() == 2 => self.select(u16::from(data[0]) << 8 | u16::from(data[1])),
            16..24 => self.dma_register(offset as u16 - 16, data),
            _ => self.errors += 1,
        }
    }

    fn dma_register(&mut self, offset: u16, data: &[u8]) {
        let value = number(data);
        match (offset, data.len()) {
            (0, 4) => self.high = value << 32,
            (4, 4) => {
                let address = self.high + value;
                self.transfer(address);
            }
            (0, 8) => self.transfer(value),
            _ => self.errors += 1,
        }
    }

    fn transfer(&mut self, at: u64) {
        self.high = 0;
        let failed = match self.load(at, 16) {
            Some(access) => self.access(&access),
            None => true,
        };
        self.errors += u64::from(failed);
        if self.load(at, 4).is_none() {
            self.unspecified.push((at, 4));
            return;
        }
        for (n, byte) in (0..).zip([0, 0, 0, u8::from(failed)]) {
            if let Some(there) = self.memory(at.checked_add(n)) {
                *there = byte;
            }
        }
    }

    /// Whether it failed.
    fn access(&mut self, access: &[u8]) -> bool {
        let word = number(&access[..4]) as u32;
        let (len, at) = (number(&access[4..8]), number(&access[8..]));
        if word & self.layout.select != 0 {
            self.select((word >> 16) as u16);
        }
        let item = self.items.get(&self.selected).cloned().unwrap_or_default();
        let left = (item.len() - self.offset) as u64;
        if word & self.layout.read != 0 {
            if at.checked_add(len).is_none() {
                return true;
            }
            let offset = self.offset;
            for n in 0..len {
                let byte = item.get(offset + n as usize).copied().unwrap_or(0);
                let Some(there) = self.memory(at.checked_add(n)) else {
                    self.unspecified.push((at, len));
                    return true;
                };
                *there = byte;
            }
            self.offset += left.min(len) as usize;
        } else if word & self.layout.write != 0 && len > 0 {
            if self.selected != WRITABLE || len > left {
                return true;
            }
            let Some(bytes) = self.load(at, len) else {
                return true;
            };
            let end = self.offset + len as usize;
            self.items.entry(WRITABLE).or_default()[self.offset..end].copy_from_slice(&bytes);
            self.writes.push((self.offset as u32, bytes));
            self.offset = end;
        } else if word & self.layout.write == 0 && word & self.layout.skip != 0 {
            self.offset += left.min(len) as usize;
        }
        false
    }

    pub(super) fn reset(&mut self) {
        self.items.insert(WRITABLE, vec![7; 28]);
        self.selected = 0;
        self.offset = 0;
        self.high = 0;
    }
}

/// A big-endian number, 0 if it has more than 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0..=8 => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
        _ => 0,
    }
}
