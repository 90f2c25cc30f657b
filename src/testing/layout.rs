// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The regions of each driver, and the raw answers about them.

use rustix::io::{Errno, Result};

use super::memory::page_up;
use super::personality::Personality;
use crate::geometry::Size;
use crate::uapi::{
    CAP_SPARSE_MMAP, CAP_TYPE, PCI_CONFIG_REGION, PCI_NUM_REGIONS, REGION_CAPS, REGION_HEAD_BYTES,
    REGION_MMAP, REGION_READ, REGION_SUBTYPE_GFX_EDID, REGION_TYPE_GFX, REGION_WRITE,
};

const RW: u32 = REGION_READ | REGION_WRITE;
const RWM: u32 = RW | REGION_MMAP;

/// Bytes for cursors in a region, enough for 256x256.
pub(super) const CURSOR_BYTES: u64 = 256 * 256 * 4;
/// Longest answer of mbochs: head and one type capability. More is EINVAL.
const MBOCHS_ANSWER: usize = REGION_HEAD_BYTES + 16;

/// What answers reads and writes of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Config,
    /// Registers of mbochs.
    Mmio,
    Edid,
    Memory,
    /// Memory whose reads and writes ignore the offset, as in mdpy.
    MemoryStart,
    /// Memory whose reads and writes are two pages off, as in mbochs.
    MemoryShifted,
}

/// A region as the driver has it.
#[derive(Clone, Debug)]
pub(super) struct Region {
    pub(super) index: u32,
    pub(super) flags: u32,
    pub(super) size: u64,
    pub(super) offset: u64,
    pub(super) content: Content,
    /// One capability, as bytes, or none.
    capability: Vec<u8>,
}

/// All regions of a device.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    personality: Personality,
    pub(super) regions: Vec<Region>,
}

impl Layout {
    pub(super) fn new(personality: Personality, size: Size) -> Self {
        use Content as C;
        let picture = size.area() * 4;
        // Space as the kernel's own drivers divide it: a region per tebibyte.
        let far = |index: u32, flags: u32, size: u64, content: C| Region {
            index,
            flags,
            size,
            offset: u64::from(index) << 40,
            content,
            capability: Vec::new(),
        };
        let near = |index, flags, offset, size, content| Region {
            offset,
            ..far(index, flags, size, content)
        };
        let config = |size| far(PCI_CONFIG_REGION, RW, size, C::Config);
        let framebuffer = (64 << 20).max(page_up(picture));
        let regions = match personality {
            Personality::WellBehaved => {
                vec![config(256), far(9, RW, 4096, C::Edid).with(edid_cap())]
            }
            Personality::Region => vec![
                config(256),
                far(9, RW, 4096, C::Edid).with(edid_cap()),
                far(10, RWM, framebuffer, C::Memory),
                far(11, RWM, CURSOR_BYTES, C::Memory),
            ],
            Personality::Mdpy => {
                let len = picture.next_power_of_two();
                vec![
                    near(PCI_CONFIG_REGION, RW, 0, 255, C::Config),
                    near(0, RWM, 4096, len, C::MemoryStart),
                    near(16, RWM, 4096, len, C::MemoryStart),
                ]
            }
            Personality::Mbochs | Personality::MbochsRw => {
                let memory = (64 << 20).max((2 * picture).next_power_of_two());
                vec![
                    near(PCI_CONFIG_REGION, RW, 0, 255, C::Config),
                    near(2, RW, 4096, 4096, C::Mmio),
                    near(9, RW, 8192, 4096, C::Edid).with(edid_cap()),
                    near(0, RWM, 12288, memory, C::MemoryShifted),
                ]
            }
            Personality::GvtG => vec![
                config(256),
                far(0, RW, 16 << 20, C::Memory),
                far(2, RWM, 256 << 20, C::Memory).with(sparse_cap(0, 64 << 20)),
                // The OpRegion, PCI vendor type 0x8086.
                far(9, REGION_READ, 8192, C::Memory).with(type_cap(1 << 31 | 0x8086, 1)),
                // 128 bytes, and the blob at 2048.
                far(10, RW, 128, C::Edid).with(edid_cap()),
            ],
            Personality::Nvidia => {
                let pitch = (u64::from(size.width) * 4).next_multiple_of(128);
                let len = (16 << 20).max((pitch * u64::from(size.height)).next_power_of_two());
                vec![
                    config(4096),
                    far(0, RWM, 16 << 20, C::Memory),
                    far(9, RWM, len, C::Memory).with(sparse_cap(0, len)),
                ]
            }
            Personality::VfioPci => vec![config(4096), far(0, RWM, 16 << 20, C::Memory)],
        };
        Self { personality, regions }
    }

    /// Regions that the device admits to.
    pub(super) fn num_regions(&self) -> u32 {
        match self.personality {
            Personality::WellBehaved | Personality::Mbochs | Personality::MbochsRw => 10,
            Personality::Region => 12,
            Personality::GvtG => 11,
            Personality::Mdpy | Personality::Nvidia | Personality::VfioPci => PCI_NUM_REGIONS,
        }
    }

    /// Bytes that the device's file needs.
    pub(super) fn file_len(&self) -> u64 {
        let ends = self.regions.iter().map(|r| page_up(r.offset + r.size));
        ends.max().unwrap_or_default()
    }

    pub(super) fn get(&self, index: u32) -> Option<&Region> {
        self.regions.iter().find(|region| region.index == index)
    }

    /// The region at `pos` of the device's file.
    pub(super) fn at(&self, pos: u64) -> Option<&Region> {
        // Where regions are far apart a driver goes by the index in the position alone, so that
        // GVT-g's EDID is reached behind the region's end.
        self.regions.iter().find(|region| match region.offset >> 40 {
            0 if region.offset == 0 || region.offset % (1 << 40) != 0 => {
                (region.offset..region.offset + region.size).contains(&pos)
            }
            index => pos >> 40 == index,
        })
    }

