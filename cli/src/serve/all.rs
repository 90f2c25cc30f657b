// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve --all`: every display of this host, as it comes and goes.
//!
//! Each display is what `serve DEV --vnc unix:DIR/NAME.vnc` would be, in a thread of its own. This
//! one finds displays and starts those threads: `watch` hears of what may be one, `vmms` and
//! `sockets` say what there is, `slots` keeps account, `runner` is a thread. It sleeps until there
//! is something to do.

mod dir;
mod names;
mod runner;
mod scans;
mod slots;
mod sockets;
mod vmms;
mod watch;

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tracing::{info, warn};
use vfio_display_vnc::Handle;
use vfio_display_web::WebServer;

use self::dir::SocketDir;
use self::runner::{Report, Reports, Runner};
use self::scans::Scans;
use self::slots::{Slots, Source};
use self::vmms::Vmms;
use self::watch::{Seen, Watch};
use super::metrics::{Meter, Metrics};
use super::sandbox::{Needs, Sandbox};
use super::servers::Told;
use super::{door, failed, timespec, web};
use crate::args::{Address, Device, Serve};
use crate::exit::{Failure, Status};
use crate::output::say;

/// At the end, how long displays may take for theirs: a server may be about to answer.
const LAST: Duration = Duration::from_secs(5);

/// Open files that are asked of the system: a display has about eight, a viewer one.
const FILES: u64 = 65536;

pub(super) fn run(args: &Serve, signals: UnixStream, json: bool) -> Result<(), Failure> {
    let dir = SocketDir::claim(args.all.dir.clone())?;
    raise_files();
    let watch = Watch::new(args.all.vfio_user_dir.clone());
    let door = door::read(args)?;
    let sandbox = if args.no_sandbox {
        None
    } else {
        Some(Sandbox::begin(Needs::of_host(dir.path(), door.is_some()))?)
    };
    let door = door.map(door::start).transpose()?;
    let metrics = Arc::<Metrics>::default();
    let rendered = Arc::clone(&metrics);
    let guard = door.clone().map(|door| door as _);
    let (web, link) = web::start(args, guard, Arc::new(move || rendered.render()), json)?;
    let now = Instant::now();
    let mut all = All {
        args,
        json,
        watch: watch.map_err(|error| failed("inotify", error))?,
        scans: Scans::new(now, args.all.rescan),
        vmms: Vmms::default(),
        slots: Slots::new(args.all.most as usize),
        reports: Reports::new().map_err(|error| failed("an eventfd", error))?,
        metrics,
        web,
        dir,
    };
    if let Some(sandbox) = sandbox {
        sandbox.lock()?;
    }
    all.scan_vmms(now);
    all.list_sockets(now, &[]);
    let dir = all.dir.path().display().to_string();
    let page = Told::page(link, door.as_deref());
    all.say(&format!("{dir}\n{page}"), || {
        let mut event = page.json();
        event["event"] = json!("serving");
        event["dir"] = json!(dir);
        event
    })?;
    let ended = all.run(&signals);
    all.stop();
    ended
}

/// All displays, and what tells of them.
struct All<'a> {
    args: &'a Serve,
    json: bool,
    dir: SocketDir,
    watch: Watch,
    scans: Scans,
    vmms: Vmms,
    slots: Slots,
    reports: Reports,
    metrics: Arc<Metrics>,
    /// The page of all of them.
    web: WebServer,
}

