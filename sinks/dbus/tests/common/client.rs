// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The client of another hand: clients/gdbus.py, which says what it is told by which line.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;
use vfio_display::Picture;
use vfio_display::geometry::Size;

/// Runs a script in the distribution's Python: PyGObject is a package of it.
pub fn python(script: &str) -> Command {
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-c", script]);
    python
}

/// A running client; killed when dropped.
pub struct Client {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    directory: TempDir,
}

impl Client {
    /// Starts it at `bus:ADDRESS` or `peer:PATH`, with `copy`, `map`, `dmabuf` or `dmabuf2`.
    pub fn start(at: &str, kind: &str) -> Self {
        let mut child = python(include_str!("../clients/gdbus.py"))
            .args([at, kind])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed");
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let mut client = Self { child, orders, answers, directory };
        assert_eq!(client.line(), "ready");
        client
    }

    /// Gives an order, and answers with what it says.
    pub fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").expect("the client runs");
        self.line()
    }

    /// The next line that it says.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("a line");
        assert!(line.ends_with('\n'), "the client ended");
        line.trim_end().to_owned()
    }

    /// What it would show.
    pub fn picture(&mut self) -> Picture {
        let file = self.directory.path().join("screen");
        let size = self.order(&format!("capture {}", file.display()));
        let (width, height) = size.split_once('x').expect("a size");
        let mut picture = Picture::new(Size::new(width.parse().unwrap(), height.parse().unwrap()));
        let bytes = fs::read(file).unwrap();
        let pixels = picture.rows_mut().flatten();
        for (pixel, bytes) in pixels.zip(bytes.chunks_exact(4)) {
            *pixel = u32::from_le_bytes(bytes.try_into().unwrap());
        }
        picture
    }

    /// The pointer: what the order `cursor` answers, and its pixels.
    pub fn cursor(&mut self) -> (String, Vec<u8>) {
        let file = self.directory.path().join("cursor");
        let told = self.order(&format!("cursor {}", file.display()));
        (told, fs::read(file).unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn kill(&mut self) {
        // An error means that it ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}
