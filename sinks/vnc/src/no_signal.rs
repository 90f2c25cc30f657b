// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What viewers see while there is nothing to show.

use vfio_display::Picture;
use vfio_display::geometry::Size;

/// The size where none is known: what every viewer can show.
pub(crate) const SIZE: Size = Size::new(640, 480);

const BACKGROUND: u32 = 0xff20_2428;
const LETTERS: u32 = 0xff90_989f;

/// "no signal", a character for each pixel.
const TEXT: [&str; 8] = [
    "                          #                          #",
    "                                                     #",
    "# ##   ###       ####    ##    ####  # ##    ####    #",
    "##  # #   #     #         #   #   #  ##  #  #   #    #",
    "#   # #   #      ###      #   #   #  #   #  #   #    #",
    "#   # #   #         #     #    ####  #   #  #  ##    #",
    "#   #  ###      ####     ###      #  #   #   ## #   ###",
    "                               ###",
];

/// A picture of `size` that says so in its middle.
pub(crate) fn picture(size: Size) -> Picture {
    let mut picture = Picture::new(size);
    picture.rows_mut().for_each(|row| row.fill(BACKGROUND));
    let columns = TEXT.iter().map(|line| line.len()).max().unwrap_or(0);
    // A third of the width, in whole pixels.
    let scale = (size.width as usize / 3 / columns).max(1);
    let left = (size.width as usize).saturating_sub(columns * scale) / 2;
    let top = (size.height as usize).saturating_sub(TEXT.len() * scale) / 2;
    for (y, row) in picture.rows_mut().skip(top).take(TEXT.len() * scale).enumerate() {
        for (x, pixel) in row.iter_mut().skip(left).enumerate() {
            if TEXT[y / scale].as_bytes().get(x / scale) == Some(&b'#') {
                *pixel = LETTERS;
            }
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fits_every_size() {
        let letters = |width, height| {
            let picture = picture(Size::new(width, height));
            picture.pixels().iter().filter(|pixel| **pixel == LETTERS).count()
        };
        let dots = TEXT.iter().flat_map(|line| line.bytes()).filter(|b| *b == b'#').count();
        assert_eq!(letters(640, 480), dots * 9);
        assert_eq!(letters(100, 20), dots);
        assert!(letters(7, 3) < dots);
        assert_eq!(letters(0, 0), 0);
    }
}
