// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the device's picture is had by: plane queries, or a framebuffer region.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::hints::{Copied, Hints, Written};
use crate::blit::{Detection, Reading};
use crate::capture::Captures;
use crate::cursor::CursorLayer;
use crate::device::{GfxDevice, PlaneKind, PlaneType};
use crate::error::Result;
use crate::plane::{Plane, PlaneState};
use crate::scanout::Scanout;
use crate::screen::Screen;

#[derive(Debug)]
pub(super) enum Origin {
    /// Plane queries for planes of a kind, and the memory behind them.
    Query(PlaneKind, Scanout),
    /// A framebuffer region.
    Region(Box<Captures>),
}

impl Origin {
    pub(super) const fn kind(&self) -> Option<PlaneKind> {
        match self {
            Self::Query(kind, _) => Some(*kind),
            Self::Region(_) => None,
        }
    }

    /// Lets go of all memory of the device.
    pub(super) fn reset(&mut self) {
        match self {
            Self::Query(_, scanout) => scanout.reset(),
            Self::Region(captures) => captures.reset(),
        }
    }

    /// Has `eventfd` signalled for new frames; `false` where nothing tells of them.
    pub(super) fn set_wake<D: GfxDevice>(
        &self,
        device: &D,
        eventfd: Option<BorrowedFd<'_>>,
    ) -> Result<bool> {
        let Self::Region(captures) = self else { return Ok(false) };
        let Some(index) = captures.wake() else { return Ok(false) };
        device.set_eventfd(index, eventfd)?;
        Ok(true)
    }

    /// Has the device make so many frames in 1000 seconds, if it can be told.
    pub(super) fn set_demand<D: GfxDevice>(&mut self, device: &D, demand: u32) -> Result<()> {
        match self {
            Self::Query(..) => Ok(()),
            Self::Region(captures) => captures.set_demand(device, demand),
        }
    }

    /// Asks for the screen and copies it; one of the four states, or an error for good. A
    /// framebuffer region's cursor is copied with it. `seen` becomes what the device describes,
    /// whether or not that can be copied.
    pub(super) fn look<D: GfxDevice>(
        &mut self,
        device: &D,
        now: Option<Instant>,
        (reading, hints): (Reading<'_>, &mut Hints),
        (screen, cursor): (&mut Screen, &mut CursorLayer),
        seen: &mut Option<Plane>,
    ) -> Result<PlaneState> {
        match self {
            Self::Query(kind, scanout) => {
                let state = PlaneState::query(device, PlaneType::Primary, *kind)?;
                let PlaneState::Live(plane) = state else { return Ok(state) };
                *seen = Some(plane);
                let copied = Copied::Plane(plane);
                let reading = match hints.written(copied, |log, rects| log.plane(&plane, rects)) {
                    Written::Here(rects) => Reading { written: Some(rects), ..reading },
                    Written::Anywhere => Reading { detection: Detection::Verified, ..reading },
                    Written::Unknown => reading,
                };
                match scanout.copy(device, &plane, screen, reading) {
                    Ok(()) => {
                        hints.copied();
                        Ok(PlaneState::Live(plane))
                    }
                    Err(error) => PlaneState::of_error(error),
                }
            }
            Self::Region(captures) => {
                hints.forget();
                let state = captures.look(device, now, screen, cursor.shape_mut())?;
                cursor.put(captures.cursor());
                if let PlaneState::Live(plane) = state {
                    *seen = Some(plane);
                }
                Ok(state)
            }
        }
    }

    /// Whether the screen may be of two frames: something failed while it was copied.
    pub(super) fn is_spoiled(&self) -> bool {
        matches!(self, Self::Region(captures) if !captures.has_picture())
    }

    /// Looks at the cursor beside `primary`, where it did not come with it.
    pub(super) fn look_at_cursor<D: GfxDevice>(
        &self,
        device: &D,
        primary: &Plane,
        cursor: &mut CursorLayer,
    ) -> Result<()> {
        match self {
            Self::Query(kind, _) => cursor.look(device, *kind, primary),
            Self::Region(_) => Ok(()),
        }
    }
}
