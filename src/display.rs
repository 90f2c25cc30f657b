// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The façade: a device's screen, looked at when the caller says so.

pub mod boot;
mod handover;
mod hints;
mod origin;
mod shown;

use std::os::fd::BorrowedFd;
use std::time::Instant;

use self::boot::Boot;
use self::hints::Hints;
pub use self::hints::WriteLog;
use self::origin::Origin;
use self::shown::Shown;
use crate::blit::{Detection, Memory, Reading, Workers};
use crate::capture::Captures;
use crate::cursor::CursorLayer;
use crate::device::{GfxDevice, PlaneKind};
use crate::edid::{Edid, EdidPort, Encoded, Progress};
use crate::error::{Error, Result};
use crate::format::{Fourcc, Modifier};
use crate::frame::Source;
use crate::geometry::Size;
use crate::picture::Picture;
use crate::plane::{Plane, PlaneState};
use crate::scanout::Scanout;
use crate::schedule::{Outcome, Schedule};
use crate::screen::Screen;
use crate::sink::{Sink, SinkError};

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
    origin: Origin,
    screen: Screen,
    detection: Detection,
    memory: Memory,
    workers: Option<Box<dyn Workers + Send>>,
    hints: Hints,
    cursor: CursorLayer,
    boot: Boot,
    /// The plane that was seen last; `None` while the device is off.
    plane: Option<Plane>,
    /// What is shown; `None` while neither the device nor the boot display is on.
    on_screen: Option<OnScreen>,
    edid: Option<EdidPort>,
    /// The monitor that is plugged in by us.
    monitor: Option<Encoded>,
    schedule: Schedule,
    shown: Shown,
}

/// Frames in 1000 seconds that a look asks for while nobody watches: enough to be somebody.
const LOOK_DEMAND: u32 = 1000;

/// What is shown, mostly by a copy: another one is a new generation, which starts with a whole frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OnScreen {
    Plane(Mode),
    /// The boot display, in the mode with this number.
    Boot(u64),
    /// None: the sink has the buffer itself.
    Dmabuf,
    /// None: no CPU reads the plane, of this size, and words say so.
    Unreadable(Size),
}

impl OnScreen {
    /// Whether the screen is a copy of it.
    const fn is_copy(&self) -> bool {
        matches!(self, Self::Plane(_) | Self::Boot(_))
    }
}

/// What a page flip leaves as it is. The buffer is not part of it: the picture is compared with
/// our own copy, so another buffer damages just what differs in it.
type Mode = (Size, Fourcc, Modifier, u32);

