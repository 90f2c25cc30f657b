// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where a screen was written, from who knows: a poll then reads that and no more.

use std::fmt;

use crate::geometry::Rect;
use crate::plane::Plane;

/// Somebody who knows where pixels were written: KVM's dirty log, a hypervisor's tracking of pages.
///
/// A poll asks it before it reads, and reads the rows of what it answers and no others. Only in one
/// poll of 8 it reads one row in 512 as well, each time the next, so that what a log does not know is
/// mended after 4096 polls: what a VMM wrote itself, say.
pub trait WriteLog: fmt::Debug {
    /// Adds to `rects` where `plane` was written since the last call. `false` where it can't say: all is
    /// read then, as it is whenever the plane is another than before.
    fn plane(&mut self, _plane: &Plane, _rects: &mut Vec<Rect>) -> bool {
        false
    }

    /// The same of the boot display.
    #[cfg(feature = "ramfb")]
    fn boot(&mut self, _plane: &crate::ramfb::RamPlane, _rects: &mut Vec<Rect>) -> bool {
        false
    }
}

/// What a screen is a copy of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    Plane(Plane),
    /// The boot display, in the mode with this number.
    Boot(u64),
}

/// What a log answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Written<'a> {
    /// Nowhere but here.
    Here(&'a [Rect]),
    /// From now on it is known, but what the screen is a copy of is not what it was asked about before:
    /// all has to be read.
    Anywhere,
    /// It can't say.
    Unknown,
}

/// A log, and what it was asked about.
#[derive(Debug, Default)]
pub(super) struct Hints {
    log: Option<Box<dyn WriteLog + Send>>,
    rects: Vec<Rect>,
    /// What the screen is an exact copy of, as it was when the log was asked last.
    copied: Option<Copied>,
    /// What it is about to be.
    asked: Option<Copied>,
}

impl Hints {
    pub(super) fn set(&mut self, log: Option<Box<dyn WriteLog + Send>>) {
        self.log = log;
        self.copied = None;
    }

    /// The screen is not a copy of what it was.
    pub(super) fn forget(&mut self) {
        self.copied = None;
    }

    /// Where `what`, which is about to be copied, was written since it was.
    pub(super) fn written(
        &mut self,
        what: Copied,
        ask: impl FnOnce(&mut dyn WriteLog, &mut Vec<Rect>) -> bool,
    ) -> Written<'_> {
        let before = self.copied.take();
        self.rects.clear();
        let knows = self.log.as_mut().is_some_and(|log| ask(&mut **log, &mut self.rects));
        self.asked = knows.then_some(what);
        match before {
            _ if !knows => Written::Unknown,
            Some(before) if before == what => Written::Here(&self.rects),
            _ => Written::Anywhere,
        }
    }

    /// It has been copied, all that the answer asked for.
    pub(super) fn copied(&mut self) {
        self.copied = self.asked.take();
    }
}
