// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve`: a display for people, as it moves.
//!
//! One loop waits for whatever comes first: the time of the next look, something that a viewer
//! did, the end of the VMM, a signal. While nobody looks there is nothing to wait for but those.

mod back;
mod door;
mod guest;
mod record;
mod servers;
mod sinks;
mod status;

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use tracing::{info, warn};
use vfio_display::device::{GfxDevice, PlaneKind};
use vfio_display::display;
use vfio_display::edid::{Debounce, Edid};
use vfio_display::{Detection, Display, Look, Poll};

use self::back::Back;
pub(crate) use self::door::AUDIT;
use self::guest::Guest;
use self::record::Recorder;
use self::sinks::Sinks;
use self::status::Status as StatusLine;
use crate::args::Serve;
use crate::exit::{Failure, Status};
use crate::output::say;

/// How long a device may be unable to say what it shows before a person is told. Drivers are for
/// a look or two after each change of mode.
const HELD: Duration = Duration::from_secs(1);

/// Between two tries to open a device that went.
const REATTACH: Duration = Duration::from_millis(250);

pub(crate) fn run(args: &Serve, json: bool) -> Result<(), Failure> {
    let signals = signals().map_err(|error| failed("signals can't be caught", error))?;
    let recorder = args.record.as_deref().map(|path| Recorder::new(path, args.fps)).transpose()?;
    let device = args.device.open()?;
    let guest = device.mock.map(Guest::start).transpose().map_err(|e| failed("the mock", e))?;
    let recording = recorder.is_some();
    let display = display(device.gfx, args, recording)?;
    let wake = wake(&display)?;

    let dev = args.device.dev.to_string();
    let back = Back::new(guest, &dev).map_err(|error| failed("an eventfd", error))?;
    let back = Arc::new(back);
    let (servers, told) = servers::start(args, &dev, &back)?;
    let told = if json { told.json(&dev).to_string() } else { told.to_string() };
    if args.record.as_deref().is_some_and(|path| path.as_os_str() == "-") {
        // Standard output is the recording's.
        eprintln!("{told}");
    } else {
        say(&told)?;
    }

    let mut serving = Serving {
        display,
        sinks: Sinks::new(servers, recorder),
        back,
        exited: device.exited,
        wake,
        signals,
        debounce: Debounce::default(),
        status: StatusLine::new(),
        held: None,
        told: None,
        takes_edid: args.resize,
        recording,
    };
    let mut ended = serving.run();
    while let Err(gone) = &ended
        && gone.status == Status::Gone
        && args.reattach
    {
        serving.tell(Some(format!("{}; waiting for it to come back", gone.message)));
        ended = match serving.reattach(args) {
            Ok(true) => serving.run(),
            Ok(false) => Ok(()),
            Err(failure) => Err(failure),
        };
    }
    serving.status.clear();
    let gone = ended.as_ref().is_err_and(|failure| failure.status == Status::Gone);
    if !gone && let Err(error) = serving.display.settle() {
        warn!("{dev}: {error}");
    }
    ended
}

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

/// All that a loop turns around.
struct Serving {
    display: Display<Box<dyn GfxDevice>>,
    sinks: Sinks,
    back: Arc<Back>,
    exited: Option<OwnedFd>,
    /// Readable when there may be a new frame.
    wake: Option<OwnedFd>,
    signals: UnixStream,
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
    /// A signal that asks for the end.
    Signal,
    /// The end of the process that the device is borrowed from.
    Exit,
}

impl Serving {
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
                    if now - *self.held.get_or_insert(now) >= HELD {
                        self.tell(Some(error.to_string()));
                    }
                }
                Ok(Poll::NotDue) => {}
                Ok(poll) => {
                    self.held = None;
                    self.tell(None);
                    self.status.looked(now, &poll, &self.sinks);
                }
                Err(error) => self.tell(Some(error.to_string())),
            }
            self.sinks.tick(now)?;
            let (plane, kind) = (self.display.plane(), self.display.kind());
            self.status.show(now, plane, kind, self.back.viewers());
            match self.wait(now)? {
                Woken::Again => {}
                Woken::Signal => return Ok(()),
                Woken::Exit => return Err(self.gone()),
            }
        }
    }

    /// Opens the device again once that works; not where a signal asks for the end before.
    fn reattach(&mut self, args: &Serve) -> Result<bool, Failure> {
        let device = loop {
            let pause = timespec(REATTACH);
            match poll(&mut [PollFd::new(&self.signals, PollFlags::IN)], Some(&pause)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(false),
                Err(errno) => return Err(failed("waiting", errno.into())),
            }
            match args.device.open() {
                Ok(device) => break device,
                Err(failure) => match failure.status {
                    Status::NotFound | Status::Busy | Status::Gone => {}
                    _ => return Err(failure),
                },
            }
        };
        self.display = display(device.gfx, args, self.recording)?;
        self.wake = wake(&self.display)?;
        self.exited = device.exited;
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
                warn!("{trouble}");
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
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::from_borrowed_fd(self.back.as_fd(), PollFlags::IN),
        ];
        let ends = fds.len();
        fds.extend(self.exited.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
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
            (true, _) => Woken::Signal,
            (false, true) => Woken::Exit,
            (false, false) => Woken::Again,
        })
    }
}

/// A stream that can be read once the command is told to end.
pub(crate) fn signals() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    Ok(reader)
}

fn timespec(duration: Duration) -> Timespec {
    // Two hundred years will do.
    duration.try_into().unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

pub(crate) fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(Status::Failed, format!("{what}: {error}"))
}
