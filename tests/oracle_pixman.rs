// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every pixel format against an independent decoder: pixman, through which QEMU shows screens.
#![allow(unsafe_code, reason = "pixman is a C library")]

use std::ffi::{c_int, c_void};
use std::ptr;

use libloading::Library;
use vfio_display::convert::{Alpha, row};
use vfio_display::format::PixelFormat;

/// `PIXMAN_OP_SRC`.
const SRC: c_int = 1;
/// `PIXMAN_TYPE_ARGB` and its neighbours: the order of the channels from the highest bit on.
const ARGB: u32 = 2;
const ABGR: u32 = 3;
const BGRA: u32 = 8;
const RGBA: u32 = 9;

/// `PIXMAN_FORMAT` of `<pixman.h>`.
const fn code(bits: u32, order: u32, a: u32, r: u32, g: u32, b: u32) -> u32 {
    bits << 24 | order << 16 | a << 12 | r << 8 | g << 4 | b
}

/// The code that pixman has for `format`, with its alpha or with those bits unused.
fn pixman_format(format: PixelFormat, alpha: Alpha) -> u32 {
    use PixelFormat as F;
    let a = |bits| if alpha == Alpha::Keep { bits } else { 0 };
    match format {
        F::Xrgb8888 => code(32, ARGB, 0, 8, 8, 8),
        F::Argb8888 => code(32, ARGB, a(8), 8, 8, 8),
        F::Xbgr8888 => code(32, ABGR, 0, 8, 8, 8),
        F::Abgr8888 => code(32, ABGR, a(8), 8, 8, 8),
        F::Rgbx8888 => code(32, RGBA, 0, 8, 8, 8),
        F::Bgrx8888 => code(32, BGRA, 0, 8, 8, 8),
        F::Rgb888 => code(24, ARGB, 0, 8, 8, 8),
        F::Bgr888 => code(24, ABGR, 0, 8, 8, 8),
        F::Rgb565 => code(16, ARGB, 0, 5, 6, 5),
        F::Bgr565 => code(16, ABGR, 0, 5, 6, 5),
        F::Xrgb1555 => code(16, ARGB, 0, 5, 5, 5),
        F::Xrgb2101010 => code(32, ARGB, 0, 10, 10, 10),
        F::Argb2101010 => code(32, ARGB, a(2), 10, 10, 10),
        F::Xbgr2101010 => code(32, ABGR, 0, 10, 10, 10),
        F::Abgr2101010 => code(32, ABGR, a(2), 10, 10, 10),
    }
}

type Image = *mut c_void;
type Create = unsafe extern "C" fn(u32, c_int, c_int, *mut u32, c_int) -> Image;
type Composite =
    unsafe extern "C" fn(c_int, Image, Image, Image, i32, i32, i32, i32, i32, i32, i32, i32);
type Unref = unsafe extern "C" fn(Image) -> c_int;

/// Has pixman decode a row of `width` pixels; `bytes` is a whole number of words.
fn pixman(library: &Library, format: u32, bytes: &mut [u32], width: usize) -> Vec<u32> {
    let mut out = vec![0_u32; width];
    let stride = |words: &[u32]| size_of_val(words) as c_int;
    let (from, to) = (stride(bytes), stride(&out));
    // SAFETY: the signatures are those of <pixman.h>; both images are one row, their stride is
    // the bytes of the slice behind them, and they are let go of before the slices are.
    unsafe {
        let create = library.get::<Create>("pixman_image_create_bits").expect("pixman has it");
        let composite = library.get::<Composite>("pixman_image_composite32").expect("it has");
        let unref = library.get::<Unref>("pixman_image_unref").expect("it has");
        let src = create(format, width as c_int, 1, bytes.as_mut_ptr(), from);
        let argb = code(32, ARGB, 8, 8, 8, 8);
        let dst = create(argb, width as c_int, 1, out.as_mut_ptr(), to);
        assert!(!src.is_null() && !dst.is_null(), "pixman knows format {format:#x}");
        composite(SRC, src, ptr::null_mut(), dst, 0, 0, 0, 0, 0, 0, width as i32, 1);
        unref(src);
        unref(dst);
    }
    out
}

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
    // SAFETY: pixman's initialisers detect the CPU, no more.
    let library = unsafe { Library::new("libpixman-1.so.0") }.expect("libpixman-1-0 is installed");
    let mut words = patterns();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for format in PixelFormat::ALL {
        for alpha in [Alpha::Ignore, Alpha::Keep] {
            let width = bytes.len() / format.bytes_per_pixel() as usize;
            // The sides of a pixman image have 16 bits.
            for first in (0..width).step_by(24_000) {
                let count = (width - first).min(24_000);
                let at = first * format.bytes_per_pixel() as usize;
                let part = &mut words[at / 4..];
                let expected = pixman(&library, pixman_format(format, alpha), part, count);
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
