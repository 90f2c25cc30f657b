// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The base block (E-EDID 1.4, section 3).

use super::fit::{Fitted, Limits, stand_in};
use super::timing::{DETAILED, Timing};
use super::{BLOCK, Edid, NAME_BYTES, seal};
use crate::geometry::Size;

/// Maker, product and model year. [`Edid`] documents them.
pub(super) const MAKER: &[u8; 3] = b"VFD";
pub(super) const PRODUCT: u16 = 1;
pub(super) const MODEL_YEAR: u16 = 2025;

/// Digital, 8 bits a colour, DisplayPort: the interface without an upper limit to the pixel clock.
const INPUT: u8 = 0b1010_0101;
/// Gamma 2.2, as (value - 1) * 100.
pub(super) const GAMMA: u8 = 120;
/// RGB only, sRGB is the default, the first timing is the native one.
const FEATURES: u8 = 0b0000_0110;
/// The primaries and white of sRGB (IEC 61966-2-1) in the 10 bits each of E-EDID 1.4, 3.7.
const SRGB: [u8; 10] = [0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54];

/// Largest side of the glass, in millimetres: the base block counts to 255 centimetres.
const MAX_MILLIMETRES: u64 = 2550;

/// Established timings at 60 Hz: byte and bit (E-EDID 1.4, 3.8). The first is the one that every
/// monitor has.
const ESTABLISHED: [(Size, usize, u8); 3] =
    [(Size::new(640, 480), 35, 5), (Size::new(800, 600), 35, 0), (Size::new(1024, 768), 36, 3)];

/// Modes in the order in which they are put into the eight standard timings: all of them are in
/// VESA's list of Display Monitor Timings, and one of them may be the preferred mode.
const STANDARD: [Size; 9] = [
    Size::new(1920, 1080),
    Size::new(1920, 1200),
    Size::new(1280, 720),
    Size::new(1600, 900),
    Size::new(1680, 1050),
    Size::new(1280, 1024),
    Size::new(1440, 900),
    Size::new(1600, 1200),
    Size::new(1280, 800),
];

/// Common modes that standard timings cannot say, for an extension.
const COMMON: [Size; 6] = [
    Size::new(3840, 2160),
    Size::new(2560, 1440),
    Size::new(2560, 1600),
    Size::new(3440, 1440),
    Size::new(2560, 1080),
    Size::new(1366, 768),
];

/// All that the blocks say.
#[derive(Debug)]
pub(super) struct Monitor {
    /// The preferred mode, as far as the base block can say it.
    pub(super) preferred: Timing,
    /// Further modes for an extension.
    pub(super) common: Vec<Timing>,
    /// The glass.
    pub(super) millimetres: Size,
    name: [u8; NAME_BYTES],
    pub(super) serial: u32,
    largest: Size,
    range: Option<Range>,
}

impl Monitor {
    pub(super) fn new(edid: &Edid, fitted: &Fitted, limits: Limits) -> Self {
        let size = fitted.timing.active;
        let largest = limits.largest();
        let preferred = stand_in(&fitted.timing, fitted.refresh);
        // The preferred mode's own extension comes before one for others.
        let extensions = limits.max_bytes as usize / BLOCK - 1;
        let room = extensions > usize::from(fitted.timing != preferred);
        let common: Vec<_> = (COMMON.into_iter())
            .filter(|mode| {
                room && fits(*mode, largest) && *mode != size && *mode != preferred.active
            })
            .map(|mode| Timing::new(mode, super::DEFAULT_REFRESH))
            .collect();
        let range = Range::of([&fitted.timing, &preferred].into_iter().chain(&common));
        let millimetres = glass(edid.millimetres, size);
        let Edid { name, serial, .. } = *edid;
        Self { preferred, common, millimetres, name, serial, largest, range }
    }

    /// Size of a picture of `mode` that fills the glass in its own shape, in millimetres.
    pub(super) fn image(&self, mode: Size) -> Size {
        let Size { width, height } = self.millimetres;
        let scaled = |a: u32, b: u32, c: u32| (u64::from(a) * u64::from(b) / u64::from(c)) as u32;
        let high = scaled(width, mode.height, mode.width);
        if high <= height {
            Size::new(width, high)
        } else {
            Size::new(scaled(height, mode.width, mode.height), height)
        }
    }
}

fn fits(mode: Size, largest: Size) -> bool {
    mode.width <= largest.width && mode.height <= largest.height
}

/// The glass in millimetres: as told, or as large as `mode` is at 96 pixels to the inch.
fn glass(told: Option<Size>, mode: Size) -> Size {
    let told = told.map(|size| (u64::from(size.width), u64::from(size.height)));
    let inch = |pixels: u32| u64::from(pixels) * 254 / 960;
    let (width, height) = told.unwrap_or((inch(mode.width), inch(mode.height)));
    let longest = width.max(height).max(1);
    let side = |side: u64| {
        let side = if longest > MAX_MILLIMETRES { side * MAX_MILLIMETRES / longest } else { side };
        // A centimetre at least: 0 would say that the other side is an aspect ratio.
        side.max(10) as u32
    };
    Size::new(side(width), side(height))
}

/// The rates that a monitor takes (E-EDID 1.4, 3.10.3.3).
#[derive(Clone, Copy, Debug)]
struct Range {
    /// Pictures a second.
    vertical: (u32, u32),
    /// Rows a second, in kHz.
    horizontal: (u32, u32),
    /// Pixels a second, in 10 MHz.
    clock: u32,
}

