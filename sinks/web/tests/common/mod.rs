// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A mock's screen, served, and clients that are no browser.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    reason = "each test target uses its own part of it"
)]

#[path = "../../../door/tests/common/mod.rs"]
pub mod door;
pub mod guarded;
pub mod http;
pub mod show;
pub mod webdriver;

use std::time::{Duration, Instant};

/// Everything that is waited for comes sooner, also on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
