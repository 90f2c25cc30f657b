// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What changed, as a bit for each tile, and the few rectangles that cover it.

use crate::geometry::{Rect, Size};

/// Side of a tile, in pixels. Small enough that a typed letter is little damage, large enough
/// that a screen of 4K is 4 KiB of bits.
pub const TILE: u32 = 16;

/// Most rectangles that [`Damage::rects`] answers with. More than that costs a viewer more in
/// headers than the pixels between them do.
pub const MAX_RECTS: usize = 32;

/// The tiles of a picture that changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    size: Size,
    /// Words of bits for a row of tiles.
    words: usize,
    bits: Vec<u64>,
}

impl Damage {
    /// No damage to a picture of `size`.
    pub fn new(size: Size) -> Self {
        let mut damage = Self::default();
        damage.reset(size);
        damage
    }

    /// Makes it no damage to a picture of `size`, keeping its memory where that suffices.
    pub fn reset(&mut self, size: Size) {
        self.size = size;
        self.words = size.width.div_ceil(TILE).div_ceil(u64::BITS) as usize;
        self.bits.clear();
        self.bits.resize(self.words * size.height.div_ceil(TILE) as usize, 0);
    }

    /// Forgets all damage.
    pub fn clear(&mut self) {
        self.bits.fill(0);
    }

    /// Size of the picture that it belongs to, in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|&word| word == 0)
    }

    /// Notes that the tile with pixel `x` of row `y`, which are inside the picture, changed.
    pub fn mark(&mut self, x: u32, y: u32) {
        let column = (x / TILE) as usize;
        self.bits[(y / TILE) as usize * self.words + column / 64] |= 1 << (column % 64);
    }

    /// Notes that all pixels of `rect` changed, as far as they are inside the picture.
    pub fn mark_rect(&mut self, rect: Rect) {
        let right = rect.x.saturating_add(rect.width).min(self.size.width);
        let bottom = rect.y.saturating_add(rect.height).min(self.size.height);
        for y in (rect.y / TILE * TILE..bottom).step_by(TILE as usize) {
            for x in (rect.x / TILE * TILE..right).step_by(TILE as usize) {
                self.mark(x, y);
            }
        }
    }

    /// Notes that those tiles of row `y` changed that have a bit in `tiles`, the lowest being that of
    /// the tile with pixel `x`. They have a word of bits to themselves: 64 tiles of a picture, from
    /// its left edge on.
    pub(crate) fn mark_tiles(&mut self, x: usize, y: usize, tiles: u64) {
        let (side, bits) = (TILE as usize, u64::BITS as usize);
        let column = x / side;
        debug_assert!(tiles.leading_zeros() as usize >= column % bits, "tiles of two words");
        self.bits[y / side * self.words + column / bits] |= tiles << (column % bits);
    }

    /// Adds the damage of `other`, which belongs to a picture of the same size.
    pub fn merge(&mut self, other: &Self) {
        debug_assert_eq!(self.size, other.size);
        for (word, other) in self.bits.iter_mut().zip(&other.bits) {
            *word |= other;
        }
    }

    /// Covers the damage with at most [`MAX_RECTS`] rectangles that do not overlap.
    ///
    /// Runs of tiles that are one above the other with the same columns become one rectangle. If
    /// that makes too many, each row of tiles becomes one run; if that does, all becomes one
    /// rectangle. `rects` is cleared first and keeps its memory.
    pub fn rects(&self, rects: &mut Vec<Rect>) {
        if self.cover(rects, |row, run| self.runs(row, run)) {
            return;
        }
        let hull = |row: usize, run: &mut dyn FnMut(u32, u32)| {
            let mut ends: Option<(u32, u32)> = None;
            self.runs(row, &mut |start, end| {
                ends = Some((ends.map_or(start, |(first, _)| first), end));
            });
            if let Some((start, end)) = ends {
                run(start, end);
            }
        };
        if self.cover(rects, hull) {
            return;
        }
        rects.clear();
        for row in 0..self.rows() {
            self.runs(row, &mut |start, end| {
                let run = self.tiles(start, end, row);
                match rects.first_mut() {
                    Some(all) => *all = union(*all, run),
                    None => rects.push(run),
                }
            });
        }
    }

    /// Makes rectangles of the runs that `runs` finds in each row. Answers whether they are few
    /// enough; if not, `rects` holds some of them.
    fn cover(&self, rects: &mut Vec<Rect>, runs: impl Fn(usize, &mut dyn FnMut(u32, u32))) -> bool {
        rects.clear();
        for row in 0..self.rows() {
            let y = row as u32 * TILE;
            runs(row, &mut |start, end| {
                let run = self.tiles(start, end, row);
                let above = rects.iter().rposition(|rect| {
                    rect.y + rect.height == y && (rect.x, rect.width) == (run.x, run.width)
                });
                match above {
                    Some(above) => rects[above].height += run.height,
                    None if rects.len() <= MAX_RECTS => rects.push(run),
                    None => {}
                }
            });
            if rects.len() > MAX_RECTS {
                return false;
            }
        }
        true
    }

    /// Calls `run` with each run of damaged tiles in a row: its first column and the one after
    /// its last.
    pub(crate) fn runs(&self, row: usize, run: &mut dyn FnMut(u32, u32)) {
        let words = &self.bits[row * self.words..][..self.words];
        let mut start = None;
        for (at, &word) in words.iter().enumerate() {
            let mut bit = 0;
            while bit < u64::BITS {
                let rest = word >> bit;
                let column = at as u32 * u64::BITS + bit;
                match start {
                    None if rest == 0 => break,
                    None => {
                        bit += rest.trailing_zeros();
                        start = Some(column + rest.trailing_zeros());
                    }
                    Some(first) => {
                        bit += rest.trailing_ones();
                        if bit < u64::BITS {
                            run(first, column + rest.trailing_ones());
                            start = None;
                        }
                    }
                }
            }
        }
        if let Some(first) = start {
            run(first, words.len() as u32 * u64::BITS);
        }
    }

    fn rows(&self) -> usize {
        self.size.height.div_ceil(TILE) as usize
    }

    /// The pixels of tiles `start..end` of a row, cut at the picture's edges.
    fn tiles(&self, start: u32, end: u32, row: usize) -> Rect {
        let (x, y) = (start * TILE, row as u32 * TILE);
        let right = (end * TILE).min(self.size.width);
        let bottom = (y + TILE).min(self.size.height);
        Rect { x, y, width: right - x, height: bottom - y }
    }
}

