// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What viewers see in place of a picture, in words.

use crate::font;
use crate::geometry::Size;
use crate::picture::Picture;

/// The size where none is known: what every viewer can show.
pub const SIZE: Size = Size::new(640, 480);

const BACKGROUND: u32 = 0xff20_2428;
const LETTERS: u32 = 0xff90_989f;

/// Rows from a line of text to the next.
const LINE: usize = font::ROWS as usize + 3;

/// A picture of `size`: there is nothing to show.
pub fn no_signal(size: Size) -> Picture {
    lines(size, &[b"NO SIGNAL"])
}

/// A picture of `size`: there is something to show, in memory that no CPU reads.
pub fn gpu_only(size: Size) -> Picture {
    lines(size, &[b"THIS BUFFER NEEDS", b"A GPU CLIENT"])
}

/// The text in the middle of a picture of `size`, a third as wide, as far as it fits.
fn lines(size: Size, text: &[&[u8]]) -> Picture {
    let mut picture = Picture::new(size);
    picture.rows_mut().for_each(|row| row.fill(BACKGROUND));
    let widest = text.iter().map(|line| line.len()).max().unwrap_or(0);
    let columns = font::width(widest as u32) as usize;
    let rows = LINE * text.len() - (LINE - font::ROWS as usize);
    // In whole pixels.
    let scale = (size.width as usize / 3 / columns).max(1);
    let top = (size.height as usize).saturating_sub(rows * scale) / 2;
    for (y, row) in picture.rows_mut().skip(top).take(rows * scale).enumerate() {
        let (line, y) = (text[y / scale / LINE], y / scale % LINE);
        let columns = font::width(line.len() as u32) as usize;
        let left = (size.width as usize).saturating_sub(columns * scale) / 2;
        for (x, pixel) in row.iter_mut().skip(left).take(columns * scale).enumerate() {
            if font::pixel(line, (x / scale) as u32, y as u32) {
                *pixel = LETTERS;
            }
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(picture: &Picture) -> usize {
        picture.pixels().iter().filter(|pixel| **pixel == LETTERS).count()
    }

    #[test]
    fn fits_every_size() {
        let dots = letters(&no_signal(Size::new(100, 20)));
        assert!(dots > 100);
        assert_eq!(letters(&no_signal(Size::new(640, 480))), dots * 16);
        assert!(letters(&no_signal(Size::new(7, 3))) < dots);
        assert_eq!(letters(&no_signal(Size::new(0, 0))), 0);
        assert!(letters(&gpu_only(Size::new(64, 64))) > 100);
        assert!(letters(&gpu_only(Size::new(1, 1))) <= 1);
    }

    #[test]
    fn says_which_it_is() {
        let mut text = String::new();
        for row in gpu_only(Size::new(105, 20)).rows().skip(1) {
            text.extend(row.iter().map(|pixel| if *pixel == LETTERS { '#' } else { ' ' }));
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        let first = text.lines().next().unwrap_or_default();
        assert_eq!(first.trim_start().split_at(40).0, "##### #   #  ###   ####       ####  #   ");
    }
}
