// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer has not seen yet: few rectangles, none overlapping, however much happens.

use vfio_display::geometry::{Rect, Size};

/// Rectangles that a region holds at most. Beyond it the two that fit together best become one, so
/// a region may only ever cover too much.
pub const MAX_RECTS: usize = 16;

/// Pixels that may be sent once too often if that saves a rectangle: about what its header and the
/// end of its zlib block cost.
const SLACK: u64 = 1024;

/// A bounded set of rectangles that don't overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Region {
    rects: Vec<Rect>,
}

impl Region {
    /// The region that covers nothing.
    pub const fn new() -> Self {
        Self { rects: Vec::new() }
    }

    /// Its rectangles, at most [`MAX_RECTS`].
    pub fn rects(&self) -> &[Rect] {
        &self.rects
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.rects.is_empty()
    }

    /// Covers nothing from now on.
    pub fn clear(&mut self) {
        self.rects.clear();
    }

    /// Covers all of `size`, and nothing else.
    pub fn set_whole(&mut self, size: Size) {
        self.rects.clear();
        self.add(size.rect());
    }

    /// Covers `rect` as well.
    pub fn add(&mut self, rect: Rect) {
        let mut rect = rect;
        if rect.is_empty() || self.rects.iter().any(|r| contains(*r, rect)) {
            return;
        }
        // Every round removes one, so this ends.
        while let Some(index) = self.rects.iter().position(|r| joins(*r, rect)) {
            rect = union(self.rects.swap_remove(index), rect);
        }
        // Of what is left only the parts that are new. They are not joined to others: their unions
        // would overlap what they were cut from.
        let mut parts = vec![rect];
        while let Some(part) = parts.pop() {
            match self.rects.iter().find_map(|r| intersection(*r, part)) {
                Some(inside) => parts.extend(around(part, inside)),
                None if part.is_empty() => {}
                None => self.rects.push(part),
            }
        }
        while self.rects.len() > MAX_RECTS {
            self.join_best();
        }
    }

    /// Covers what `other` covers as well.
    pub fn add_all(&mut self, other: &Self) {
        for rect in &other.rects {
            self.add(*rect);
        }
    }

    /// Moves what lies in `area` out of it.
    pub fn take(&mut self, area: Rect) -> Self {
        let mut taken = Self::new();
        for rect in std::mem::take(&mut self.rects) {
            let Some(inside) = intersection(rect, area) else {
                self.add(rect);
                continue;
            };
            for rest in around(rect, inside) {
                self.add(rest);
            }
            taken.add(inside);
        }
        taken
    }

    /// Whether part of it lies in `area`.
    pub fn touches(&self, area: Rect) -> bool {
        self.rects.iter().any(|r| intersection(*r, area).is_some())
    }

    /// Forgets what lies outside of `size`.
    pub fn clip(&mut self, size: Size) {
        *self = self.take(size.rect());
    }

    /// Makes one of the two whose union wastes least, and of what that union reaches.
    fn join_best(&mut self) {
        let mut best = (u64::MAX, 0, 1);
        for a in 0..self.rects.len() {
            for b in a + 1..self.rects.len() {
                let (one, two) = (self.rects[a], self.rects[b]);
                best = best.min((area(union(one, two)) - area(one) - area(two), a, b));
            }
        }
        let (_, a, b) = best;
        let two = self.rects.swap_remove(b);
        let one = self.rects.swap_remove(a);
        let mut rect = union(one, two);
        while let Some(index) = self.rects.iter().position(|r| intersection(*r, rect).is_some()) {
            rect = union(self.rects.swap_remove(index), rect);
        }
        self.rects.push(rect);
    }
}

/// Whether one rectangle does for both: their union covers little else.
fn joins(a: Rect, b: Rect) -> bool {
    let overlap = intersection(a, b).map_or(0, area);
    area(union(a, b)) + overlap <= area(a) + area(b) + SLACK
}

/// Number of pixels in it.
pub(crate) const fn area(rect: Rect) -> u64 {
    rect.width as u64 * rect.height as u64
}

/// The smallest rectangle around both.
pub(crate) fn union(a: Rect, b: Rect) -> Rect {
    let (x, y) = (a.x.min(b.x), a.y.min(b.y));
    let right = (a.x + a.width).max(b.x + b.width);
    let bottom = (a.y + a.height).max(b.y + b.height);
    Rect { x, y, width: right - x, height: bottom - y }
}