impl<D: GfxDevice> Display<D> {
    /// The screen of `device`, by its [framebuffer region](crate::fb_region) where it has one, and
    /// otherwise by the kind of plane that it offers.
    ///
    /// # Errors
    ///
    /// [`Error::NoDisplay`] where it offers none, [`Error::FbRegion`] where all that it has is a
    /// framebuffer region that is no use.
    pub fn new(device: D) -> Result<Self> {
        let captures = Captures::attach(&device);
        if let Ok(Some(captures)) = captures {
            return Ok(Self::with(device, Origin::Region(Box::new(captures))));
        }
        match (kinds(&device), captures) {
            (Ok(kinds), _) => Ok(Self::with_kind(device, kinds[0])),
            (Err(Error::NoDisplay { .. }), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    /// The screen of `device`, which has to offer planes of `kind`, by plane queries.
    pub fn with_kind(device: D, kind: PlaneKind) -> Self {
        Self::with(device, Origin::Query(kind, Scanout::new()))
    }

    fn with(device: D, origin: Origin) -> Self {
        Self {
            device,
            origin,
            screen: Screen::default(),
            detection: Detection::default(),
            memory: Memory::default(),
            workers: None,
            hints: Hints::default(),
            cursor: CursorLayer::new(),
            boot: Boot::none(),
            plane: None,
            on_screen: None,
            edid: None,
            monitor: None,
            schedule: Schedule::default(),
            shown: Shown::default(),
        }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Where the plane's pixels are, `None` where they come by a framebuffer region.
    pub const fn kind(&self) -> Option<PlaneKind> {
        self.origin.kind()
    }

    /// Has `eventfd` signalled when there may be a new frame, or no longer; who reads it calls
    /// [`wake`](Self::wake). `false` where the device tells nothing of the kind.
    ///
    /// # Errors
    ///
    /// What [`RegionDevice::set_eventfd`](crate::device::RegionDevice::set_eventfd) answers.
    pub fn set_wake(&self, eventfd: Option<BorrowedFd<'_>>) -> Result<bool> {
        self.origin.set_wake(&self.device, eventfd)
    }

    /// The plane that was seen last, `None` while the device is off.
    pub const fn plane(&self) -> Option<&Plane> {
        self.plane.as_ref()
    }

    /// The last picture, while the screen has not been off since.
    pub fn picture(&self) -> Option<&Picture> {
        let copied = self.on_screen.as_ref().is_some_and(OnScreen::is_copy);
        copied.then_some(self.screen.picture())
    }

    /// Shows `ramfb`, which is in `memory`, whenever the device shows nothing: before the guest's
    /// driver is up, and after it is gone.
    ///
    /// A device that was on has to answer "off" [`OFF_POLLS`](boot::OFF_POLLS) times and for
    /// [`OFF_TIME`](boot::OFF_TIME) first. One that can't say just now is held.
    #[cfg(feature = "ramfb")]
    #[must_use]
    pub fn boot_display<A>(mut self, ramfb: crate::ramfb::Ramfb, memory: A) -> Self
    where
        A: vm_memory::GuestAddressSpace + Send + 'static,
        A::M: vm_memory::Bytes<vm_memory::GuestAddress>,
    {
        self.boot.set(Box::new(boot::RamfbIn { ramfb, memory }));
        self
    }

    /// Looks at the device now, whatever the schedule says, and copies what it shows, all of it:
    /// [`Detection::Verified`]. The boot display is left out.
    ///
    /// # Errors
    ///
    /// What no later look will mend by itself, as [`PollError::Device`].
    pub fn look(&mut self) -> Result<Look<'_>> {
        let parked = !self.schedule.is_watching();
        if parked {
            self.origin.set_demand(&self.device, LOOK_DEMAND)?;
        }
        // All of it, whatever a log says.
        self.hints.forget();
        let state = self.look_at_plane(None, Detection::Verified)?;
        if parked && !matches!(state, PlaneState::Transient(_)) {
            self.origin.set_demand(&self.device, 0)?;
        }
        Ok(match state {
            PlaneState::Live(plane) => Look::Live(plane, self.screen.picture()),
            PlaneState::Off => {
                self.on_screen = None;
                Look::Off
            }
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
        // The look is made whatever became of the monitor, or the next one would be due in the
        // past.
        let monitor = self.poll_edid(now);
        if !self.schedule.is_due(now) {
            return Ok(monitor.map(|()| Poll::NotDue)?);
        }
        let result = self.look_and_show(now, sink);
        let outcome = match result {
            Ok(Poll::Held(_)) | Err(_) => Outcome::Failed,
            _ => Outcome::Answered,
        };
        self.schedule.looked(now, outcome);
        if let Ok(Poll::Gone(_)) = result {
            self.schedule.park();
            self.edid = None;
        } else {
            monitor?;
        }
        result
    }

    /// When the next poll is due: `None`, or later than the `now` of the call before. `None`
    /// while nobody watches and nothing is to be done, and once the device is gone.
    pub fn poll_at(&self) -> Option<Instant> {
        let edid = self.edid.as_ref().and_then(EdidPort::poll_at);
        [self.schedule.poll_at(), edid].into_iter().flatten().min()
    }

    /// Plugs in another monitor: polls unplug the one that is there, write `edid`, and plug it
    /// in, also while nobody watches. `false` where the device takes no EDID.
    ///
    /// # Errors
    ///
    /// What [`EdidPort::find`] answers. What fails later is a poll's error.
    pub fn set_edid(&mut self, now: Instant, edid: Edid) -> Result<bool> {
        if self.edid.is_none() {
            self.edid = EdidPort::find(&self.device)?;
        }
        let Some(port) = &mut self.edid else { return Ok(false) };
        port.begin(now, edid);
        Ok(true)
    }

    /// The monitor that was plugged in last, with what could not be as it was asked for.
    pub const fn monitor(&self) -> Option<&Encoded> {
        self.monitor.as_ref()
    }

    /// Ends what [`set_edid`](Self::set_edid) began, without a pause: for a program that exits,
    /// so that the guest is not left without a monitor.
    ///
    /// # Errors
    ///
    /// What [`EdidPort::settle`] answers.
    pub fn settle(&mut self) -> Result<()> {
        self.edid.as_mut().map_or(Ok(()), |port| port.settle(&self.device))
    }

    /// Somebody watches from now on; see [`Schedule::watch`].
    pub fn watch(&mut self, now: Instant) {
        self.schedule.watch(now);
    }

    /// Nobody watches; see [`Schedule::park`].
    pub fn park(&mut self) {
        self.schedule.park();
        // A device that can't be told now is gone, or is told by the next look.
        let _ = self.origin.set_demand(&self.device, 0);
    }

    /// The screen may change soon; see [`Schedule::wake`].
    pub fn wake(&mut self, now: Instant) {
        self.schedule.wake(now);
    }

    /// Looks `rate` times a second while somebody watches.
    pub fn set_rate(&mut self, rate: u32) {
        self.schedule.set_rate(rate);
    }

    /// Has polls read as much of the screen as `detection` says; [`Detection::Sampled`] where
    /// nothing is asked for. The first poll of a mode reads all of it anyway.
    pub const fn set_detection(&mut self, detection: Detection) {
        self.detection = detection;
    }

    /// Says what kind of memory planes are in: [`Memory::Cached`] where nothing is said.
    pub const fn set_memory(&mut self, memory: Memory) {
        self.memory = memory;
    }

    /// Lends threads to polls that read all of a plane, or of one most of which changes; `None` takes them
    /// back.
    pub fn set_workers(&mut self, workers: Option<Box<dyn Workers + Send>>) {
        self.workers = workers;
    }

    /// Has polls ask `log` what was written, and read no more than that. For planes that are read by
    /// way of a mapping, and for the boot display.
    pub fn set_write_log(&mut self, log: Option<Box<dyn WriteLog + Send>>) {
        self.hints.set(log);
    }

    /// Makes the next frame a whole one, and has the cursor told again: for a new sink.
    pub fn refresh(&mut self) {
        self.screen.refresh();
        self.cursor.forget();
        self.shown.blank = false;
        // Words, and a buffer, are told again as well.
        self.on_screen = self.on_screen.filter(OnScreen::is_copy);
    }

    /// Lets go of every mapping and dma-buf, and of what the guest set up for the boot display:
    /// to be called when the device, or the machine, has been reset.
    pub fn reset(&mut self) {
        self.origin.reset();
        self.cursor.reset();
        self.boot.reset();
        self.hints.forget();
        self.plane = None;
        self.on_screen = None;
    }

    fn poll_edid(&mut self, now: Instant) -> Result<()> {
        if let Some(port) = &mut self.edid
            && port.poll_at().is_some_and(|at| at <= now)
            && let Progress::Plugged(monitor) = port.poll(now, &self.device)?
        {
            self.monitor = Some(monitor);
        }
        Ok(())
    }

    /// Asks for the plane and copies it; an answer of the four states, or an error for good.
    fn look_at_plane(&mut self, now: Option<Instant>, detection: Detection) -> Result<PlaneState> {
        let Self { device, origin, screen, cursor, plane, hints, .. } = self;
        let workers = self.workers.as_ref().map(|workers| &**workers as &dyn Workers);
        let reading = Reading { detection, memory: self.memory, workers, written: None };
        let state = origin.look(device, now, (reading, hints), (screen, cursor), plane)?;
        match &state {
            PlaneState::Live(plane) => {
                let mode = (plane.size, plane.fourcc, plane.modifier, plane.stride);
                self.put_on_screen(OnScreen::Plane(mode));
                self.boot.device_is_on();
            }
            PlaneState::Off => self.plane = None,
            PlaneState::Transient(_) if self.origin.is_spoiled() => self.on_screen = None,
            PlaneState::Transient(_) | PlaneState::Gone(_) => {}
        }
        Ok(state)
    }

    fn put_on_screen(&mut self, what: OnScreen) {
        if self.on_screen != Some(what) {
            self.on_screen = Some(what);
            self.shown.generation += 1;
            self.screen.refresh();
        }
    }

    fn look_and_show<S: Sink + ?Sized>(
        &mut self,
        now: Instant,
        sink: &mut S,
    ) -> Result<Poll, PollError> {
        let takes = sink.takes();
        if takes != self.shown.takes {
            self.shown.takes = takes;
            self.refresh();
        }
        let demand = if takes.idle { 0 } else { self.schedule.rate().saturating_mul(1000) };
        if let Err(error) = self.origin.set_demand(&self.device, demand) {
            return Ok(match PlaneState::of_error(error)? {
                PlaneState::Gone(error) => Poll::Gone(error),
                PlaneState::Transient(error) => Poll::Held(error),
                _ => Poll::Same,
            });
        }
        if takes.idle {
            return Ok(Poll::Same);
        }
        if takes.dmabuf
            && let Some(poll) = self.hand_over(sink)?
        {
            return Ok(poll);
        }
        let state = match self.look_at_plane(Some(now), self.detection) {
            Ok(state) => state,
            Err(error) => {
                self.show_unreadable(&error, sink)?;
                return Err(error.into());
            }
        };
        match state {
            PlaneState::Live(plane) => {
                let cursor = self.origin.look_at_cursor(&self.device, &plane, &mut self.cursor);
                let shown =
                    self.shown.show(Source::Plane, &mut self.screen, &mut self.cursor, sink)?;
                cursor?;
                Ok(shown)
            }
            PlaneState::Off => {
                let lasting = self.boot.device_is_off(now);
                if matches!(self.on_screen, Some(OnScreen::Plane(_) | OnScreen::Dmabuf))
                    && !lasting
                    && self.boot.is_there()
                {
                    return Ok(Poll::Same);
                }
                self.show_boot(sink)
            }
            PlaneState::Transient(error) => Ok(Poll::Held(error)),
            PlaneState::Gone(error) => Ok(Poll::Gone(error)),
        }
    }

    /// Shows the boot display, or that there is nothing to show.
    fn show_boot<S: Sink + ?Sized>(&mut self, sink: &mut S) -> Result<Poll, PollError> {
        self.cursor.hide();
        let (generation, wrong) = self.boot.copy(&mut self.screen, &mut self.hints);
        let poll = match generation {
            Some(generation) => {
                self.put_on_screen(OnScreen::Boot(generation));
                self.shown.show(Source::Boot, &mut self.screen, &mut self.cursor, sink)?
            }
            None => {
                self.on_screen = None;
                if !self.shown.blank {
                    sink.blank().map_err(PollError::Sink)?;
                    self.shown.blank = true;
                    self.cursor.forget();
                }
                Poll::Off
            }
        };
        wrong?;
        Ok(poll)
    }
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