    /// `VFIO_DEVICE_GET_REGION_INFO` for region `index`, with room for all of `answer`.
    pub(super) fn answer(&self, index: u32, answer: &mut [u8]) -> Result<()> {
        let argsz = answer.len();
        let mbochs = self.personality.has_vbe();
        if argsz < REGION_HEAD_BYTES || (mbochs && argsz > MBOCHS_ANSWER) {
            return Err(Errno::INVAL);
        }
        let region = match self.get(index) {
            Some(region) => region,
            // No VGA behind a device without a display; past the last one, nothing.
            None if self.personality == Personality::VfioPci && index >= 8 => {
                return Err(Errno::INVAL);
            }
            None if index >= self.num_regions() => return Err(Errno::INVAL),
            None => &Region {
                index,
                flags: 0,
                size: 0,
                offset: 0,
                content: Content::Memory,
                capability: Vec::new(),
            },
        };
        let needed = REGION_HEAD_BYTES + region.capability.len();
        answer.fill(0);
        put(answer, 0, &(argsz.max(needed) as u32).to_ne_bytes());
        put(answer, 8, &index.to_ne_bytes());
        if self.personality == Personality::Nvidia && argsz < needed {
            // Only the length that it wants; the rest stays as it came.
            return Ok(());
        }
        let (flags, offset) = match region.capability.is_empty() {
            true => (region.flags, 0),
            // mbochs gives the offset with the head alone, the kernel's own code does not.
            false if argsz < needed && !mbochs => (region.flags | REGION_CAPS, 0),
            false => (region.flags | REGION_CAPS, REGION_HEAD_BYTES as u32),
        };
        put(answer, 4, &flags.to_ne_bytes());
        put(answer, 12, &offset.to_ne_bytes());
        put(answer, 16, &region.size.to_ne_bytes());
        put(answer, 24, &region.offset.to_ne_bytes());
        if argsz >= needed {
            put(answer, REGION_HEAD_BYTES, &region.capability);
        }
        Ok(())
    }

    /// Whether the driver maps `len` bytes at `offset` of its file.
    pub(super) fn check_mmap(&self, offset: u64, len: u64) -> Result<()> {
        // Every driver here maps from a region's first byte on, and no more than it has.
        let fits = |region: &Region| {
            region.flags & REGION_MMAP != 0
                && region.offset == offset
                && page_up(len) <= page_up(region.size)
        };
        match self.regions.iter().any(fits) {
            true => Ok(()),
            false => Err(Errno::INVAL),
        }
    }
}

impl Region {
    fn with(mut self, capability: Vec<u8>) -> Self {
        self.capability = capability;
        self
    }
}

fn put(answer: &mut [u8], at: usize, bytes: &[u8]) {
    answer[at..at + bytes.len()].copy_from_slice(bytes);
}

/// `vfio_info_cap_header`, the last of its chain.
fn cap_head(id: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(id.to_ne_bytes());
    bytes.extend(1_u16.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes
}

fn type_cap(kind: u32, subtype: u32) -> Vec<u8> {
    let mut bytes = cap_head(CAP_TYPE);
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(subtype.to_ne_bytes());
    bytes
}

fn edid_cap() -> Vec<u8> {
    type_cap(REGION_TYPE_GFX, REGION_SUBTYPE_GFX_EDID)
}

fn sparse_cap(offset: u64, len: u64) -> Vec<u8> {
    let mut bytes = cap_head(CAP_SPARSE_MMAP);
    bytes.extend(1_u32.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(offset.to_ne_bytes());
    bytes.extend(len.to_ne_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of an answer of `len` bytes, or why there is none.
    fn ask(personality: Personality, index: u32, len: usize) -> Result<Vec<u32>> {
        let mut answer = vec![0x5A; len];
        Layout::new(personality, Size::new(64, 64)).answer(index, &mut answer)?;
        let word = |bytes: &[u8]| u32::from_ne_bytes(bytes.try_into().unwrap());
        Ok(answer.chunks_exact(4).map(word).collect())
    }

    #[test]
    fn mbochs_refuses_more_room_than_it_can_fill() {
        for index in [0, 7, 9] {
            assert_eq!(ask(Personality::Mbochs, index, 49), Err(Errno::INVAL));
            assert_eq!(ask(Personality::Mbochs, index, 512), Err(Errno::INVAL));
            assert!(ask(Personality::Mbochs, index, 48).is_ok());
        }
        let head = ask(Personality::Mbochs, 9, 32).unwrap();
        assert_eq!(head, [48, 11, 9, 32, 4096, 0, 8192, 0], "the chain is announced at once");
    }

    #[test]
    fn nvidia_fills_nothing_before_the_full_size() {
        let head = ask(Personality::Nvidia, 9, 32).unwrap();
        assert_eq!(head, [64, 0, 9, 0, 0, 0, 0, 0]);
        let full = ask(Personality::Nvidia, 9, 64).unwrap();
        assert_eq!(full[..6], [64, 15, 9, 32, 16 << 20, 0]);
    }

    #[test]
    fn the_kernel_s_own_code_tells_the_length_and_no_chain_yet() {
        let head = ask(Personality::GvtG, 10, 32).unwrap();
        assert_eq!(head[..6], [48, 11, 10, 0, 128, 0]);
        assert_eq!(ask(Personality::GvtG, 10, 48).unwrap()[3], 32);
        assert_eq!(ask(Personality::VfioPci, 8, 32), Err(Errno::INVAL));
        assert_eq!(ask(Personality::Mdpy, 15, 32), Err(Errno::INVAL));
    }
}
