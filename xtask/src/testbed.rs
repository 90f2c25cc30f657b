// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The testbed by hand: a shell, or one command, in the machine that the tests run in.

use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::kernels::Series;
use crate::vm::{self, Machine};

#[derive(Debug, Subcommand)]
pub(crate) enum Action {
    /// A shell in L1; leaving it powers the machine off
    Shell {
        /// The kernel that runs
        #[arg(long, value_enum, default_value = "6.12")]
        kernel: Series,
    },
    /// Run one command in L1 and take over its exit status
    Run {
        /// The kernel that runs
        #[arg(long, value_enum, default_value = "6.12")]
        kernel: Series,
        /// Give up after so many seconds
        #[arg(long, value_name = "SECONDS", env = "TESTBED_TIMEOUT")]
        timeout: Option<u64>,
        /// The command; it sees the host's files, and what it writes is gone afterwards
        #[arg(required = true, last = true)]
        command: Vec<String>,
    },
    /// Download and build what a boot needs, and stop there
    Prepare,
}

pub(crate) fn run(action: &Action) -> Result<ExitCode> {
    let status = match action {
        Action::Shell { kernel } => Machine::prepare(*kernel)?.shell()?.status()?,
        Action::Run { kernel, timeout, command } => {
            let words: Vec<String> = command.iter().map(|word| vm::quote(word)).collect();
            let directory = vm::quote(&std::env::current_dir()?.display().to_string());
            let script = format!("cd {directory} && exec {}", words.join(" "));
            Machine::prepare(*kernel)?
                .run(&script, *timeout, |line| println!("{line}"))?
                .status()?
        }
        Action::Prepare => {
            for series in Series::ALL {
                Machine::prepare(series)?;
            }
            0
        }
    };
    Ok(u8::try_from(status).map_or(ExitCode::FAILURE, ExitCode::from))
}
