// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Raw: pixels, row after row (RFC 6143, section 7.7.1).

use vfio_display::geometry::Rect;
use vfio_display::picture::Picture;

use crate::pixels::Pixels;
use crate::tile::{MAX_PIXELS, Scratch};

/// Appends the data of a rectangle that lies in `rect`, at most [`MAX_PIXELS`] wide.
pub(crate) fn encode(
    picture: &Picture,
    rect: Rect,
    pixels: &Pixels,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    let rows = (MAX_PIXELS as u32 / rect.width).max(1);
    for y in (0..rect.height).step_by(rows as usize) {
        let height = rows.min(rect.height - y);
        scratch.load(picture, Rect { y: rect.y + y, height, ..rect }, pixels);
        pixels.put_all(out, scratch.tile());
    }
}
