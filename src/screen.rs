// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The stable copy of a plane, and what of it nobody has been shown yet.

use crate::blit::{Ahead, Layout, Part, Rows, Seen, Streams, To, store_row};
use crate::damage::Damage;
use crate::geometry::Size;
use crate::picture::Picture;
use crate::sys::Span;

/// A picture with the damage that has gathered since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    picture: Picture,
    damage: Damage,
    seen: Seen,
    /// Memory for what a second thread finds.
    found: Damage,
}

impl Screen {
    /// Starts a copy of a picture; another size than before is damage all over. Answers which turn it
    /// is of those that sampled rows have, `None` where all have to be scanned.
    pub(crate) fn begin(&mut self, layout: &Layout) -> Option<usize> {
        self.resize(layout);
        self.seen.begin(layout)
    }

    /// Starts to [store](Self::store) what is known to have changed.
    pub(crate) fn begin_rects(&mut self, layout: &Layout) {
        self.resize(layout);
        self.seen.forget();
    }

    fn resize(&mut self, layout: &Layout) {
        if self.picture.size() != layout.size {
            self.picture.resize(layout.size);
            self.damage.reset(layout.size);
            self.refresh();
        }
    }

    /// Brings a part of row `y` up to date: the pixels from `x`, the first of a tile, on.
    pub(crate) fn store(&mut self, layout: &Layout, (x, y): (usize, usize), bytes: &[u8]) {
        store_row(layout, bytes, self.picture.row_mut(y), (x, y), &mut self.damage);
    }

    /// All rows of the copy that began, to be brought up to date.
    pub(crate) fn strip(&mut self, layout: &Layout) -> Strip<'_> {
        let width = layout.size.width as usize;
        let (pixels, damage) = (self.picture.pixels_mut(), &mut self.damage);
        Strip { part: self.seen.part(layout), top: 0, width, pixels, damage }
    }

    /// The same as two, one of the rows above `y` and one of the others, for two threads; `y` is the
    /// first row of a tile. What the second finds goes into `damage`, which [`merge`](Self::merge) is
    /// for.
    pub(crate) fn strips<'a>(
        &'a mut self,
        layout: &Layout,
        y: usize,
        damage: &'a mut Damage,
    ) -> [Strip<'a>; 2] {
        let width = layout.size.width as usize;
        let (above, below) = self.picture.pixels_mut().split_at_mut(y * width);
        let [first, second] = self.seen.parts(layout, y);
        [
            Strip { part: first, top: 0, width, pixels: above, damage: &mut self.damage },
            Strip { part: second, top: y, width, pixels: below, damage },
        ]
    }

    /// No damage to a picture of `size`, to be given [back](Self::merge).
    pub(crate) fn take_found(&mut self, size: Size) -> Damage {
        let mut found = std::mem::take(&mut self.found);
        found.reset(size);
        found
    }

    /// Adds damage that a second thread found.
    pub(crate) fn merge(&mut self, found: Damage) {
        self.damage.merge(&found);
        self.found = found;
    }

    /// In a copy of what is known to have been written: which rows have their turn beside them.
    pub(crate) fn told(&mut self) -> Option<usize> {
        self.seen.told()
    }

    /// Ends a copy in which all rows that were to be scanned have been.
    pub(crate) fn end(&mut self) {
        self.seen.end();
    }

    /// What sampled polls know of the rows, to be given [back](Self::keep_rows).
    pub(crate) fn take_rows(&mut self) -> Rows {
        std::mem::take(&mut self.seen.rows)
    }

    /// Keeps what sampled polls know of the rows.
    pub(crate) fn keep_rows(&mut self, rows: Rows) {
        self.seen.rows = rows;
    }

    /// Memory for a row, to be given [back](Self::keep_scratch).
    pub(crate) fn take_scratch(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.seen.scratch)
    }

    /// Keeps memory for the next copy.
    pub(crate) fn keep_scratch(&mut self, scratch: Vec<u8>) {
        self.seen.scratch = scratch;
    }

    /// Counts all of it as damaged.
    pub(crate) fn refresh(&mut self) {
        self.damage.mark_rect(self.damage.size().rect());
    }

    pub(crate) const fn picture(&self) -> &Picture {
        &self.picture
    }

    pub(crate) const fn damage(&self) -> &Damage {
        &self.damage
    }

    /// Somebody was shown all damage.
    pub(crate) fn shown(&mut self) {
        self.damage.clear();
    }

    /// Counts `rect` as damaged.
    pub(crate) fn mark_rect(&mut self, rect: crate::geometry::Rect) {
        self.damage.mark_rect(rect);
    }

    /// A screen whose bytes `seen` hashes.
    #[cfg(any(test, feature = "fuzzing", feature = "testing"))]
    pub(crate) fn with(seen: Seen) -> Self {
        Self { seen, ..Self::default() }
    }

    /// Bytes that are kept to detect changes.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn state_bytes(&self) -> usize {
        self.seen.bytes()
    }

    /// What hashes.
    #[cfg(feature = "testing")]
    pub(crate) fn kernel(&self) -> String {
        self.seen.kernel()
    }

    /// Whether the next poll overwrites what changed without a compare.
    pub(crate) const fn is_dense(&self) -> bool {
        self.seen.is_dense()
    }

    /// Makes row `y` wrong, without a trace.
    #[cfg(test)]
    pub(crate) fn spoil(&mut self, y: usize) {
        self.picture.row_mut(y).fill(1);
    }
}

/// Rows of a screen that one thread brings up to date, from `top` on.
#[derive(Debug)]
pub(crate) struct Strip<'a> {
    part: Part<'a>,
    top: usize,
    width: usize,
    pixels: &'a mut [u32],
    damage: &'a mut Damage,
}

impl Strip<'_> {
    /// Lets this thread store around the caches, where that is worth it.
    pub(crate) fn streams(&self) -> Option<Streams> {
        self.part.streams()
    }

    /// Brings row `y` up to date from its bytes; beside them is what will be scanned after it.
    /// Answers whether any tile changed.
    pub(crate) fn scan(
        &mut self,
        y: usize,
        bytes: (Span<'_>, Option<Ahead>),
        streams: Option<&Streams>,
    ) -> bool {
        let row = &mut self.pixels[(y - self.top) * self.width..][..self.width];
        let to = To { row, kept: true, damage: self.damage, mark: y };
        self.part.scan(y, bytes, to, streams)
    }
}
