// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every pixel format against an independent decoder: pixman, through which QEMU shows screens.
#![allow(unsafe_code, reason = "pixman is a C library")]

mod pixman;

use pixman::Pixman;
use vfio_display::convert::{Alpha, row};
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;

/// Every value of 16 bits, twice in a word, and as many words without any order.
fn patterns() -> Vec<u32> {
    let ordered = (0..=u32::from(u16::MAX)).map(|value| value << 16 | value);
    let mixed = (0..=u32::from(u16::MAX)).map(|value| {
        let mixed = (value ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1);
        (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77)
    });
    // Whole pixels of three bytes as well.
    ordered.chain(mixed).chain([0, !0, 0x8000_0001, 0x7fff_fffe]).collect()
}

#[test]
#[ignore = "needs libpixman-1-0: cargo xtask test"]
fn every_format_is_decoded_as_pixman_does() {
    let pixman = Pixman::load().expect("libpixman-1-0 is installed");
    let words = patterns();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for format in PixelFormat::ALL {
        for alpha in [Alpha::Ignore, Alpha::Keep] {
            let width = bytes.len() / format.bytes_per_pixel() as usize;
            // The sides of a pixman image have 16 bits.
            for first in (0..width).step_by(24_000) {
                let count = (width - first).min(24_000);
                let at = first * format.bytes_per_pixel() as usize;
                let (part, size) = (&bytes[at..], Size::new(count as u32, 1));
                let mut expected = vec![0; count];
                pixman.decode((format, alpha), (part, part.len()), size, &mut expected);
                let mut decoded = vec![0; count];
                row(format, alpha, &bytes[at..], &mut decoded);
                let same = decoded.iter().zip(&expected).position(|(ours, theirs)| ours != theirs);
                if let Some(n) = same {
                    let (ours, theirs) = (decoded[n], expected[n]);
                    panic!("{format} {alpha:?}, pixel {n}: {ours:08x}, pixman {theirs:08x}");
                }
            }
        }
    }
}
