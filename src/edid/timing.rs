// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Timings of a mode, and the two ways to write them down.
//!
//! Blanking is CVT 1.2's "reduced blanking" (version 1), with two liberties that a screen without
//! wires can take: the width need not be a multiple of 8, and the pixel clock is rounded to the
//! 10 kHz that an EDID counts in rather than down to 250 kHz, so that 60 Hz asked for is 60 Hz.
//! And a small mode has more blank rows than it needs, because no pixel clock is below 10 MHz:
//! readers take a slower one for rubbish.

use crate::geometry::Size;

/// Pixels of blanking in a row, and its parts (CVT 1.2, 3.4.2).
const H_BLANK: u32 = 160;
const H_FRONT: u32 = 48;
const H_SYNC: u32 = 32;
/// Rows before the vertical sync, and at least after it.
const V_FRONT: u32 = 3;
const MIN_V_BACK: u32 = 6;
/// Shortest vertical blanking, in microseconds.
const MIN_V_BLANK: u64 = 460;
/// Slowest pixel clock, in Hz.
const MIN_CLOCK: u64 = 10_000_000;

/// Bytes of a detailed timing descriptor.
pub(super) const DETAILED: usize = 18;

/// A mode with all that a display needs to show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// Pixels that are seen.
    pub(super) active: Size,
    v_blank: u32,
    v_sync: u32,
    /// Pixels a second, in units of 10 kHz.
    pub(super) clock: u32,
}

impl Timing {
    /// The timing of `active` pixels, at most 16384 a side, `refresh` times a second, 1 to 500.
    pub(super) fn new(active: Size, refresh: u32) -> Self {
        let v_sync = v_sync(active);
        let (active_rows, hertz) = (u64::from(active.height), u64::from(refresh));
        // Rows that pass in the shortest blanking, at the rate of rows that is left then.
        let blank = MIN_V_BLANK * hertz * active_rows / (1_000_000 - MIN_V_BLANK * hertz) + 1;
        let v_blank = (blank as u32).max(V_FRONT + v_sync + MIN_V_BACK);
        let timing = Self { active, v_blank, v_sync, clock: 0 };
        let row_pixels = hertz * u64::from(timing.columns());
        let rows = u64::from(timing.rows()).max(MIN_CLOCK.div_ceil(row_pixels));
        let timing = Self { v_blank: rows as u32 - active.height, ..timing };
        let pixels = row_pixels * rows;
        Self { clock: ((pixels + 5_000) / 10_000) as u32, ..timing }
    }

    /// Columns with blanking.
    const fn columns(&self) -> u32 {
        self.active.width + H_BLANK
    }

    /// Rows with blanking.
    const fn rows(&self) -> u32 {
        self.active.height + self.v_blank
    }

    /// Rows a second.
    pub(super) const fn row_rate(&self) -> u32 {
        (self.clock as u64 * 10_000 / self.columns() as u64) as u32
    }

    /// Pictures a second, the next whole number down and up.
    pub(super) const fn refresh(&self) -> (u32, u32) {
        let pixels = self.columns() as u64 * self.rows() as u64;
        let hertz = self.clock as u64 * 10_000;
        ((hertz / pixels) as u32, hertz.div_ceil(pixels) as u32)
    }

    /// Whether a detailed timing descriptor can say it: 12 bits a side, 16 bits of clock.
    pub(super) const fn fits_detailed(&self) -> bool {
        self.active.width < 1 << 12
            && self.active.height < 1 << 12
            && self.v_blank < 1 << 12
            && self.clock < 1 << 16
    }

    /// Whether a DisplayID timing can say it: 16 bits a side, 24 bits of clock.
    pub(super) const fn fits_display_id(&self) -> bool {
        self.active.width <= 1 << 16
            && self.active.height <= 1 << 16
            && self.clock > 0
            && self.clock <= 1 << 24
    }

    /// A detailed timing descriptor (E-EDID 1.4, 3.10.2) of an image of `millimetres`.
    pub(super) fn detailed(&self, millimetres: Size) -> [u8; DETAILED] {
        let [clock_low, clock_high, ..] = self.clock.to_le_bytes();
        // Two numbers of 12 bits: their low bytes, and the high halves in one byte.
        let pair = |a: u32, b: u32| {
            let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
            [a[0], b[0], (a[1] & 0xf) << 4 | b[1] & 0xf]
        };
        let [width, h_blank, h_high] = pair(self.active.width, H_BLANK);
        let [height, v_blank, v_high] = pair(self.active.height, self.v_blank);
        let [wide, high, image_high] = pair(millimetres.width, millimetres.height);
        // The vertical ones have 4 bits here; what V_FRONT and `v_sync` give is below 16.
        let v_offsets = (V_FRONT << 4 | self.v_sync) as u8;
        [
            clock_low,
            clock_high,
            width,
            h_blank,
            h_high,
            height,
            v_blank,
            v_high,
            H_FRONT as u8,
            H_SYNC as u8,
            v_offsets,
            0,
            wide,
            high,
            image_high,
            0,
            0,
            // Digital separate sync, horizontal positive, vertical negative: reduced blanking.
            0b0001_1010,
        ]
    }

