// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pixel formats by their DRM names, and what this crate can read of them.
//!
//! Sources: `<drm/drm_fourcc.h>` for the codes, the channel order and the modifiers.

use std::fmt;

/// A DRM pixel format code, `<drm/drm_fourcc.h>`.
///
/// Shown as its four letters, the way it is written everywhere else in this crate.
#[doc(alias = "drm_format")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fourcc(u32);

impl Fourcc {
    /// The code spelled by four letters, as `Fourcc::new(b"XR24")`.
    pub const fn new(letters: &[u8; 4]) -> Self {
        Self(u32::from_le_bytes(*letters))
    }

    /// The code as a number, the way the kernel reports it.
    pub const fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// The number that the kernel uses.
    pub const fn raw(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letters = self.0.to_le_bytes();
        if letters.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
            for letter in letters {
                write!(f, "{}", letter as char)?;
            }
            Ok(())
        } else {
            write!(f, "{:#010x}", self.0)
        }
    }
}

impl fmt::Debug for Fourcc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fourcc({self} = {:#010x})", self.0)
    }
}

/// A DRM format modifier: how the pixels are laid out in memory.
#[doc(alias = "drm_format_mod")]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Modifier(u64);

impl Modifier {
    /// Rows one after the other: `DRM_FORMAT_MOD_LINEAR`.
    pub const LINEAR: Self = Self(0);

    /// The modifier as a number, the way the kernel reports it.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number that the kernel uses.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Whether rows follow one another, `stride` bytes apart.
    pub const fn is_linear(self) -> bool {
        self.0 == 0
    }

    /// The name in `<drm/drm_fourcc.h>`, where it is one that vGPUs are known to report.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "LINEAR",
            0x00ff_ffff_ffff_ffff => "INVALID",
            0x0100_0000_0000_0001 => "I915_X_TILED",
            0x0100_0000_0000_0002 => "I915_Y_TILED",
            0x0100_0000_0000_0003 => "I915_Yf_TILED",
            0x0100_0000_0000_0004 => "I915_Y_TILED_CCS",
            0x0100_0000_0000_0005 => "I915_Yf_TILED_CCS",
            _ => return None,
        })
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{:#018x}", self.0),
        }
    }
}

impl fmt::Debug for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Modifier({self} = {:#018x})", self.0)
    }
}

/// A format whose pixels this crate reads.
///
/// A name lists the channels from the most to the least significant bit of a little-endian
/// pixel, as DRM does: `Xrgb8888` is the bytes B, G, R, unused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// `XR24`: 8 bits unused, red, green, blue.
    Xrgb8888,
    /// `AR24`: alpha, red, green, blue.
    Argb8888,
    /// `XB24`: 8 bits unused, blue, green, red.
    Xbgr8888,
    /// `AB24`: alpha, blue, green, red.
    Abgr8888,
    /// `RX24`: red, green, blue, 8 bits unused.
    Rgbx8888,
    /// `BX24`: blue, green, red, 8 bits unused.
    Bgrx8888,
    /// `RG24`: red, green, blue in three bytes.
    Rgb888,
    /// `BG24`: blue, green, red in three bytes.
    Bgr888,
    /// `RG16`: 5 bits red, 6 green, 5 blue.
    Rgb565,
    /// `BG16`: 5 bits blue, 6 green, 5 red.
    Bgr565,
    /// `XR15`: 1 bit unused, then 5 bits each of red, green, blue.
    Xrgb1555,
    /// `XR30`: 2 bits unused, then 10 bits each of red, green, blue.
    Xrgb2101010,
    /// `AR30`: 2 bits alpha, then 10 bits each of red, green, blue.
    Argb2101010,
    /// `XB30`: 2 bits unused, then 10 bits each of blue, green, red.
    Xbgr2101010,
    /// `AB30`: 2 bits alpha, then 10 bits each of blue, green, red.
    Abgr2101010,
}

