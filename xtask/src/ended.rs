// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a boot of L1 ended, and what its kernel said: a bug that it went on after counts too.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Result, bail};

/// How a boot ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Of the script; `None` if the machine ended before it did.
    pub(crate) status: Option<i32>,
    /// Whether it gave no sign of life at the end.
    pub(crate) stood_still: bool,
    /// Why there is none.
    pub(crate) cause: String,
    /// The kernel's messages.
    pub(crate) console: PathBuf,
    /// Lines that tests wrote to `TESTBED_SKIPS`.
    pub(crate) skips: Vec<String>,
}

impl Ended {
    /// The status, or the end of the console on stderr and an error.
    pub(crate) fn status(&self) -> Result<i32> {
        let Some(status) = self.status else {
            self.show_console();
            bail!("{} ({})", self.cause, self.console.display());
        };
        Ok(status)
    }

    /// What the kernel found wrong with itself and went on after, by the first line of each: a
    /// page that was freed twice ends no run.
    pub(crate) fn kernel_bugs(&self) -> Vec<String> {
        let text = fs::read(&self.console).unwrap_or_default();
        kernel_bugs(&String::from_utf8_lossy(&text))
    }

    pub(crate) fn show_console(&self) {
        let text = fs::read(&self.console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(60)..];
        let mut stderr = std::io::stderr().lock();
        // Nothing to do about a stderr that is closed.
        let _ = writeln!(stderr, "--- end of {}", self.console.display());
        for line in tail {
            let _ = writeln!(stderr, "{line}");
        }
        let _ = writeln!(stderr, "---");
    }
}

fn kernel_bugs(console: &str) -> Vec<String> {
    let told =
        |line: &&str| ["] BUG: ", "] WARNING: ", "] Oops: "].iter().any(|w| line.contains(w));
    console.lines().filter(told).map(|line| line.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_s_complaint_is_a_bug_and_a_stall_is_none() {
        let bug = "[   91.314553] BUG: Bad page state in process sh  pfn:14537";
        let console =
            format!("{bug}\r\n[   91.4] page:00000000 refcount:-1\n[  9.1] rcu: INFO: stall\n");
        assert_eq!(kernel_bugs(&console), [bug]);
    }
}
