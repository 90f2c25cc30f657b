// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `cargo xtask sanitize`: the engine's tests in Miri, and with the address and the thread sanitizer.
//!
//! Miri is a component of a nightly toolchain, and the thread sanitizer needs the standard library's
//! source to compile it anew. What is not there is said, and is no failure.

use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};

use crate::command::{self, headline, program};
use crate::fuzz::Toolchain;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// These only; all without a name
    #[arg(value_enum)]
    tool: Vec<Tool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Tool {
    /// The scalar kernel in Miri
    Miri,
    /// Every kernel, and a guest that draws meanwhile, with the address sanitizer
    Address,
    /// The same with the thread sanitizer
    Thread,
}

impl Tool {
    /// What it needs of a nightly toolchain, by the names of rustup's components.
    const fn component(self) -> Option<&'static str> {
        match self {
            Self::Miri => Some("miri"),
            Self::Address => None,
            Self::Thread => Some("rust-src"),
        }
    }

    fn command(self, mut cargo: Command) -> Command {
        match self {
            Self::Miri => {
                // Files in memory and random keys.
                cargo.env("MIRIFLAGS", "-Zmiri-disable-isolation");
                cargo.args(["miri", "test", "--target-dir", "target/miri", "--lib", "blit::"]);
            }
            Self::Address => {
                cargo.env("RUSTFLAGS", "-Zsanitizer=address");
                cargo.args(["test", "--target-dir", "target/address", "--target", &target()]);
                cargo.args(["--features", "testing", "--lib", "--test", "writer"]);
                cargo.args(["--", "blit::", "sys::", "what_is_delivered"]);
            }
            Self::Thread => {
                cargo.env("RUSTFLAGS", "-Zsanitizer=thread");
                cargo.args(["test", "-Zbuild-std", "--target-dir", "target/thread"]);
                cargo.args(["--target", &target(), "--features", "testing", "--lib"]);
                cargo.args(["--test", "writer", "--", "blit::", "what_is_delivered"]);
            }
        }
        cargo
    }
}

/// Linux on this processor: a target that is named keeps build scripts out of it.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let toolchain = Toolchain::choose();
    let components = command::stdout(program("rustup").args([
        "component",
        "list",
        "--installed",
        "--toolchain",
        "nightly",
    ]))
    .unwrap_or_default();
    let mut lines = Vec::new();
    let mut bad = false;
    for tool in Tool::value_variants() {
        if !options.tool.is_empty() && !options.tool.contains(tool) {
            continue;
        }
        let name = format!("{tool:?}").to_lowercase();
        headline(&name);
        if let Some(component) = tool.component()
            && !components.lines().any(|line| line.starts_with(component))
        {
            lines.push(format!(
                "{name:<8} NOT RUN: rustup component add --toolchain nightly {component}"
            ));
            continue;
        }
        let (start, mut command) = (Instant::now(), tool.command(toolchain.cargo()));
        let status = command.status();
        let clean = status.as_ref().is_ok_and(|status| status.success());
        bad |= !clean;
        let verdict = if clean { "no finding" } else { "FAILED" };
        lines.push(format!("{name:<8} {:>7.1} s  {verdict}", start.elapsed().as_secs_f64()));
    }
    headline("summary");
    ensure!(!lines.is_empty(), "nothing was asked for");
    lines.iter().for_each(|line| println!("{line}"));
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
