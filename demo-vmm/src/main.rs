// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VMM small enough to read, that boots real firmware and shows its screen.
//!
//! What is of interest to other VMMs is in [`firmware`], where the boot display's file goes into
//! fw_cfg, and in [`screen`], where the display is looked at. The rest is a PC, as far as SeaBIOS
//! needs one.

mod firmware;
mod kvm;
mod pci;
mod ports;
mod screen;
mod shot;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::firmware::Firmware;
use crate::kvm::Machine;
use crate::ports::Ports;
use crate::screen::Screen;

/// What SeaBIOS prints when it has nothing more to do.
const FINISHED: &str = "No bootable device.\n";

/// It prints to its log first, and then to the screen.
const SETTLE: Duration = Duration::from_secs(1);

/// How often the screen is looked at.
const POLL: Duration = Duration::from_millis(50);

/// Boots SeaBIOS in KVM and shows its screen.
#[derive(Debug, Parser)]
struct Args {
    /// File to write the screen to, .png or .ppm, once the firmware has found nothing to boot
    #[arg(long, value_name = "FILE")]
    shot: PathBuf,
    /// Seconds after which the screen is taken as it is
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// MiB of memory
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(16..=2048))]
    memory: u32,
    /// Print what the firmware logs
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
    let vcpu = thread::Builder::new().name("vcpu".into()).spawn(move || vcpu.run())?;

    let mut screen = Screen::new(ramfb);
    let mut end = Instant::now() + Duration::from_secs(args.seconds);
    let mut finished = false;
    while Instant::now() < end {
        if vcpu.is_finished() {
            return vcpu.join().unwrap_or_else(|_| bail!("the vCPU's thread panicked"));
        }
        thread::sleep(POLL);
        screen.poll(&memory);
        if !finished && log.has(FINISHED) {
            finished = true;
            end = end.min(Instant::now() + SETTLE);
        }
    }
    if args.log {
        eprint!("{}", log.text());
    }
    let picture = screen.picture().context("the firmware has not set a mode")?;
    eprintln!("{} in generation {}", picture.size(), screen.generation());
    shot::write(&args.shot, picture)
}
