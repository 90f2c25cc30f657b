// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From the mode that is asked for to one that a device and an EDID can carry.

use std::fmt;

use super::timing::Timing;
use super::{BLOCK, EdidRegisters, MAX_BYTES};
use crate::geometry::Size;

/// Smallest side of a mode, in pixels: drivers have been seen that show nothing below.
pub const MIN_SIDE: u32 = 64;

/// Largest side of a mode, in pixels: the largest surface of GPUs of today.
pub const MAX_SIDE: u32 = 16_384;

/// Slowest and fastest rates that are encoded, in Hz.
pub(super) const MIN_REFRESH: u32 = 24;
pub(super) const MAX_REFRESH: u32 = 500;

/// Longest side of the mode that stands in where only the base block is there: that of UHD, which
/// every driver has met.
const STAND_IN_SIDE: u32 = 3840;

/// What a device takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of an EDID.
    pub max_bytes: u32,
    /// Widest mode, in pixels; `None` where there is no limit.
    pub max_width: Option<u32>,
    /// Highest mode, in pixels; `None` where there is no limit.
    pub max_height: Option<u32>,
}

impl Default for Limits {
    /// None but [`MAX_BYTES`].
    fn default() -> Self {
        Self { max_bytes: MAX_BYTES, max_width: None, max_height: None }
    }
}

impl From<&EdidRegisters> for Limits {
    fn from(registers: &EdidRegisters) -> Self {
        Self {
            max_bytes: registers.max_size,
            max_width: registers.max_width,
            max_height: registers.max_height,
        }
    }
}

impl Limits {
    /// The largest mode that the device takes. A limit below [`MIN_SIDE`] cannot be meant.
    pub(super) fn largest(self) -> Size {
        let side = |limit: Option<u32>| limit.unwrap_or(MAX_SIDE).clamp(MIN_SIDE, MAX_SIDE) & !1;
        Size::new(side(self.max_width), side(self.max_height))
    }
}

/// Why an EDID prefers another mode than the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The size is one that no mode has; see [`mode_size`].
    Rounded {
        /// What was asked for.
        asked: Size,
        /// What it became.
        given: Size,
    },
    /// The size is above what the device takes. The shape is kept.
    AboveDevice {
        /// What was asked for.
        asked: Size,
        /// What it became.
        given: Size,
        /// The largest mode that the device takes.
        most: Size,
    },
    /// The base block cannot say the mode, and the device takes no more than that. The shape is
    /// kept.
    NoRoom {
        /// What was asked for.
        asked: Size,
        /// What it became.
        given: Size,
        /// Bytes that the device takes.
        max_bytes: u32,
    },
    /// The mode has more pixels a second than the EDID, as long as the device lets it be, can say.
    Slower {
        /// Hz asked for.
        asked: u32,
        /// Hz it became.
        given: u32,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rounded { asked, given } => write!(
                f,
                "{given} instead of {asked}: a mode has an even number of columns and rows, \
                 {MIN_SIDE} to {MAX_SIDE}"
            ),
            Self::AboveDevice { asked, given, most } => {
                write!(f, "{given} instead of {asked}: the device takes modes up to {most}")
            }
            Self::NoRoom { asked, given, max_bytes } => write!(
                f,
                "{given} instead of {asked}: the device takes an EDID of {max_bytes} bytes, too \
                 short for it"
            ),
            Self::Slower { asked, given } => {
                write!(f, "{given} Hz instead of {asked}: the mode has too many pixels a second")
            }
        }
    }
}

/// The mode that comes closest to `size`: even numbers of columns and rows, from [`MIN_SIDE`] to
/// [`MAX_SIDE`].
///
/// Sizes are rounded down, so that the picture fits the window that was asked for. Not to
/// multiples of 8, as the CVT standard has it, because 1366x768 is a size that people have; but to
/// multiples of 2, because hardware and video encoders handle pixels in pairs.
pub fn mode_size(size: Size) -> Size {
    let within = shrink(size, Size::new(MAX_SIDE, MAX_SIDE));
    Size::new((within.width & !1).max(MIN_SIDE), (within.height & !1).max(MIN_SIDE))
}

/// `size` made to fit `most`, in its shape as far as even numbers and [`MIN_SIDE`] allow.
fn shrink(size: Size, most: Size) -> Size {
    if size.width <= most.width && size.height <= most.height {
        return size;
    }
    let (width, height) = (u64::from(size.width.max(1)), u64::from(size.height.max(1)));
    let (max_width, max_height) = (u64::from(most.width), u64::from(most.height));
    let (width, height) = if width * max_height > height * max_width {
        (max_width, height * max_width / width)
    } else {
        (width * max_height / height, max_height)
    };
    // Neither is above a limit, and limits are of 32 bits.
    let side = |side: u64| (side as u32 & !1).max(MIN_SIDE);
    Size::new(side(width), side(height))
}

/// A mode that can be encoded.
#[derive(Clone, Debug)]
pub(super) struct Fitted {
    pub(super) timing: Timing,
    pub(super) refresh: u32,
    pub(super) notes: Vec<Note>,
}

