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
mod passwd;
mod probe;
mod serve;
mod shot;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::args::{Cli, Command};
use crate::serve::AUDIT;

fn main() -> ExitCode {
    let cli = Cli::parse();
    diagnostics(if cli.verbose { Level::INFO } else { Level::WARN });
    let done = match &cli.command {
        Command::List(list) => list::run(list, cli.json),
        Command::Probe(probe) => probe::run(probe, cli.json),
        Command::Shot(shot) => shot::run(shot, cli.json),
        Command::MockDevice(mock) => mock_device::run(mock, cli.json),
        Command::Serve(serve) => serve::run(serve, cli.json),
        Command::Passwd(passwd) => passwd::run(passwd, cli.json),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(cli.json),
    }
}

/// Messages for a person, and the record of who came, which has the time and is always kept.
fn diagnostics(level: Level) {
    let messages = fmt::layer()
        .with_writer(output::messages)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time()
        .with_filter(Targets::new().with_default(level).with_target(AUDIT, LevelFilter::OFF));
    let audit = fmt::layer()
        .with_writer(output::messages)
        .with_ansi(false)
        .with_filter(Targets::new().with_target(AUDIT, Level::INFO));
    tracing_subscriber::registry().with(messages).with(audit).init();
}
