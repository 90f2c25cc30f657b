// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pixels as a guest's driver writes them.
//!
//! Written on its own from `<drm/drm_fourcc.h>`, channel by channel, and sharing nothing with the
//! code that reads pixels: two readings of the header that agree are worth more than one.

use crate::format::PixelFormat;

/// Put where a format has unused bits, because nothing says that they are zero.
const JUNK: u32 = 0x5A;

/// Appends the pixels of `row`, each XRGB8888, or ARGB8888 for a format with alpha, to `out`.
///
/// A pixel is `0xAARRGGBB`. Channels of fewer bits lose their low ones; wider ones repeat their
/// high bits below.
pub(super) fn encode(format: PixelFormat, row: &[u32], out: &mut Vec<u8>) {
    match format {
        PixelFormat::Argb8888 => each(row, out, |p| p.to_le_bytes()),
        PixelFormat::Xrgb8888 => each(row, out, |p| (p & 0x00ff_ffff | JUNK << 24).to_le_bytes()),
        PixelFormat::Xbgr8888 => each(row, out, |p| [r(p), g(p), b(p), JUNK as u8]),
        PixelFormat::Abgr8888 => each(row, out, |p| [r(p), g(p), b(p), a(p)]),
        PixelFormat::Rgbx8888 => each(row, out, |p| [JUNK as u8, b(p), g(p), r(p)]),
        PixelFormat::Bgrx8888 => each(row, out, |p| [JUNK as u8, r(p), g(p), b(p)]),
        PixelFormat::Rgb888 => each(row, out, |p| [b(p), g(p), r(p)]),
        PixelFormat::Bgr888 => each(row, out, |p| [r(p), g(p), b(p)]),
        PixelFormat::Rgb565 => each(row, out, |p| pack565(r(p), g(p), b(p))),
        PixelFormat::Bgr565 => each(row, out, |p| pack565(b(p), g(p), r(p))),
        PixelFormat::Xrgb1555 => each(row, out, |p| {
            let high = |v: u8| u16::from(v >> 3);
            (0x8000 | high(r(p)) << 10 | high(g(p)) << 5 | high(b(p))).to_le_bytes()
        }),
        PixelFormat::Xrgb2101010 => each(row, out, |p| pack30(1, r(p), g(p), b(p))),
        PixelFormat::Argb2101010 => each(row, out, |p| pack30(a(p) >> 6, r(p), g(p), b(p))),
        PixelFormat::Xbgr2101010 => each(row, out, |p| pack30(1, b(p), g(p), r(p))),
        PixelFormat::Abgr2101010 => each(row, out, |p| pack30(a(p) >> 6, b(p), g(p), r(p))),
    }
}

/// Whether the format's top bits are the pixel's alpha.
pub(super) const fn has_alpha(format: PixelFormat) -> bool {
    matches!(
        format,
        PixelFormat::Argb8888
            | PixelFormat::Abgr8888
            | PixelFormat::Argb2101010
            | PixelFormat::Abgr2101010
    )
}

fn each<const N: usize>(row: &[u32], out: &mut Vec<u8>, pixel: impl Fn(u32) -> [u8; N]) {
    out.extend(row.iter().flat_map(|&p| pixel(p)));
}

const fn a(pixel: u32) -> u8 {
    (pixel >> 24) as u8
}

const fn r(pixel: u32) -> u8 {
    (pixel >> 16) as u8
}

const fn g(pixel: u32) -> u8 {
    (pixel >> 8) as u8
}

const fn b(pixel: u32) -> u8 {
    pixel as u8
}

/// Five, six and five bits, the first channel on top.
const fn pack565(top: u8, middle: u8, low: u8) -> [u8; 2] {
    ((top as u16 >> 3) << 11 | (middle as u16 >> 2) << 5 | low as u16 >> 3).to_le_bytes()
}

/// Two bits, then ten of each channel, the first one on top.
const fn pack30(top: u8, first: u8, second: u8, third: u8) -> [u8; 4] {
    const fn ten(v: u8) -> u32 {
        (v as u32) << 2 | v as u32 >> 6
    }
    ((top as u32) << 30 | ten(first) << 20 | ten(second) << 10 | ten(third)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel of red 0x11, green 0x96, blue 0xFE, alpha 0xC0, worked out by hand.
    #[test]
    fn each_format_is_the_header_s() {
        let table: [(PixelFormat, &[u8]); 15] = [
            (PixelFormat::Xrgb8888, &[0xFE, 0x96, 0x11, 0x5A]),
            (PixelFormat::Argb8888, &[0xFE, 0x96, 0x11, 0xC0]),
            (PixelFormat::Xbgr8888, &[0x11, 0x96, 0xFE, 0x5A]),
            (PixelFormat::Abgr8888, &[0x11, 0x96, 0xFE, 0xC0]),
            (PixelFormat::Rgbx8888, &[0x5A, 0xFE, 0x96, 0x11]),
            (PixelFormat::Bgrx8888, &[0x5A, 0x11, 0x96, 0xFE]),
            (PixelFormat::Rgb888, &[0xFE, 0x96, 0x11]),
            (PixelFormat::Bgr888, &[0x11, 0x96, 0xFE]),
            // 00010 100101 11111
            (PixelFormat::Rgb565, &[0b1011_1111, 0b0001_0100]),
            // 11111 100101 00010
            (PixelFormat::Bgr565, &[0b1010_0010, 0b1111_1100]),
            // 1 00010 10010 11111
            (PixelFormat::Xrgb1555, &[0b0101_1111, 0b1000_1010]),
            // 01 0001000100 1001011010 1111111011
            (PixelFormat::Xrgb2101010, &[0xFB, 0x6B, 0x49, 0x44]),
            (PixelFormat::Argb2101010, &[0xFB, 0x6B, 0x49, 0xC4]),
            // 01 1111111011 1001011010 0001000100
            (PixelFormat::Xbgr2101010, &[0x44, 0x68, 0xB9, 0x7F]),
            (PixelFormat::Abgr2101010, &[0x44, 0x68, 0xB9, 0xFF]),
        ];
        for (format, bytes) in table {
            let mut out = Vec::new();
            encode(format, &[0xC011_96FE], &mut out);
            assert_eq!(out, bytes, "{format}");
        }
    }
}