impl All<'_> {
    /// Until a signal asks for the end.
    fn run(&mut self, signals: &UnixStream) -> Result<(), Failure> {
        loop {
            let now = Instant::now();
            self.take_reports(now)?;
            let Seen { vmms, sockets } = self.watch.read();
            if vmms {
                self.scans.event(now);
            }
            if let Some(new) = sockets {
                self.list_sockets(now, &new);
            }
            if self.scans.is_due(now) {
                self.scan_vmms(now);
            }
            self.start_due(now);
            if self.wait(signals)? {
                return Ok(());
            }
        }
    }

    /// Waits for the next thing to do; whether that is to end.
    fn wait(&self, signals: &UnixStream) -> Result<bool, Failure> {
        let at = [self.scans.next(), self.slots.next()].into_iter().flatten().min();
        let pause = at.map(|at| timespec(at.saturating_duration_since(Instant::now())));
        let mut fds = [
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(&self.watch, PollFlags::IN),
            PollFd::new(&self.reports, PollFlags::IN),
        ];
        match poll(&mut fds, pause.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().is_empty()),
            Err(errno) => Err(failed("waiting", errno.into())),
        }
    }

    fn scan_vmms(&mut self, now: Instant) {
        match self.vmms.scan() {
            Ok(found) => self.slots.listed(now, Source::is_vmm, found, &[]),
            Err(error) => warn!("VMMs: {error}"),
        }
        self.watch.complete();
        self.scans.scanned(now, Instant::now(), vmms::devices_are_there());
    }

    /// Looks which sockets there are, of which `new` ones just came.
    fn list_sockets(&mut self, now: Instant, new: &[Source]) {
        let Some(dir) = &self.args.all.vfio_user_dir else { return };
        match sockets::list(dir, self.slots.room()) {
            Ok(found) => self.slots.listed(now, |source| !source.is_vmm(), found, new),
            Err(error) => warn!("{}: {error}", dir.display()),
        }
    }

    fn start_due(&mut self, now: Instant) {
        while let Some((source, name, dev)) = self.slots.take_due(now) {
            let path = self.dir.path().join(format!("{name}.vnc"));
            let vnc = Some(Address::Unix(path));
            // There is one page for all.
            let args = Serve { vnc, web: None, ..self.args.clone() };
            let device = Device { dev, force: args.device.force };
            let meter = Arc::new(Meter::default());
            match Runner::start(args, device, &source, meter, self.reports.reporter()) {
                Ok(runner) => self.slots.started(&source, runner),
                Err(error) => {
                    let failure = failed("a thread", error);
                    self.not_opened(&name, &failure);
                    self.slots.failed(&source, now, failure);
                }
            }
        }
    }

    fn take_reports(&mut self, now: Instant) -> Result<(), Failure> {
        for (source, report) in self.reports.take() {
            match report {
                Report::Appeared(told, viewers) => {
                    if let Some((name, meter)) = self.slots.appeared(&source) {
                        self.appeared(&name, &told, meter, viewers)?;
                    }
                }
                Report::Ended => {
                    let Some((runner, name)) = self.slots.ended(&source) else { continue };
                    let (was_there, since) = (runner.appeared, runner.since);
                    let failure = runner.join().err();
                    if was_there {
                        let why = failure.or_else(|| self.slots.why_told(&source));
                        self.gone(&name, why.as_ref())?;
                        self.slots.went(&source, now, since);
                    } else if let Some(failure) = failure {
                        self.not_opened(&name, &failure);
                        self.slots.failed(&source, now, failure);
                    } else {
                        self.slots.went(&source, now, since);
                    }
                }
            }
        }
        Ok(())
    }

    /// A display is served from now on. Whatever follows the displays is told here.
    fn appeared(
        &mut self,
        name: &str,
        told: &Told,
        meter: Arc<Meter>,
        viewers: Option<Handle>,
    ) -> Result<(), Failure> {
        self.metrics.appeared(name, meter);
        if let Some(viewers) = viewers {
            self.web.publish(name, name, viewers);
        }
        self.say(&format!("appeared {name} {told}"), || {
            let mut event = told.json();
            event["event"] = json!("appeared");
            event["name"] = json!(name);
            event
        })
    }

    /// It is no more; without a reason, because this command ends.
    fn gone(&mut self, name: &str, why: Option<&Failure>) -> Result<(), Failure> {
        self.metrics.gone(name);
        self.web.withdraw(name);
        let why = why.map(|failure| failure.message.as_str());
        let text = why.map_or(format!("gone {name}"), |why| format!("gone {name}: {why}"));
        self.say(&text, || json!({ "event": "gone", "name": name, "why": why }))
    }

    fn not_opened(&self, name: &str, failure: &Failure) {
        // What a VMM or a server that has ended leaves is looked at once more, or a few times.
        if failure.status != Status::NotFound {
            self.metrics.not_opened(failure.status.name());
        }
        info!("{name}: {}", failure.message);
    }

    fn say(&self, text: &str, json: impl FnOnce() -> serde_json::Value) -> Result<(), Failure> {
        if self.json { say(&json().to_string()) } else { say(text) }
    }

    /// Ends every display, and waits for that.
    fn stop(&mut self) {
        let end = Instant::now() + LAST;
        self.slots.stop();
        while self.slots.running() > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let names = self.slots.names_of_running().join(", ");
                return warn!("not ended after {LAST:?}: {names}");
            }
            let mut fds = [PollFd::new(&self.reports, PollFlags::IN)];
            // Whatever became of the wait, its time is bounded.
            let _ = poll(&mut fds, Some(&timespec(left)));
            if let Err(failure) = self.take_reports(Instant::now()) {
                // Who reads is gone; the displays are ended all the same.
                info!("{}", failure.message);
            }
        }
    }
}

/// Takes as many files as the system gives, up to [`FILES`]: the usual 1024 are for programs with
/// `select(2)`.
fn raise_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Some(limit.maximum.unwrap_or(FILES).min(FILES));
    if limit.current < wanted {
        let wanted = Rlimit { current: wanted, ..limit };
        if let Err(errno) = setrlimit(Resource::Nofile, wanted) {
            info!("open files: {errno}");
        }
    }
}
