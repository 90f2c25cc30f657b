// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot display: what is shown while the device shows nothing, and for how long not yet.

use std::fmt;
use std::time::{Duration, Instant};

use super::hints::{Copied, Hints, WriteLog, Written};
use crate::blit::{self, Layout};
use crate::error::Result;
use crate::geometry::Rect;
use crate::screen::Screen;

/// Answers "off" in a row before a device that was on gives way to the boot display.
pub const OFF_POLLS: u32 = 3;

/// From the first of those answers to the last, at least: a driver that sets a mode is off for a
/// moment, and the boot display must not flash up in it.
pub const OFF_TIME: Duration = Duration::from_millis(100);

/// A producer beside the device: ramfb in guest memory.
pub(crate) trait BootDisplay {
    /// How its pixels lie, `None` while it is off.
    ///
    /// # Errors
    ///
    /// What the guest got wrong, once; what was shown before still is.
    fn layout(&mut self) -> Result<Option<Layout>>;

    /// Grows with each mode that the guest sets.
    fn generation(&self) -> u64;

    /// What `log` knows of it.
    fn written(&self, log: &mut dyn WriteLog, rects: &mut Vec<Rect>) -> bool;

    /// Copies row `y` out, as the layout says that it is.
    fn read_row(&self, y: u32, row: &mut [u8]) -> Result<()>;

    /// Its memory could not be read: it is off until the guest sets it up again.
    fn give_up(&mut self);

    /// The machine was reset: what the guest set up is gone.
    fn reset(&mut self);
}

/// The boot display of a [`Display`](super::Display), if it has one, and when its turn is.
pub(super) struct Boot {
    source: Option<Box<dyn BootDisplay + Send>>,
    /// Answers "off" of the device since it was last on, and when the first came.
    off: Option<(u32, Instant)>,
}

impl Boot {
    pub(super) const fn none() -> Self {
        Self { source: None, off: None }
    }

    #[cfg_attr(not(feature = "ramfb"), expect(dead_code, reason = "ramfb is the only one"))]
    pub(super) fn set(&mut self, source: Box<dyn BootDisplay + Send>) {
        self.source = Some(source);
    }

    pub(super) const fn is_there(&self) -> bool {
        self.source.is_some()
    }

    /// The device is on: whatever it answers next starts the count anew.
    pub(super) fn device_is_on(&mut self) {
        self.off = None;
    }

    /// The device answered "off" at `now`. Whether that has lasted long enough to be believed of
    /// one that was on.
    pub(super) fn device_is_off(&mut self, now: Instant) -> bool {
        let (polls, since) = self.off.unwrap_or((0, now));
        self.off = Some((polls.saturating_add(1), since));
        polls + 1 >= OFF_POLLS && now.saturating_duration_since(since) >= OFF_TIME
    }

    pub(super) fn reset(&mut self) {
        self.off = None;
        if let Some(source) = &mut self.source {
            source.reset();
        }
    }

    /// Copies what the boot display shows onto `screen`: its generation, or `None` if it is off.
    /// The second answer is what the guest got wrong.
    pub(super) fn copy(
        &mut self,
        screen: &mut Screen,
        hints: &mut Hints,
    ) -> (Option<u64>, Result<()>) {
        let Some(source) = &mut self.source else { return (None, Ok(())) };
        let mut wrong = Ok(());
        let layout = source.layout().or_else(|error| {
            wrong = Err(error);
            source.layout()
        });
        let layout = match layout {
            Ok(Some(layout)) => layout,
            Ok(None) => return (None, wrong),
            Err(error) => return (None, Err(error)),
        };
        let copied = Copied::Boot(source.generation());
        let written = match hints.written(copied, |log, rects| source.written(log, rects)) {
            Written::Here(rects) => Some(rects),
            Written::Anywhere | Written::Unknown => None,
        };
        let read = |y, row: &mut [u8]| source.read_row(y, row);
        if let Err(error) = blit::copy_from(read, &layout, written, screen) {
            source.give_up();
            return (None, Err(error));
        }
        hints.copied();
        (Some(source.generation()), wrong)
    }
}

impl fmt::Debug for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Boot")
            .field("source", &self.source.as_ref().map(|source| source.generation()))
            .field("off", &self.off)
            .finish_non_exhaustive()
    }
}

/// ramfb, with the guest's memory that it is in.
#[cfg(feature = "ramfb")]
pub(super) struct RamfbIn<A> {
    pub(super) ramfb: crate::ramfb::Ramfb,
    pub(super) memory: A,
}

#[cfg(feature = "ramfb")]
impl<A> BootDisplay for RamfbIn<A>
where
    A: vm_memory::GuestAddressSpace,
    A::M: vm_memory::Bytes<vm_memory::GuestAddress>,
{
    fn layout(&mut self) -> Result<Option<Layout>> {
        let plane = self.ramfb.poll(&*self.memory.memory())?;
        Ok(plane.map(|plane| Layout {
            size: plane.size(),
            stride: plane.stride() as usize,
            format: plane.format(),
            alpha: crate::convert::Alpha::Ignore,
        }))
    }

    fn generation(&self) -> u64 {
        self.ramfb.generation()
    }

    fn written(&self, log: &mut dyn WriteLog, rects: &mut Vec<Rect>) -> bool {
        self.ramfb.plane().is_some_and(|plane| log.boot(&plane, rects))
    }

    fn read_row(&self, y: u32, row: &mut [u8]) -> Result<()> {
        let plane = self.ramfb.plane();
        plane.map_or(Ok(()), |plane| Ok(plane.read_row(&*self.memory.memory(), y, row)?))
    }

    fn give_up(&mut self) {
        self.ramfb.give_up();
    }

    fn reset(&mut self) {
        self.ramfb.reset();
    }
}
