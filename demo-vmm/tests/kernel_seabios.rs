// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot screen of the same SeaBIOS, here and in QEMU, pixel for pixel.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
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

    // The cursor blinks: of one cell at the start of a line, and only that, a part may differ.
    let differing = (0..ours.pixels.len()).filter(|&at| ours.pixels[at] != theirs.pixels[at]);
    let mut cells: Vec<_> = differing.map(|at| (at % 1024 / CELL.0, at / 1024 / CELL.1)).collect();
    cells.dedup();
    cells.sort_unstable();
    cells.dedup();
    assert!(matches!(cells[..], [] | [(0, _)]), "cells (column, line) that differ: {cells:?}");
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
}
