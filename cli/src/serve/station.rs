// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One display, its servers, and the loop around them.
//!
//! The loop waits for whatever comes first: the time of the next look, something that a viewer
//! did, the end of the VMM, a word to end. While nobody looks there is nothing to wait for but
//! those.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use tracing::{info, warn};
use vfio_display::device::{GfxDevice, PlaneKind};
use vfio_display::display::{self, PollError};
use vfio_display::edid::{Debounce, Edid};
use vfio_display::{Detection, Display, Look, Poll};
use vfio_display_door::Door;
use vfio_display_vnc::Handle;

use super::back::Back;
use super::guest::Guest;
use super::metrics::Meter;
use super::record::{Output, Recorder};
use super::servers::{self, Told};
use super::sinks::Sinks;
use super::status::Status as StatusLine;
use super::{failed, timespec};
use crate::args::{Device, Serve};
use crate::dev::{End, OpenDevice};
use crate::exit::{Failure, Status};

/// How long a device may be unable to say what it shows before a person is told. Drivers are for
/// a look or two after each change of mode.
const HELD: Duration = Duration::from_secs(1);

/// Between two tries to open a device that went.
const REATTACH: Duration = Duration::from_millis(250);

/// What looks are counted as that could not be made just then, among [`Status::name`]s.
const HELD_KIND: &str = "held";
/// What frames are counted as that a server could not take.
const SINK_KIND: &str = "sink";

/// The display of a device, as the loop wants it.
fn display(
    gfx: Box<dyn GfxDevice>,
    args: &Serve,
    recording: bool,
) -> Result<Display<Box<dyn GfxDevice>>, Failure> {
    let dmabufs = args.dma_buf && display::kinds(&gfx)?.contains(&PlaneKind::Dmabuf);
    let mut display =
        if dmabufs { Display::with_kind(gfx, PlaneKind::Dmabuf) } else { Display::new(gfx)? };
    display.set_rate(args.fps);
    if recording {
        // Each picture of a recording is exact, also where little changes.
        display.set_detection(Detection::Verified);
    }
    Ok(display)
}

/// What is signalled when there may be a new frame, where the device tells of them.
fn wake(display: &Display<Box<dyn GfxDevice>>) -> Result<Option<OwnedFd>, Failure> {
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
    let eventfd = eventfd.map_err(|errno| failed("an eventfd", errno.into()))?;
    match display.set_wake(Some(eventfd.as_fd())) {
        Ok(tells) => Ok(tells.then_some(eventfd)),
        Err(error) => {
            // The looks come all the same, only later.
            info!("{error}");
            Ok(None)
        }
    }
}

/// What a station is made of.
pub(super) struct Parts<'a> {
    pub(super) args: &'a Serve,
    pub(super) device: Device,
    pub(super) open: OpenDevice,
    /// Where a recording goes.
    pub(super) output: Option<Output>,
    /// What stands before viewers by TCP.
    pub(super) door: Option<Arc<Door>>,
    /// Readable when this is to end.
    pub(super) stop: OwnedFd,
    pub(super) meter: Arc<Meter>,
    pub(super) status: StatusLine,
    pub(super) json: bool,
}

/// All that the loop turns around.
pub(super) struct Station<'a> {
    args: &'a Serve,
    device: Device,
    display: Display<Box<dyn GfxDevice>>,
    sinks: Sinks,
    back: Arc<Back>,
    end: Option<End>,
    /// Readable when there may be a new frame.
    wake: Option<OwnedFd>,
    /// Readable when this is to end.
    stop: OwnedFd,
    meter: Arc<Meter>,
    debounce: Debounce,
    status: StatusLine,
    /// Since when the device has not been able to say what it shows.
    held: Option<Instant>,
    /// The trouble that was last told, so that each is told once.
    told: Option<String>,
    /// Viewers may choose a size, as far as is known.
    takes_edid: bool,
    recording: bool,
}

