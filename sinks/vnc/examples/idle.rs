// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What it costs to watch a screen that stands still: looks at 60 Hz, with one viewer, and the
//! processor time of all of a process's threads. The tables of docs/performance.md:
//! `cargo run --release -p vfio-display-vnc --example idle [-- COMMAND]`, where COMMAND is a
//! `vfio-display` whose `serve` is measured in place of the library.

use std::env;
use std::error::Error;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use vfio_display::Display;
use vfio_display::geometry::Size;
use vfio_display::testing::{Mock, Personality};
use vfio_display_vnc::{Options, VncServer};

/// Of so many stretches of so long the one in the middle counts.
const STRETCHES: usize = 5;
const TIME: Duration = Duration::from_secs(3);

const RATE: u32 = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let command = env::args_os().nth(1);
    println!("| screen | plane | looks/s | ms per look | CPU |\n|---|---|---|---|---|");
    for size in [Size::new(1920, 1080), Size::new(3840, 2160)] {
        for personality in [Personality::WellBehaved, Personality::Region] {
            match &command {
                Some(command) => row_of(command, size, personality)?,
                None => row(size, personality)?,
            }
        }
    }
    Ok(())
}

/// As [`row`], of a process that serves; how often it looks is what it was asked for.
fn row_of(command: &OsStr, size: Size, personality: Personality) -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let socket = directory.path().join("vnc");
    let mut child = Command::new(command)
        .args(["serve", &format!("mock:{}:{size}", personality.name()), "--vnc"])
        .arg(format!("unix:{}", socket.display()))
        .args(["--fps", &RATE.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let told = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut line));
    let measured = told.ok_or("no output")?.map_err(Into::into).and_then(|_| {
        let viewer = UnixStream::connect(&socket)?;
        thread::spawn(move || watch(viewer));
        thread::sleep(Duration::from_secs(2));
        let process = format!("/proc/{}", child.id());
        let guest = stop_guest(&process)?;
        let figures = middle(|| {
            let before = cpu(&process)?;
            thread::sleep(TIME);
            Ok((f64::from(RATE) * TIME.as_secs_f64(), cpu(&process)? - before))
        });
        // Who traces a thread has to wait for its end, and a process ends with its threads.
        ptrace::detach(guest, None)?;
        figures
    });
    child.kill()?;
    child.wait()?;
    let kind = if personality == Personality::Region { "region" } else { "dma-buf" };
    print(size, kind, measured?);
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
    let figures = middle(|| {
        let before = cpu("/proc/self")?;
        let looks = f64::from(run(&mut display, &mut server, TIME)?);
        Ok((looks, cpu("/proc/self")? - before))
    })?;
    print(size, &kind, figures);
    Ok(())
}

/// Of several stretches the one in the middle, each of which answers with its looks and the
/// milliseconds of processor time that they took: looks a second, milliseconds a look, and per cent of
/// a core.
fn middle(
    mut stretch: impl FnMut() -> Result<(f64, f64), Box<dyn Error>>,
) -> Result<[f64; 3], Box<dyn Error>> {
    let mut figures = Vec::new();
    for _ in 0..STRETCHES {
        let start = Instant::now();
        let (looks, busy) = stretch()?;
        let passed = start.elapsed().as_secs_f64();
        figures.push([looks / passed, busy / looks, busy / passed / 10.0]);
    }
    figures.sort_by(|[.., one], [.., other]| one.total_cmp(other));
    Ok(figures[STRETCHES / 2])
}

fn print(size: Size, kind: &str, [rate, each, part]: [f64; 3]) {
    println!("| {size} | {kind} | {rate:.0} | {each:.2} | {part:.1} % |");
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

/// Stops the thread that draws on a mock, as long as this one lives.
fn stop_guest(process: &str) -> Result<Pid, Box<dyn Error>> {
    for task in fs::read_dir(format!("{process}/task"))? {
        let task = task?;
        if fs::read_to_string(task.path().join("comm"))?.trim_end() == "guest" {
            let thread = Pid::from_raw(task.file_name().to_string_lossy().parse()?);
            ptrace::seize(thread, ptrace::Options::empty())?;
            ptrace::interrupt(thread)?;
            waitpid(thread, Some(WaitPidFlag::__WALL))?;
            return Ok(thread);
        }
    }
    Err("nobody draws".into())
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

/// Processor time of a process so far, in milliseconds: its threads' own, to the nanosecond.
fn cpu(process: &str) -> std::io::Result<f64> {
    let mut total = 0.0;
    for task in fs::read_dir(format!("{process}/task"))? {
        let stat = fs::read_to_string(task?.path().join("schedstat"))?;
        total += stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0);
    }
    Ok(total / 1e6)
}
