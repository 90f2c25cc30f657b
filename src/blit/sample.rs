// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which rows a sampled poll looks at.

/// Rows from one that a sampled poll looks at to the next, and polls until each had its turn.
pub(crate) const SAMPLED: usize = 8;

/// Unchanged rows in succession at which a change ends. The dot of an i and the strokes of an
/// equals sign are nearer to each other than that in what is read without a glass.
const GAP: usize = 4;

/// For how many polls a row that changed is looked at in each.
const LATELY: u8 = 8;

/// Set where the poll looked at a row.
const LOOKED: u8 = 0x80;

/// For each row how lately it changed: [`LATELY`] in this poll, 0 so long ago that it counts no
/// more. With [`LOOKED`].
#[derive(Debug, Default)]
pub(crate) struct Rows(Vec<u8>);

impl Rows {
    /// Of `height` rows none changed lately.
    pub(super) fn reset(&mut self, height: usize) {
        self.0.clear();
        self.0.resize(height, 0);
    }

    /// Bytes that it takes.
    #[cfg(any(test, feature = "testing"))]
    pub(super) const fn bytes(&self) -> usize {
        self.0.capacity()
    }

    /// Looks at one row in [`SAMPLED`] from `first` on, at those that changed lately, and from each
    /// that changed on to both sides, until [`GAP`] rows did not. If none changed lately and now one
    /// did, it looks at all: what begins, a viewer is shown in one piece. `scan` is called once for
    /// each row, with the one that is likely to be next, and answers whether it changed.
    pub(super) fn sample(&mut self, first: usize, mut scan: impl FnMut(usize, usize) -> bool) {
        for row in &mut self.0 {
            *row = (*row & !LOOKED).saturating_sub(1);
        }
        let height = self.0.len();
        let quiet = self.0.iter().all(|&row| row == 0);
        let mut below = 0;
        let mut y = self.due(0, first);
        while y < height {
            let next = self.due(y + 1, first);
            let changed = self.look(y, next, &mut scan);
            if changed && quiet {
                for y in 0..height {
                    if self.0[y] & LOOKED == 0 {
                        self.look(y, y + 1, &mut scan);
                    }
                }
                return;
            }
            if changed {
                self.above(y, &mut scan);
                below = GAP;
            } else {
                below = below.max(1) - 1;
            }
            y = if below > 0 { y + 1 } else { next };
        }
    }

    /// The first row from `y` on that is looked at whatever its neighbours do; the height where
    /// there is none.
    fn due(&self, y: usize, first: usize) -> usize {
        let height = self.0.len();
        (y..height).find(|&y| y % SAMPLED == first || self.0[y] & !LOOKED > 0).unwrap_or(height)
    }

    fn look(&mut self, y: usize, next: usize, scan: &mut impl FnMut(usize, usize) -> bool) -> bool {
        let changed = scan(y, next);
        let row = &mut self.0[y];
        *row = LOOKED | if changed { LATELY } else { *row };
        changed
    }

    /// Looks at the rows above `y`, which changed.
    fn above(&mut self, y: usize, scan: &mut impl FnMut(usize, usize) -> bool) {
        let mut same = 0;
        for above in (0..y).rev() {
            let changed = match self.0[above] {
                // From there it has been done.
                row if row == LOOKED | LATELY => return,
                row if row & LOOKED != 0 => false,
                _ => self.look(above, above.saturating_sub(1), scan),
            };
            same = if changed { 0 } else { same + 1 };
            if same == GAP {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows that a poll looked at, in order, of `height` of which `changed` changed.
    fn looked(rows: &mut Rows, first: usize, changed: &[usize]) -> Vec<usize> {
        let mut looked = Vec::new();
        rows.sample(first, |y, _| {
            looked.push(y);
            changed.contains(&y)
        });
        let count = looked.len();
        looked.sort_unstable();
        looked.dedup();
        assert_eq!(looked.len(), count, "each once");
        looked
    }

    #[test]
    fn a_change_is_followed_to_both_sides_and_looked_at_again() {
        let mut rows = Rows::default();
        rows.reset(40);
        assert_eq!(looked(&mut rows, 3, &[]), [3, 11, 19, 27, 35]);
        // Nothing changed lately: all is looked at.
        assert_eq!(looked(&mut rows, 4, &[36]), (0..40).collect::<Vec<_>>());
        // 17 is found from 20, past two that are the same; 10 and 30 are too far off.
        let changed = [10, 17, 20, 21, 30];
        let expected = [4, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 28, 36];
        assert_eq!(looked(&mut rows, 4, &changed), expected);
        assert_eq!(looked(&mut rows, 5, &[]), [5, 13, 17, 20, 21, 29, 36, 37]);
        for turn in 6..12 {
            assert!(looked(&mut rows, turn % 8, &[]).contains(&17), "{turn}");
        }
        assert_eq!(looked(&mut rows, 12 % 8, &[]), [4, 12, 20, 28, 36]);
    }

    #[test]
    fn the_edges_are_edges() {
        let mut rows = Rows::default();
        rows.reset(3);
        assert!(looked(&mut rows, 5, &[0]).is_empty());
        assert_eq!(looked(&mut rows, 2, &[0, 1, 2]), [0, 1, 2]);
        assert_eq!(looked(&mut rows, 0, &[0, 1, 2]), [0, 1, 2]);
        assert_eq!(looked(&mut rows, 7, &[2]), [0, 1, 2]);
        rows.reset(0);
        assert!(looked(&mut rows, 0, &[]).is_empty());
    }
}