impl Range {
    /// What the established and standard timings need.
    const LEAST: Self = Self { vertical: (50, 75), horizontal: (30, 83), clock: 20 };

    /// The range of all `timings`; `None` where the descriptor cannot say it.
    fn of<'a>(timings: impl Iterator<Item = &'a Timing>) -> Option<Self> {
        let mut range = Self::LEAST;
        for timing in timings {
            let (slow, fast) = timing.refresh();
            range.vertical = (range.vertical.0.min(slow), range.vertical.1.max(fast));
            let rows = timing.row_rate();
            range.horizontal.0 = range.horizontal.0.min(rows / 1000);
            range.horizontal.1 = range.horizontal.1.max(rows.div_ceil(1000));
            range.clock = range.clock.max(timing.clock.div_ceil(1000));
        }
        let sayable = |(least, most): (u32, u32)| least >= 1 && most <= 2 * 255;
        (sayable(range.vertical) && sayable(range.horizontal) && range.clock <= 255)
            .then_some(range)
    }

    fn descriptor(self) -> [u8; DETAILED] {
        /// Only the limits, no formula for further modes.
        const LIMITS_ONLY: u8 = 1;
        // Above 255, 255 is taken off and a flag set: 2 for the upper limit, 3 for both.
        let split = |(least, most): (u32, u32)| match (least > 255, most > 255) {
            (false, false) => (0, least as u8, most as u8),
            (false, true) => (2, least as u8, (most - 255) as u8),
            (true, _) => (3, (least - 255) as u8, (most - 255) as u8),
        };
        let (v_offsets, v_least, v_most) = split(self.vertical);
        let (h_offsets, h_least, h_most) = split(self.horizontal);
        let mut text = [b' '; NAME_BYTES];
        let values = [v_least, v_most, h_least, h_most, self.clock as u8, LIMITS_ONLY, b'\n'];
        text[..values.len()].copy_from_slice(&values);
        let mut bytes = descriptor(0xfd, text);
        bytes[4] = v_offsets | h_offsets << 2;
        bytes
    }
}

/// The base block of `monitor`, with so many extensions behind it.
pub(super) fn block(monitor: &Monitor, extensions: u8) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    block[..8].copy_from_slice(&[0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    block[8..10].copy_from_slice(&maker_code());
    block[10..12].copy_from_slice(&PRODUCT.to_le_bytes());
    block[12..16].copy_from_slice(&monitor.serial.to_le_bytes());
    // Week 255: the year is that of the model.
    block[16..20].copy_from_slice(&[0xff, (MODEL_YEAR - 1990) as u8, 1, 4]);
    let centimetres = |millimetres: u32| ((millimetres + 5) / 10) as u8;
    let Size { width, height } = monitor.millimetres;
    let head = [INPUT, centimetres(width), centimetres(height), GAMMA, FEATURES];
    block[20..25].copy_from_slice(&head);
    block[25..35].copy_from_slice(&SRGB);
    for (index, (size, byte, bit)) in ESTABLISHED.into_iter().enumerate() {
        if index == 0 || fits(size, monitor.largest) {
            block[byte] |= 1 << bit;
        }
    }
    block[38..54].copy_from_slice(&standard_timings(monitor));
    let descriptors = [
        monitor.preferred.detailed(monitor.image(monitor.preferred.active)),
        descriptor(0xfc, text(monitor.name)),
        monitor.range.map_or_else(dummy, Range::descriptor),
        dummy(),
    ];
    for (field, bytes) in block[54..].chunks_exact_mut(DETAILED).zip(descriptors) {
        field.copy_from_slice(&bytes);
    }
    block[BLOCK - 2] = extensions;
    seal(&mut block);
    block
}

/// Three letters of five bits, the first one in the highest.
fn maker_code() -> [u8; 2] {
    let letter = |code: u16, letter: &u8| code << 5 | u16::from(letter - b'@');
    MAKER.iter().fold(0, letter).to_be_bytes()
}

/// Eight standard timings (E-EDID 1.4, 3.9); those that are not needed say 01 01.
fn standard_timings(monitor: &Monitor) -> [u8; 16] {
    let mut bytes = [1; 16];
    let modes = STANDARD
        .into_iter()
        .filter(|mode| fits(*mode, monitor.largest) && *mode != monitor.preferred.active);
    for (field, mode) in bytes.chunks_exact_mut(2).zip(modes) {
        let shape = match mode.width * 10 / mode.height {
            16 => 0,
            13 => 1,
            12 => 2,
            _ => 3,
        };
        // Width in units of 8 from 248 on, shape, and the rate above 60 Hz.
        field.copy_from_slice(&[(mode.width / 8 - 31) as u8, shape << 6]);
    }
    bytes
}

/// A display descriptor (E-EDID 1.4, 3.10.3).
fn descriptor(tag: u8, data: [u8; NAME_BYTES]) -> [u8; DETAILED] {
    let mut bytes = [0; DETAILED];
    bytes[3] = tag;
    bytes[5..].copy_from_slice(&data);
    bytes
}

/// A descriptor that says nothing.
fn dummy() -> [u8; DETAILED] {
    descriptor(0x10, [0; NAME_BYTES])
}

/// A text ends with a line feed where it is short, and blanks follow.
fn text(name: [u8; NAME_BYTES]) -> [u8; NAME_BYTES] {
    let len = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
    std::array::from_fn(|at| match at {
        at if at < len => name[at],
        at if at == len => b'\n',
        _ => b' ',
    })
}
