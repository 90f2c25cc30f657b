// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A bus that nobody else is on.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A dbus-daemon; killed when dropped.
pub struct Bus {
    daemon: Child,
    pub address: String,
    pub directory: TempDir,
}

impl Bus {
    pub fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("bus");
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--address=unix:path={}", at.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is installed");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(!address.is_empty(), "dbus-daemon says that it is there");
        // Without its guid, which an option of QEMU's can't have in it.
        let address = format!("unix:path={}", at.display());
        Self { daemon, address, directory }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
