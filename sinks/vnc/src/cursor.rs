// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The pointer's shape, as viewers draw it themselves: Cursor (RFC 6143, section 7.8.1) and Cursor
//! With Alpha (rfbproto).

use vfio_display::geometry::{Point, Rect};
use vfio_display_sinks::{Shape, unmultiplied};

use crate::messages::Encodings;
use crate::pixels::Pixels;
use crate::wire::{encoding, put_rect};

/// A rectangle whose position is the hotspot.
fn rect(shape: &Shape) -> Rect {
    let (Point { x, y }, size) = (shape.hotspot(), shape.size());
    Rect { x: x as u32, y: y as u32, width: size.width, height: size.height }
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
        put_rect(out, rect(shape), encoding::CURSOR_WITH_ALPHA);
        out.extend_from_slice(&encoding::RAW.to_be_bytes());
        for pixel in shape.pixels() {
            let [alpha, red, green, blue] = pixel.to_be_bytes();
            out.extend_from_slice(&[red, green, blue, alpha]);
        }
        return;
    }
    put_rect(out, rect(shape), encoding::CURSOR);
    let mut row = vec![0; shape.size().width as usize];
    for from in shape.pixels().chunks(row.len().max(1)) {
        // A pixel is drawn or not, so a half visible one must not be dark as well.
        let opaque: Vec<u32> = from.iter().map(|pixel| unmultiplied(*pixel)).collect();
        pixels.convert(&opaque, &mut row);
        pixels.put_all(out, &row);
    }
    // A bit for a pixel, the leftmost the highest, each row from a byte of its own.
    for row in shape.pixels().chunks(row.len().max(1)) {
        for group in row.chunks(8) {
            let byte = group.iter().fold(0, |byte, pixel| byte << 1 | u8::from(pixel >> 31 != 0));
            out.push(byte << (8 - group.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pixel_format::PixelFormat;
    use vfio_display::geometry::Size;
    use vfio_display::{Cursor, Picture};

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
}
