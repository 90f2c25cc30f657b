// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Plugging a monitor into a device: a state machine without a clock.
//!
//! The order is that of `<linux/vfio.h>` above `vfio_region_gfx_edid`: link down, size, EDID, a
//! pause, link up. Whatever fails in between, the link is brought up again.

use std::time::{Duration, Instant};

use super::{Edid, EdidError, EdidRegisters, Encoded, Limits, LinkState, Step};
use crate::device::{RegionDevice, RegionIndex};
use crate::error::{Error, Result};
use crate::region::{self, RegionInfo};

/// How long the monitor stays unplugged. A guest whose driver looks at the cable now and then, or
/// is slow to take the interrupt, has to see that it was gone, or it does not read the EDID again;
/// 100 ms is what QEMU leaves guests, so they are used to it.
pub const UNPLUG_PAUSE: Duration = Duration::from_millis(100);

/// Times that the link is brought up before that counts as failed.
pub const LINK_TRIES: u32 = 5;

/// From the first attempt to bring the link up to the second; doubled each time.
const LINK_BACK_OFF: Duration = Duration::from_millis(50);

/// From a call to what it causes, at least: a timer that is set to zero never fires.
const SOON: Duration = Duration::from_millis(1);

/// How far, in bytes from its start, an EDID region is written even where it is said to be shorter.
///
/// i915 GVT-g reports a region of 128 bytes and takes the EDID at 2048. That is believed as far as
/// here, and only where no other region lies.
pub const MAX_REACH: u64 = 4096;

/// Registers by their offset: `vfio_region_gfx_edid`.
const EDID_SIZE: u64 = 8;
const LINK_STATE: u64 = 20;
const REGISTERS: u32 = 24;
const LINK_UP: u32 = 1;
const LINK_DOWN: u32 = 2;

/// The EDID region of a device, and what is being done with it.
///
/// ```
/// # use std::time::Instant;
/// # use vfio_display::Result;
/// # use vfio_display::device::RegionDevice;
/// # use vfio_display::edid::{Edid, EdidPort, Progress};
/// # use vfio_display::geometry::Size;
/// fn plug_in(device: &dyn RegionDevice) -> Result<()> {
///     let Some(mut port) = EdidPort::find(device)? else {
///         return Ok(()); // the device takes no EDID
///     };
///     port.begin(Instant::now(), Edid::for_mode(Size::new(1920, 1080)));
///     while let Some(at) = port.poll_at() {
///         std::thread::sleep(at.saturating_duration_since(Instant::now()));
///         if let Progress::Plugged(edid) = port.poll(Instant::now(), device)? {
///             for note in &edid.notes {
///                 println!("{note}");
///             }
///         }
///     }
///     Ok(())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct EdidPort {
    region: RegionInfo,
    /// The region that follows it in the device's file, and where.
    neighbour: Option<(RegionIndex, u64)>,
    pause: Duration,
    /// What was asked for and is not begun.
    wanted: Option<(Instant, Edid)>,
    unplugged: Option<Unplugged>,
}

/// The link is down, or may be.
#[derive(Clone, Debug)]
struct Unplugged {
    /// When it is brought up.
    at: Instant,
    /// What was written, or the step that failed.
    outcome: Result<Encoded, (Step, Error)>,
    tries: u32,
}

/// How far the last request is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// There is nothing to do.
    Idle,
    /// There is more to do, at [`EdidPort::poll_at`].
    Busy,
    /// The monitor is plugged in. What the guest makes of it is seen in its picture.
    Plugged(Encoded),
}

impl EdidPort {
    /// The EDID region of `device`, found by its type; `None` where it has none.
    ///
    /// Nothing is written, and nothing read of the region.
    ///
    /// # Errors
    ///
    /// What [`region::all`] answers.
    pub fn find<D: RegionDevice + ?Sized>(device: &D) -> Result<Option<Self>> {
        let regions = region::all(device)?;
        let Some(region) = regions.iter().find(|region| region.is_edid()) else { return Ok(None) };
        let neighbour = (regions.iter())
            .filter(|other| other.index != region.index && other.size > 0)
            .filter(|other| other.offset >= region.offset)
            .map(|other| (other.index, other.offset))
            .min_by_key(|(_, offset)| *offset);
        Ok(Some(Self {
            region: region.clone(),
            neighbour,
            pause: UNPLUG_PAUSE,
            wanted: None,
            unplugged: None,
        }))
    }

