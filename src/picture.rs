// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A copy of a plane's pixels that nobody else changes.

use std::fmt;

use crate::geometry::{Rect, Size};

/// Pixels in rows without padding, each `0xAARRGGBB`.
///
/// In memory, on little-endian machines, that is XRGB8888 as sinks everywhere take it: B, G, R
/// and an alpha that is 0xff on a screen.
#[derive(Default)]
pub struct Picture {
    size: Size,
    /// The pixels, from `start` on, and what was left out for the first to begin a line of the
    /// cache: widest stores need that.
    memory: Vec<u32>,
    start: usize,
}

/// Pixels in a line of the cache.
const LINE: usize = 16;

impl Picture {
    /// A picture of `size` whose pixels are all 0. Its memory is taken here.
    pub fn new(size: Size) -> Self {
        let mut picture = Self::default();
        picture.resize(size);
        picture
    }

    /// Pixels in a row, and rows.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// All pixels, row after row.
    pub fn pixels(&self) -> &[u32] {
        &self.memory[self.start..][..self.area()]
    }

    /// All pixels, to be written.
    pub(crate) fn pixels_mut(&mut self) -> &mut [u32] {
        let area = self.area();
        &mut self.memory[self.start..][..area]
    }

    const fn area(&self) -> usize {
        self.size.width as usize * self.size.height as usize
    }

    /// The rows from the top, each [`Size::width`] pixels.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        // A row of an empty picture has no pixels, and a chunk has to have one.
        self.pixels().chunks_exact(self.size.width.max(1) as usize)
    }

    /// The rows from the top, to be written.
    pub fn rows_mut(&mut self) -> impl ExactSizeIterator<Item = &mut [u32]> {
        let width = self.size.width.max(1) as usize;
        self.pixels_mut().chunks_exact_mut(width)
    }

    /// Row `y` from the top, to be written.
    ///
    /// # Panics
    ///
    /// Where there is no such row.
    pub fn row_mut(&mut self, y: usize) -> &mut [u32] {
        let width = self.size.width as usize;
        &mut self.pixels_mut()[y * width..][..width]
    }

    /// The pixel in column `x` of row `y`, where there is one.
    pub fn pixel(&self, x: u32, y: u32) -> Option<u32> {
        if x >= self.size.width || y >= self.size.height {
            return None;
        }
        self.pixels().get(y as usize * self.size.width as usize + x as usize).copied()
    }

    /// Copies what is new in `frame`, which has the same size, as a viewer does.
    ///
    /// # Panics
    ///
    /// Where it has another size.
    pub fn take(&mut self, frame: &crate::frame::Frame<'_>) {
        assert_eq!(self.size, frame.size(), "a frame of another size");
        for rect in frame.damage {
            self.copy_rect(frame.picture, *rect);
        }
    }

    /// Copies the pixels in `rect`, which is inside both, from a picture of the same size.
    pub(crate) fn copy_rect(&mut self, from: &Self, rect: Rect) {
        let (start, width) = (rect.x as usize, rect.width as usize);
        for y in rect.y as usize..(rect.y + rect.height) as usize {
            let from = &from.pixels()[y * from.size.width as usize + start..][..width];
            self.row_mut(y)[start..start + width].copy_from_slice(from);
        }
    }

    /// Makes it `size`, keeping its memory where that suffices. What it shows is undefined then.
    pub(crate) fn resize(&mut self, size: Size) {
        self.size = size;
        let area = self.area();
        self.memory.resize(if area == 0 { 0 } else { area + LINE - 1 }, 0);
        let start = self.memory.as_ptr().align_offset(LINE * size_of::<u32>());
        self.start = start.min(self.memory.len() - area);
    }
}

impl Clone for Picture {
    fn clone(&self) -> Self {
        let mut clone = Self::new(self.size);
        clone.pixels_mut().copy_from_slice(self.pixels());
        clone
    }
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.pixels() == other.pixels()
    }
}

impl Eq for Picture {}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size, .. } = self;
        f.debug_struct("Picture").field("size", size).field("pixels", &self.pixels()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pixel_begins_a_line_of_the_cache() {
        let mut picture = Picture::default();
        assert!(picture.clone().pixels().is_empty());
        for (width, height) in [(3, 5), (64, 64), (1, 1), (0, 0), (1366, 768)] {
            picture.resize(Size::new(width, height));
            picture.pixels_mut().fill(width);
            let clone = picture.clone();
            for picture in [&picture, &clone] {
                let at = picture.pixels().as_ptr().addr();
                assert!(at.is_multiple_of(64) || width == 0, "{width}x{height}");
            }
            assert_eq!(picture, clone);
            assert_eq!(picture.pixels().len(), (width * height) as usize);
        }
    }
}
