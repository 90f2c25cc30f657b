// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pictures that tell whether they are torn: each row says of which frame it is, and all of its
//! pixels follow from that.

use crate::geometry::{Rect, Size};
use crate::picture::Picture;

/// A row whose pixels are not those of one frame, or not of the frame of the row above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The row.
    pub y: u32,
    /// The frame that the picture began with.
    pub frame: u32,
    /// What the row says, or has a pixel of.
    pub found: u32,
}

/// Frames are counted in as many bits as an XRGB8888 pixel has.
const MASK: u32 = 0x00ff_ffff;

/// Row `y` of frame `n`, each pixel `0x00RRGGBB`. The first pixel is the frame's number.
pub fn row(n: u32, y: u32, out: &mut [u32]) {
    let mut pixel = n & MASK;
    let step = y.wrapping_mul(2).wrapping_add(0x9e_3779) | 1;
    for out in out {
        *out = pixel;
        pixel = pixel.wrapping_add(step) & MASK;
    }
}

/// The frame that all of `picture` is of.
///
/// # Errors
///
/// [`Torn`], the first row that is of another.
pub fn frame_of(picture: &Picture) -> Result<u32, Torn> {
    rows_of(picture, picture.size().rect())
}

/// As [`frame_of`], of the part of whole rows that `rows` covers.
///
/// # Errors
///
/// As [`frame_of`].
pub fn rows_of(picture: &Picture, rows: Rect) -> Result<u32, Torn> {
    let Size { width, .. } = picture.size();
    let mut expected = vec![0; width as usize];
    let mut frame = None;
    for (y, found) in (0..).zip(picture.rows()).skip(rows.y as usize).take(rows.height as usize) {
        let frame = *frame.get_or_insert(found[0] & MASK);
        row(frame, y, &mut expected);
        let wrong = found.iter().zip(&expected).find(|(found, is)| **found & MASK != **is);
        if let Some((found, _)) = wrong {
            return Err(Torn { y, frame, found: found & MASK });
        }
    }
    Ok(frame.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_another_frame_is_found() {
        let size = Size::new(100, 50);
        let mut picture = Picture::default();
        picture.resize(size);
        for y in 0..size.height {
            row(7, y, picture.row_mut(y as usize));
        }
        assert_eq!(frame_of(&picture), Ok(7));
        row(8, 49, picture.row_mut(49));
        assert_eq!(frame_of(&picture), Err(Torn { y: 49, frame: 7, found: 8 }));
        row(7, 49, picture.row_mut(49));
        picture.row_mut(20)[99] ^= 1;
        assert!(matches!(frame_of(&picture), Err(Torn { y: 20, frame: 7, .. })));
    }
}
