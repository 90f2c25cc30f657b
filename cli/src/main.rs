// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command `vfio-display`.
//!
//! `args` is the command line, `dev` turns a DEV into a device, each subcommand has a module of
//! its own, and `exit` holds what a script sees of a failure.

mod args;
mod dev;
mod exit;
mod list;
mod mock_device;
mod output;
mod probe;
mod serve;
mod shot;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing::Level;

use crate::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if cli.verbose { Level::INFO } else { Level::WARN };
    tracing_subscriber::fmt()
        .with_writer(output::messages)
        .with_ansi(io::stderr().is_terminal())
        .with_max_level(level)
        .with_target(false)
        .without_time()
        .init();
    let done = match &cli.command {
        Command::List(list) => list::run(list, cli.json),
        Command::Probe(probe) => probe::run(probe, cli.json),
        Command::Shot(shot) => shot::run(shot, cli.json),
        Command::MockDevice(mock) => mock_device::run(mock, cli.json),
        Command::Serve(serve) => serve::run(serve, cli.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}
