// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The stable copy of a plane, and what of it nobody has been shown yet.

use crate::damage::Damage;
use crate::geometry::Size;
use crate::picture::Picture;

/// A picture with the damage that has gathered since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    picture: Picture,
    damage: Damage,
}

impl Screen {
    /// Starts a copy of a picture of `size`; another size than before is damage all over.
    pub(crate) fn begin(&mut self, size: Size) {
        if self.picture.size() != size {
            self.picture.resize(size);
            self.damage.reset(size);
            self.refresh();
        }
    }

    /// Row `y` of the picture, to be brought up to date, and the damage to note it in.
    pub(crate) fn row(&mut self, y: usize) -> (&mut [u32], &mut Damage) {
        (self.picture.row_mut(y), &mut self.damage)
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
}
