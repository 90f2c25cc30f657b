// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A pixel format as a viewer sees it.

/// Like the server's, and made apart from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub bits: u8,
    pub depth: u8,
    pub big: bool,
    pub colour: bool,
    /// Maximum and shift of red, green, blue.
    pub rgb: [(u16, u8); 3],
}

const fn format(bits: u8, depth: u8, big: bool, rgb: [(u16, u8); 3]) -> Format {
    Format { bits, depth, big, colour: true, rgb }
}

pub const XRGB: Format = format(32, 24, false, [(255, 16), (255, 8), (255, 0)]);
pub const RGB565: Format = format(16, 16, false, [(31, 11), (63, 5), (31, 0)]);
pub const BGR233: Format = format(8, 8, false, [(7, 0), (7, 3), (3, 6)]);

/// One of each kind that takes another way through an encoder.
pub const ALL: [Format; 11] = [
    XRGB,
    format(32, 24, true, [(255, 16), (255, 8), (255, 0)]),
    format(32, 24, false, [(255, 0), (255, 8), (255, 16)]),
    format(32, 24, false, [(255, 24), (255, 16), (255, 8)]),
    format(32, 24, true, [(255, 24), (255, 16), (255, 8)]),
    format(32, 30, false, [(1023, 20), (1023, 10), (1023, 0)]),
    RGB565,
    format(16, 16, true, [(31, 11), (63, 5), (31, 0)]),
    format(16, 15, false, [(31, 10), (31, 5), (31, 0)]),
    BGR233,
    Format { bits: 8, depth: 8, big: false, colour: false, rgb: [(0, 0); 3] },
];

impl Format {
    pub fn bytes(&self) -> usize {
        usize::from(self.bits / 8)
    }

    pub fn wire(&self) -> [u8; 16] {
        let mut out = [0; 16];
        out[0..4].copy_from_slice(&[self.bits, self.depth, self.big.into(), self.colour.into()]);
        for (i, (max, shift)) in self.rgb.into_iter().enumerate() {
            out[4 + 2 * i..6 + 2 * i].copy_from_slice(&max.to_be_bytes());
            out[10 + i] = shift;
        }
        out
    }

    /// The pixel that `0xAARRGGBB` is nearest to, as a number.
    pub fn pack(&self, pixel: u32) -> u32 {
        // A map of ours has these colours.
        let rgb = if self.colour { self.rgb } else { BGR233.rgb };
        let [_, colours @ ..] = pixel.to_be_bytes();
        let parts = colours.into_iter().zip(rgb);
        parts.fold(0, |all, (value, (max, shift))| {
            let exact = f64::from(value) * f64::from(max) / 255.0;
            all | (exact.round() as u32) << shift
        })
    }

    /// A pixel of all its bytes.
    pub fn read(&self, bytes: &[u8]) -> u32 {
        let byte = |i: usize| u32::from(bytes[if self.big { self.bytes() - 1 - i } else { i }]);
        (0..self.bytes()).fold(0, |all, i| all | byte(i) << (8 * i))
    }

    fn mask(&self) -> u32 {
        self.rgb.iter().fold(0, |mask, (max, shift)| mask | u32::from(*max) << shift)
    }

    /// Bytes of a CPIXEL.
    pub fn cpixel_bytes(&self) -> usize {
        let fits = self.mask() >> 24 == 0 || self.mask() & 0xff == 0;
        if self.colour && self.bits == 32 && self.depth <= 24 && fits { 3 } else { self.bytes() }
    }

    pub fn read_cpixel(&self, bytes: &[u8]) -> u32 {
        if self.cpixel_bytes() == self.bytes() {
            return self.read(bytes);
        }
        // The three that are there, lowest first, below or above the one that is not.
        let byte = |i: usize| u32::from(bytes[if self.big { 2 - i } else { i }]);
        let value = byte(0) | byte(1) << 8 | byte(2) << 16;
        if self.mask() >> 24 == 0 { value } else { value << 8 }
    }

    /// Bytes of a TPIXEL.
    pub fn tpixel_bytes(&self) -> usize {
        let whole = self.rgb.iter().all(|(max, _)| *max == 255);
        if self.colour && self.bits == 32 && self.depth == 24 && whole { 3 } else { self.bytes() }
    }

    pub fn read_tpixel(&self, bytes: &[u8]) -> u32 {
        if self.tpixel_bytes() == self.bytes() {
            return self.read(bytes);
        }
        bytes
            .iter()
            .zip(self.rgb)
            .fold(0, |all, (value, (_, shift))| all | u32::from(*value) << shift)
    }
}
