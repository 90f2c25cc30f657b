// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Development commands: `cargo xtask --help`.
//!
//! They are a crate and not scripts so that the one thing that is hard here, real devices in a
//! virtual machine, is one command on a machine that has only Rust.

mod bench;
mod clock;
mod command;
mod device;
mod drivers;
mod ended;
mod fuzz;
mod goals;
mod initramfs;
mod kernels;
mod packages;
mod qemu;
mod sanitize;
mod suite;
mod tally;
mod test;
mod testbed;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Development commands of vfio-display")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run every check and every test, those on real kernel drivers included
    Test(test::Options),
    /// Use the virtual machine that has the real /dev/vfio
    Testbed {
        #[command(subcommand)]
        action: testbed::Action,
    },
    /// Run the fuzz targets for a while each
    Fuzz(fuzz::Options),
    /// Run the engine's tests in Miri and with sanitizers
    Sanitize(sanitize::Options),
    /// Measure polls beside what they could be instead, and write docs/performance.md
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Testbed { action } => testbed::run(&action),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Sanitize(options) => sanitize::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}
