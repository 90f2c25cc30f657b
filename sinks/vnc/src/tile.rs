// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A piece of the picture, in the viewer's pixels, and what can be said about its colours.

use vfio_display::geometry::Rect;
use vfio_display::picture::Picture;

use crate::pixels::Pixels;

/// Pixels of the largest tile: ZRLE's 64x64 (RFC 6143, section 7.7.6), Tight's 256x64.
pub(crate) const MAX_PIXELS: usize = 256 * 64;

/// A palette for more colours than this is never worth its bytes, in any encoding.
pub(crate) const MAX_COLOURS: usize = 256;

/// Slots of the hash table: four for a colour, so that a look-up seldom needs a second one.
const SLOTS: usize = 1024;

/// Memory that encoders work in. One is enough for a thread, whatever it encodes for whom.
#[derive(Debug)]
pub struct Scratch {
    pixels: Box<[u32]>,
    length: usize,
    palette: Palette,
    /// What goes into zlib.
    pub(crate) plain: Vec<u8>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            pixels: vec![0; MAX_PIXELS].into(),
            length: 0,
            palette: Palette::default(),
            plain: Vec::new(),
        }
    }
}

/// What one pass over a tile finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Colours {
    /// Distinct colours, or `None` where there are more than was asked about.
    pub(crate) count: Option<usize>,
    /// Runs of one pixel.
    pub(crate) singles: usize,
    /// Runs of more.
    pub(crate) runs: usize,
}

impl Scratch {
    /// The tile that was loaded last.
    pub(crate) fn tile(&self) -> &[u32] {
        &self.pixels[..self.length]
    }

    /// Tile, palette and output, to be used at once.
    pub(crate) fn parts(&mut self) -> (&[u32], &Palette, &mut Vec<u8>) {
        (&self.pixels[..self.length], &self.palette, &mut self.plain)
    }

    /// Loads `rect`, at most [`MAX_PIXELS`], row after row. What of it lies outside of the picture
    /// is black: a viewer that can't be resized sees its own size whatever the guest does.
    pub(crate) fn load(&mut self, picture: &Picture, rect: Rect, pixels: &Pixels) {
        let size = picture.size();
        let width = rect.width as usize;
        self.length = width * rect.height as usize;
        let inside = size.width.saturating_sub(rect.x).min(rect.width) as usize;
        let tile = &mut self.pixels[..self.length];
        let first = rect.y as usize * size.width as usize + rect.x as usize;
        let rows = size.height.saturating_sub(rect.y).min(rect.height) as usize;
        if inside < width || rows < rect.height as usize {
            pixels.convert(&vec![0; tile.len()], tile);
        }
        for (y, row) in tile.chunks_exact_mut(width).take(rows).enumerate() {
            let start = first + y * size.width as usize;
            if let Some(from) = picture.pixels().get(start..start + inside) {
                pixels.convert(from, &mut row[..inside]);
            }
        }
    }

    /// Whether all pixels of the tile are this one.
    pub(crate) fn solid(&self) -> Option<u32> {
        let tile = self.tile();
        let first = *tile.first()?;
        // In chunks, so that the compiler compares many at once and a tile that isn't ends early.
        let differs = |chunk: &[u32]| chunk.iter().fold(0, |d, p| d | (p ^ first)) != 0;
        (!tile.chunks(64).any(differs)).then_some(first)
    }

    /// Counts runs, and up to `limit` colours, which the palette then holds.
    pub(crate) fn analyse(&mut self, limit: usize) -> Colours {
        let tile = &self.pixels[..self.length];
        self.palette.clear();
        let (mut singles, mut runs) = (0, 0);
        let mut start = 0;
        while start < tile.len() {
            let pixel = tile[start];
            let length = run(&tile[start..]);
            if length == 1 {
                singles += 1;
            } else {
                runs += 1;
            }
            if !self.palette.insert(pixel, limit) {
                // Too many colours: all that is left to know is how many runs there are, and that
                // can be counted without a branch for each.
                let rest = &tile[start + length..];
                let edges = boundaries(&tile[start + length - 1..]);
                let (more_singles, more_runs) = split(edges, rest.len());
                let (singles, runs) = (singles + more_singles, runs + more_runs);
                return Colours { count: None, singles, runs };
            }
            start += length;
        }
        Colours { count: Some(self.palette.colours().len()), singles, runs }
    }
}

/// Length of the run that `pixels` begin with.
#[inline]
pub(crate) fn run(pixels: &[u32]) -> usize {
    let first = pixels[0];
    pixels.iter().position(|p| *p != first).unwrap_or(pixels.len())
}

/// How often neighbours differ.
fn boundaries(pixels: &[u32]) -> usize {
    pixels.windows(2).map(|w| u32::from(w[0] != w[1])).sum::<u32>() as usize
}

