// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The same firmware here and in QEMU, and the pictures of its screen.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a firmware may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// Boots a firmware here until it is done, and answers with its screen.
pub(crate) fn demo_vmm(dir: &Path, args: &[&str]) -> Ppm {
    let to = dir.join("ours.ppm");
    let began = Instant::now();
    let status = Command::new(env!("CARGO_BIN_EXE_demo-vmm"))
        .args(args)
        .args(["--seconds", &PATIENCE.as_secs().to_string(), "--shot"])
        .arg(&to)
        .status()
        .unwrap();
    assert!(status.success(), "demo-vmm: {status}");
    eprintln!("demo-vmm: {:.1} s", began.elapsed().as_secs_f32());
    Ppm::read(&to)
}

/// Boots a firmware in QEMU until it has logged `finished`, and has the screen dumped. The
/// chardev `log` is where `args` have it log, and `before` are commands to the monitor before the
/// machine starts.
pub(crate) fn qemu(dir: &Path, args: &[&str], before: &[&str], finished: &str) -> Ppm {
    let (log, to) = (dir.join("log"), dir.join("theirs.ppm"));
    let began = Instant::now();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-accel", "kvm", "-accel", "tcg", "-m", "256", "-display", "none", "-nodefaults"])
        .args(["-net", "none", "-vga", "none", "-device", "ramfb", "-S", "-qmp", "stdio"])
        .arg("-chardev")
        .arg(format!("file,id=log,path={}", log.display()))
        .args(args)
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
    for line in before {
        let arguments = format!(r#""arguments":{{"command-line":"{line}"}}"#);
        ask(&format!(r#"{{"execute":"human-monitor-command",{arguments}}}"#));
    }
    ask(r#"{"execute":"cont"}"#);
    while !fs::read_to_string(&log).unwrap_or_default().contains(finished) {
        assert!(began.elapsed() < PATIENCE, "the firmware in QEMU is not done");
        sleep(Duration::from_millis(100));
    }
    sleep(Duration::from_secs(1));
    let arguments = format!(r#""arguments":{{"filename":"{}"}}"#, to.display());
    ask(&format!(r#"{{"execute":"screendump",{arguments}}}"#));
    ask(r#"{"execute":"quit"}"#);
    qemu.wait().unwrap();
    eprintln!("qemu: {:.1} s", began.elapsed().as_secs_f32());
    Ppm::read(&to)
}

/// A picture.
pub(crate) struct Ppm {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) pixels: Vec<[u8; 3]>,
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

    /// How many pixels are not black.
    pub(crate) fn lit(&self) -> usize {
        self.pixels.iter().filter(|pixel| **pixel != [0; 3]).count()
    }

    /// Cells of that width and height for one character, as column and line.
    pub(crate) fn cells_that_differ(
        &self,
        other: &Self,
        cell: (usize, usize),
    ) -> Vec<(usize, usize)> {
        let differing = (0..self.pixels.len()).filter(|&at| self.pixels[at] != other.pixels[at]);
        let mut cells: Vec<_> =
            differing.map(|at| (at % self.width / cell.0, at / self.width / cell.1)).collect();
        cells.sort_unstable();
        cells.dedup();
        cells
    }
}
