// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Rows of any readable format into XRGB8888, the one format that leaves this crate.
//!
//! Fewer than 8 bits of a channel are widened by repeating the high bits, so that the darkest and
//! the brightest value stay what they are; 10 bits lose their two lowest. That is what pixman
//! does, and `tests/oracle_pixman.rs` compares every format with it.

use crate::format::PixelFormat;
use crate::sys::cpu::{self, Loop, Order};

/// Alpha of a pixel that has none.
pub(crate) const OPAQUE: u32 = 0xff00_0000;

/// What becomes of a format's alpha channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpha {
    /// Pixels come out opaque, as on a screen.
    Ignore,
    /// Alpha comes out as it is, as of a cursor. Formats that have none come out opaque.
    Keep,
}

/// Decodes pixels of `format` into `0xAARRGGBB`, as many as both slices hold whole.
pub fn row(format: PixelFormat, alpha: Alpha, src: &[u8], dst: &mut [u32]) {
    let order = match format {
        PixelFormat::Rgb888 => Some(&const { Order::new([0, 1, 2]) }),
        PixelFormat::Bgr888 => Some(&const { Order::new([2, 1, 0]) }),
        _ => None,
    };
    let done = order.map_or(0, |order| cpu::widen(src, order, 0xff, dst));
    let (src, dst) = (&src[done * 3..], &mut dst[done..]);
    // Stores that each fill a line of the cache, where there are many.
    let head = if dst.len() < MANY { 0 } else { dst.as_ptr().align_offset(LINE).min(dst.len()) };
    let head = head.min(src.len() / format.bytes_per_pixel() as usize);
    let (first, rest) = src.split_at(head * format.bytes_per_pixel() as usize);
    let (to, dst) = dst.split_at_mut(head);
    decode(format, alpha, first, to);
    cpu::widest(Decode { format, alpha, src: rest, dst });
}

/// Bytes of a line of the cache.
const LINE: usize = 64;

/// Pixels from which on it is worth a few steps to begin at a line.
const MANY: usize = 256;

struct Decode<'a> {
    format: PixelFormat,
    alpha: Alpha,
    src: &'a [u8],
    dst: &'a mut [u32],
}

impl Loop for Decode<'_> {
    #[inline(always)]
    fn run(self) {
        decode(self.format, self.alpha, self.src, self.dst);
    }
}

/// Plain loops, which the compiler makes vectors of, as wide as those of the caller.
#[inline(always)]
fn decode(format: PixelFormat, alpha: Alpha, src: &[u8], dst: &mut [u32]) {
    use PixelFormat as F;
    let opaque = match (alpha, format) {
        (Alpha::Keep, F::Argb8888 | F::Abgr8888 | F::Argb2101010 | F::Abgr2101010) => 0,
        _ => OPAQUE,
    };
    match format {
        F::Xrgb8888 | F::Argb8888 => words(src, dst, |p| p | opaque),
        F::Xbgr8888 | F::Abgr8888 => {
            words(src, dst, |p| (p & 0xff00_ff00) | (p & 0xff) << 16 | (p >> 16 & 0xff) | opaque)
        }
        F::Rgbx8888 => words(src, dst, |p| p >> 8 | OPAQUE),
        F::Bgrx8888 => words(src, dst, |p| p.swap_bytes() | OPAQUE),
        F::Rgb888 => each(src, dst, |[b, g, r]| u32::from_le_bytes([b, g, r, 0xff])),
        F::Bgr888 => each(src, dst, |[r, g, b]| u32::from_le_bytes([b, g, r, 0xff])),
        F::Rgb565 => halves(src, dst, |p| rgb(five(p >> 11), six(p >> 5), five(p))),
        F::Bgr565 => halves(src, dst, |p| rgb(five(p), six(p >> 5), five(p >> 11))),
        F::Xrgb1555 => halves(src, dst, |p| rgb(five(p >> 10), five(p >> 5), five(p))),
        F::Xrgb2101010 | F::Argb2101010 => words(src, dst, |p| {
            (p >> 6 & 0x00ff_0000) | (p >> 4 & 0xff00) | (p >> 2 & 0xff) | two(p) | opaque
        }),
        F::Xbgr2101010 | F::Abgr2101010 => words(src, dst, |p| {
            (p << 14 & 0x00ff_0000) | (p >> 4 & 0xff00) | (p >> 22 & 0xff) | two(p) | opaque
        }),
    }
}

