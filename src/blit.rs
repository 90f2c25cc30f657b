// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Copy out and detect in one pass: from a plane's bytes to a screen and its damage.

use crate::convert::{self, Alpha};
use crate::damage::TILE;
use crate::device::PlaneType;
use crate::error::{Error, Result};
use crate::format::PixelFormat;
use crate::geometry::Size;
use crate::plane::Plane;
use crate::screen::Screen;
use crate::sys::Mapping;

/// How pixels lie in memory, from the first one on. Made of a checked plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: Size,
    pub(crate) stride: usize,
    pub(crate) format: PixelFormat,
    pub(crate) alpha: Alpha,
}

impl Layout {
    pub(crate) fn of(plane: &Plane) -> Result<Self> {
        let alpha = match plane.plane_type {
            PlaneType::Primary => Alpha::Ignore,
            PlaneType::Cursor | PlaneType::Overlay => Alpha::Keep,
        };
        let format = plane.pixel_format().map_err(Error::Unsupported)?;
        Ok(Self { size: plane.size, stride: plane.stride as usize, format, alpha })
    }

    /// Bytes of a row's pixels.
    pub(crate) const fn row_len(&self) -> usize {
        self.size.width as usize * self.format.bytes_per_pixel() as usize
    }

    /// Bytes from the first pixel to that of row `y`.
    pub(crate) const fn row_offset(&self, y: usize) -> usize {
        y * self.stride
    }

    /// Bytes from the first pixel to the last: the last row has no padding.
    pub(crate) const fn len(&self) -> u64 {
        (self.row_offset(self.size.height as usize - 1) + self.row_len()) as u64
    }
}

/// Copies frames; what it needs from one to the next is its scratch memory.
#[derive(Debug)]
pub(crate) struct Blit {
    bytes: Vec<u8>,
    pixels: Vec<u32>,
}

impl Blit {
    pub(crate) const fn new() -> Self {
        Self { bytes: Vec::new(), pixels: Vec::new() }
    }

    /// Copies from `mapping`, which has at least [`Layout::len`] bytes.
    pub(crate) fn copy_mapping(&mut self, mapping: &Mapping, layout: &Layout, screen: &mut Screen) {
        let read = |y: u32, row: &mut [u8]| {
            let inside = mapping.copy_out(layout.row_offset(y as usize), row);
            assert!(inside, "row {y} of {layout:?} lies in {mapping:?}");
            Ok(())
        };
        let done = self.copy_from(read, layout, screen);
        debug_assert_eq!(done, Ok(()), "a mapping is always read");
    }

    /// Copies rows that `read` fetches. If it fails, those above have been copied.
    pub(crate) fn copy_from(
        &mut self,
        mut read: impl FnMut(u32, &mut [u8]) -> Result<()>,
        layout: &Layout,
        screen: &mut Screen,
    ) -> Result<()> {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(layout.row_len(), 0);
        screen.begin(layout.size);
        let done = (0..layout.size.height).try_for_each(|y| {
            read(y, &mut bytes)?;
            self.row(y as usize, &bytes, layout, screen);
            Ok(())
        });
        self.bytes = bytes;
        done
    }

    /// Copies from `rows`, which follow each other without padding.
    pub(crate) fn copy_rows(&mut self, rows: &[u8], layout: &Layout, screen: &mut Screen) {
        screen.begin(layout.size);
        for (y, row) in rows.chunks_exact(layout.row_len()).enumerate() {
            self.row(y, row, layout, screen);
        }
    }

    /// Decodes a row and stores the tiles of it that differ.
    fn row(&mut self, y: usize, bytes: &[u8], layout: &Layout, screen: &mut Screen) {
        self.pixels.resize(layout.size.width as usize, 0);
        convert::row(layout.format, layout.alpha, bytes, &mut self.pixels);
        let (shown, damage) = screen.row(y);
        let tiles = self.pixels.chunks(TILE as usize).zip(shown.chunks_mut(TILE as usize));
        for (tile, (new, shown)) in tiles.enumerate() {
            if new != shown {
                shown.copy_from_slice(new);
                damage.mark(tile as u32 * TILE, y as u32);
            }
        }
    }
}
