// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What tests in the testbed (`cargo xtask test`) start from: real mdev devices, and a guest that
//! draws, in a VMM that is none of ours.
#![allow(dead_code, unused_imports, reason = "each test target uses its own part of it")]

mod all;
pub(crate) mod filtered;
mod guest;
mod mdev;
mod mock_device;
mod qemu;
mod rfb;
mod serve;
mod shot;
pub(crate) mod vfbdemo;

use std::env;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

pub(crate) use all::{All, serve_all};
pub(crate) use guest::{Framebuffer, Guest, Vmm, vmm_without_guest};
pub(crate) use mdev::{Mdev, load_mbochs};
pub(crate) use mock_device::MockDevice;
pub(crate) use qemu::Qemu;
pub(crate) use rfb::Viewer;
pub(crate) use serve::{ANY_PORT, Serve, serve};
pub(crate) use shot::{assert_same, read_ppm, shot, stderr, vfio_display};

/// A variable that xtask sets in L1.
pub(crate) fn testbed(name: &str) -> String {
    let name = format!("TESTBED_{name}");
    env::var(&name).unwrap_or_else(|_| panic!("{name} is not set: run this by cargo xtask test"))
}

/// "6.1" or "6.12".
pub(crate) fn kernel() -> String {
    testbed("KERNEL")
}

/// A directory of the host's that this boot can write to.
pub(crate) fn share() -> PathBuf {
    testbed("SHARE").into()
}

/// Counts the running test as skipped, with the reason; the test then has to return.
pub(crate) fn skip(reason: &str) {
    let test = thread::current().name().unwrap_or("?").to_owned();
    let mut skips = OpenOptions::new()
        .create(true)
        .append(true)
        .open(testbed("SKIPS"))
        .expect("TESTBED_SKIPS can be written");
    writeln!(skips, "{test}: {reason}").expect("TESTBED_SKIPS can be written");
}

/// Asks until there is an answer, or panics with what was waited for.
pub(crate) fn wait_for<T>(what: &str, timeout: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < timeout, "{what}: not within {timeout:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Tells threads to end, also when the test fails.
pub(crate) struct StopOnDrop<'a>(pub(crate) &'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
