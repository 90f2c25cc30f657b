// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve`: displays for people, as they move.
//!
//! `station` is one display with its servers and the loop around it. One of them is all there is to
//! `serve DEV`; `serve --all` is `all`, which starts and ends one for each display that it finds.

mod all;
mod back;
mod door;
mod guest;
mod metrics;
mod record;
mod sandbox;
mod servers;
mod sinks;
mod station;
mod status;
mod web;

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::Timespec;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

pub(crate) use self::door::AUDIT;
use self::record::Output;
pub(crate) use self::sandbox::User;
use self::sandbox::{Needs, Sandbox};
use self::station::{Parts, Station};
use self::status::Status as StatusLine;
use crate::args::{Device, Serve};
use crate::exit::{Failure, Status};
use crate::output::say;

pub(crate) fn run(args: &Serve, json: bool) -> Result<(), Failure> {
    let signals = signals().map_err(|error| failed("signals can't be caught", error))?;
    let Some(dev) = args.device.dev.clone() else {
        return all::run(args, signals, json);
    };
    let device = Device { dev, force: args.device.force };
    let open = device.open()?;
    let door = door::read(args)?;
    let needs = Needs::new(args, &device, &open, door.is_some());
    if let Some(user) = &args.user {
        user.take(&needs)?;
    }
    let output = args.record.as_deref().map(|path| Output::open(path, args.fps)).transpose()?;
    let sandbox = if args.no_sandbox { None } else { Some(Sandbox::begin(needs)?) };
    let (station, told) = Station::start(Parts {
        args,
        device,
        open,
        output,
        door: door.map(door::start).transpose()?,
        stop: signals.into(),
        meter: Arc::default(),
        status: StatusLine::new(),
        json,
    })?;
    if let Some(sandbox) = sandbox {
        sandbox.lock()?;
    }
    #[cfg(debug_assertions)]
    sandbox::forbidden::attempt();
    let told = if json { told.json().to_string() } else { told.to_string() };
    if args.records_to_stdout() {
        // Standard output is the recording's.
        eprintln!("{told}");
    } else {
        say(&told)?;
    }
    station.serve()
}

/// A stream that can be read once the command is told to end.
pub(crate) fn signals() -> io::Result<UnixStream> {
    let (reader, writer) = UnixStream::pair()?;
    pipe::register(SIGINT, writer.try_clone()?)?;
    pipe::register(SIGTERM, writer)?;
    Ok(reader)
}

fn timespec(duration: Duration) -> Timespec {
    // Two hundred years will do.
    duration.try_into().unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

pub(crate) fn failed(what: &str, error: io::Error) -> Failure {
    Failure::new(Status::Failed, format!("{what}: {error}"))
}
