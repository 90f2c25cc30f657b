// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From our pixels to those of a viewer.

use crate::pixel_format::PixelFormat;

/// The pixels of an encoding: PIXEL, ZRLE's CPIXEL or Tight's TPIXEL, in some format.
#[derive(Clone, Debug)]
pub(crate) struct Pixels {
    /// Bytes of one, 1 to 4.
    pub(crate) bytes: usize,
    how: How,
}

/// From `0xAARRGGBB` to a number whose low bytes, lowest first, are those on the wire.
#[derive(Clone, Debug)]
enum How {
    /// They already are.
    Keep,
    /// Red first, blue third.
    Swap,
    /// A table for each colour, to be combined.
    Tables(Box<[[u32; 256]; 3]>),
}

impl Pixels {
    /// PIXEL: all bits of a pixel (section 7.7.1).
    pub(crate) fn plain(format: &PixelFormat) -> Self {
        let bytes = usize::from(format.bits_per_pixel / 8);
        if *format == PixelFormat::XRGB8888 {
            return Self { bytes, how: How::Keep };
        }
        Self::tables(format, bytes, 0)
    }

    /// CPIXEL (section 7.7.5): 3 bytes where the fourth says nothing.
    pub(crate) fn compressed(format: &PixelFormat) -> Self {
        if *format == PixelFormat::XRGB8888 {
            return Self { bytes: 3, how: How::Keep };
        }
        let narrow = format.true_colour && format.bits_per_pixel == 32 && format.depth <= 24;
        let (low, high) = (format.mask() >> 24 == 0, format.mask() & 0xff == 0);
        // Where either end would do, the byte that comes last on the wire goes.
        match (narrow, format.big_endian, low, high) {
            (true, false, true, _) | (true, true, _, true) => Self::tables(format, 3, 0),
            (true, false, _, true) | (true, true, true, _) => Self::tables(format, 3, 8),
            _ => Self::plain(format),
        }
    }

    /// TPIXEL (rfbproto, Tight Encoding): R, G, B where each has 8 bits.
    pub(crate) fn tight(format: &PixelFormat) -> Self {
        let whole = format.channels.iter().all(|c| c.max == 255);
        if format.true_colour && format.bits_per_pixel == 32 && format.depth == 24 && whole {
            return Self { bytes: 3, how: How::Swap };
        }
        Self::plain(format)
    }

    /// `skip` bits are those of the bytes on the wire that are left out at the front.
    fn tables(format: &PixelFormat, bytes: usize, skip: u32) -> Self {
        let mut tables = Box::new([[0; 256]; 3]);
        for (table, channel) in tables.iter_mut().zip(format.channels) {
            for (value, entry) in (0..).zip(table.iter_mut()) {
                let pixel = channel.place(value);
                let wire = match (format.big_endian, format.bits_per_pixel) {
                    (true, 16) => u32::from((pixel as u16).swap_bytes()),
                    (true, 32) => pixel.swap_bytes(),
                    _ => pixel,
                };
                *entry = wire >> skip;
            }
        }
        Self { bytes, how: How::Tables(tables) }
    }

    /// Converts a row. Both have the same length.
    #[inline]
    pub(crate) fn convert(&self, from: &[u32], to: &mut [u32]) {
        let pairs = from.iter().zip(to);
        match &self.how {
            How::Keep => pairs.for_each(|(from, to)| *to = from & 0x00ff_ffff),
            How::Swap => pairs.for_each(|(from, to)| *to = from.swap_bytes() >> 8),
            How::Tables(tables) => pairs.for_each(|(from, to)| {
                let [red, green, blue] = tables.as_ref();
                *to = red[(from >> 16) as usize & 255]
                    | green[(from >> 8) as usize & 255]
                    | blue[*from as usize & 255];
            }),
        }
    }

    /// Appends one that was converted.
    #[inline]
    pub(crate) fn put(&self, out: &mut Vec<u8>, pixel: u32) {
        out.extend_from_slice(&pixel.to_le_bytes()[..self.bytes]);
    }

    /// Appends many that were converted.
    pub(crate) fn put_all(&self, out: &mut Vec<u8>, pixels: &[u32]) {
        match self.bytes {
            1 => out.extend(pixels.iter().map(|p| *p as u8)),
            2 => append(out, pixels, 2, |to, p| to.copy_from_slice(&(p as u16).to_le_bytes())),
            3 => put_three(out, pixels),
            _ => append(out, pixels, 4, |to, p| to.copy_from_slice(&p.to_le_bytes())),
        }
    }
}