    /// Leaves the monitor unplugged for `pause` rather than [`UNPLUG_PAUSE`].
    #[must_use]
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The region's registers now.
    ///
    /// # Errors
    ///
    /// What [`RegionDevice::read`] answers.
    pub fn registers<D: RegionDevice + ?Sized>(&self, device: &D) -> Result<EdidRegisters> {
        EdidRegisters::read(device, &self.region)
    }

    /// Asks for another monitor. It replaces one that was asked for and is not plugged in yet,
    /// whose fate is not told then.
    pub fn begin(&mut self, now: Instant, edid: Edid) {
        self.wanted = Some((now + SOON, edid));
    }

    /// When [`poll`](Self::poll) has something to do: `None`, or later than the `now` of the call
    /// before.
    pub fn poll_at(&self) -> Option<Instant> {
        let wanted = self.wanted.as_ref().map(|(at, _)| *at);
        wanted.or(self.unplugged.as_ref().map(|unplugged| unplugged.at))
    }

    /// Does what is due: one pass over the registers and the EDID at most, which are some hundred
    /// accesses of 4 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Edid`], and what [`RegionDevice::read`] answers of the registers; once for a
    /// request, when nothing more is tried for it. The port can be used on.
    pub fn poll<D: RegionDevice + ?Sized>(&mut self, now: Instant, device: &D) -> Result<Progress> {
        if let Some((_, edid)) = self.wanted.take_if(|(at, _)| *at <= now) {
            return self.replace(now, device, &edid);
        }
        // What is about to be replaced is not plugged in for a moment.
        let replaced = self.wanted.is_some();
        match self.unplugged.take_if(|unplugged| unplugged.at <= now && !replaced) {
            Some(unplugged) => self.plug(now, device, unplugged),
            None if self.poll_at().is_some() => Ok(Progress::Busy),
            None => Ok(Progress::Idle),
        }
    }

    /// Ends what is under way without a pause, so that no monitor stays unplugged: for the end of
    /// a program. A request that is not begun is dropped.
    ///
    /// # Errors
    ///
    /// As [`poll`](Self::poll).
    pub fn settle<D: RegionDevice + ?Sized>(&mut self, device: &D) -> Result<()> {
        self.wanted = None;
        while let Some(unplugged) = self.unplugged.take() {
            self.plug(unplugged.at, device, unplugged)?;
        }
        Ok(())
    }

    /// Unplugs what is there and writes `edid`.
    fn replace<D: RegionDevice + ?Sized>(
        &mut self,
        now: Instant,
        device: &D,
        edid: &Edid,
    ) -> Result<Progress> {
        if let Some(before) = &mut self.unplugged {
            before.at = before.at.max(now + SOON);
        }
        // Read each time: what a device takes may change with its state. Where it refuses here,
        // nothing was written, and the monitor of a request before, if any, is plugged in yet.
        let registers = self.registers(device)?;
        let encoded = edid.encode(Limits::from(&registers))?;
        let region = self.reach(registers.blob_offset, encoded.bytes.len())?;
        self.unplugged = None;
        let outcome = write(device, &region, registers.blob_offset, &encoded.bytes);
        let failed = outcome.is_err();
        let outcome = outcome.map(|()| encoded);
        let mut unplugged = Unplugged { at: now, outcome, tries: 0 };
        if failed {
            // The guest has not been given enough time to see anything; all the better.
            return self.plug(now, device, unplugged);
        }
        unplugged.at = now + self.pause.max(SOON);
        self.unplugged = Some(unplugged);
        Ok(Progress::Busy)
    }

