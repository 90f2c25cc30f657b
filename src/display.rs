// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The façade: a device's screen, looked at when the caller says so.

use std::time::Instant;

use crate::cursor::CursorLayer;
use crate::device::{GfxDevice, PlaneKind, PlaneType};
use crate::error::{Error, Result};
use crate::frame::{Frame, Source};
use crate::geometry::{Rect, Size};
use crate::picture::Picture;
use crate::plane::{Plane, PlaneState};
use crate::scanout::Scanout;
use crate::schedule::{Outcome, Schedule};
use crate::screen::Screen;
use crate::sink::{Sink, SinkError, Takes};

/// What a look at the screen found.
#[derive(Clone, Debug, PartialEq)]
pub enum Look<'a> {
    /// The device shows nothing.
    Off,
    /// The device shows this, copied just now.
    Live(Plane, &'a Picture),
    /// The device could not say just now. Hold the last picture, if there was one, and look again
    /// soon.
    Held(Error, Option<&'a Picture>),
    /// The device will never show anything again. Drop the display, so that others can have it.
    Gone(Error),
}

/// What a [poll](Display::poll) did.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Poll {
    /// It was not time to look.
    NotDue,
    /// Nothing changed.
    Same,
    /// The sink has a new frame, or a new cursor, or both.
    Shown(Size),
    /// The device shows nothing, and the sink knows.
    Off,
    /// The device could not say just now; the sink keeps what it has.
    Held(Error),
    /// The device will never show anything again. Drop the display, so that others can have it.
    Gone(Error),
}

/// Why a [poll](Display::poll) failed. The display stays usable and looks again, later each time.
#[derive(Debug, thiserror::Error)]
pub enum PollError {
    /// What no later look will mend by itself: a description that cannot be, a format that is
    /// not read, memory that cannot be reached.
    #[error(transparent)]
    Device(#[from] Error),
    /// The sink could not take it. No damage is lost: it is offered again.
    #[error("sink: {0}")]
    Sink(SinkError),
}

/// The screen of a device.
///
/// It owns a copy of the last picture and what it needs to make the next one. It starts no
/// thread, sets no timer and reads no clock: the caller has a timer that fires at
/// [`poll_at`](Self::poll_at) and calls [`poll`](Self::poll). Work per poll is at most one query
/// and one copy of the screen and of the cursor; a change of mode adds an export or a mapping.
#[derive(Debug)]
pub struct Display<D> {
    device: D,
    kind: PlaneKind,
    scanout: Scanout,
    screen: Screen,
    cursor: CursorLayer,
    /// What the screen is a copy of; `None` while the device is off.
    plane: Option<Plane>,
    schedule: Schedule,
    shown: Shown,
}

/// What the sink has been shown.
#[derive(Debug, Default)]
struct Shown {
    takes: Takes,
    generation: u64,
    /// Whether the sink knows that the device is off.
    blank: bool,
    /// The screen with the cursor drawn over it, for sinks that draw none.
    blended: Picture,
    /// Where the cursor is in `blended`.
    blended_at: Rect,
    rects: Vec<Rect>,
}

impl<D: GfxDevice> Display<D> {
    /// The screen of `device`, by the kind of plane that it offers.
    ///
    /// # Errors
    ///
    /// [`Error::NoDisplay`] where it offers none.
    pub fn new(device: D) -> Result<Self> {
        let kind = kinds(&device)?[0];
        Ok(Self::with_kind(device, kind))
    }

