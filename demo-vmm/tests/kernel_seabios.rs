// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot screen of the same SeaBIOS, here and in QEMU and in a VNC viewer, pixel for pixel.

use std::fs;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

const FINISHED: &str = "No bootable device.\n";
const PATIENCE: Duration = Duration::from_secs(180);

/// A character's cell on the screen.
const CELL: (usize, usize) = (8, 16);

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_boot_screen_is_the_one_that_qemu_shows() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours.ppm"), dir.path().join("theirs.ppm"));
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_demo-vmm"))
        .args(["--seconds", "180", "--shot"])
        .arg(&ours)
        .status()
        .unwrap();
    assert!(status.success(), "demo-vmm: {status}");
    eprintln!("demo-vmm: {:.1} s", began.elapsed().as_secs_f32());
    let began = Instant::now();
    qemu(dir.path(), &theirs);
    eprintln!("qemu: {:.1} s", began.elapsed().as_secs_f32());

    let (ours, theirs) = (Ppm::read(&ours), Ppm::read(&theirs));
    assert_eq!((ours.width, ours.height), (1024, 768));
    assert_eq!((theirs.width, theirs.height), (1024, 768));
    let lit = ours.pixels.iter().filter(|p| **p != [0; 3]).count();
    assert!(lit > 2000, "only {lit} pixels are not black: no text");

    let cells = ours.cells_that_differ(&theirs);
    assert!(matches!(cells[..], [] | [(0, _)]), "cells (column, line) that differ: {cells:?}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_viewer_sees_the_boot_screen() {
    let dir = tempfile::tempdir().unwrap();
    let shot = dir.path().join("shot.ppm");
    let status = Command::new(env!("CARGO_BIN_EXE_demo-vmm"))
        .args(["--seconds", "180", "--shot"])
        .arg(&shot)
        .status()
        .unwrap();
    assert!(status.success(), "demo-vmm: {status}");
    let shot = Ppm::read(&shot);

    let mut vmm = Vmm(Command::new(env!("CARGO_BIN_EXE_demo-vmm"))
        .args(["--vnc", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap());
    let mut line = String::new();
    BufReader::new(vmm.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let at = line.trim().strip_prefix("vnc://").expect("where it listens");
    let mut viewer = Viewer::connect(TcpStream::connect(at).unwrap()).unwrap();
    // It came before the firmware has set its mode, and sees the text grow.
    let began = Instant::now();
    loop {
        let cells = match (viewer.screen.width, viewer.screen.height) {
            (1024, 768) => shot.cells_that_differ(&viewer.screen),
            _ => vec![(usize::MAX, 0)],
        };
        if matches!(cells[..], [] | [(0, _)]) {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "cells (column, line) that differ: {cells:?}");
        viewer.update().unwrap();
    }
}

/// Killed when its test ends.
struct Vmm(Child);

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// As much of a VNC viewer as can be: RFB 3.8, raw pixels, screens that change their size.
struct Viewer {
    stream: TcpStream,
    screen: Ppm,
}

impl Viewer {
    fn connect(mut stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let version: [u8; 12] = read(&mut stream)?;
        stream.write_all(&version)?;
        assert_eq!(read(&mut stream)?, [1, 1], "no password");
        stream.write_all(&[1])?;
        assert_eq!(read(&mut stream)?, [0; 4], "welcome");
        stream.write_all(&[1])?;
        let [width, height] = [number(&mut stream)?, number(&mut stream)?];
        let _format: [u8; 16] = read(&mut stream)?;
        let length = u32::from_be_bytes(read(&mut stream)?);
        stream.read_exact(&mut vec![0; length as usize])?;
        // Raw, and DesktopSize.
        let encodings = [0_i32, -223].map(i32::to_be_bytes).concat();
        stream.write_all(&[&[2, 0, 0, 2], &encodings[..]].concat())?;
        let mut viewer = Self { stream, screen: Ppm { width: 0, height: 0, pixels: Vec::new() } };
        viewer.resize(width, height);
        viewer.request(false)?;
        viewer.read_update()?;
        Ok(viewer)
    }

    fn resize(&mut self, width: usize, height: usize) {
        self.screen = Ppm { width, height, pixels: vec![[0; 3]; width * height] };
    }

    fn request(&mut self, incremental: bool) -> Result<()> {
        let mut message = vec![3, incremental.into(), 0, 0, 0, 0];
        message.extend((self.screen.width as u16).to_be_bytes());
        message.extend((self.screen.height as u16).to_be_bytes());
        self.stream.write_all(&message)
    }

    /// Waits until something has changed.
    fn update(&mut self) -> Result<()> {
        self.request(true)?;
        self.read_update()
    }

    fn read_update(&mut self) -> Result<()> {
        let [kind, _] = read(&mut self.stream)?;
        assert_eq!(kind, 0, "an update and nothing else");
        for _ in 0..number(&mut self.stream)? {
            let stream = &mut self.stream;
            let (x, y) = (number(stream)?, number(stream)?);
            let (width, height) = (number(stream)?, number(stream)?);
            match i32::from_be_bytes(read(stream)?) {
                0 => {
                    let mut row = vec![0; width * 4];
                    for y in y..y + height {
                        stream.read_exact(&mut row)?;
                        let pixels = row.as_chunks().0.iter().map(|[b, g, r, _]| [*r, *g, *b]);
                        let at = y * self.screen.width + x;
                        self.screen.pixels[at..].iter_mut().zip(pixels).for_each(|(to, p)| *to = p);
                    }
                }
                -223 => self.resize(width, height),
                other => panic!("encoding {other}"),
            }
        }
        Ok(())
    }
}

fn read<const N: usize>(stream: &mut TcpStream) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn number(stream: &mut TcpStream) -> Result<usize> {
    Ok(u16::from_be_bytes(read(stream)?).into())
}

/// Boots SeaBIOS in QEMU until it is done, and has the screen dumped.
fn qemu(dir: &Path, to: &Path) {
    let log = dir.join("log");
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "kvm", "-accel", "tcg", "-m", "256", "-display", "none", "-nodefaults"])
        .args(["-net", "none", "-vga", "none", "-device", "ramfb", "-qmp", "stdio"])
        // QEMU's own option ROM, which makes SeaBIOS believe in a hard disk.
        .args(["-global", "apic-common.vapic=off"])
        .args(["-global", "isa-debugcon.iobase=0x402", "-debugcon"])
        .arg(format!("file:{}", log.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("qemu-system-x86_64, of Debian's package qemu-system-x86");
    let mut input = qemu.stdin.take().unwrap();
    let mut answers = BufReader::new(qemu.stdout.take().unwrap()).lines();
    let mut ask = |command: &str| {
        writeln!(input, "{command}").unwrap();
        let answer = answers.find(|line| {
            let line = line.as_ref().unwrap();
            line.contains("return") || line.contains("error")
        });
        let answer = answer.unwrap().unwrap();
        assert!(!answer.contains("error"), "{command}: {answer}");
    };
    ask(r#"{"execute":"qmp_capabilities"}"#);
    let began = Instant::now();
    while !fs::read_to_string(&log).unwrap_or_default().contains(FINISHED) {
        assert!(began.elapsed() < PATIENCE, "SeaBIOS in QEMU is not done");
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_secs(1));
    let arguments = format!(r#""arguments":{{"filename":"{}"}}"#, to.display());
    ask(&format!(r#"{{"execute":"screendump",{arguments}}}"#));
    ask(r#"{"execute":"quit"}"#);
    qemu.wait().unwrap();
}

struct Ppm {
    width: usize,
    height: usize,
    pixels: Vec<[u8; 3]>,
}

impl Ppm {
    fn read(path: &Path) -> Self {
        let bytes = fs::read(path).unwrap();
        let mut fields = bytes.splitn(4, |byte| byte.is_ascii_whitespace());
        let mut field = || String::from_utf8_lossy(fields.next().unwrap()).into_owned();
        assert_eq!(field(), "P6");
        let (width, height) = (field().parse().unwrap(), field().parse().unwrap());
        let rest = fields.next().unwrap();
        let rest = rest.strip_prefix(b"255\n").expect("8 bits a channel");
        let pixels: Vec<_> = rest.as_chunks().0.to_vec();
        assert_eq!(pixels.len(), width * height);
        Self { width, height, pixels }
    }

    /// Character cells, as column and line. The cursor blinks: of one cell at the start of a line,
    /// and only that, a part may differ.
    fn cells_that_differ(&self, other: &Self) -> Vec<(usize, usize)> {
        let differing = (0..self.pixels.len()).filter(|&at| self.pixels[at] != other.pixels[at]);
        let mut cells: Vec<_> =
            differing.map(|at| (at % 1024 / CELL.0, at / 1024 / CELL.1)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }
}
