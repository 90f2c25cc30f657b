// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a viewer wants its pixels (RFC 6143, section 7.4), and the way from ours to that.

use crate::error::Error;
use crate::wire::{put_u16, server, u16_at};

/// Bytes of a format on the wire, padding included.
pub(crate) const WIRE_LENGTH: usize = 16;

/// One colour's place in a pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Channel {
    /// The brightest value, a power of two less one.
    pub max: u16,
    /// Bits to the right of it.
    pub shift: u8,
}

impl Channel {
    const fn mask(self) -> u64 {
        (self.max as u64) << self.shift
    }

    /// `value` of 0 to 255, scaled to the nearest of 0 to `max` and shifted into place.
    const fn place(self, value: u32) -> u32 {
        ((value * self.max as u32 + 127) / 255) << self.shift
    }
}

/// A pixel format that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PixelFormat {
    /// 8, 16 or 32.
    pub bits_per_pixel: u8,
    /// Useful bits in a pixel.
    pub depth: u8,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
    /// If not, a pixel is an index into a map, which we fill with the colours of `BGR233`.
    pub true_colour: bool,
    /// Red, green and blue.
    pub channels: [Channel; 3],
}

/// Red in the lowest three bits, green above, blue in the highest two: what viewers mean by 8 bits.
const BGR233: [Channel; 3] =
    [Channel { max: 7, shift: 0 }, Channel { max: 7, shift: 3 }, Channel { max: 3, shift: 6 }];

impl PixelFormat {
    /// The format of a [`Frame`](vfio_display::Frame): XRGB8888, little-endian. What ServerInit
    /// names, and the fast path.
    pub const XRGB8888: Self = Self {
        bits_per_pixel: 32,
        depth: 24,
        big_endian: false,
        true_colour: true,
        channels: [
            Channel { max: 255, shift: 16 },
            Channel { max: 255, shift: 8 },
            Channel { max: 255, shift: 0 },
        ],
    };

    /// Reads a PIXEL_FORMAT of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`Error::PixelFormat`]: bits per pixel other than 8, 16 and 32; a depth beyond them; a
    /// maximum that is not a power of two less one; colours that overlap or lie outside.
    pub fn parse(bytes: &[u8; WIRE_LENGTH]) -> Result<Self, Error> {
        let format = Self {
            bits_per_pixel: bytes[0],
            depth: bytes[1],
            big_endian: bytes[2] != 0,
            true_colour: bytes[3] != 0,
            channels: [
                Channel { max: u16_at(bytes, 4), shift: bytes[10] },
                Channel { max: u16_at(bytes, 6), shift: bytes[11] },
                Channel { max: u16_at(bytes, 8), shift: bytes[12] },
            ],
        };
        if !matches!(format.bits_per_pixel, 8 | 16 | 32) {
            return Err(Error::PixelFormat("bits per pixel are not 8, 16 or 32"));
        }
        if format.depth == 0 || format.depth > format.bits_per_pixel {
            return Err(Error::PixelFormat("the depth is not within the bits of a pixel"));
        }
        if !format.true_colour {
            // The colours of a mapped format have no meaning (section 7.4), so ours take their
            // place: eight bits, however wide the index.
            return Ok(Self { channels: BGR233, ..format });
        }
        let mut used = 0u64;
        for channel in format.channels {
            if !(u32::from(channel.max) + 1).is_power_of_two() || channel.max == 0 {
                return Err(Error::PixelFormat("a maximum is not a power of two less one"));
            }
            if channel.shift >= format.bits_per_pixel
                || channel.mask() >> format.bits_per_pixel != 0
            {
                return Err(Error::PixelFormat("a colour lies outside of the pixel"));
            }
            if used & channel.mask() != 0 {
                return Err(Error::PixelFormat("two colours overlap"));
            }
            used |= channel.mask();
        }
        Ok(format)
    }

    /// Appends it as 16 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[
            self.bits_per_pixel,
            self.depth,
            self.big_endian.into(),
            self.true_colour.into(),
        ]);
        for channel in self.channels {
            put_u16(out, channel.max);
        }
        for channel in self.channels {
            out.push(channel.shift);
        }
        out.extend_from_slice(&[0; 3]);
    }

    /// The SetColourMapEntries that a mapped format needs (section 7.6.2): all 256 indices.
    pub(crate) fn write_colour_map(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[server::SET_COLOUR_MAP_ENTRIES, 0]);
        put_u16(out, 0);
        put_u16(out, 256);
        for index in 0..256u32 {
            for channel in BGR233 {
                let value = (index >> channel.shift) & u32::from(channel.max);
                put_u16(out, (value * 0xffff / u32::from(channel.max)) as u16);
            }
        }
    }

    fn mask(&self) -> u32 {
        self.channels.iter().fold(0, |mask, channel| mask | channel.mask() as u32)
    }
}

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

    fn wire(format: &PixelFormat) -> [u8; 16] {
        let mut out = Vec::new();
        format.write(&mut out);
        out.try_into().unwrap()
    }

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
    fn survives_the_wire() {
        for format in [
            PixelFormat::XRGB8888,
            format(16, 16, true, [(31, 11), (63, 5), (31, 0)]),
            format(8, 8, false, [(7, 0), (7, 3), (3, 6)]),
            format(32, 30, false, [(1023, 20), (1023, 10), (1023, 0)]),
        ] {
            assert_eq!(PixelFormat::parse(&wire(&format)).unwrap(), format);
        }
    }

    #[test]
    fn refuses_nonsense() {
        for (format, why) in [
            (format(24, 24, false, [(255, 16), (255, 8), (255, 0)]), "bits per pixel"),
            (format(0, 0, false, [(0, 0), (0, 0), (0, 0)]), "bits per pixel"),
            (format(32, 0, false, [(255, 16), (255, 8), (255, 0)]), "depth"),
            (format(16, 24, false, [(31, 11), (63, 5), (31, 0)]), "depth"),
            (format(32, 24, false, [(255, 16), (254, 8), (255, 0)]), "power of two"),
            (format(32, 24, false, [(255, 16), (0, 8), (255, 0)]), "power of two"),
            (format(32, 24, false, [(255, 255), (255, 8), (255, 0)]), "outside"),
            (format(8, 8, false, [(255, 1), (7, 3), (3, 6)]), "outside"),
            (format(32, 24, false, [(255, 16), (255, 9), (255, 0)]), "overlap"),
            (format(16, 16, false, [(31, 11), (63, 6), (31, 0)]), "overlap"),
        ] {
            match PixelFormat::parse(&wire(&format)) {
                Err(Error::PixelFormat(said)) => assert!(said.contains(why), "{said}: {format:?}"),
                other => panic!("{other:?} for {format:?}"),
            }
        }
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
        let mut bytes = wire(&PixelFormat::XRGB8888);
        (bytes[0], bytes[1], bytes[3]) = (8, 8, 0);
        let format = PixelFormat::parse(&bytes).unwrap();
        let mut out = Vec::new();
        format.write_colour_map(&mut out);
        assert_eq!(out.len(), 6 + 256 * 6);
        let index = usize::from(converted(&Pixels::compressed(&format), 0xff00_ff00)[0]);
        assert_eq!(&out[6 + index * 6..][..6], [0, 0, 0xff, 0xff, 0, 0]);
    }
}
