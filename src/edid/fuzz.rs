// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Body of the fuzz target `edid`: every request, and every device that it could be meant for.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::{BLOCK, Edid, EdidPort, EdidRegisters, Encoded, LINK_TRIES, Limits, MAX_REACH};
use crate::device::{RegionDevice, RegionIndex};
use crate::error::{Call, Result};
use crate::geometry::Size;
use crate::region::{Capability, RegionFlags, RegionInfo};
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, REGION_SUBTYPE_GFX_EDID, REGION_TYPE_GFX};

/// Requests that one input makes, at most: each has its time, and a fuzzer wants answers soon.
const REQUESTS: usize = 8;

/// Most accesses for one request: the registers once and again for each try, and the EDID.
const ACCESSES: usize = 6 + 2 + 3 * BLOCK / 4 + (LINK_TRIES as usize + 2) * 7;

/// Plays `data`: a region's size and what is beside it, requests, and the device's answers.
///
/// # Panics
///
/// Where something is wrong with this crate.
pub fn edid(data: &[u8]) {
    let script = Script { data, at: 0.into() };
    let device = Hostile::new(script);
    let Ok(Some(port)) = EdidPort::find(&device) else { unreachable!("it has the region") };
    let mut port = port.pause(Duration::from_millis(1));
    let mut now = Instant::now();
    for _ in 0..REQUESTS {
        let request = device.script.request();
        check(&request.encode(device.script.limits()).ok(), &request);
        port.begin(now, request);
        device.accesses.replace(0);
        // Some are replaced before their time.
        let polls = if device.script.byte() & 3 == 0 { 1 } else { u32::MAX };
        for _ in 0..polls {
            let Some(at) = port.poll_at() else { break };
            assert!(at > now);
            now = at;
            let _ = port.poll(now, &device);
            assert!(*device.accesses.borrow() <= 2 * ACCESSES, "a poll ends");
        }
    }
    device.accesses.replace(0);
    let _ = port.settle(&device);
    assert_eq!(port.poll_at(), None);
    let _ = EdidRegisters::read(&device, &device.regions[0]);
}

/// An EDID is whole, fits, and is the same when it is asked for again.
fn check(encoded: &Option<Encoded>, request: &Edid) {
    let Some(encoded) = encoded else { return };
    let blocks: Vec<_> = encoded.bytes.chunks(BLOCK).collect();
    assert_eq!(usize::from(blocks[0][126]) + 1, blocks.len());
    for block in blocks {
        assert_eq!(block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    }
    assert_eq!(request.bytes(), request.bytes());
}

/// The input, byte by byte; zeros when it is over.
struct Script<'a> {
    data: &'a [u8],
    at: RefCell<usize>,
}

impl Script<'_> {
    fn byte(&self) -> u8 {
        let mut at = self.at.borrow_mut();
        *at += 1;
        self.data.get(*at - 1).copied().unwrap_or_default()
    }

    /// Small numbers more often than large ones, and odd ones as well.
    fn number(&self) -> u32 {
        match self.byte() {
            short @ 0..0x40 => u32::from(short),
            0x40..0xc0 => u32::from_le_bytes([self.byte(), self.byte(), 0, 0]),
            _ => u32::from_le_bytes([self.byte(), self.byte(), self.byte(), self.byte()]),
        }
    }

    fn size(&self) -> Size {
        Size::new(self.number(), self.number())
    }

    fn request(&self) -> Edid {
        let edid = Edid::for_mode(self.size());
        match self.byte() {
            with if with & 1 == 1 => {
                edid.refresh(self.number()).millimetres(self.size()).serial(self.number()).name(
                    &char::from(self.byte()).to_string().repeat(usize::from(self.byte() & 31)),
                )
            }
            _ => edid,
        }
    }

    fn limits(&self) -> Limits {
        let limit = |raw: u32| (raw & 1 == 0).then_some(raw);
        Limits {
            max_bytes: self.number(),
            max_width: limit(self.number()),
            max_height: limit(self.number()),
        }
    }
}

/// A device whose answers are the script's.
struct Hostile<'a> {
    script: Script<'a>,
    regions: Vec<RegionInfo>,
    accesses: RefCell<usize>,
}

impl<'a> Hostile<'a> {
    fn new(script: Script<'a>) -> Self {
        let size = u64::from(script.number());
        let other = u64::from(script.number());
        let region = |index, offset, size, capabilities| RegionInfo {
            index: RegionIndex(index),
            flags: RegionFlags::all(),
            size,
            offset,
            capabilities,
        };
        let edid = Capability::Type { kind: REGION_TYPE_GFX, subtype: REGION_SUBTYPE_GFX_EDID };
        let regions = vec![
            region(0, 1 << 20, size, vec![edid]),
            region(1, (1 << 20) + size + other, 1 << 30, Vec::new()),
        ];
        Self { script, regions, accesses: 0.into() }
    }

    /// An access that the port makes: inside what it may touch, aligned, a word.
    fn access(&self, region: &RegionInfo, offset: u64, len: usize) -> Result<()> {
        *self.accesses.borrow_mut() += 1;
        let start = region.file_offset(offset, len as u64)?;
        assert_eq!((start % 4, len), (0, 4));
        let end = offset + len as u64;
        let inside = end <= self.regions[0].size;
        let tolerated = end <= MAX_REACH && start + len as u64 <= self.regions[1].offset;
        assert!(inside || tolerated, "{end} of {:?}", self.regions);
        match self.script.byte() {
            errno @ 1..8 => {
                let errno = Errno::from_raw_os_error(i32::from(errno) * 3 + 1);
                Err(Call::Read { index: region.index, offset, len: 4 }.refused(errno))
            }
            _ => Ok(()),
        }
    }
}

impl RegionDevice for Hostile<'_> {
    fn device_info(&self) -> Result<DeviceInfo> {
        Ok(DeviceInfo::default())
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let region = self.regions.get(index.0 as usize).cloned();
        region.ok_or_else(|| Call::RegionInfo(index).refused(Errno::INVAL))
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.access(region, offset, buf.len())?;
        // Mostly what a device would say, or no request would get far.
        let sensible = [2048, 1024, 384, 0, 0, 1][offset as usize / 4];
        let odd = self.script.byte() & 7 == 7;
        let word: u32 = if odd { self.script.number() } else { sensible };
        buf.copy_from_slice(&word.to_ne_bytes());
        Ok(())
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.access(region, offset, data.len())
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        Err(Call::Map { index: region.index, offset, len }.refused(Errno::INVAL))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        // What fails goes to the corpus, by hand.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn no_input_does_harm(data in proptest::collection::vec(any::<u8>(), 0..4096)) {
            super::edid(&data);
        }
    }

    #[test]
    fn the_seeds_do_no_harm() {
        let seeds = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/edid"));
        let mut count = 0;
        for seed in seeds.unwrap() {
            super::edid(&std::fs::read(seed.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "there are seeds");
    }
}