/// What ended a wait.
enum Woken {
    /// Something to do, or it is time to look.
    Again,
    /// Somebody asks for the end.
    Stop,
    /// The end of the process that has the device.
    Exit,
}

impl<'a> Station<'a> {
    /// Starts the servers of a device that is open; answers also with where viewers find them.
    pub(super) fn start(parts: Parts<'a>) -> Result<(Self, Told), Failure> {
        let Parts { args, device, open, output, door, stop, meter, status, json } = parts;
        let recorder = output.map(Recorder::new).transpose()?;
        let guest = open.mock.map(Guest::start).transpose().map_err(|e| failed("the mock", e))?;
        let recording = recorder.is_some();
        let display = display(open.gfx, args, recording)?;
        let wake = wake(&display)?;
        let back = Back::new(guest, &device.dev.to_string());
        let back = Arc::new(back.map_err(|error| failed("an eventfd", error))?);
        let (servers, told) = servers::start(args, &device.dev, &back, door, &meter, json)?;
        let station = Self {
            args,
            device,
            display,
            sinks: Sinks::new(servers, recorder),
            back,
            end: open.end,
            wake,
            stop,
            meter,
            debounce: Debounce::default(),
            status,
            held: None,
            told: None,
            takes_edid: args.resize,
            recording,
        };
        Ok((station, told))
    }

    /// What brings viewers from elsewhere, if the display is shown to such.
    pub(super) fn viewers(&self) -> Option<Handle> {
        self.sinks.vnc()
    }

    /// Serves until something ends it.
    pub(super) fn serve(mut self) -> Result<(), Failure> {
        let mut ended = self.run();
        while let Err(gone) = &ended
            && gone.status == Status::Gone
            && self.args.reattach
        {
            self.tell(Some(format!("{}; waiting for it to come back", gone.message)));
            ended = match self.reattach() {
                Ok(true) => self.run(),
                Ok(false) => Ok(()),
                Err(failure) => Err(failure),
            };
        }
        self.status.clear();
        let gone = ended.as_ref().is_err_and(|failure| failure.status == Status::Gone);
        if !gone && let Err(error) = self.display.settle() {
            warn!("{}: {error}", self.device.dev);
        }
        ended
    }

    fn run(&mut self) -> Result<(), Failure> {
        if self.recording {
            self.display.watch(Instant::now());
        }
        loop {
            let now = Instant::now();
            self.take_from_viewers(now);
            match self.display.poll(now, &mut self.sinks) {
                Ok(Poll::Gone(error)) => return Err(Failure::new(Status::Gone, error)),
                Ok(Poll::Held(error)) => {
                    self.meter.failed(HELD_KIND);
                    if now - *self.held.get_or_insert(now) >= HELD {
                        self.tell(Some(error.to_string()));
                    }
                }
                Ok(Poll::NotDue) => {}
                Ok(poll) => {
                    self.held = None;
                    self.tell(None);
                    self.status.looked(now, &poll, &self.sinks);
                    self.meter.looked(matches!(poll, Poll::Shown(_)));
                }
                Err(error) => {
                    let told = error.to_string();
                    self.meter.failed(match error {
                        PollError::Device(error) => Failure::from(error).status.name(),
                        PollError::Sink(_) => SINK_KIND,
                    });
                    self.tell(Some(told));
                }
            }
            self.meter.served(self.back.viewers(), self.sinks.sent());
            self.sinks.tick(now)?;
            let (plane, kind) = (self.display.plane(), self.display.kind());
            self.status.show(now, plane, kind, self.back.viewers());
            match self.wait(now)? {
                Woken::Again => {}
                Woken::Stop => return Ok(()),
                Woken::Exit => return Err(self.gone()),
            }
        }
    }

