// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Modes that a guest sets, and how each driver lays them out.

use super::memory::page_up;
use super::personality::Personality;
use crate::format::{Fourcc, Modifier, PixelFormat};
use crate::geometry::Size;

/// What a guest's driver sets: a size, a format and a layout in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode {
    pub(super) size: Size,
    pub(super) format: PixelFormat,
    pub(super) padding: u32,
    pub(super) fourcc: Option<Fourcc>,
    pub(super) modifier: Modifier,
}

impl Mode {
    /// Pixels of XRGB8888, each row right behind the one before.
    pub const fn new(size: Size) -> Self {
        Self {
            size,
            format: PixelFormat::Xrgb8888,
            padding: 0,
            fourcc: None,
            modifier: Modifier::LINEAR,
        }
    }

    /// Pixels in `format`.
    #[must_use]
    pub const fn format(mut self, format: PixelFormat) -> Self {
        self.format = format;
        self
    }

    /// `bytes` between the end of a row and the start of the next.
    #[must_use]
    pub const fn padding(mut self, bytes: u32) -> Self {
        self.padding = bytes;
        self
    }

    /// Says `fourcc` to the host whatever the pixels are: a format that nobody reads.
    #[must_use]
    pub const fn say_fourcc(mut self, fourcc: Fourcc) -> Self {
        self.fourcc = Some(fourcc);
        self
    }

    /// Says `modifier` to the host. The pixels stay linear.
    #[must_use]
    pub const fn say_modifier(mut self, modifier: Modifier) -> Self {
        self.modifier = modifier;
        self
    }

    /// Its size, in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Its pixels' format.
    pub const fn pixel_format(&self) -> PixelFormat {
        self.format
    }
}

impl From<Size> for Mode {
    fn from(size: Size) -> Self {
        Self::new(size)
    }
}

/// A framebuffer as the driver describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) fourcc: u32,
    pub(super) modifier: u64,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) stride: u32,
    pub(super) len: u32,
}

impl Shape {
    /// How `personality` lays out `mode`; `None` for more bytes than 32 bits count.
    pub(super) fn new(personality: Personality, mode: &Mode) -> Option<Self> {
        let Size { width, height } = mode.size;
        let row = width.checked_mul(mode.format.bytes_per_pixel())?;
        let stride = row.checked_add(mode.padding)?;
        let (stride, rows) = match personality {
            Personality::Nvidia => (row.checked_next_multiple_of(128)?, height),
            Personality::GvtG => (
                stride.checked_next_multiple_of(64)?,
                height.checked_next_multiple_of(tile_rows(mode.modifier))?,
            ),
            _ => (stride, height),
        };
        let len = u64::from(stride) * u64::from(rows);
        let len = match personality {
            Personality::Mdpy => len.next_power_of_two(),
            Personality::WellBehaved | Personality::Region => page_up(len),
            _ => len,
        };
        Some(Self {
            fourcc: mode.fourcc.unwrap_or(mode.format.fourcc()).raw(),
            modifier: mode.modifier.raw(),
            // The width that NVIDIA tells is the one that its rows have room for.
            width: if personality == Personality::Nvidia { stride / 4 } else { width },
            height,
            stride,
            len: u32::try_from(len).ok()?,
        })
    }

    /// Whether NVIDIA's host driver leaves its region black for this shape.
    pub(super) fn stays_black(&self) -> bool {
        !(u64::from(self.stride) * u64::from(self.height)).is_multiple_of(4096)
    }
}

/// Rows of a tile, by which GVT-g rounds a framebuffer's size (gvt/dmabuf.c).
fn tile_rows(modifier: Modifier) -> u32 {
    match modifier.name() {
        Some("I915_X_TILED") => 8,
        Some("I915_Y_TILED" | "I915_Yf_TILED") => 32,
        _ => 1,
    }
}
