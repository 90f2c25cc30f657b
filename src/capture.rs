// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The consumer of a framebuffer region: pictures out of captures, at a cost that follows change.
//!
//! Source: `docs/framebuffer-region.md`. A look at a page on which nothing changed reads 8 bytes.
//! A look never waits: a capture that is not there yet is found by a later one.

mod reader;
mod session;
mod window;

use std::time::Instant;

use self::session::Session;
use crate::device::{IrqIndex, RegionDevice};
use crate::error::{Error, Result};
use crate::fb_region::{self, FbRegionError};
use crate::geometry::Point;
use crate::plane::PlaneState;
use crate::region::RegionInfo;
use crate::screen::Screen;

/// A device's framebuffer region.
#[derive(Debug)]
pub(crate) struct Captures {
    region: RegionInfo,
    /// `None` after a reset, until the next look.
    session: Option<Session>,
    /// What is wrong with the region until it is attached anew.
    broken: Option<FbRegionError>,
}

impl Captures {
    /// The framebuffer region of `device`, `None` where it has none.
    ///
    /// # Errors
    ///
    /// What the device answers, and [`Error::FbRegion`] where it has one that is no use.
    pub(crate) fn attach<D: RegionDevice + ?Sized>(device: &D) -> Result<Option<Self>> {
        let Some(region) = fb_region::find(device)? else { return Ok(None) };
        let session = Some(Session::new(device, &region)?);
        Ok(Some(Self { region, session, broken: None }))
    }

    /// Forgets all that was taken, and all memory of the device.
    pub(crate) fn reset(&mut self) {
        self.session = None;
        self.broken = None;
    }

    /// The interrupt that tells of frames, if there is one.
    pub(crate) fn wake(&self) -> Option<IrqIndex> {
        self.session.as_ref()?.wake()
    }

    /// Says how many frames are wanted in 1000 seconds; 0 says that nobody watches.
    ///
    /// # Errors
    ///
    /// What the device answers.
    pub(crate) fn set_demand<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        demand: u32,
    ) -> Result<()> {
        match (&mut self.session, self.broken) {
            (Some(session), None) => session.set_demand(device, demand),
            // Nothing is written to what is not known to be such a region.
            _ => Ok(()),
        }
    }

    /// Whether the screen is a copy of one frame.
    pub(crate) fn has_picture(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_picture)
    }

    /// Where the cursor is, and the pixel of it that points; `None` where there is none.
    pub(crate) fn cursor(&self) -> Option<(Point, Option<Point>)> {
        self.session.as_ref()?.cursor()
    }

    /// Makes `screen` a copy of the primary plane, and `shape` one of the cursor's. `now` is what a
    /// capture that never ends is measured by; without it none is given up.
    ///
    /// # Errors
    ///
    /// What is neither a passing state of the device nor the end of it.
    pub(crate) fn look<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        now: Option<Instant>,
        screen: &mut Screen,
        shape: &mut Screen,
    ) -> Result<PlaneState> {
        if let Some(broken) = self.broken {
            return Err(broken.into());
        }
        self.try_look(device, now, screen, shape).or_else(|error| {
            if let Error::FbRegion(error) = error
                && error.is_lasting()
            {
                self.broken = Some(error);
            }
            PlaneState::of_error(error)
        })
    }

    fn try_look<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        now: Option<Instant>,
        screen: &mut Screen,
        shape: &mut Screen,
    ) -> Result<PlaneState> {
        let session = match &mut self.session {
            Some(session) => session,
            none => none.insert(Session::new(device, &self.region)?),
        };
        session.look(device, now, screen, shape)
    }
}