impl PixelFormat {
    /// Every format that this crate reads.
    pub const ALL: [Self; 15] = [
        Self::Xrgb8888,
        Self::Argb8888,
        Self::Xbgr8888,
        Self::Abgr8888,
        Self::Rgbx8888,
        Self::Bgrx8888,
        Self::Rgb888,
        Self::Bgr888,
        Self::Rgb565,
        Self::Bgr565,
        Self::Xrgb1555,
        Self::Xrgb2101010,
        Self::Argb2101010,
        Self::Xbgr2101010,
        Self::Abgr2101010,
    ];

    /// Its DRM code.
    pub const fn fourcc(self) -> Fourcc {
        Fourcc::new(match self {
            Self::Xrgb8888 => b"XR24",
            Self::Argb8888 => b"AR24",
            Self::Xbgr8888 => b"XB24",
            Self::Abgr8888 => b"AB24",
            Self::Rgbx8888 => b"RX24",
            Self::Bgrx8888 => b"BX24",
            Self::Rgb888 => b"RG24",
            Self::Bgr888 => b"BG24",
            Self::Rgb565 => b"RG16",
            Self::Bgr565 => b"BG16",
            Self::Xrgb1555 => b"XR15",
            Self::Xrgb2101010 => b"XR30",
            Self::Argb2101010 => b"AR30",
            Self::Xbgr2101010 => b"XB30",
            Self::Abgr2101010 => b"AB30",
        })
    }

    /// Bytes from one pixel to the next: 2, 3 or 4.
    pub const fn bytes_per_pixel(self) -> u32 {
        match self {
            Self::Rgb565 | Self::Bgr565 | Self::Xrgb1555 => 2,
            Self::Rgb888 | Self::Bgr888 => 3,
            _ => 4,
        }
    }

    /// The format that a code stands for, `None` when this crate cannot read it.
    pub fn from_fourcc(fourcc: Fourcc) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.fourcc() == fourcc)
    }
}

impl fmt::Display for PixelFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fourcc().fmt(f)
    }
}

/// What is known of formats that devices report and this crate does not read.
///
/// The name says to a person what arrived; a code that is not here is shown as it is.
pub(crate) fn unsupported_name(fourcc: Fourcc) -> Option<&'static str> {
    Some(match &fourcc.raw().to_le_bytes() {
        b"C8  " => "8-bit palette, whose colours the device does not tell",
        b"YUYV" | b"YVYU" | b"UYVY" | b"VYUY" => "packed YUV 4:2:2",
        b"NV12" | b"NV21" | b"P010" | b"YU12" | b"YV12" => "planar YUV",
        b"AYUV" | b"XYUV" => "packed YUV 4:4:4",
        b"XR4H" | b"AR4H" | b"XB4H" | b"AB4H" => "16-bit floating point",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_shown_as_its_letters_or_as_a_number() {
        assert_eq!(Fourcc::new(b"XR24").to_string(), "XR24");
        assert_eq!(Fourcc::from_raw(0x0102_0304).to_string(), "0x01020304");
        assert_eq!(format!("{:?}", Fourcc::new(b"RG16")), "Fourcc(RG16 = 0x36314752)");
    }

    #[test]
    fn codes_and_formats_agree_both_ways() {
        for format in PixelFormat::ALL {
            assert_eq!(PixelFormat::from_fourcc(format.fourcc()), Some(format));
        }
        assert_eq!(PixelFormat::from_fourcc(Fourcc::new(b"C8  ")), None);
    }

    #[test]
    fn modifiers_are_named_where_known() {
        assert_eq!(Modifier::LINEAR.to_string(), "LINEAR");
        assert_eq!(Modifier::from_raw(1 << 56 | 2).to_string(), "I915_Y_TILED");
        assert_eq!(Modifier::from_raw(3 << 56 | 1).to_string(), "0x0300000000000001");
    }
}