fn append(out: &mut Vec<u8>, pixels: &[u32], bytes: usize, put: impl Fn(&mut [u8], u32)) {
    let start = out.len();
    out.resize(start + pixels.len() * bytes, 0);
    for (to, pixel) in out[start..].chunks_exact_mut(bytes).zip(pixels) {
        put(to, *pixel);
    }
}

/// Four pixels become three words: a byte at a time costs three times as much.
fn put_three(out: &mut Vec<u8>, pixels: &[u32]) {
    let start = out.len();
    out.resize(start + pixels.len() * 3, 0);
    let mut to = out[start..].chunks_exact_mut(12);
    let mut from = pixels.chunks_exact(4);
    for (to, p) in to.by_ref().zip(from.by_ref()) {
        let words = [p[0] | p[1] << 24, p[1] >> 8 | p[2] << 16, p[2] >> 16 | p[3] << 8];
        for (to, word) in to.chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }
    for (to, p) in to.into_remainder().chunks_exact_mut(3).zip(from.remainder()) {
        to.copy_from_slice(&p.to_le_bytes()[..3]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel_format::Channel;

    fn converted(pixels: &Pixels, pixel: u32) -> Vec<u8> {
        let mut to = [0];
        pixels.convert(&[pixel], &mut to);
        let mut out = Vec::new();
        pixels.put(&mut out, to[0]);
        out
    }

    fn format(bits: u8, depth: u8, big: bool, channels: [(u16, u8); 3]) -> PixelFormat {
        let channels = channels.map(|(max, shift)| Channel { max, shift });
        PixelFormat { bits_per_pixel: bits, depth, big_endian: big, true_colour: true, channels }
    }

    #[test]
    fn pixels_of_each_kind() {
        let own = PixelFormat::XRGB8888;
        assert_eq!(converted(&Pixels::plain(&own), 0xff12_3456), [0x56, 0x34, 0x12, 0]);
        assert_eq!(converted(&Pixels::compressed(&own), 0xff12_3456), [0x56, 0x34, 0x12]);
        assert_eq!(converted(&Pixels::tight(&own), 0xff12_3456), [0x12, 0x34, 0x56]);
        let big = PixelFormat { big_endian: true, ..own };
        assert_eq!(converted(&Pixels::plain(&big), 0xff12_3456), [0, 0x12, 0x34, 0x56]);
        assert_eq!(converted(&Pixels::compressed(&big), 0xff12_3456), [0x12, 0x34, 0x56]);
        let top = format(32, 24, false, [(255, 24), (255, 16), (255, 8)]);
        assert_eq!(converted(&Pixels::compressed(&top), 0xff12_3456), [0x56, 0x34, 0x12]);
        let deep = PixelFormat { depth: 32, ..own };
        assert_eq!(converted(&Pixels::compressed(&deep), 0xff12_3456), [0x56, 0x34, 0x12, 0]);
        let rgb565 = format(16, 16, true, [(31, 11), (63, 5), (31, 0)]);
        assert_eq!(converted(&Pixels::plain(&rgb565), 0xffff_0000), [0xf8, 0]);
        assert_eq!(converted(&Pixels::compressed(&rgb565), 0xff00_00ff), [0, 0x1f]);
        let bgr233 = format(8, 8, false, [(7, 0), (7, 3), (3, 6)]);
        assert_eq!(converted(&Pixels::plain(&bgr233), 0xffff_00ff), [0xc7]);
    }

    #[test]
    fn many_at_once_are_the_same_as_one_by_one() {
        let from: Vec<u32> = (0..37u32).map(|i| i.wrapping_mul(0x0123_4567)).collect();
        for format in [
            PixelFormat::XRGB8888,
            format(16, 16, false, [(31, 11), (63, 5), (31, 0)]),
            format(8, 6, false, [(3, 4), (3, 2), (3, 0)]),
        ] {
            for pixels in [Pixels::plain(&format), Pixels::compressed(&format)] {
                let mut to = vec![0; from.len()];
                pixels.convert(&from, &mut to);
                let (mut many, mut one) = (Vec::new(), Vec::new());
                pixels.put_all(&mut many, &to);
                to.iter().for_each(|p| pixels.put(&mut one, *p));
                assert_eq!(many, one);
            }
        }
    }

    #[test]
    fn a_colour_map_is_what_indices_mean() {
        let format = PixelFormat::parse(&[8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
        let mut out = Vec::new();
        format.write_colour_map(&mut out);
        assert_eq!(out.len(), 6 + 256 * 6);
        let index = usize::from(converted(&Pixels::compressed(&format), 0xff00_ff00)[0]);
        assert_eq!(&out[6 + index * 6..][..6], [0, 0, 0xff, 0xff, 0, 0]);
    }
}