#[inline(always)]
fn each<const N: usize>(src: &[u8], dst: &mut [u32], decode: impl Fn([u8; N]) -> u32) {
    for (pixel, out) in src.as_chunks::<N>().0.iter().zip(dst) {
        *out = decode(*pixel);
    }
}

#[inline(always)]
fn words(src: &[u8], dst: &mut [u32], decode: impl Fn(u32) -> u32) {
    each(src, dst, |bytes| decode(u32::from_le_bytes(bytes)));
}

#[inline(always)]
fn halves(src: &[u8], dst: &mut [u32], decode: impl Fn(u32) -> u32) {
    each(src, dst, |bytes| decode(u16::from_le_bytes(bytes).into()));
}

const fn rgb(r: u32, g: u32, b: u32) -> u32 {
    OPAQUE | r << 16 | g << 8 | b
}

/// The lowest five bits, widened to eight.
const fn five(p: u32) -> u32 {
    let p = p & 0x1f;
    p << 3 | p >> 2
}

/// The lowest six bits, widened to eight.
const fn six(p: u32) -> u32 {
    let p = p & 0x3f;
    p << 2 | p >> 4
}

/// The highest two bits, widened to eight, as alpha.
const fn two(p: u32) -> u32 {
    (p >> 30) * 0x5500_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(format: PixelFormat, src: &[u8]) -> u32 {
        let mut dst = [0];
        row(format, Alpha::Keep, src, &mut dst);
        dst[0]
    }

    #[test]
    fn channels_end_up_in_their_places() {
        use PixelFormat as F;
        // Red 0x11, green 0x22, blue 0x33, alpha or unused 0x44, in the order of each name.
        for (format, bytes, expected) in [
            (F::Xrgb8888, [0x33, 0x22, 0x11, 0x44], 0xff11_2233),
            (F::Argb8888, [0x33, 0x22, 0x11, 0x44], 0x4411_2233),
            (F::Xbgr8888, [0x11, 0x22, 0x33, 0x44], 0xff11_2233),
            (F::Abgr8888, [0x11, 0x22, 0x33, 0x44], 0x4411_2233),
            (F::Rgbx8888, [0x44, 0x33, 0x22, 0x11], 0xff11_2233),
            (F::Bgrx8888, [0x44, 0x11, 0x22, 0x33], 0xff11_2233),
        ] {
            assert_eq!(one(format, &bytes), expected, "{format}");
        }
        assert_eq!(one(F::Rgb888, &[0x33, 0x22, 0x11]), 0xff11_2233);
        assert_eq!(one(F::Bgr888, &[0x11, 0x22, 0x33]), 0xff11_2233);
    }

    #[test]
    fn narrow_and_wide_channels_keep_black_and_white() {
        for format in PixelFormat::ALL {
            let bytes = format.bytes_per_pixel() as usize;
            assert_eq!(one(format, &[0; 4][..bytes]) & 0xff_ffff, 0, "{format}");
            assert_eq!(one(format, &[0xff; 4][..bytes]), 0xffff_ffff, "{format}");
        }
        assert_eq!(one(PixelFormat::Rgb565, &(1_u16 << 11).to_le_bytes()), 0xff08_0000);
        assert_eq!(one(PixelFormat::Xrgb2101010, &(0x3fc_u32 << 20).to_le_bytes()), 0xffff_0000);
        assert_eq!(one(PixelFormat::Argb2101010, &(1_u32 << 30).to_le_bytes()), 0x5500_0000);
    }

    #[test]
    fn many_pixels_are_what_each_is_alone() {
        let src: Vec<u8> = (0..5000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
        for format in PixelFormat::ALL {
            let bytes = format.bytes_per_pixel() as usize;
            for (start, count) in
                (0..20).flat_map(|start| [(start, 255), (start, 300), (start, 1000)])
            {
                let mut dst = vec![7; start + count + 1];
                let src = &src[start..][..count * bytes];
                row(format, Alpha::Keep, src, &mut dst[start..start + count]);
                for (pixel, out) in src.chunks_exact(bytes).zip(&dst[start..]) {
                    assert_eq!(one(format, pixel), *out, "{format} {start} {count}");
                }
                assert_eq!((dst[start + count], start == 0 || dst[start - 1] == 7), (7, true));
            }
        }
    }

    #[test]
    fn only_whole_pixels_are_decoded() {
        let mut dst = [7; 3];
        row(PixelFormat::Rgb888, Alpha::Ignore, &[0; 5], &mut dst);
        assert_eq!(dst, [OPAQUE, 7, 7]);
    }
}