/// A guess of how many of `edges` runs over `pixels` are single pixels: the longer the average, the
/// fewer. Only the choice between two encodings hangs on it, never what a viewer sees.
fn split(edges: usize, pixels: usize) -> (usize, usize) {
    let long = (pixels - edges.min(pixels)).min(edges);
    (edges - long, long)
}

/// The colours of a tile, in the order in which they appear.
#[derive(Debug)]
pub(crate) struct Palette {
    colours: Vec<u32>,
    /// Index into `colours`, of those whose `used` is `round`.
    slots: Box<[Slot; SLOTS]>,
    round: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// In which round it was filled; so that clearing a palette is an addition.
    used: u32,
    colour: u32,
    index: u8,
}

impl Default for Palette {
    fn default() -> Self {
        let slots = Box::new([Slot::default(); SLOTS]);
        Self { colours: Vec::with_capacity(MAX_COLOURS), slots, round: 0 }
    }
}

impl Palette {
    pub(crate) fn colours(&self) -> &[u32] {
        &self.colours
    }

    fn clear(&mut self) {
        self.colours.clear();
        self.round = self.round.wrapping_add(1);
        if self.round == 0 {
            // After 2^32 tiles slots of the first round would look filled.
            self.slots.fill(Slot::default());
            self.round = 1;
        }
    }

    /// Where `colour` is, or the free slot where it belongs.
    #[inline]
    fn find(&self, colour: u32) -> usize {
        let mut at = (colour.wrapping_mul(0x9e37_79b1) >> 22) as usize;
        // Ends: at most a quarter of the slots is filled.
        while self.slots[at].used == self.round && self.slots[at].colour != colour {
            at = (at + 1) % SLOTS;
        }
        at
    }

    /// False if it would be one too many.
    #[inline]
    fn insert(&mut self, colour: u32, limit: usize) -> bool {
        let at = self.find(colour);
        if self.slots[at].used == self.round {
            return true;
        }
        if self.colours.len() >= limit.min(MAX_COLOURS) {
            return false;
        }
        self.slots[at] = Slot { used: self.round, colour, index: self.colours.len() as u8 };
        self.colours.push(colour);
        true
    }

    /// Its place, for a colour that was found.
    #[inline]
    pub(crate) fn index(&self, colour: u32) -> u8 {
        self.slots[self.find(colour)].index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel_format::PixelFormat;
    use vfio_display::geometry::Size;

    fn loaded(width: u32, pixels: &[u32]) -> Scratch {
        let size = Size::new(width, pixels.len() as u32 / width);
        let mut picture = Picture::new(size);
        for (row, from) in picture.rows_mut().zip(pixels.chunks(width as usize)) {
            row.copy_from_slice(from);
        }
        let mut scratch = Scratch::default();
        scratch.load(&picture, size.rect(), &Pixels::plain(&PixelFormat::XRGB8888));
        scratch
    }

    #[test]
    fn finds_one_colour_and_only_one() {
        let mut pixels = vec![0xff00_00ff; 64 * 64];
        assert_eq!(loaded(64, &pixels).solid(), Some(0xff));
        pixels[64 * 64 - 1] = 0xff00_00fe;
        assert_eq!(loaded(64, &pixels).solid(), None);
    }

    #[test]
    fn counts_colours_and_runs() {
        let mut scratch = loaded(8, &[1, 1, 1, 2, 3, 3, 1, 2]);
        assert_eq!(scratch.analyse(127), Colours { count: Some(3), singles: 3, runs: 2 });
        assert_eq!(scratch.palette.colours(), [1, 2, 3]);
        assert_eq!(scratch.palette.index(3), 2);
        assert_eq!(scratch.analyse(2).count, None);
        let all: Vec<u32> = (0..4096).collect();
        let mut scratch = loaded(64, &all);
        assert_eq!(scratch.analyse(127), Colours { count: None, singles: 4096, runs: 0 });
    }

    #[test]
    fn outside_of_the_picture_is_black() {
        let mut picture = Picture::new(Size::new(3, 2));
        picture.rows_mut().for_each(|row| row.fill(0xffff_ffff));
        let mut scratch = Scratch::default();
        let rect = Rect { x: 1, y: 1, width: 4, height: 3 };
        // What an earlier tile left must not shine through.
        scratch.pixels.fill(7);
        scratch.load(&picture, rect, &Pixels::plain(&PixelFormat::XRGB8888));
        let w = 0xff_ffff;
        assert_eq!(scratch.tile(), [w, w, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        scratch.pixels.fill(7);
        let far = Rect { x: 9, y: 9, width: 2, height: 2 };
        scratch.load(&picture, far, &Pixels::plain(&PixelFormat::XRGB8888));
        assert_eq!(scratch.tile(), [0; 4]);
    }
}
