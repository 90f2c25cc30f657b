// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The thread of one display, and what it reports.
//!
//! A thread each: a server that takes its time over each answer, or a driver, holds up nobody else,
//! and screens that move use all cores. One that waits costs some pages of memory and no time.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use vfio_display_vnc::Handle;

use super::slots::Source;
use crate::args::{Device, Serve};
use crate::exit::{Failure, Status};
use crate::serve::metrics::Meter;
use crate::serve::servers::Told;
use crate::serve::station::{Parts, Station};
use crate::serve::status::Status as StatusLine;

/// A display's thread.
#[derive(Debug)]
pub(super) struct Runner {
    /// Readable once the thread is to end.
    stop: OwnedFd,
    thread: JoinHandle<Result<(), Failure>>,
    pub(super) meter: Arc<Meter>,
    pub(super) since: Instant,
    /// Whether the display came to be served.
    pub(super) appeared: bool,
}

impl Runner {
    /// Starts it on a device that is not open yet.
    pub(super) fn start(
        args: Serve,
        device: Device,
        source: &Source,
        meter: Arc<Meter>,
        reporter: Reporter,
    ) -> io::Result<Self> {
        let stop = new_eventfd()?;
        let told_to = stop.try_clone()?;
        let metered = Arc::clone(&meter);
        let mut ended = Ended { source: source.clone(), reporter };
        let thread = thread::Builder::new().name("display".into()).spawn(move || {
            // Dropped last: who hears that it ended finds nothing of it.
            let ended = &mut ended;
            let status = StatusLine::none();
            let open = device.open()?;
            let (station, told) = Station::start(Parts {
                args: &args,
                device,
                open,
                output: None,
                door: None,
                stop: told_to,
                meter: metered,
                status,
                json: false,
            })?;
            let viewers = station.viewers();
            ended.reporter.report(&ended.source, Report::Appeared(told, viewers));
            station.serve()
        })?;
        Ok(Self { stop, thread, meter, since: Instant::now(), appeared: false })
    }

    /// Asks it to end; it reports when it has.
    pub(super) fn stop(&self) {
        signal(&self.stop);
    }

    /// How it went, once it has reported its end.
    pub(super) fn join(self) -> Result<(), Failure> {
        let panicked = |_| Err(Failure::new(Status::Failed, "its thread panicked"));
        self.thread.join().unwrap_or_else(panicked)
    }
}

/// What a display's thread has to say.
#[derive(Debug)]
pub(super) enum Report {
    /// It serves.
    Appeared(Told, Option<Handle>),
    /// It is about to end, and has let go of everything.
    Ended,
}

/// Reports of all threads.
#[derive(Debug)]
pub(super) struct Reports {
    received: Receiver<(Source, Report)>,
    reporter: Reporter,
}

#[derive(Clone, Debug)]
pub(super) struct Reporter {
    sender: Sender<(Source, Report)>,
    wake: Arc<OwnedFd>,
}

impl Reports {
    pub(super) fn new() -> io::Result<Self> {
        let (sender, received) = channel();
        Ok(Self { received, reporter: Reporter { sender, wake: Arc::new(new_eventfd()?) } })
    }

    pub(super) fn reporter(&self) -> Reporter {
        self.reporter.clone()
    }

    /// What has come; a thread makes two at most.
    pub(super) fn take(&self) -> Vec<(Source, Report)> {
        // Nothing to read is no report.
        let _ = rustix::io::read(&*self.reporter.wake, &mut [0; 8]);
        self.received.try_iter().collect()
    }
}

impl AsFd for Reports {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reporter.wake.as_fd()
    }
}

impl Reporter {
    fn report(&self, source: &Source, report: Report) {
        // Nobody to hear it is the end of the process.
        let _ = self.sender.send((source.clone(), report));
        signal(&self.wake);
    }
}

/// Reports the end of a thread however it ends.
struct Ended {
    source: Source,
    reporter: Reporter,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.reporter.report(&self.source, Report::Ended);
    }
}

fn new_eventfd() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

fn signal(eventfd: &OwnedFd) {
    // It fails only when it has been written 2^64 times, and then it is readable all the same.
    let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
}
