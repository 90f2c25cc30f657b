// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The pointer's shape, kept for viewers that are busy now.

use vfio_display::Cursor;
use vfio_display::geometry::{Point, Size};

/// The largest side of a shape that is kept, in pixels.
const MAX_SIDE: u32 = 512;

/// A copy of a pointer's shape. None of 0x0 pixels is a pointer that is hidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    size: Size,
    hotspot: Point,
    pixels: Vec<u32>,
}

impl Shape {
    /// A copy of what a display lends. `None` where a side is longer than 512 pixels, or the
    /// hotspot is not inside.
    pub fn new(cursor: &Cursor<'_>) -> Option<Self> {
        let size = cursor.shape.size();
        let inside = |at: i32, side: u32| u32::try_from(at).is_ok_and(|at| at < side);
        let fits = size.width <= MAX_SIDE && size.height <= MAX_SIDE;
        let points = inside(cursor.hotspot.x, size.width) && inside(cursor.hotspot.y, size.height);
        (fits && points).then(|| Self {
            size,
            hotspot: cursor.hotspot,
            pixels: cursor.shape.pixels().to_vec(),
        })
    }

    /// Its size, in pixels.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The pixel that points; inside the shape.
    pub const fn hotspot(&self) -> Point {
        self.hotspot
    }

    /// Row after row, `0xAARRGGBB`, the colours multiplied by alpha.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }
}

/// `pixel`, `0xAARRGGBB`, with the colours as they were before they were multiplied by alpha.
pub fn unmultiplied(pixel: u32) -> u32 {
    let [alpha, colours @ ..] = pixel.to_be_bytes();
    if matches!(alpha, 0 | 255) {
        return pixel;
    }
    let alpha = u32::from(alpha);
    colours.iter().fold(alpha, |all, c| all << 8 | (u32::from(*c) * 255 / alpha).min(255))
}

#[cfg(test)]
mod tests {
    use vfio_display::Picture;

    use super::*;

    #[test]
    fn colours_come_back_and_alpha_stays() {
        assert_eq!(unmultiplied(0x8040_2080), 0x807f_3fff);
        assert_eq!(unmultiplied(0xff12_3456), 0xff12_3456);
        assert_eq!(unmultiplied(0), 0);
        assert_eq!(unmultiplied(0x01ff_ffff), 0x01ff_ffff);
    }

    #[test]
    fn refuses_what_no_pointer_is() {
        let shape = Picture::new(Size::new(16, 16));
        let at = |x, y| {
            let (hotspot, position) = (Point::new(x, y), Point::default());
            Shape::new(&Cursor { shape: &shape, hotspot, position, shape_changed: true })
        };
        assert!(at(15, 15).is_some());
        assert!(at(16, 0).is_none() && at(-1, 0).is_none());
    }
}