    /// Opens the device again once that works; not where somebody asks for the end before.
    fn reattach(&mut self) -> Result<bool, Failure> {
        // It would keep the connection open, and with it the server's only place.
        self.end = None;
        let device = loop {
            let pause = timespec(REATTACH);
            match poll(&mut [PollFd::new(&self.stop, PollFlags::IN)], Some(&pause)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(false),
                Err(errno) => return Err(failed("waiting", errno.into())),
            }
            match self.device.open() {
                Ok(device) => break device,
                Err(failure) => match failure.status {
                    Status::NotFound | Status::Busy | Status::Gone => {}
                    _ => return Err(failure),
                },
            }
        };
        self.display = display(device.gfx, self.args, self.recording)?;
        self.wake = wake(&self.display)?;
        self.end = device.end;
        self.held = None;
        if self.back.viewers() > 0 {
            self.display.watch(Instant::now());
        }
        Ok(true)
    }

    /// What became of the device, in its own words where it has some.
    fn gone(&mut self) -> Failure {
        match self.display.look() {
            Ok(Look::Gone(error)) | Err(error) => Failure::new(Status::Gone, error),
            Ok(_) => Failure::new(Status::Gone, "the process that had the device has exited"),
        }
    }

    /// Acts on what viewers did since the last time.
    fn take_from_viewers(&mut self, now: Instant) {
        let news = self.back.take();
        if let Some(viewers) = news.viewers {
            let watched = viewers > 0;
            if news.newcomer {
                // Its server was not offered the frames before this one, and on a screen that
                // stands still there is none after it.
                self.display.refresh();
            }
            if watched {
                self.display.watch(now);
            } else if !self.recording {
                self.display.park();
                self.status.park();
            }
        }
        if news.input {
            self.display.wake(now);
        }
        if let Some(info) = news.ui_info.filter(|_| self.takes_edid) {
            self.debounce.request(now, info);
        }
        if let Some(info) = self.debounce.poll(now) {
            match self.display.set_edid(now, Edid::from(info)) {
                Ok(true) => {}
                Ok(false) => {
                    self.takes_edid = false;
                    self.tell(Some("the device takes no EDID: its size stays".into()));
                }
                Err(error) => self.tell(Some(error.to_string())),
            }
        }
        if let Some(plane) = self.display.plane() {
            self.debounce.shown(plane.size);
        }
    }

    /// Says what is wrong, once, until something else is or nothing.
    fn tell(&mut self, trouble: Option<String>) {
        if trouble != self.told {
            if let Some(trouble) = &trouble {
                warn!("{}: {trouble}", self.device.dev);
            }
            self.told = trouble;
        }
    }

    /// Waits for the next thing to do.
    fn wait(&mut self, now: Instant) -> Result<Woken, Failure> {
        let at = [self.display.poll_at(), self.debounce.poll_at()].into_iter().flatten().min();
        // From now on, not from the start of the turn: a look takes a while.
        let pause = at.map(|at| at.saturating_duration_since(Instant::now().max(now)));
        let pause = pause.map(timespec);
        let mut fds = vec![
            PollFd::new(&self.stop, PollFlags::IN),
            PollFd::from_borrowed_fd(self.back.as_fd(), PollFlags::IN),
        ];
        let ends = fds.len();
        fds.extend(self.end.iter().map(|end| PollFd::new(&end.fd, end.flags)));
        let wakes = fds.len();
        fds.extend(self.wake.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(failed("waiting", errno.into())),
        }
        let ready = |fd: Option<&PollFd<'_>>| fd.is_some_and(|fd| !fd.revents().is_empty());
        let exited = ready(fds.get(ends).filter(|_| ends < wakes));
        let woken = ready(fds.get(wakes));
        if let (true, Some(wake)) = (woken, &self.wake) {
            // Whatever it counts: one look finds all of it.
            let _ = rustix::io::read(wake, &mut [0; 8]);
            self.display.wake(Instant::now());
        }
        Ok(match (ready(fds.first()), exited) {
            (true, _) => Woken::Stop,
            (false, true) => Woken::Exit,
            (false, false) => Woken::Again,
        })
    }
}
