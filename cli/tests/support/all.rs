// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve --all` while it runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{Viewer, wait_for};

/// Everything that is waited for comes sooner, also where other programs have the cores.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running command with directories of its own; killed when dropped.
#[derive(Debug)]
pub(crate) struct All {
    child: Child,
    events: Receiver<Value>,
    /// The displays that are served, as the events tell, and where.
    pub(crate) displays: BTreeMap<String, String>,
    /// Events so far.
    pub(crate) told: Vec<Value>,
    dirs: TempDir,
}

/// What a process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holds {
    pub(crate) fds: usize,
    pub(crate) threads: usize,
    /// Files where the sockets of displays are.
    pub(crate) sockets: usize,
}

/// The command with `args`, not started yet.
pub(crate) fn serve_all(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-display"));
    command.args(["serve", "--all"]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl All {
    /// Starts it with a directory of vfio-user sockets, and waits until it serves.
    pub(crate) fn start(args: &[&str]) -> Self {
        let dirs = tempfile::tempdir().expect("a directory");
        fs::create_dir(dirs.path().join("devices")).expect("a directory");
        Self::start_in(dirs, serve_all(&["--json"]), args)
    }

    /// The same by another program, which runs what it is given; the directories are this user's.
    pub(crate) fn start_by(mut program: Command, user: u32, args: &[&str]) -> Self {
        let dirs = tempfile::tempdir().expect("a directory");
        fs::create_dir(dirs.path().join("devices")).expect("a directory");
        for dir in [dirs.path(), &dirs.path().join("devices")] {
            chown(dir, Some(user), Some(user)).expect("root may");
        }
        let command = serve_all(&["--json"]);
        program.arg(command.get_program()).args(command.get_args());
        program.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self::start_in(dirs, program, args)
    }

    fn start_in(dirs: TempDir, mut command: Command, args: &[&str]) -> Self {
        command.arg("--dir").arg(dirs.path().join("displays"));
        command.arg("--vfio-user-dir").arg(dirs.path().join("devices")).args(args);
        let mut child = command.spawn().expect("the command runs");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("JSON");
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut all = Self { child, events, displays: BTreeMap::new(), told: Vec::new(), dirs };
        all.until("the start", |all| !all.told.is_empty());
        assert_eq!(all.told[0]["event"], "serving");
        assert_eq!(all.told[0]["dir"].as_str(), all.dir().to_str());
        all
    }

    /// Kills it, so that it can clean nothing up, and starts it again in the same directories.
    pub(crate) fn start_again(mut self, args: &[&str]) -> Self {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
        let empty = tempfile::tempdir().expect("a directory");
        let dirs = std::mem::replace(&mut self.dirs, empty);
        Self::start_in(dirs, serve_all(&["--json"]), args)
    }

    /// Where the sockets of displays are.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dirs.path().join("displays")
    }

    /// The socket of a device of this name.
    pub(crate) fn device(&self, name: &str) -> PathBuf {
        self.dirs.path().join("devices").join(format!("{name}.sock"))
    }

    /// Waits until events have made it so, or panics with what was waited for.
    pub(crate) fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(self) {
            match self.events.recv_timeout(Duration::from_millis(50)) {
                Ok(event) => self.note(event),
                Err(RecvTimeoutError::Timeout) if Instant::now() < end => {}
                Err(error) => {
                    let (count, last) = (self.displays.len(), self.told.last());
                    panic!("{what}: {error} in {PATIENCE:?}: {count} displays, last {last:?}")
                }
            }
        }
    }

    /// What was last told of the end of this display.
    pub(crate) fn why_gone(&self, name: &str) -> String {
        let of_it = |event: &&Value| event["event"] == "gone" && event["name"] == name;
        let event = self.told.iter().rev().find(of_it).expect("its end");
        event["why"].as_str().unwrap_or_else(|| panic!("no reason: {event}")).to_owned()
    }

    /// Takes what has been told by now.
    pub(crate) fn take_events(&mut self) {
        while let Ok(event) = self.events.try_recv() {
            self.note(event);
        }
    }

    fn note(&mut self, event: Value) {
        let name = event["name"].as_str().map(str::to_owned);
        match (event["event"].as_str(), name) {
            (Some("appeared"), Some(name)) => {
                let at = event["vnc"].as_str().expect("an address").to_owned();
                let before = self.displays.insert(name, at);
                assert_eq!(before, None, "it was there before: {event}");
            }
            (Some("gone"), Some(name)) => {
                assert!(self.displays.remove(&name).is_some(), "it was not there: {event}");
            }
            // The next link to the page.
            (None, None) if event["web"].is_string() => {}
            _ => assert!(self.told.is_empty(), "{event}"),
        }
        self.told.push(event);
    }

    pub(crate) fn viewer(&self, name: &str) -> Viewer {
        let address = self.displays.get(name).unwrap_or_else(|| panic!("{name} is served"));
        Viewer::connect(address).unwrap_or_else(|error| panic!("{name} at {address}: {error}"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has while nothing happens: a look for VMMs has a directory open.
    pub(crate) fn at_rest(&self) -> Holds {
        let mut before = self.holds();
        wait_for("rest", PATIENCE, || {
            thread::sleep(Duration::from_millis(300));
            let now = self.holds();
            (std::mem::replace(&mut before, now) == now).then_some(now)
        })
    }

    fn holds(&self) -> Holds {
        let count = |path: &Path| fs::read_dir(path).expect("it runs").count();
        let proc = PathBuf::from(format!("/proc/{}", self.pid()));
        Holds {
            fds: count(&proc.join("fd")),
            threads: count(&proc.join("task")),
            sockets: count(&self.dir()),
        }
    }

    /// Waits until it has just this.
    pub(crate) fn until_holds(&self, expected: Holds) {
        let end = Instant::now() + PATIENCE;
        while self.holds() != expected {
            assert!(Instant::now() < end, "{:?} and not {expected:?}", self.holds());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it as a service manager does; answers with its status and what it said.
    pub(crate) fn stop(&mut self) -> (ExitStatus, String) {
        self.stop_processes(&[self.pid()])
    }

    /// The same where another program runs it, which takes no such word.
    pub(crate) fn stop_children(&mut self) -> (ExitStatus, String) {
        let pid = self.pid();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.expect("it runs");
        let children = children.split_whitespace().map(|pid| pid.parse().expect("a number"));
        self.stop_processes(&children.collect::<Vec<_>>())
    }

    fn stop_processes(&mut self, pids: &[u32]) -> (ExitStatus, String) {
        for pid in pids {
            let pid = Pid::from_raw(pid.cast_signed()).expect("a process id");
            kill_process(pid, Signal::TERM).expect("it runs");
        }
        let child = &mut self.child;
        let ask = || child.try_wait().expect("a child of ours");
        let status = wait_for("the command's end", Duration::from_secs(20), ask);
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("a pipe, once");
        pipe.read_to_string(&mut stderr).expect("UTF-8");
        (status, stderr)
    }
}

impl Drop for All {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