    /// The screen of `device`, which has to offer planes of `kind`.
    pub fn with_kind(device: D, kind: PlaneKind) -> Self {
        Self {
            device,
            kind,
            scanout: Scanout::new(),
            screen: Screen::default(),
            cursor: CursorLayer::new(),
            plane: None,
            schedule: Schedule::default(),
            shown: Shown::default(),
        }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Where the plane's pixels are.
    pub const fn kind(&self) -> PlaneKind {
        self.kind
    }

    /// The plane that was seen last, `None` while the device is off.
    pub const fn plane(&self) -> Option<&Plane> {
        self.plane.as_ref()
    }

    /// The last picture, while the device has not been off since.
    pub fn picture(&self) -> Option<&Picture> {
        self.plane.is_some().then_some(self.screen.picture())
    }

    /// Looks at the screen now, whatever the schedule says, and copies what it shows.
    ///
    /// # Errors
    ///
    /// What no later look will mend by itself, as [`PollError::Device`].
    pub fn look(&mut self) -> Result<Look<'_>> {
        Ok(match self.look_at_plane()? {
            PlaneState::Live(plane) => Look::Live(plane, self.screen.picture()),
            PlaneState::Off => Look::Off,
            PlaneState::Transient(error) => Look::Held(error, self.picture()),
            PlaneState::Gone(error) => Look::Gone(error),
        })
    }

    /// Looks if it is time to, and shows `sink` what changed: at most one frame and one cursor.
    ///
    /// # Errors
    ///
    /// [`PollError`]; nothing that changed is lost by one.
    pub fn poll<S: Sink + ?Sized>(
        &mut self,
        now: Instant,
        sink: &mut S,
    ) -> Result<Poll, PollError> {
        if !self.schedule.is_due(now) {
            return Ok(Poll::NotDue);
        }
        let result = self.look_and_show(sink);
        let outcome = match result {
            Ok(Poll::Held(_)) | Err(_) => Outcome::Failed,
            _ => Outcome::Answered,
        };
        self.schedule.looked(now, outcome);
        if let Ok(Poll::Gone(_)) = result {
            self.schedule.park();
        }
        result
    }

    /// When the next poll is due: `None`, or later than the `now` of the call before. `None`
    /// while nobody watches and once the device is gone.
    pub const fn poll_at(&self) -> Option<Instant> {
        self.schedule.poll_at()
    }

    /// Somebody watches from now on; see [`Schedule::watch`].
    pub fn watch(&mut self, now: Instant) {
        self.schedule.watch(now);
    }

    /// Nobody watches; see [`Schedule::park`].
    pub fn park(&mut self) {
        self.schedule.park();
    }

    /// The screen may change soon; see [`Schedule::wake`].
    pub fn wake(&mut self, now: Instant) {
        self.schedule.wake(now);
    }

    /// Looks `rate` times a second while somebody watches.
    pub fn set_rate(&mut self, rate: u32) {
        self.schedule.set_rate(rate);
    }

    /// Makes the next frame a whole one, and has the cursor told again: for a new sink.
    pub fn refresh(&mut self) {
        self.screen.refresh();
        self.cursor.forget();
        self.shown.blank = false;
    }

    /// Lets go of every mapping and dma-buf: to be called when the device has been reset.
    pub fn reset(&mut self) {
        self.scanout.reset();
        self.cursor.reset();
        self.plane = None;
    }

    /// Asks for the plane and copies it; an answer of the four states, or an error for good.
    fn look_at_plane(&mut self) -> Result<PlaneState> {
        let state = PlaneState::query(&self.device, PlaneType::Primary, self.kind)?;
        let state = match state {
            PlaneState::Live(plane) => {
                match self.scanout.copy(&self.device, &plane, &mut self.screen) {
                    Ok(()) => PlaneState::Live(plane),
                    Err(error) => PlaneState::of_error(error)?,
                }
            }
            other => other,
        };
        match &state {
            PlaneState::Live(plane) => {
                if !self.plane.is_some_and(|before| same_mode(&before, plane)) {
                    self.shown.generation += 1;
                    self.screen.refresh();
                }
                self.plane = Some(*plane);
            }
            PlaneState::Off => self.plane = None,
            PlaneState::Transient(_) | PlaneState::Gone(_) => {}
        }
        Ok(state)
    }

