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
    pub(crate) const fn place(self, value: u32) -> u32 {
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

    pub(crate) fn mask(&self) -> u32 {
        self.channels.iter().fold(0, |mask, channel| mask | channel.mask() as u32)
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
}
