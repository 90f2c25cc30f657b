// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What it costs to watch a screen that stands still: looks at 60 Hz, with one viewer, and the
//! processor time of all of this process's threads. The table of docs/performance.md:
//! `cargo run --release -p vfio-display-vnc --example idle`

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use vfio_display::Display;
use vfio_display::geometry::Size;
use vfio_display::testing::{Mock, Personality};
use vfio_display_vnc::{Options, VncServer};

/// Of so many stretches of so long the one in the middle counts.
const STRETCHES: usize = 5;
const TIME: Duration = Duration::from_secs(3);

fn main() -> Result<(), Box<dyn Error>> {
    println!("| screen | plane | looks/s | ms per look | CPU |\n|---|---|---|---|---|");
    for size in [Size::new(1920, 1080), Size::new(3840, 2160)] {
        for personality in [Personality::WellBehaved, Personality::Region] {
            row(size, personality)?;
        }
    }
    Ok(())
}

fn row(size: Size, personality: Personality) -> Result<(), Box<dyn Error>> {
    let mock = Mock::new(personality, size)?;
    mock.show_card(0)?;
    let mut display = Display::new(mock)?;
    let kind = display.kind().map_or("captures".into(), |kind| kind.to_string());
    let mut server = VncServer::start(Options::default(), Arc::new(()))?;
    let (viewer, served) = UnixStream::pair()?;
    server.serve(served)?;
    thread::spawn(move || watch(viewer));
    display.watch(Instant::now());
    // Until it has its first picture, and has asked for the next.
    run(&mut display, &mut server, Duration::from_secs(2))?;
    let mut figures = Vec::new();
    for _ in 0..STRETCHES {
        let (before, start) = (cpu()?, Instant::now());
        let looks = f64::from(run(&mut display, &mut server, TIME)?);
        let (busy, passed) = (cpu()? - before, start.elapsed().as_secs_f64());
        figures.push([looks / passed, busy / looks, busy / passed / 10.0]);
    }
    figures.sort_by(|[.., one], [.., other]| one.total_cmp(other));
    let [rate, each, part] = figures[STRETCHES / 2];
    println!("| {size} | {kind} | {rate:.0} | {each:.2} | {part:.1} % |");
    Ok(())
}

fn run(
    display: &mut Display<Mock>,
    server: &mut VncServer,
    time: Duration,
) -> Result<u32, Box<dyn Error>> {
    let end = Instant::now() + time;
    let mut looks = 0;
    while Instant::now() < end {
        if let Some(at) = display.poll_at() {
            thread::sleep(at.saturating_duration_since(Instant::now()));
        }
        display.poll(Instant::now(), server)?;
        looks += 1;
    }
    Ok(looks)
}

/// A viewer that takes one picture and waits for the next, which doesn't come.
fn watch(mut stream: UnixStream) -> std::io::Result<()> {
    stream.write_all(b"RFB 003.008\n\x01\x01")?;
    // ZRLE, DesktopSize, Cursor; then the whole screen, as large as it may be.
    stream.write_all(&[2, 0, 0, 3, 0, 0, 0, 16, 0xff, 0xff, 0xff, 0x21, 0xff, 0xff, 0xff, 0x11])?;
    for incremental in [0, 1, 1] {
        stream.write_all(&[3, incremental, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])?;
        thread::sleep(Duration::from_millis(500));
    }
    let mut buffer = vec![0; 1 << 16];
    while stream.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Processor time of this process so far, in milliseconds: its threads' own, to the nanosecond.
fn cpu() -> std::io::Result<f64> {
    let mut total = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        total += stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(total / 1e6)
}