/// The mode closest to `asked` that the device takes and an EDID within `limits` can say.
pub(super) fn fit(asked: Size, refresh: u32, limits: Limits) -> Fitted {
    let mut notes = Vec::new();
    let mut size = mode_size(asked);
    if size != asked {
        notes.push(Note::Rounded { asked, given: size });
    }
    let most = limits.largest();
    let given = shrink(size, most);
    if given != size {
        notes.push(Note::AboveDevice { asked: size, given, most });
        size = given;
    }
    let base_only = limits.max_bytes < 2 * BLOCK as u32;
    if base_only {
        let given = stand_in_size(size);
        if given != size {
            let max_bytes = limits.max_bytes;
            notes.push(Note::NoRoom { asked: size, given, max_bytes });
            size = given;
        }
    }
    let says = if base_only { Timing::fits_detailed } else { Timing::fits_display_id };
    let (timing, given) = slowed(size, refresh, says);
    if given != refresh {
        notes.push(Note::Slower { asked: refresh, given });
    }
    Fitted { timing, refresh: given, notes }
}

/// The mode for guests that read the base block alone: `mode` itself, where that can say it.
pub(super) fn stand_in(mode: &Timing, refresh: u32) -> Timing {
    if mode.fits_detailed() {
        return *mode;
    }
    slowed(stand_in_size(mode.active), refresh, Timing::fits_detailed).0
}

/// `size`, or the size of its shape that has at most 12 bits a side.
fn stand_in_size(size: Size) -> Size {
    const LARGEST: u32 = (1 << 12) - 1;
    if size.width <= LARGEST && size.height <= LARGEST {
        size
    } else {
        shrink(size, Size::new(STAND_IN_SIDE, STAND_IN_SIDE))
    }
}

/// The timing of `size` at `refresh`, or at the next slower rate that can be said.
///
/// It ends at [`MIN_REFRESH`], at which any size that gets here can.
fn slowed(size: Size, refresh: u32, says: impl Fn(&Timing) -> bool) -> (Timing, u32) {
    let mut refresh = refresh;
    loop {
        let timing = Timing::new(size, refresh);
        if says(&timing) || refresh <= MIN_REFRESH {
            return (timing, refresh);
        }
        refresh -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(max_bytes: u32, max: Option<(u32, u32)>) -> Limits {
        let (max_width, max_height) = max.unzip();
        Limits { max_bytes, max_width, max_height }
    }

    fn fitted(size: (u32, u32), refresh: u32, limits: Limits) -> (String, Vec<String>) {
        let fitted = fit(Size::new(size.0, size.1), refresh, limits);
        let mode = format!("{}@{}", fitted.timing.active, fitted.refresh);
        (mode, fitted.notes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn sizes_are_rounded_to_even_ones_that_fit() {
        let rounded = |width, height| mode_size(Size::new(width, height)).to_string();
        assert_eq!(rounded(1366, 768), "1366x768");
        assert_eq!(rounded(1367, 769), "1366x768");
        assert_eq!(rounded(0, 0), "64x64");
        assert_eq!(rounded(u32::MAX, 1), "16384x64");
        assert_eq!(rounded(32768, 16384), "16384x8192");
    }

    #[test]
    fn what_is_changed_is_said() {
        let none = limits(1024, None);
        assert_eq!(fitted((1920, 1080), 60, none), ("1920x1080@60".into(), vec![]));
        assert_eq!(fitted((7680, 4320), 60, none), ("7680x4320@60".into(), vec![]));
        assert_eq!(
            fitted((2561, 1440), 60, limits(128, Some((1920, 1440)))),
            (
                "1920x1080@60".into(),
                vec![
                    "2560x1440 instead of 2561x1440: a mode has an even number of columns and \
                     rows, 64 to 16384"
                        .into(),
                    "1920x1080 instead of 2560x1440: the device takes modes up to 1920x1440".into(),
                ]
            )
        );
        assert_eq!(
            fitted((7680, 4320), 120, limits(255, None)),
            (
                "3840x2160@73".into(),
                vec![
                    "3840x2160 instead of 7680x4320: the device takes an EDID of 255 bytes, too \
                     short for it"
                        .into(),
                    "73 Hz instead of 120: the mode has too many pixels a second".into(),
                ]
            )
        );
    }

    #[test]
    fn absurd_limits_leave_a_mode() {
        for max in [(0, 0), (1, 1), (u32::MAX, 1)] {
            let (mode, notes) = fitted((1920, 1080), 60, limits(128, Some(max)));
            assert!(mode.contains('x') && notes.len() == 1, "{mode} {notes:?}");
        }
        let largest = Size::new(MAX_SIDE, MAX_SIDE);
        assert!(fit(largest, MAX_REFRESH, Limits::default()).timing.fits_display_id());
        assert!(fit(largest, MAX_REFRESH, limits(128, None)).timing.fits_detailed());
        assert!(fit(Size::new(4095, 4095), 500, limits(128, None)).timing.fits_detailed());
    }
}
