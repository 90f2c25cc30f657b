// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A producer that does anything, against a real consumer: no panic, bounded work, and no picture
//! of a size that was not captured.
//!
//! Each pair of bytes is a step: a real device's guest draws, sets modes, holds captures back or is
//! reset, or bytes of what the consumer reads of the page are changed for so many reads.
#![no_main]

use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use vfio_display::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionDevice, RegionIndex};
use vfio_display::fb_region::layout::PAGE_LEN;
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::plane::MAX_SIDE;
use vfio_display::region::RegionInfo;
use vfio_display::testing::{FB_REGION, FbMock, FbOptions, Recorder};
use vfio_display::uapi::{DeviceInfo, PlaneInfo};
use vfio_display::{Display, Mapping, Result};

const SIZE: Size = Size::new(96, 64);
/// Reads of one look: two screens row by row, of which one was captured earlier, two cursors, and the
/// page as often as it is tried.
const MOST_READS: u32 = 2 * MAX_SIDE + 2 * 512 + 200;
/// Steps of one input, so that many are tried.
const STEPS: usize = 64;

struct Spoilt {
    mock: FbMock,
    /// Changes of the page: where, by what it is changed, and for how many reads.
    changes: Mutex<Vec<(usize, u8, u8)>>,
    reads: Mutex<u32>,
}

impl RegionDevice for Spoilt {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.mock.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        self.mock.region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.mock.read(region, offset, buf)?;
        *self.reads.lock().expect("one thread") += 1;
        if region.index == FB_REGION && offset < PAGE_LEN as u64 {
            let mut changes = self.changes.lock().expect("one thread");
            for (at, by, reads) in changes.iter_mut() {
                if let Some(byte) = at.checked_sub(offset as usize).and_then(|at| buf.get_mut(at)) {
                    *byte ^= *by;
                    *reads = reads.saturating_sub(1);
                }
            }
            changes.retain(|(.., reads)| *reads > 0);
        }
        Ok(())
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.mock.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        self.mock.map(region, offset, len)
    }
}

impl GfxDevice for Spoilt {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.mock.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        self.mock.query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        self.mock.export_dmabuf(id)
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&how, steps)) = input.split_first() else { return };
    let options = FbOptions { mappable: how & 1 != 0, typed: how & 2 != 0, ..FbOptions::new(SIZE) };
    let Ok(mock) = FbMock::new(options) else { return };
    let spoilt = Spoilt { mock, changes: Mutex::default(), reads: Mutex::default() };
    let Ok(mut display) = Display::new(&spoilt) else { return };
    let mut sink = Recorder::new();
    let mut now = Instant::now();
    display.watch(now);
    for &[what, with] in steps.as_chunks().0.iter().take(STEPS) {
        let n = u32::from(with);
        match what >> 4 {
            0 => drop(spoilt.mock.set_mode(Some(Size::new(n + 1, u32::from(what) + 1)))),
            1 => drop(spoilt.mock.set_mode((n > 4).then_some(SIZE))),
            2 => spoilt.mock.begin(),
            3 => spoilt.mock.commit(&[Rect { x: n, y: n / 2, width: n, height: 3 }]),
            4 => spoilt.mock.hold_captures(n > 128),
            5 => spoilt.mock.reset(),
            6 => drop(spoilt.mock.set_cursor(Size::new(4, 4), None, &[n << 24 | n; 16])),
            7 => spoilt.mock.move_cursor(Point::new(n as i32 - 128, 3)),
            8 => spoilt.mock.hide_cursor(),
            9 => now += Duration::from_millis(u64::from(n) * 10),
            10 => display.reset(),
            _ => {
                let at = (usize::from(what & 0x3f) << 4 | usize::from(with >> 4)) % PAGE_LEN;
                let mut changes = spoilt.changes.lock().expect("one thread");
                changes.push((at, 1 << (with & 7), 1 + (what & 15)));
                changes.truncate(64);
            }
        }
        *spoilt.reads.lock().expect("one thread") = 0;
        now = display.poll_at().map_or(now, |at| at.max(now));
        let _ = display.poll(now, &mut sink);
        assert!(*spoilt.reads.lock().expect("one thread") <= MOST_READS);
    }
});
