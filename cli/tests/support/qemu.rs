// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The QEMU that speaks vfio-user, asked by QMP.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

/// A QEMU that runs firmware and no guest; killed when dropped.
#[derive(Debug)]
pub(crate) struct Qemu {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Qemu {
    /// Starts the one that `cargo xtask test` unpacks, with this device.
    pub(crate) fn start(device: &Value) -> Self {
        let qemu =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("../testbed/qemu/qemu-system-x86_64");
        let mut child = Command::new(&qemu)
            .args(["-nodefaults", "-display", "none", "-M", "q35,accel=tcg", "-m", "64M"])
            .args(["-qmp", "stdio", "-device", &device.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", qemu.display()));
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut qemu = Self { child, stdin, stdout };
        qemu.ask("qmp_capabilities", &json!({}));
        qemu
    }

    /// What it answers to a command of QMP.
    pub(crate) fn ask(&mut self, command: &str, arguments: &Value) -> Value {
        let ask = json!({ "execute": command, "arguments": arguments });
        writeln!(self.stdin, "{ask}").expect("it listens");
        let mut line = String::new();
        loop {
            line.clear();
            assert!(self.stdout.read_line(&mut line).expect("UTF-8") > 0, "{command}: it ended");
            let mut told: Value = serde_json::from_str(&line).expect("JSON");
            assert!(told["error"].is_null(), "{ask}: {told}");
            // Greetings and events come in between.
            if told.get("return").is_some() {
                return told["return"].take();
            }
        }
    }

    /// What it prints for a command of its monitor.
    pub(crate) fn monitor(&mut self, command: &str) -> String {
        let told = self.ask("human-monitor-command", &json!({ "command-line": command }));
        told.as_str().expect("text").to_owned()
    }

    /// The words of `count` at a physical address, as its CPU reads them.
    pub(crate) fn physical_words(&mut self, at: u64, count: usize) -> Vec<u32> {
        let told = self.monitor(&format!("xp /{count}xw {at:#x}"));
        let words = told.split_whitespace().filter_map(|word| word.strip_prefix("0x"));
        words.map(|word| u32::from_str_radix(word, 16).expect("a word")).collect()
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
