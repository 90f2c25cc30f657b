// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a screen was made of: a hash for each segment of a row.

use super::Layout;
use super::ahead::Ahead;
use super::kernel::{Kernel, Row, Streams};
use super::key::Key;
use super::sample::Rows;
use super::store::{Shown, To, segment_pixels};
use crate::sys::Span;

/// Polls in which each row once counts as changed whatever its hash, one row in as many in each:
/// the longest that a missed change can stay. 8.5 s at 60 Hz; a multiple of
/// [`SAMPLED`](super::sample::SAMPLED), so that
/// those rows are among the sampled ones.
pub(super) const REFRESH: usize = 512;

/// Polls that are told what was written, of which one reads a few rows all the same: after 4096,
/// 68 s at 60 Hz, all have been.
const TOLD: usize = 8;

/// From how many bytes of a screen on dense polls store around the caches: what no second-level
/// cache holds. Measured: DESIGN.md.
const STREAMED: usize = 4 << 20;

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
    /// Counts those that were told what was written.
    told: usize,
    /// Whether at least half of the segments that the last poll scanned had changed.
    dense: bool,
    /// What this poll's parts counted.
    counts: [Counts; 2],
    /// What sampled polls know of the rows.
    pub(crate) rows: Rows,
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
            told: 0,
            dense: false,
            counts: Default::default(),
            rows: Rows::default(),
            scratch: Vec::new(),
        }
    }

    /// Begins to scan. Answers which of the [`REFRESH`] turns it is, `None` where all rows have to be
    /// scanned.
    pub(crate) fn begin(&mut self, layout: &Layout) -> Option<usize> {
        let other = self.layout != Some(*layout);
        if other {
            // Until the end: a scan that stops half-way leaves hashes of two pictures.
            self.layout = None;
            self.hashes.clear();
            self.hashes.resize(segments(layout) * layout.size.height as usize, 0);
            self.rows.reset(layout.size.height as usize);
            self.dense = false;
        }
        self.counts = Default::default();
        self.scanned = Some((*layout, other));
        self.turn = (self.turn + 1) % REFRESH;
        (!other).then_some(self.turn)
    }

    /// Counts a poll that is told what was written. In one of [`TOLD`] some rows are read all the
    /// same: the answer is which of [`REFRESH`] turns it is.
    pub(crate) fn told(&mut self) -> Option<usize> {
        self.told = (self.told + 1) % (TOLD * REFRESH);
        self.told.is_multiple_of(TOLD).then_some(self.told / TOLD)
    }

    /// All rows, to be scanned.
    pub(crate) fn part(&mut self, layout: &Layout) -> Part<'_> {
        let [part, _] = self.parts(layout, layout.size.height as usize);
        part
    }

    /// The rows above `y` and those from it on, to be scanned, maybe at once.
    pub(crate) fn parts(&mut self, layout: &Layout, y: usize) -> [Part<'_>; 2] {
        let all = self.scanned.is_none_or(|(_, all)| all);
        let (above, below) = self.hashes.split_at_mut(y * segments(layout));
        let [first, second] = &mut self.counts;
        let (kernel, key, turn, dense) = (self.kernel, &*self.key, self.turn, self.dense);
        let part = |top, hashes, counts| Part {
            kernel,
            key,
            layout: *layout,
            all,
            turn,
            dense,
            top,
            hashes,
            counts,
        };
        [part(0, above, first), part(y, below, second)]
    }

    /// Bytes are about to be stored that nobody hashes: no hash is good any more.
    pub(crate) fn forget(&mut self) {
        self.layout = None;
    }

    /// All rows that were to be scanned have been.
    pub(crate) fn end(&mut self) {
        if let Some((layout, all)) = self.scanned.take() {
            self.layout = Some(layout);
            // A first poll has nothing to differ from.
            let [one, other] = &self.counts;
            let (scanned, differing) =
                (one.scanned + other.scanned, one.differing + other.differing);
            self.dense = !all && differing * 2 >= scanned;
        }
    }

    /// Whether the next poll overwrites what changed without a compare.
    pub(crate) const fn is_dense(&self) -> bool {
        self.dense
    }

    /// What hashes.
    #[cfg(feature = "testing")]
    pub(crate) fn kernel(&self) -> String {
        format!("{:?}", self.kernel)
    }

    /// Bytes that it takes.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of::<Key>()
            + self.hashes.capacity() * 8
            + self.rows.bytes()
            + self.scratch.capacity()
    }
}

/// Segments that were scanned, and those of them whose hash was another than before. They have lines
/// of the cache of their own: each thread counts in each row.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Counts {
    scanned: usize,
    differing: usize,
}

/// Rows that one thread scans, from `top` on.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    kernel: Kernel,
    key: &'a Key,
    layout: Layout,
    /// Whether all of their bytes count as changed.
    all: bool,
    turn: usize,
    dense: bool,
    top: usize,
    hashes: &'a mut [u64],
    counts: &'a mut Counts,
}

impl Part<'_> {
    /// Lets this thread store around the caches, until the answer is dropped, where that is worth
    /// it.
    pub(crate) fn streams(&self) -> Option<Streams> {
        let worth = self.dense && self.layout.size.area() as usize * 4 >= STREAMED;
        (worth && self.kernel.streams()).then(|| Streams)
    }

    /// Scans row `y`, whose bytes are `bytes`, and brings `to` up to date. Answers whether any tile
    /// changed.
    pub(crate) fn scan(
        &mut self,
        y: usize,
        (bytes, ahead): (Span<'_>, Option<Ahead>),
        to: To<'_>,
        streams: Option<&Streams>,
    ) -> bool {
        let layout = &self.layout;
        let count = segments(layout);
        let hashes = &mut self.hashes[(y - self.top) * count..][..count];
        let force = self.all || y % REFRESH == self.turn;
        let row = Row { bytes, ahead, hashes, force };
        let mut shown =
            Shown { layout, dense: self.dense, streams, to, differing: 0, changed: false };
        self.kernel.scan(row, is_long(layout), self.key, &mut shown);
        let Shown { differing, changed, .. } = shown;
        self.counts.scanned += count;
        self.counts.differing += differing;
        changed
    }
}

/// Whether segments are of 384 bytes and not of 256.
const fn is_long(layout: &Layout) -> bool {
    layout.format.bytes_per_pixel() == 3
}

/// Segments of a row; the last may be short.
const fn segments(layout: &Layout) -> usize {
    (layout.size.width as usize).div_ceil(segment_pixels(layout))
}