    fn look_and_show<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<Poll, PollError> {
        let takes = sink.takes();
        if takes != self.shown.takes {
            self.shown.takes = takes;
            self.refresh();
        }
        match self.look_at_plane()? {
            PlaneState::Live(plane) => {
                self.shown.blank = false;
                let cursor = self.cursor.look(&self.device, self.kind, &plane);
                let shown = self.show(sink)?;
                cursor?;
                Ok(shown)
            }
            PlaneState::Off => {
                if !self.shown.blank {
                    sink.blank().map_err(PollError::Sink)?;
                    self.shown.blank = true;
                    self.cursor.forget();
                }
                Ok(Poll::Off)
            }
            PlaneState::Transient(error) => Ok(Poll::Held(error)),
            PlaneState::Gone(error) => Ok(Poll::Gone(error)),
        }
    }

    /// Shows the sink the damage and the cursor, where there is any news.
    fn show<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<Poll, PollError> {
        let size = self.screen.picture().size();
        let draws_cursor = self.shown.takes.cursor;
        if !draws_cursor && self.cursor.is_news() {
            self.screen.mark_rect(self.shown.blended_at);
            self.screen.mark_rect(self.cursor.area(size));
        }
        let mut poll = Poll::Same;
        if !self.screen.damage().is_empty() {
            self.screen.damage().rects(&mut self.shown.rects);
            let picture = if draws_cursor {
                self.screen.picture()
            } else {
                self.shown.blend(self.screen.picture(), &self.cursor);
                &self.shown.blended
            };
            let frame = Frame {
                picture,
                damage: &self.shown.rects,
                source: Source::Plane,
                generation: self.shown.generation,
            };
            sink.frame(&frame).map_err(PollError::Sink)?;
            self.screen.shown();
            poll = Poll::Shown(size);
        }
        if self.cursor.is_news() {
            if draws_cursor {
                sink.cursor(self.cursor.cursor().as_ref()).map_err(PollError::Sink)?;
                poll = Poll::Shown(size);
            }
            self.cursor.told();
        }
        Ok(poll)
    }
}

impl Shown {
    /// Brings the blended picture up to date: the damaged pixels, then the cursor.
    fn blend(&mut self, screen: &Picture, cursor: &CursorLayer) {
        if self.blended.size() != screen.size() {
            self.blended.resize(screen.size());
            self.blended_at = Rect::default();
        }
        for rect in self.rects.iter().chain([&self.blended_at]) {
            self.blended.copy_rect(screen, *rect);
        }
        self.blended_at = cursor.area(screen.size());
        self.blended.copy_rect(screen, self.blended_at);
        cursor.blend(&mut self.blended);
    }
}

/// Whether two planes show the same mode. Another buffer of the same geometry, as a page flip
/// brings, is the same mode: the picture is compared with our own copy, not with a buffer.
fn same_mode(a: &Plane, b: &Plane) -> bool {
    let mode = |p: &Plane| (p.size, p.fourcc, p.modifier, p.stride);
    mode(a) == mode(b)
}

/// The kinds of planes that `device` offers, at least one; the one that a CPU reads best first.
///
/// # Errors
///
/// [`Error::NoDisplay`] where it offers none.
pub fn kinds<D: GfxDevice + ?Sized>(device: &D) -> Result<Vec<PlaneKind>> {
    let probe = |kind| match device.probe(kind) {
        Err(error) if error.is_gone() => Err(error),
        answer => Ok(answer),
    };
    let (region, dmabuf) = (probe(PlaneKind::Region)?, probe(PlaneKind::Dmabuf)?);
    let errno = |error: Error| error.errno().ok_or(error);
    match (region, dmabuf) {
        (Ok(()), Ok(())) => Ok(vec![PlaneKind::Region, PlaneKind::Dmabuf]),
        (Ok(()), Err(_)) => Ok(vec![PlaneKind::Region]),
        (Err(_), Ok(())) => Ok(vec![PlaneKind::Dmabuf]),
        (Err(region), Err(dmabuf)) => {
            Err(Error::NoDisplay { dmabuf: errno(dmabuf)?, region: errno(region)? })
        }
    }
}
