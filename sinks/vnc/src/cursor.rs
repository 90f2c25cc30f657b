// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The pointer's shape, as viewers draw it themselves: Cursor (RFC 6143, section 7.8.1) and Cursor
//! With Alpha (rfbproto).

use vfio_display::Cursor;
use vfio_display::geometry::{Point, Rect, Size};

use crate::messages::Encodings;
use crate::pixels::Pixels;
use crate::wire::{encoding, put_rect};

/// The largest side of a shape that is sent, in pixels.
const MAX_SIDE: u32 = 512;

/// A pointer's shape, kept for viewers that are busy now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    size: Size,
    hotspot: Point,
    /// `0xAARRGGBB`, the colours multiplied by alpha.
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

    /// A rectangle whose position is the hotspot.
    fn rect(&self) -> Rect {
        let (x, y) = (self.hotspot.x as u32, self.hotspot.y as u32);
        Rect { x, y, width: self.size.width, height: self.size.height }
    }
}

/// Appends a rectangle that says how the pointer looks; `None` is a pointer that is hidden. The
/// viewer has to know one of the two encodings.
pub(crate) fn put(
    shape: Option<&Shape>,
    encodings: &Encodings,
    pixels: &Pixels,
    out: &mut Vec<u8>,
) {
    let hidden = Shape::default();
    let shape = shape.unwrap_or(&hidden);
    if encodings.cursor_with_alpha {
        put_rect(out, shape.rect(), encoding::CURSOR_WITH_ALPHA);
        out.extend_from_slice(&encoding::RAW.to_be_bytes());
        for pixel in &shape.pixels {
            let [alpha, red, green, blue] = pixel.to_be_bytes();
            out.extend_from_slice(&[red, green, blue, alpha]);
        }
        return;
    }
    put_rect(out, shape.rect(), encoding::CURSOR);
    let mut row = vec![0; shape.size.width as usize];
    for from in shape.pixels.chunks(row.len().max(1)) {
        let opaque: Vec<u32> = from.iter().map(|pixel| unmultiplied(*pixel)).collect();
        pixels.convert(&opaque, &mut row);
        pixels.put_all(out, &row);
    }
    // A bit for a pixel, the leftmost the highest, each row from a byte of its own.
    for row in shape.pixels.chunks(row.len().max(1)) {
        for group in row.chunks(8) {
            let byte = group.iter().fold(0, |byte, pixel| byte << 1 | u8::from(pixel >> 31 != 0));
            out.push(byte << (8 - group.len()));
        }
    }
}

/// The colour itself, where it was multiplied by alpha. A pixel is drawn or not, so a half visible
/// one must not be dark as well.
fn unmultiplied(pixel: u32) -> u32 {
    let [alpha, colours @ ..] = pixel.to_be_bytes();
    if matches!(alpha, 0 | 255) {
        return pixel;
    }
    let alpha = u32::from(alpha);
    colours.iter().fold(0xff, |all, c| all << 8 | (u32::from(*c) * 255 / alpha).min(255))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel_format::PixelFormat;
    use vfio_display::Picture;

    fn arrow() -> Shape {
        let mut shape = Picture::new(Size::new(9, 2));
        let mut rows = shape.rows_mut();
        rows.next().unwrap()[0] = 0xffff_8000;
        rows.next().unwrap()[8] = 0x8080_0000;
        drop(rows);
        let (hotspot, position) = (Point::new(1, 1), Point::new(-3, 5));
        Shape::new(&Cursor { shape: &shape, hotspot, position, shape_changed: true }).unwrap()
    }

    fn sent(shape: Option<&Shape>, encodings: &Encodings) -> Vec<u8> {
        let mut out = Vec::new();
        put(shape, encodings, &Pixels::plain(&PixelFormat::XRGB8888), &mut out);
        out
    }

    #[test]
    fn with_a_mask() {
        let encodings = Encodings { cursor: true, ..Encodings::default() };
        let out = sent(Some(&arrow()), &encodings);
        assert_eq!(out[..12], [0, 1, 0, 1, 0, 9, 0, 2, 0xff, 0xff, 0xff, 0x11]);
        assert_eq!(out[12..16], [0, 0x80, 0xff, 0]);
        assert_eq!(out[12 + 17 * 4..][..4], [0, 0, 0xff, 0], "half of it, and as bright");
        assert_eq!(out[12 + 18 * 4..], [0x80, 0, 0, 0x80]);
        assert_eq!(sent(None, &encodings)[..8], [0; 8]);
        assert_eq!(sent(None, &encodings).len(), 12);
    }

    #[test]
    fn with_alpha() {
        let encodings = Encodings { cursor_with_alpha: true, cursor: true, ..Default::default() };
        let out = sent(Some(&arrow()), &encodings);
        assert_eq!(out[8..12], (-314i32).to_be_bytes());
        assert_eq!(out[12..20], [0, 0, 0, 0, 0xff, 0x80, 0, 0xff]);
        assert_eq!(out[16 + 17 * 4..], [0x80, 0, 0, 0x80]);
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