/// The smallest rectangle around both.
fn union(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = (a.x + a.width).max(b.x + b.width);
    let bottom = (a.y + a.height).max(b.y + b.height);
    Rect { x, y, width: right - x, height: bottom - y }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Damage drawn as a picture, a letter for each tile; `#` is damaged.
    fn drawn(rows: &[&str]) -> Damage {
        let size = Size::new(rows[0].len() as u32 * TILE, rows.len() as u32 * TILE);
        let mut damage = Damage::new(size);
        for (y, row) in rows.iter().enumerate() {
            for (x, tile) in row.bytes().enumerate() {
                if tile == b'#' {
                    damage.mark(x as u32 * TILE, y as u32 * TILE);
                }
            }
        }
        damage
    }

    /// Rectangles drawn the same way: a letter of its own for each.
    fn covered(damage: &Damage) -> Vec<String> {
        let mut rects = Vec::new();
        damage.rects(&mut rects);
        let (columns, rows) = (damage.size.width / TILE, damage.size.height / TILE);
        let mut picture = vec![vec![b'.'; columns as usize]; rows as usize];
        for (letter, rect) in (b'a'..).zip(rects) {
            for y in rect.y / TILE..(rect.y + rect.height) / TILE {
                for x in rect.x / TILE..(rect.x + rect.width) / TILE {
                    let tile = &mut picture[y as usize][x as usize];
                    assert_eq!(*tile, b'.', "rectangles overlap");
                    *tile = letter;
                }
            }
        }
        picture.into_iter().map(|row| String::from_utf8(row).unwrap()).collect()
    }

    #[test]
    fn rectangles_are_few_and_tight() {
        let damage = drawn(&[
            "..##....", //
            "..##..#.", "........", "#.......", "##......",
        ]);
        assert_eq!(covered(&damage), ["..aa....", "..aa..b.", "........", "c.......", "dd......"]);
    }

    #[test]
    fn no_damage_is_no_rectangle_and_all_is_one() {
        let mut damage = Damage::new(Size::new(1000, 700));
        let mut rects = vec![Rect::default()];
        damage.rects(&mut rects);
        assert_eq!((rects.as_slice(), damage.is_empty()), (&[][..], true));
        damage.mark_rect(damage.size().rect());
        damage.rects(&mut rects);
        assert_eq!(rects, [Rect { x: 0, y: 0, width: 1000, height: 700 }]);
    }

    #[test]
    fn edges_of_the_picture_cut_tiles() {
        let mut damage = Damage::new(Size::new(1025, 17));
        damage.mark(1024, 16);
        let mut rects = Vec::new();
        damage.rects(&mut rects);
        assert_eq!(rects, [Rect { x: 1024, y: 16, width: 1, height: 1 }]);
    }

    #[test]
    fn bits_of_a_row_are_its_tiles() {
        for (x, tiles) in [(0, 0b1), (64, 0b1011), (1008, 0b1), (1024, 0b11), (0, u64::MAX)] {
            let (mut bits, mut each) =
                (Damage::new(Size::new(4000, 40)), Damage::new(Size::new(4000, 40)));
            bits.mark_tiles(x, 20, tiles);
            for tile in (0..64).filter(|tile| tiles >> tile & 1 != 0) {
                each.mark(x as u32 + tile * TILE, 20);
            }
            assert_eq!(bits, each, "{tiles:b} from {x}");
        }
    }

    #[test]
    fn runs_are_runs_of_bits() {
        for words in
            [[0, 0], [1, 0], [!0, !0], [1 << 63, 1], [1 << 63, 2], [0b1011, !0], [!1, !0 >> 1]]
        {
            let mut damage = Damage::new(Size::new(128 * TILE, 1));
            damage.bits.copy_from_slice(&words);
            let mut found = [0_u64; 2];
            let mut end = None;
            damage.runs(0, &mut |first, after| {
                assert!(first < after && end.is_none_or(|end| first > end), "{words:x?}");
                (first..after).for_each(|at| found[at as usize / 64] |= 1 << (at % 64));
                end = Some(after);
            });
            assert_eq!(found, words);
        }
    }

    #[test]
    fn many_runs_become_one_a_row() {
        let row = "#.".repeat(20);
        assert_eq!(
            covered(&drawn(&[&row, &"..".repeat(20), &row])),
            ["a".repeat(39) + ".", ".".repeat(40), "b".repeat(39) + ".",]
        );
    }

    #[test]
    fn many_rows_become_one_rectangle() {
        let rows: Vec<String> = (0..40).map(|y| ".".repeat(y % 7) + "#.").collect();
        let width = rows.iter().map(String::len).max().unwrap();
        let rows: Vec<String> = rows.iter().map(|row| format!("{row:.<width$}")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let mut rects = Vec::new();
        drawn(&rows).rects(&mut rects);
        assert_eq!(rects, [Rect { x: 0, y: 0, width: 7 * TILE, height: 40 * TILE }]);
    }
}
