// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a sink is lent: a frame with its damage, and the cursor beside it.

use crate::geometry::{Point, Rect, Size};
use crate::picture::Picture;

/// Which producer a frame is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The device's plane query.
    Plane,
    /// The boot display: what firmware draws before the guest's driver is up.
    Boot,
}

/// A whole, stable picture of the screen, and what of it is new.
///
/// It is lent for the time of a call. A sink that needs pixels later copies the damaged ones.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// All of the screen; pixels are `0xffRRGGBB`.
    pub picture: &'a Picture,
    /// What may differ from the frame before: at least one rectangle, inside the picture, none
    /// overlapping another. Pixels outside are the same as before.
    pub damage: &'a [Rect],
    /// Who produced it.
    pub source: Source,
    /// Grows by one whenever the source, the mode or the buffer changed. The first frame of a
    /// generation is whole.
    pub generation: u64,
}

impl Frame<'_> {
    /// Pixels in a row, and rows.
    pub const fn size(&self) -> Size {
        self.picture.size()
    }

    /// Whether all of it is new.
    pub fn is_whole(&self) -> bool {
        self.damage == [self.size().rect()]
    }
}

/// The pointer that is drawn over a frame.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// Its shape; pixels are `0xAARRGGBB`, the colours already multiplied by alpha.
    pub shape: &'a Picture,
    /// The pixel of the shape that points; inside the shape.
    pub hotspot: Point,
    /// Where the shape's upper left corner is on the screen; negative where it hangs off.
    pub position: Point,
    /// Whether the shape differs from the one before; if not, only the position does.
    pub shape_changed: bool,
}
