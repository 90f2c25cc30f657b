// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VMM small enough to read, that boots real firmware and shows its screen.
//!
//! What is of interest to other VMMs is in [`firmware`], where the boot display's file goes into
//! fw_cfg, and in [`show`], where the display is looked at. The rest is a PC, as far as SeaBIOS
//! and OVMF need one.

mod firmware;
mod kvm;
mod pci;
mod ports;
mod screen;
mod serial;
mod shot;
mod vgpu;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use vfio_display::{Display, Sink};

use crate::firmware::Firmware;
use crate::kvm::Machine;
use crate::ports::Ports;
use crate::vgpu::NoVgpu;

/// What SeaBIOS and OVMF print when they have nothing more to do.
const FINISHED: [&str; 2] = ["No bootable device.\n", "Shell> "];

/// They print to the log first, and then to the screen.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the loop sleeps at most, so that it sees the machine end.
const NAP: Duration = Duration::from_millis(200);

/// Boots SeaBIOS or OVMF in KVM and shows its screen.
#[derive(Debug, Parser)]
struct Args {
    /// File to write the screen to, .png or .ppm, once the firmware has found nothing to boot
    #[arg(long, value_name = "FILE", required_unless_present = "vnc")]
    shot: Option<PathBuf>,
    /// Show the screen to VNC viewers instead, on this address of the loopback device; port 0 is
    /// any that is free
    #[arg(long, value_name = "ADDR", conflicts_with = "shot")]
    vnc: Option<SocketAddr>,
    /// Seconds after which the screen is taken as it is
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// MiB of memory
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=2048))]
    memory: u32,
    /// Print what the firmware logs on its debug and serial ports
    #[arg(long)]
    log: bool,
    #[command(flatten)]
    firmware: firmware::Files,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let Firmware { memory, rom, fw_cfg, ramfb } = Firmware::load(&args.firmware, args.memory)?;

    let mut machine = Machine::new()?;
    machine.add_memory(&memory, false)?;
    machine.add_memory(&rom, true)?;
    let ports = Ports::new(memory.clone(), fw_cfg, u64::from(args.memory) << 20);
    let log = ports.log.clone();
    let vcpu = Arc::new(machine).vcpu(ports)?;
    let mut vcpu = Some(thread::Builder::new().name("vcpu".into()).spawn(move || vcpu.run())?);

    let mut display = Display::new(NoVgpu)?.boot_display(ramfb, Arc::new(memory));
    if let Some(at) = args.vnc {
        let (mut server, viewers) = screen::serve(at)?;
        return show(&mut display, &mut server, &viewers, || ended(&mut vcpu).map(|()| false));
    }

    display.watch(Instant::now());
    let (_nobody, viewers) = channel();
    let mut end = Instant::now() + Duration::from_secs(args.seconds);
    let mut finished = false;
    show(&mut display, &mut screen::Modes::default(), &viewers, || {
        ended(&mut vcpu)?;
        if !finished && FINISHED.iter().any(|text| log.has(text)) {
            finished = true;
            end = end.min(Instant::now() + SETTLE);
        }
        Ok(Instant::now() >= end)
    })?;
    if args.log {
        eprint!("{}", log.text());
    }
    let picture = display.picture().context("the firmware has not set a mode")?;
    shot::write(&args.shot.context("--shot")?, picture)
}

/// Looks at the display when it is time to, and at `done` at least every [`NAP`]. Without
/// viewers nobody looks.
fn show(
    display: &mut Display<NoVgpu>,
    sink: &mut dyn Sink,
    viewers: &Receiver<usize>,
    mut done: impl FnMut() -> Result<bool>,
) -> Result<()> {
    while !done()? {
        let now = Instant::now();
        // What the guest got wrong, told once; the last good picture stays.
        if let Err(error) = display.poll(now, sink) {
            eprintln!("{error}");
        }
        let due = display.poll_at().map_or(NAP, |at| at.saturating_duration_since(now));
        match viewers.recv_timeout(due.min(NAP)) {
            Ok(0) => display.park(),
            Ok(_) => display.watch(Instant::now()),
            Err(_) => {}
        }
    }
    Ok(())
}

/// The vCPU runs until it meets what this VMM knows nothing of, which is an error.
fn ended(vcpu: &mut Option<JoinHandle<Result<()>>>) -> Result<()> {
    match vcpu.take_if(|vcpu| vcpu.is_finished()) {
        Some(vcpu) => vcpu.join().unwrap_or_else(|_| bail!("the vCPU's thread panicked")),
        None => Ok(()),
    }
}
