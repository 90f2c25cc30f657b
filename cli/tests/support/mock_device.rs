// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display mock-device` while it runs.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use vfio_display::vfio_user::{TIMEOUT, VfioUser};

use super::wait_for;

/// A mock device in a process of its own; killed when dropped.
#[derive(Debug)]
pub(crate) struct MockDevice {
    child: Child,
    socket: PathBuf,
    /// Where the socket is, if that is its own.
    dir: Option<TempDir>,
}

impl MockDevice {
    /// Starts it, and waits until it listens.
    pub(crate) fn start(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut device = Self::at(dir.path().join("socket"), args);
        device.dir = Some(dir);
        device
    }

    /// As [`start`](Self::start), with its socket at a path.
    pub(crate) fn at(socket: PathBuf, args: &[&str]) -> Self {
        Self { child: spawn(socket.clone(), args), socket, dir: None }
    }

    /// Its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name as a device.
    pub(crate) fn dev(&self) -> String {
        format!("vfio-user:{}", self.socket().display())
    }

    /// A client of ours.
    pub(crate) fn client(&self) -> VfioUser {
        VfioUser::connect(&self.socket(), TIMEOUT).expect("it listens")
    }

    /// Kills it, so that it can clean nothing up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    /// Starts it again at the same socket.
    pub(crate) fn restart(&mut self, args: &[&str]) {
        self.child = spawn(self.socket(), args);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    }

    /// Ends it as a service manager does.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        let ask = || self.child.try_wait().expect("a child of ours");
        wait_for("the device's end", Duration::from_secs(10), ask)
    }
}

fn spawn(socket: PathBuf, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-display"));
    command.args(["mock-device", "--socket"]).arg(&socket).args(args);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the command runs");
    let mut told = String::new();
    let stdout = child.stdout.take().expect("a pipe");
    BufReader::new(stdout).read_line(&mut told).expect("a line");
    assert_eq!(told, format!("vfio-user:{}\n", socket.display()));
    child
}

impl Drop for MockDevice {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
