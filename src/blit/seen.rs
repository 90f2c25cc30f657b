// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a screen was made of: a hash for each segment of a row.

use super::kernel::{Kernel, MAX_SEGMENT, Row};
use super::key::Key;
use super::{Layout, SAMPLED};
use crate::convert;
use crate::damage::{Damage, TILE};
use crate::sys::Span;

/// Polls in which each row once counts as changed whatever its hash, one row in as many in each:
/// the longest that a missed change can stay. 8.5 s at 60 Hz; a multiple of [`SAMPLED`], so that
/// those rows are among the sampled ones.
const REFRESH: usize = 512;

/// Side of a tile.
const SIDE: usize = TILE as usize;

/// The hashes of the bytes that a screen was made of, and what is needed to make more.
#[derive(Debug)]
pub(crate) struct Seen {
    kernel: Kernel,
    key: Box<Key>,
    hashes: Vec<u64>,
    /// What the hashes are of; `None` while not all of them are of one picture.
    layout: Option<Layout>,
    /// What is being scanned, and whether its bytes all count as changed.
    scanned: Option<(Layout, bool)>,
    /// Counts the scans.
    turn: usize,
    /// Whether the last scan found a change.
    dirty: bool,
    /// A row, for those who have to fetch it.
    pub(crate) scratch: Vec<u8>,
}

impl Default for Seen {
    fn default() -> Self {
        Self::with(Kernel::best())
    }
}

impl Seen {
    /// Nothing yet, hashed by `kernel`.
    pub(crate) fn with(kernel: Kernel) -> Self {
        Self {
            kernel,
            key: Box::new(Key::random()),
            hashes: Vec::new(),
            layout: None,
            scanned: None,
            turn: 0,
            dirty: false,
            scratch: Vec::new(),
        }
    }

    /// Begins to scan. Answers the first of the rows to be sampled, `None` where all have to be
    /// scanned.
    pub(crate) fn begin(&mut self, layout: &Layout) -> Option<usize> {
        let other = self.layout != Some(*layout);
        if other {
            // Until the end: a scan that stops half-way leaves hashes of two pictures.
            self.layout = None;
            self.hashes.clear();
            self.hashes.resize(segments(layout) * layout.size.height as usize, 0);
        }
        self.scanned = Some((*layout, other));
        self.turn = (self.turn + 1) % REFRESH;
        (!other && !self.dirty).then_some(self.turn % SAMPLED)
    }

    /// Scans row `y`, whose bytes are `bytes`, and brings `shown` up to date. Answers whether any
    /// pixel changed.
    pub(crate) fn scan(
        &mut self,
        y: usize,
        bytes: Span<'_>,
        next: *const u8,
        shown: &mut [u32],
        damage: &mut Damage,
    ) -> bool {
        let Some((layout, all)) = self.scanned else { return false };
        let (count, pixels) = (segments(&layout), segment_pixels(&layout));
        let hashes = &mut self.hashes[y * count..][..count];
        let force = all || y % REFRESH == self.turn;
        let mut changed = false;
        let row = Row { bytes, next, hashes, force };
        self.kernel.scan(row, is_long(&layout), &self.key, &mut |segment, bytes| {
            let x = segment * pixels;
            changed |= store(&layout, bytes, &mut shown[x..], (x, y), damage);
        });
        changed
    }

    /// Bytes are about to be stored that nobody hashes: no hash is good any more.
    pub(crate) fn forget(&mut self) {
        self.layout = None;
    }

    /// All rows that were to be scanned have been.
    pub(crate) fn end(&mut self, changed: bool) {
        self.layout = self.scanned.take().map(|(layout, _)| layout);
        self.dirty = changed;
    }

    /// What hashes.
    #[cfg(feature = "testing")]
    pub(crate) fn kernel(&self) -> String {
        format!("{:?}", self.kernel)
    }

    /// Bytes that it takes.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn bytes(&self) -> usize {
        size_of::<Self>() + size_of::<Key>() + self.hashes.capacity() * 8 + self.scratch.capacity()
    }
}

/// Pixels of a segment. All of them are whole, and so are the tiles.
const fn segment_pixels(layout: &Layout) -> usize {
    if layout.format.bytes_per_pixel() == 4 { 64 } else { 128 }
}

/// Whether segments are of 384 bytes and not of 256.
const fn is_long(layout: &Layout) -> bool {
    layout.format.bytes_per_pixel() == 3
}

/// Segments of a row; the last may be short.
const fn segments(layout: &Layout) -> usize {
    (layout.size.width as usize).div_ceil(segment_pixels(layout))
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
