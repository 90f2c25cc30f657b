// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which memory is asked for while a row is scanned.
//!
//! One thread that reads on and on waits for one page of memory after the other. Of several places at
//! once memory gives more, so the lines of four rows are asked for in turn, while the four above them
//! are scanned: 30 KiB ahead at 1080p, which the first two levels of any cache hold. Measured:
//! docs/performance.md.

use std::array;

use super::Layout;
use super::arch::prefetch;
use super::sample::SAMPLED;
use crate::sys::Span;

/// Rows of a group.
const GROUP: usize = 4;

/// Bytes of a line of the cache.
pub(super) const LINE: usize = 64;

/// The group of rows that will be scanned after the one that a row is in. Only a hint: a scan that
/// takes another way is right as well.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ahead {
    rows: [*const u8; GROUP],
    /// Which row of its group is scanned now.
    turn: usize,
}

impl Ahead {
    /// While row `y` is scanned, and row `next` is likely to be the next one.
    pub(super) fn of(span: Span<'_>, layout: &Layout, y: usize, next: usize) -> Self {
        let step = if next == y + 1 { 1 } else { SAMPLED };
        let turn = y / step % GROUP;
        let row = |n: usize| {
            let ahead = y + (GROUP - turn + n) * step;
            // Past the last one is nothing to ask for: what is being read costs nothing.
            let y = if ahead < layout.size.height as usize { ahead } else { y };
            span.as_ptr().wrapping_add(layout.row_offset(y))
        };
        Self { rows: array::from_fn(row), turn }
    }

    /// Asks for this segment's part of them, of a row with so many segments of so many bytes.
    #[inline(always)]
    pub(super) fn ask(&self, index: usize, segments: usize, segment: usize) {
        self.lines(index, segments, segment).for_each(prefetch);
    }

    #[inline(always)]
    fn lines(
        &self,
        index: usize,
        segments: usize,
        segment: usize,
    ) -> impl Iterator<Item = *const u8> {
        let lines = segment / LINE;
        let first = (self.turn * segments + index) * lines;
        (first..first + lines).map(|n| self.rows[n % GROUP].wrapping_add(n / GROUP * LINE))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::blit::store::segment_pixels;
    use crate::convert::Alpha;
    use crate::format::PixelFormat;
    use crate::geometry::Size;

    /// The lines that are asked for while these rows are scanned, as offsets.
    fn asked(layout: &Layout, rows: impl Iterator<Item = (usize, usize)>) -> BTreeSet<usize> {
        let bytes = vec![0; layout.len() as usize];
        let span = Span::of(&bytes);
        let segment = segment_pixels(layout) * layout.format.bytes_per_pixel() as usize;
        let segments = layout.row_len().div_ceil(segment);
        let mut asked = BTreeSet::new();
        for (y, next) in rows {
            let ahead = Ahead::of(span, layout, y, next);
            for index in 0..segments {
                let lines = ahead.lines(index, segments, segment);
                asked.extend(lines.map(|line| line.addr() - bytes.as_ptr().addr()));
            }
        }
        asked
    }

    #[test]
    fn every_line_of_a_group_is_asked_for_while_the_one_before_is_scanned() {
        let size = Size::new(1920, 64);
        for (format, stride) in [(PixelFormat::Xrgb8888, 7680), (PixelFormat::Rgb888, 5760)] {
            let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
            let lines = |rows: &[usize]| -> BTreeSet<usize> {
                let of = |y: &usize| (y * stride..(y + 1) * stride).step_by(LINE);
                rows.iter().flat_map(of).collect()
            };
            let all = asked(&layout, (8..12).map(|y| (y, y + 1)));
            assert_eq!(all, lines(&[12, 13, 14, 15]));
            let sampled = asked(&layout, [3, 11, 19, 27].map(|y| (y, y + 8)).into_iter());
            assert_eq!(sampled, lines(&[35, 43, 51, 59]));
            let last = asked(&layout, [(63, 64)].into_iter());
            assert!(last.is_subset(&lines(&[63])), "{last:?}");
        }
    }
}
