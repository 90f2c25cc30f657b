// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a segment's bytes to the screen, and the tiles that changed with it.

use super::Layout;
use super::ahead::LINE;
use super::arch::prefetch;
use super::kernel::{Direct, MAX_SEGMENT, Store, Streams, Take};
use crate::convert::{self, Alpha};
use crate::damage::{Damage, TILE};
use crate::format::PixelFormat;

/// Side of a tile.
const SIDE: usize = TILE as usize;

/// Where a row's pixels go.
#[derive(Debug)]
pub(crate) struct To<'a> {
    /// The row.
    pub(crate) row: &'a mut [u32],
    /// Whether it holds the pixels of the poll before. If not, there is nothing to compare with.
    pub(crate) kept: bool,
    /// The row's tiles that changed are marked in this, in the row of `mark`.
    pub(crate) damage: &'a mut Damage,
    pub(crate) mark: usize,
}

/// A row of a screen, which takes in segments.
pub(super) struct Shown<'a> {
    pub(super) layout: &'a Layout,
    /// Whether segments with another hash are stored without a look at what they replace.
    pub(super) dense: bool,
    pub(super) streams: Option<&'a Streams>,
    pub(super) to: To<'a>,
    /// Segments so far whose hash was another than before.
    pub(super) differing: usize,
    /// Whether any tile was stored and marked.
    pub(super) changed: bool,
}

impl Take for Shown<'_> {
    fn direct(&mut self, index: usize) -> Option<Direct<'_>> {
        if !is_xrgb(self.layout) {
            return None;
        }
        let how = match self.streams {
            _ if self.to.kept && !self.dense => {
                self.ask_below(index);
                Store::Differing
            }
            Some(streams) => Store::Streamed(streams),
            None => Store::All,
        };
        let count = segment_pixels(self.layout);
        let shown = &mut self.to.row[index * count..][..count];
        Some(Direct { shown, opaque: convert::OPAQUE, how })
    }

    fn stored(&mut self, index: usize, tiles: u64) {
        self.differing += 1;
        self.mark(index, tiles);
    }

    fn changed(&mut self, index: usize, bytes: &[u8], differs: bool) {
        let x = index * segment_pixels(self.layout);
        self.differing += usize::from(differs);
        if !self.to.kept || self.dense && differs {
            let count = bytes.len() / self.layout.format.bytes_per_pixel() as usize;
            self.mark(index, (1 << count.div_ceil(SIDE)) - 1);
            let shown = &mut self.to.row[x..][..count];
            convert::row(self.layout.format, self.layout.alpha, bytes, shown);
        } else {
            self.ask_below(index);
            let To { row, damage, mark, .. } = &mut self.to;
            self.changed |= store(self.layout, bytes, &mut row[x..], (x, *mark), damage);
        }
    }
}

impl Shown<'_> {
    /// Asks for what the screen has below segment `index`: what changes is often taller than a row.
    fn ask_below(&self, index: usize) {
        let pixels = segment_pixels(self.layout);
        let below = self.to.row.as_ptr().wrapping_add(self.to.row.len() + index * pixels);
        for line in (0..pixels).step_by(LINE / size_of::<u32>()) {
            prefetch(below.wrapping_add(line));
        }
    }

    /// Marks those tiles of segment `index` that have a bit in `tiles`.
    fn mark(&mut self, index: usize, tiles: u64) {
        self.changed |= tiles != 0;
        self.to.damage.mark_tiles(index * segment_pixels(self.layout), self.to.mark, tiles);
    }
}

/// Whether the pixels of a plane are those of a screen, but for the unused bits.
const fn is_xrgb(layout: &Layout) -> bool {
    let same = matches!(layout.format, PixelFormat::Xrgb8888 | PixelFormat::Argb8888);
    same && matches!(layout.alpha, Alpha::Ignore) && cfg!(target_endian = "little")
}

/// Pixels of a segment. All of them are whole, and so are the tiles.
pub(super) const fn segment_pixels(layout: &Layout) -> usize {
    if layout.format.bytes_per_pixel() == 4 { 64 } else { 128 }
}

/// Decodes the pixels of a row from `x`, the first of a tile, on, as many as there are, and stores
/// and marks the tiles of them that differ.
pub(crate) fn store_row(
    layout: &Layout,
    bytes: &[u8],
    shown: &mut [u32],
    (x, y): (usize, usize),
    damage: &mut Damage,
) {
    let pixels = segment_pixels(layout);
    let segments = bytes.chunks(pixels * layout.format.bytes_per_pixel() as usize);
    for (at, segment) in (x..).step_by(pixels).zip(segments) {
        store(layout, segment, &mut shown[at..], (at, y), damage);
    }
}

/// A segment's, from the start of a line of the cache on: widest stores are split otherwise.
#[repr(align(64))]
struct Pixels([u32; MAX_SEGMENT / 3]);

/// Decodes a segment, and stores and marks the tiles of it that differ. Answers whether any did.
fn store(
    layout: &Layout,
    bytes: &[u8],
    shown: &mut [u32],
    (x, y): (usize, usize),
    damage: &mut Damage,
) -> bool {
    let count = bytes.len() / layout.format.bytes_per_pixel() as usize;
    let mut pixels = Pixels([0; MAX_SEGMENT / 3]);
    let pixels = &mut pixels.0[..count];
    convert::row(layout.format, layout.alpha, bytes, pixels);
    // Whole tiles have a length that the compiler knows, which is most of what this costs.
    let (tiles, rest) = pixels.as_chunks::<SIDE>();
    let (shown_tiles, shown_rest) = shown[..count].as_chunks_mut::<SIDE>();
    let mut changed = false;
    for (tile, (new, shown)) in tiles.iter().zip(shown_tiles).enumerate() {
        if new != shown {
            *shown = *new;
            damage.mark((x + tile * SIDE) as u32, y as u32);
            changed = true;
        }
    }
    if rest != shown_rest {
        shown_rest.copy_from_slice(rest);
        damage.mark((x + tiles.len() * SIDE) as u32, y as u32);
        changed = true;
    }
    changed
}
