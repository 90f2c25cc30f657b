// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command, run as a person runs it.

use std::process::{Command, Output};

use vfio_display::geometry::Size;

/// The command with `args`.
pub(crate) fn vfio_display(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vfio-display")).args(args).output().expect("the command runs")
}

/// What a command printed on standard error.
pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A picture that the command took of `dev`: its size and its pixels, `0xffRRGGBB`.
pub(crate) fn shot(dev: &str) -> (Size, Vec<u32>) {
    let output = vfio_display(&["shot", dev, "-o", "-", "--format", "ppm"]);
    assert!(output.status.success(), "shot {dev}: {}", stderr(&output));
    read_ppm(&output.stdout)
}

/// Reads a P6 picture of 8 bits a channel.
pub(crate) fn read_ppm(bytes: &[u8]) -> (Size, Vec<u32>) {
    let mut fields = bytes.splitn(4, |byte| *byte == b'\n');
    assert_eq!(fields.next(), Some(&b"P6"[..]));
    let size = std::str::from_utf8(fields.next().expect("a size")).expect("ASCII");
    let (width, height) = size.split_once(' ').expect("two sides");
    let size = Size::new(width.parse().expect("a width"), height.parse().expect("a height"));
    assert_eq!(fields.next(), Some(&b"255"[..]));
    let rgb = fields.next().expect("pixels");
    assert_eq!(rgb.len() as u64, size.area() * 3);
    let pixel = |p: &[u8]| u32::from_be_bytes([0xff, p[0], p[1], p[2]]);
    (size, rgb.chunks_exact(3).map(pixel).collect())
}

/// Fails with the first pixel whose colour differs.
pub(crate) fn assert_same(size: Size, expected: &[u32], got: &[u32]) {
    assert_eq!(got.len(), expected.len());
    let differs = |(a, b): &(&u32, &u32)| **a & 0xff_ffff != **b & 0xff_ffff;
    if let Some(at) = expected.iter().zip(got).position(|pair| differs(&pair)) {
        let (x, y) = (at % size.width as usize, at / size.width as usize);
        let differ = expected.iter().zip(got).filter(differs).count();
        panic!(
            "{differ} pixels of {size} differ, the first at {x},{y}: {:08x}, expected {:08x}",
            got[at], expected[at]
        );
    }
}