    /// A detailed timing of type I (DisplayID 1.3, 4.4.1), the preferred one.
    pub(super) fn display_id(&self) -> [u8; 20] {
        const PREFERRED: u8 = 1 << 7;
        const ASPECT_UNDEFINED: u8 = 8;
        const POSITIVE: u16 = 1 << 15;
        let mut bytes = [0; 20];
        // Every number is written as one less than it is.
        bytes[..3].copy_from_slice(&(self.clock - 1).to_le_bytes()[..3]);
        bytes[3] = PREFERRED | aspect_code(self.active).unwrap_or(ASPECT_UNDEFINED);
        let words = [
            (self.active.width - 1) as u16,
            (H_BLANK - 1) as u16,
            (H_FRONT - 1) as u16 | POSITIVE,
            (H_SYNC - 1) as u16,
            (self.active.height - 1) as u16,
            (self.v_blank - 1) as u16,
            (V_FRONT - 1) as u16,
            (self.v_sync - 1) as u16,
        ];
        for (field, word) in bytes[4..].chunks_exact_mut(2).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

/// Whether the sides are as `width` to `height`.
const fn is_shape(size: Size, width: u32, height: u32) -> bool {
    size.width as u64 * height as u64 == size.height as u64 * width as u64
}

/// Rows of vertical sync, from which a display tells the shape (CVT 1.2, table 3-2).
const fn v_sync(size: Size) -> u32 {
    match () {
        () if is_shape(size, 4, 3) => 4,
        () if is_shape(size, 16, 9) => 5,
        () if is_shape(size, 16, 10) => 6,
        () if is_shape(size, 5, 4) || is_shape(size, 15, 9) => 7,
        () => 10,
    }
}

/// The shape in a DisplayID timing (DisplayID 1.3, table 4-16).
fn aspect_code(size: Size) -> Option<u8> {
    const SHAPES: [(u32, u32); 8] =
        [(1, 1), (5, 4), (4, 3), (15, 9), (16, 9), (16, 10), (64, 27), (256, 135)];
    let code = SHAPES.iter().position(|(width, height)| is_shape(size, *width, *height))?;
    Some(code as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanking_is_that_of_the_cvt_calculator() {
        // VESA's spreadsheet for 1920x1080 and 3840x2160 with reduced blanking: 2080x1111 and
        // 4000x2222 in all.
        let timing = Timing::new(Size::new(1920, 1080), 60);
        assert_eq!((timing.columns(), timing.rows(), timing.v_sync), (2080, 1111, 5));
        assert_eq!(timing.clock, 13_865);
        let timing = Timing::new(Size::new(3840, 2160), 60);
        assert_eq!((timing.columns(), timing.rows()), (4000, 2222));
        assert_eq!(timing.refresh(), (60, 60));
        assert!(timing.fits_detailed());
        assert!(!Timing::new(Size::new(3840, 2160), 120).fits_detailed());
        assert!(!Timing::new(Size::new(4096, 2160), 30).fits_detailed());
    }

    #[test]
    fn a_descriptor_has_the_bytes_of_the_standard() {
        let bytes = Timing::new(Size::new(1920, 1080), 60).detailed(Size::new(508, 286));
        assert_eq!(
            bytes,
            [
                0x29, 0x36, 0x80, 0xa0, 0x70, 0x38, 0x1f, 0x40, 0x30, 0x20, 0x35, 0x00, 0xfc, 0x1e,
                0x11, 0x00, 0x00, 0x1a
            ]
        );
    }

    #[test]
    fn a_display_id_timing_has_the_bytes_of_the_standard() {
        let bytes = Timing::new(Size::new(5120, 2880), 60).display_id();
        assert_eq!(bytes[3], 0x84, "preferred, 16:9");
        assert_eq!(bytes[4..8], [0xff, 0x13, 0x9f, 0x00]);
        assert_eq!(bytes[8..10], [0x2f, 0x80], "positive");
        assert_eq!(bytes[12..14], [0x3f, 0x0b]);
        assert_eq!(bytes[16..20], [0x02, 0x00, 0x04, 0x00]);
    }
}
