// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` while it runs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Viewer, wait_for};

/// A port of this machine that is free.
pub(crate) const ANY_PORT: [&str; 2] = ["--vnc", "127.0.0.1:0"];

/// A running command; killed when dropped.
#[derive(Debug)]
pub(crate) struct Serve {
    child: Child,
    stdout: BufReader<ChildStdout>,
    /// The first line that it printed: where viewers connect.
    pub(crate) address: String,
}

/// The command with `args`, not started yet; what it prints can be read.
pub(crate) fn serve(dev: &str, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-display"));
    command.args(["serve", dev]).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Serve {
    /// Serves `dev` and waits for the address.
    pub(crate) fn start(dev: &str, args: &[&str]) -> Self {
        let mut child = serve(dev, args).spawn().expect("the command runs");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut address = String::new();
        stdout.read_line(&mut address).expect("a line");
        let mut serve = Self { child, stdout, address: address.trim_end().to_owned() };
        if serve.address.is_empty() {
            let (status, stderr) = serve.ended();
            panic!("serve {dev} {args:?}: {status}: {stderr}");
        }
        serve
    }

    /// Serves `dev` at a port that is free.
    pub(crate) fn at_any_port(dev: &str, args: &[&str]) -> Self {
        Self::start(dev, &[&ANY_PORT, args].concat())
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    pub(crate) fn viewer(&self) -> Viewer {
        Viewer::connect(&self.address).expect("the command serves")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The id of its thread of this name; the first one has the name of the command.
    pub(crate) fn thread(&self, name: &str) -> u32 {
        let tasks = format!("/proc/{}/task", self.pid());
        let id = wait_for(name, Duration::from_secs(5), || {
            fs::read_dir(&tasks).expect("it runs").flatten().find(|task| {
                fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
            })
        });
        id.file_name().to_str().and_then(|id| id.parse().ok()).expect("a number")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("a process id");
        kill_process(pid, signal).expect("it runs");
    }

    /// Its status and what it said, once it has ended; it has ten seconds.
    pub(crate) fn ended(&mut self) -> (ExitStatus, String) {
        let child = &mut self.child;
        let ask = || child.try_wait().expect("a child of ours");
        let status = wait_for("the command's end", Duration::from_secs(10), ask);
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().expect("a pipe, once");
        pipe.read_to_string(&mut stderr).expect("UTF-8");
        (status, stderr)
    }

    /// Ends it as Ctrl+C does; it must have nothing to complain about.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::INT);
        let sent = Instant::now();
        let (status, stderr) = self.ended();
        assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
        assert!(sent.elapsed() < Duration::from_secs(5), "{:?}", sent.elapsed());
        let mut more = String::new();
        self.stdout.read_to_string(&mut more).expect("UTF-8");
        assert_eq!(more, "", "nothing after the address");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
