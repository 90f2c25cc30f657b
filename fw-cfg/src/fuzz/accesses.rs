// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bytes stand for accesses, most of which make sense.

use super::model::Layout;

/// What happens to the device.
#[derive(Clone, Debug)]
pub(super) enum Access {
    /// The guest writes its memory.
    Poke(u64, Vec<u8>),
    PioRead(u16, usize),
    PioWrite(u16, Vec<u8>),
    MmioRead(u64, usize),
    MmioWrite(u64, Vec<u8>),
    Reset,
    /// The state goes into another device, which takes over.
    Migrate,
    /// A state that may be damaged is offered.
    Restore(Vec<u8>),
}

const KEYS: [u16; 16] = [
    0x00, 0x01, 0x05, 0x19, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x8001, 0x8002, 0x4023, 0xc001,
    0x3fff, 0xffff,
];

/// Corners of memory: ends of regions, the hole, what touches, what wraps.
const ADDRESSES: [u64; 16] = [
    0,
    0x100,
    0x110,
    0x1ff0,
    0x1ff8,
    0x2ff0,
    0x2ff4,
    0x3000,
    0x3ffc,
    0x4000,
    0x4ffd,
    0xffff_fff0,
    1 << 40,
    (1 << 40) + 0xff8,
    u64::MAX - 7,
    u64::MAX - 20,
];

const LENGTHS: [u32; 12] = [0, 1, 2, 4, 16, 27, 28, 29, 4096, 6001, 0x2000, u32::MAX];

/// Reads accesses out of bytes, until they are used up.
pub(super) struct Script<'a> {
    data: std::slice::Iter<'a, u8>,
    ready: Vec<Access>,
}

impl<'a> Script<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data: data.iter(), ready: Vec::new() }
    }

    fn byte(&mut self) -> u8 {
        self.data.next().copied().unwrap_or_default()
    }

    fn bytes(&mut self, count: u8) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn key(&mut self) -> u16 {
        match self.byte() {
            0xff => u16::from_be_bytes([self.byte(), self.byte()]),
            n => KEYS[usize::from(n) % KEYS.len()],
        }
    }

    fn address(&mut self) -> u64 {
        let n = self.byte();
        let base = ADDRESSES[usize::from(n) % ADDRESSES.len()];
        if n & 0x80 == 0 { base } else { base.wrapping_add(self.byte().into()) }
    }

    fn len(&mut self) -> u32 {
        LENGTHS[usize::from(self.byte()) % LENGTHS.len()]
    }

    /// A structure in memory, and the address register in one of the ways that guests use. The
    /// last access comes first.
    fn dma(&mut self) -> Vec<Access> {
        let how = self.byte();
        let bits = Layout::SPECIFIED;
        let word = match self.byte() {
            n @ 0xf0.. => u32::from_be_bytes([self.byte(), self.byte(), self.byte(), n]),
            n => {
                let command = [bits.read, bits.write, bits.write, bits.skip, 0][usize::from(n) % 5];
                command | if n & 0x40 == 0 { 0 } else { bits.select }
            }
        };
        let word = word | u32::from(self.key()) << 16;
        let at = self.address();
        let mut structure = Vec::from(word.to_be_bytes());
        structure.extend(self.len().to_be_bytes());
        structure.extend(self.address().to_be_bytes());
        let [high, low] = [(at >> 32) as u32, at as u32].map(|half| Vec::from(half.to_be_bytes()));
        let mut accesses = match how % 5 {
            // Firmware below 4 GiB writes the low half alone.
            0 => vec![Access::PioWrite(8, low)],
            1 => vec![Access::PioWrite(8, low), Access::PioWrite(4, high)],
            2 => vec![Access::PioWrite(4, at.to_be_bytes().into())],
            3 => vec![Access::MmioWrite(20, low), Access::MmioWrite(16, high)],
            _ => vec![Access::MmioWrite(16, at.to_be_bytes().into())],
        };
        accesses.push(Access::Poke(at, structure));
        accesses
    }
}

impl Iterator for Script<'_> {
    type Item = Access;

    fn next(&mut self) -> Option<Access> {
        if let Some(access) = self.ready.pop() {
            return Some(access);
        }
        let kind = *self.data.next()?;
        Some(match kind % 16 {
            0 => Access::PioWrite(0, self.key().to_le_bytes().into()),
            1 => Access::MmioWrite(8, self.key().to_be_bytes().into()),
            2 => Access::PioRead(1, usize::from(self.byte() % 33)),
            3 => Access::MmioRead(0, usize::from(self.byte() % 9)),
            4 => Access::Poke(self.address(), self.bytes(kind >> 4)),
            5 => Access::PioRead(u16::from(self.byte() % 16), usize::from(self.byte() % 9)),
            6 => Access::PioWrite(u16::from(self.byte() % 16), self.bytes(kind >> 4)),
            7 => Access::MmioRead(u64::from(self.byte() % 32), usize::from(self.byte() % 9)),
            8 => Access::MmioWrite(u64::from(self.byte() % 32), self.bytes(kind >> 4)),
            9 if kind < 0x40 => Access::Reset,
            9 => Access::Migrate,
            10 if kind > 0x80 => Access::Restore(self.bytes(kind)),
            _ => {
                self.ready = self.dma();
                self.ready.pop()?
            }
        })
    }
}