    /// The region as far as it has to be written for `len` bytes at `offset`.
    fn reach(&self, offset: u32, len: usize) -> Result<RegionInfo> {
        let mut region = self.region.clone();
        let (index, size) = (region.index, region.size);
        if offset < REGISTERS || !offset.is_multiple_of(4) {
            return Err(EdidError::Misplaced { index, offset }.into());
        }
        let end = u64::from(offset) + len as u64;
        if end <= size {
            return Ok(region);
        }
        let file_end = region.offset.saturating_add(end);
        if end > MAX_REACH || file_end > i64::MAX as u64 {
            return Err(EdidError::OutOfReach { index, offset, len, size }.into());
        }
        if let Some((other, _)) = self.neighbour.filter(|(_, start)| *start < file_end) {
            return Err(EdidError::Overlaps { index, offset, len, other }.into());
        }
        region.size = end;
        Ok(region)
    }

    /// Brings the link up, or sets a time for the next attempt.
    fn plug<D: RegionDevice + ?Sized>(
        &mut self,
        now: Instant,
        device: &D,
        mut unplugged: Unplugged,
    ) -> Result<Progress> {
        let refused = match self.raise(device) {
            Ok(LinkState::Up) => return self.plugged(device, unplugged.outcome),
            Ok(_) => None,
            Err(error) => Some(error),
        };
        unplugged.tries += 1;
        let tries = unplugged.tries;
        let gone = refused.as_ref().is_some_and(Error::is_gone);
        if tries < LINK_TRIES && !gone {
            unplugged.at = now + LINK_BACK_OFF * (1 << (tries - 1));
            self.unplugged = Some(unplugged);
            return Ok(Progress::Busy);
        }
        let index = self.region.index;
        let link = self.registers(device).ok().map(|registers| registers.link);
        let failed = |step, error| EdidError::Step { step, error: Box::new(error), link };
        Err(match (unplugged.outcome, refused) {
            // What went wrong first is why the link is where it is.
            (Err((step, error)), _) => failed(step, error),
            (Ok(_), Some(error)) => failed(Step::Plug, error),
            (Ok(_), None) => {
                EdidError::LinkStays { index, link: link.unwrap_or(LinkState::Down), tries }
            }
        }
        .into())
    }

    /// Writes "up" and reads what became of it.
    fn raise<D: RegionDevice + ?Sized>(&self, device: &D) -> Result<LinkState> {
        device.write(&self.region, LINK_STATE, &LINK_UP.to_ne_bytes())?;
        Ok(self.registers(device)?.link)
    }

    /// The link is up: what became of the request.
    fn plugged<D: RegionDevice + ?Sized>(
        &self,
        device: &D,
        outcome: Result<Encoded, (Step, Error)>,
    ) -> Result<Progress> {
        let link = Some(LinkState::Up);
        let failed = |step, error| EdidError::Step { step, error: Box::new(error), link };
        let encoded = outcome.map_err(|(step, error)| failed(step, error))?;
        let read = self.registers(device).map_err(|error| failed(Step::Plug, error))?.size;
        let (index, written) = (self.region.index, encoded.bytes.len() as u32);
        if read != written {
            return Err(EdidError::SizeLost { index, written, read }.into());
        }
        Ok(Progress::Plugged(encoded))
    }
}

/// Link down, size, EDID: in words, because drivers take nothing else. GVT-g wants the size before
/// the EDID.
fn write<D: RegionDevice + ?Sized>(
    device: &D,
    region: &RegionInfo,
    offset: u32,
    edid: &[u8],
) -> Result<(), (Step, Error)> {
    let word = |step, offset, word: u32| {
        device.write(region, offset, &word.to_ne_bytes()).map_err(|error| (step, error))
    };
    word(Step::Unplug, LINK_STATE, LINK_DOWN)?;
    word(Step::Size, EDID_SIZE, edid.len() as u32)?;
    for (at, bytes) in (u64::from(offset)..).step_by(4).zip(edid.chunks_exact(4)) {
        device.write(region, at, bytes).map_err(|error| (Step::Blob, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
