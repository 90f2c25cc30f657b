// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a segment's bytes to the screen, and the tiles that changed with it.

use super::Layout;
use super::kernel::{Direct, MAX_SEGMENT, Store, Streams, Take};
use crate::convert::{self, Alpha};
use crate::damage::{Damage, TILE};
use crate::format::PixelFormat;

/// Side of a tile.
const SIDE: usize = TILE as usize;

/// Row `y` of a screen, which takes in segments.
pub(super) struct Shown<'a> {
    pub(super) layout: &'a Layout,
    pub(super) y: usize,
    pub(super) row: &'a mut [u32],
    pub(super) damage: &'a mut Damage,
    /// Whether segments with another hash are stored without a look at what they replace.
    pub(super) dense: bool,
    pub(super) streams: Option<&'a Streams>,
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
            _ if !self.dense => Store::Differing,
            Some(streams) => Store::Streamed(streams),
            None => Store::All,
        };
        let count = segment_pixels(self.layout);
        let shown = &mut self.row[index * count..][..count];
        Some(Direct { shown, opaque: convert::OPAQUE, how })
    }

    fn stored(&mut self, index: usize, tiles: u64) {
        self.differing += 1;
        self.changed |= tiles != 0;
        self.damage.mark_tiles(index * segment_pixels(self.layout), self.y, tiles);
    }

    fn changed(&mut self, index: usize, bytes: &[u8], differs: bool) {
        if self.dense && differs {
            let count = bytes.len() / self.layout.format.bytes_per_pixel() as usize;
            let x = index * segment_pixels(self.layout);
            self.stored(index, (1 << count.div_ceil(SIDE)) - 1);
            let shown = &mut self.row[x..][..count];
            convert::row(self.layout.format, self.layout.alpha, bytes, shown);
        } else {
            let x = index * segment_pixels(self.layout);
            let shown = &mut self.row[x..];
            self.differing += usize::from(differs);
            self.changed |= store(self.layout, bytes, shown, (x, self.y), self.damage);
        }
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

/// Decodes a segment, and stores and marks the tiles of it that differ. Answers whether any did.
fn store(
    layout: &Layout,
    bytes: &[u8],
    shown: &mut [u32],
    (x, y): (usize, usize),
    damage: &mut Damage,
) -> bool {
    let count = bytes.len() / layout.format.bytes_per_pixel() as usize;
    let mut pixels = [0; MAX_SEGMENT / 3];
    let pixels = &mut pixels[..count];
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
