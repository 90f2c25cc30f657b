// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! TigerVNC on a screen of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use vfio_display::Picture;
use vfio_display::geometry::Size;

use crate::show::{Running, Show};

/// A screen that is a file, and TigerVNC on it.
pub(crate) struct Tiger {
    _screen: Running,
    viewer: Running,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Tiger {
    pub(crate) fn new(show: &Show, options: &[&str]) -> Self {
        Self::with(show, &[], &[&["-SecurityTypes=None"], options].concat())
    }

    pub(crate) fn with(show: &Show, env: &[(&str, &str)], options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        // It picks a number that is free, and says which when it is ready.
        let screen = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-fbdir"])
            .arg(dir.path())
            .stdout(write)
            .stderr(Stdio::null())
            .spawn()
            .expect("xvfb is not installed");
        let screen = Running(screen);
        let mut number = String::new();
        BufReader::new(File::from(read)).read_line(&mut number).unwrap();
        let viewer = Command::new("xtigervncviewer")
            .env("DISPLAY", format!(":{}", number.trim()))
            .env("HOME", dir.path())
            .envs(env.iter().copied())
            .args(["-DotWhenNoCursor=0", "-AlertOnFatalError=0", "-ReconnectOnError=0"])
            .args(options)
            .arg(format!("127.0.0.1::{}", show.at.port()))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("tigervnc-viewer is not installed");
        let file = dir.path().join("Xvfb_screen0");
        Self { _screen: screen, viewer: Running(viewer), file, _dir: dir }
    }

    /// It has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.viewer.0.try_wait().unwrap().is_some()
    }

    /// What is in its window, wherever that is: the part of the screen that is most like `want`.
    pub(crate) fn sees(&self, want: &Picture) -> Option<Picture> {
        let screen = read_xwd(&std::fs::read(&self.file).ok()?)?;
        let size = want.size();
        let at = |x: u32, y: u32| {
            let mut part = Picture::new(size);
            for (to, from) in part.rows_mut().zip(screen.rows().skip(y as usize)) {
                to.copy_from_slice(&from[x as usize..][..size.width as usize]);
            }
            part
        };
        let like = |part: &Picture| {
            let pairs = part.pixels().iter().zip(want.pixels());
            pairs.filter(|(a, b)| (*a ^ *b) & 0xff_ffff == 0).count()
        };
        let places = (0..32).flat_map(|y| (0..4).map(move |x| (x, y)));
        places.map(|(x, y)| at(x, y)).max_by_key(like)
    }
}

/// An X window dump (X11/XWDFile.h): big-endian words, then colours, then pixels.
pub(crate) fn read_xwd(bytes: &[u8]) -> Option<Picture> {
    let word = |i: usize| Some(u32::from_be_bytes(bytes.get(4 * i..4 * i + 4)?.try_into().ok()?));
    let (width, height, little) = (word(4)?, word(5)?, word(7)? == 0);
    assert_eq!((word(11)?, little), (32, true));
    let start = word(0)? as usize + word(19)? as usize * 12;
    let rows = bytes.get(start..)?.chunks(word(12)? as usize);
    let mut picture = Picture::new(Size::new(width, height));
    for (row, from) in picture.rows_mut().zip(rows) {
        for (pixel, c) in row.iter_mut().zip(from.chunks_exact(4)) {
            *pixel = u32::from_le_bytes([c[0], c[1], c[2], 255]);
        }
    }
    Some(picture)
}