/// What lies in both, unless that is nothing.
pub(crate) fn intersection(a: Rect, b: Rect) -> Option<Rect> {
    let (x, y) = (a.x.max(b.x), a.y.max(b.y));
    let right = (a.x + a.width).min(b.x + b.width);
    let bottom = (a.y + a.height).min(b.y + b.height);
    let rect = Rect { x, y, width: right.checked_sub(x)?, height: bottom.checked_sub(y)? };
    (!rect.is_empty()).then_some(rect)
}

fn contains(outer: Rect, inner: Rect) -> bool {
    intersection(outer, inner) == Some(inner)
}

/// What of `outer` lies above, below, left and right of `inner`, which is inside of it.
fn around(outer: Rect, inner: Rect) -> [Rect; 4] {
    let right = inner.x + inner.width;
    let bottom = inner.y + inner.height;
    [
        Rect { height: inner.y - outer.y, ..outer },
        Rect { y: bottom, height: outer.y + outer.height - bottom, ..outer },
        Rect { width: inner.x - outer.x, y: inner.y, height: inner.height, ..outer },
        Rect { x: right, width: outer.x + outer.width - right, y: inner.y, height: inner.height },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const SIZE: Size = Size::new(320, 200);

    fn any(random: &mut Random) -> Rect {
        let (x, y) = (random.below(SIZE.width), random.below(SIZE.height));
        let width = random.below(SIZE.width - x) + 1;
        let height = random.below(SIZE.height - y) + 1;
        // Mostly small ones, or everything would soon be covered.
        let most = if random.below(20) == 0 { 400 } else { 12 };
        Rect { x, y, width: width.min(most), height: height.min(most) }
    }

    fn paint(map: &mut [bool], rect: Rect) {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                map[(y * SIZE.width + x) as usize] = true;
            }
        }
    }

    #[test]
    fn never_loses_a_pixel_and_stays_small() {
        let mut random = Random::new(1);
        for _ in 0..200 {
            let mut region = Region::new();
            let mut map = vec![false; SIZE.area() as usize];
            for _ in 0..60 {
                let rect = any(&mut random);
                region.add(rect);
                paint(&mut map, rect);
                assert!(region.rects().len() <= MAX_RECTS);
            }
            let mut covered = vec![false; map.len()];
            region.rects().iter().for_each(|r| paint(&mut covered, *r));
            assert!(map.iter().zip(&covered).all(|(want, have)| !want || *have));
            let pixels: u64 = region.rects().iter().map(|r| area(*r)).sum();
            let distinct = covered.iter().filter(|c| **c).count() as u64;
            assert_eq!(pixels, distinct, "rectangles overlap");
        }
    }

    #[test]
    fn taking_splits_what_is_there() {
        let mut random = Random::new(2);
        for _ in 0..200 {
            let mut region = Region::new();
            (0..8).for_each(|_| region.add(any(&mut random)));
            let cut = any(&mut random);
            let before = region.clone();
            let taken = region.take(cut);
            assert!(taken.rects().iter().all(|r| contains(cut, *r)));
            let mut both = vec![false; SIZE.area() as usize];
            region.rects().iter().chain(taken.rects()).for_each(|r| paint(&mut both, *r));
            let mut want = vec![false; both.len()];
            before.rects().iter().for_each(|r| paint(&mut want, *r));
            assert!(want.iter().zip(&both).all(|(want, have)| !want || *have));
        }
    }

    #[test]
    fn a_cross_does_not_become_the_screen() {
        let mut region = Region::new();
        region.add(Rect { x: 0, y: 96, width: 320, height: 8 });
        region.add(Rect { x: 156, y: 0, width: 8, height: 200 });
        let pixels: u64 = region.rects().iter().map(|r| area(*r)).sum();
        assert_eq!(pixels, 320 * 8 + 8 * 192);
    }

    #[test]
    fn two_far_corners_stay_two() {
        let mut region = Region::new();
        region.add(Rect { x: 0, y: 0, width: 16, height: 16 });
        region.add(Rect { x: 300, y: 180, width: 16, height: 16 });
        assert_eq!(region.rects().len(), 2);
        region.add(Rect { x: 16, y: 0, width: 16, height: 16 });
        assert_eq!(region.rects().len(), 2, "neighbours become one");
        region.set_whole(SIZE);
        assert_eq!(region.rects(), [SIZE.rect()]);
    }
}
