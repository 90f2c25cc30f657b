// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot screen of the same SeaBIOS, here and in QEMU and in a VNC viewer, pixel for pixel.

mod support;

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use crate::support::{PATIENCE, Ppm, demo_vmm, qemu};

const FINISHED: &str = "No bootable device.\n";

/// It prints on its debug port. The other is an option ROM of QEMU's own, which makes SeaBIOS
/// believe in a hard disk.
const QEMU: &[&str] =
    &["-device", "isa-debugcon,iobase=0x402,chardev=log", "-global", "apic-common.vapic=off"];

/// A character's cell on the screen.
const CELL: (usize, usize) = (8, 16);

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_boot_screen_is_the_one_that_qemu_shows() {
    let dir = tempfile::tempdir().unwrap();
    let ours = demo_vmm(dir.path(), &[]);
    let theirs = qemu(dir.path(), QEMU, &[], FINISHED);
    assert_eq!((ours.width, ours.height), (1024, 768));
    assert_eq!((theirs.width, theirs.height), (1024, 768));
    assert!(ours.lit() > 2000, "only {} pixels are not black: no text", ours.lit());

    // The cursor blinks: of one cell at the start of a line, and only that, a part may differ.
    let cells = ours.cells_that_differ(&theirs, CELL);
    assert!(matches!(cells[..], [] | [(0, _)]), "cells (column, line) that differ: {cells:?}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_viewer_sees_the_boot_screen() {
    let dir = tempfile::tempdir().unwrap();
    let shot = demo_vmm(dir.path(), &[]);

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
            (1024, 768) => shot.cells_that_differ(&viewer.screen, CELL),
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
