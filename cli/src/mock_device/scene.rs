// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the mock device's guest draws. Each picture is a function of its number alone.

use clap::ValueEnum;
use vfio_display::geometry::{Rect, Size};
use vfio_display::testing::card::Card;
use vfio_display::testing::rows;

/// What moves on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scene {
    /// A moving test card
    Card,
    /// Every pixel is new in every frame; each row carries the frame's number
    Rows,
    /// A cursor that types, one character a frame
    Typing,
    /// The test card, standing still
    Still,
}

/// Pixels of a character of [`Scene::Typing`].
const LETTER: Size = Size::new(8, 16);
const PAPER: u32 = 0x00f4_f1ea;
const CURSOR: u32 = 0x0020_60a0;

impl Scene {
    /// Whether there is a frame after the first one.
    pub(super) fn moves(self) -> bool {
        self != Self::Still
    }

    /// Makes frame `n` of frame `n - 1`, or of anything for frame 0, and tells in `damage` what it
    /// drew. Pixels are `0x00RRGGBB`, row by row.
    pub(super) fn draw(self, n: u64, size: Size, picture: &mut [u32], damage: &mut Vec<Rect>) {
        let all = Rect { x: 0, y: 0, width: size.width, height: size.height };
        let lines = |rect: Rect| rect.y..rect.y + rect.height;
        let width = size.width as usize;
        match self {
            Self::Card | Self::Still => {
                let card = Card::new(size, if self.moves() { n } else { 0 });
                match n.checked_sub(1) {
                    None => damage.push(all),
                    // What moves between the last frame and this one.
                    Some(last) => damage.extend(Card::new(size, last).moving()),
                }
                for y in damage.iter().copied().flat_map(lines) {
                    let start = y as usize * width;
                    if let Some(row) = picture.get_mut(start..start + width) {
                        card.row(y, row);
                    }
                }
            }
            Self::Rows => {
                for (y, row) in (0..).zip(picture.chunks_exact_mut(width)) {
                    rows::row(n as u32, y, row);
                }
                damage.push(all);
            }
            Self::Typing => {
                let columns = u64::from(size.width / LETTER.width);
                let cells = columns * u64::from(size.height / LETTER.height);
                let mut put = |n: u64, color: u32| {
                    let cell = n % cells;
                    let at = |cell: u64, side: u32| cell as u32 * side;
                    let rect = Rect {
                        x: at(cell % columns, LETTER.width),
                        y: at(cell / columns, LETTER.height),
                        ..Rect { x: 0, y: 0, width: LETTER.width, height: LETTER.height }
                    };
                    for y in lines(rect) {
                        let start = y as usize * width + rect.x as usize;
                        picture[start..start + rect.width as usize].fill(color);
                    }
                    damage.push(rect);
                };
                if n == 0 {
                    picture.fill(PAPER);
                    damage.push(all);
                    return;
                }
                // The cursor goes on, and leaves a letter of some kind.
                put(n - 1, ink(n));
                put(n, CURSOR);
            }
        }
    }
}

/// The colour of letter `n`: a dark one, another than its neighbours'.
fn ink(n: u64) -> u32 {
    (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u32 & 0x003f_3f3f
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(160, 96);

    #[test]
    fn damage_covers_what_changes() {
        for scene in Scene::value_variants() {
            let mut picture = vec![0; SIZE.area() as usize];
            for n in 0..300 {
                let before = picture.clone();
                let mut damage = Vec::new();
                scene.draw(n, SIZE, &mut picture, &mut damage);
                for (at, (new, old)) in picture.iter().zip(&before).enumerate() {
                    let (x, y) = (at as u32 % SIZE.width, at as u32 / SIZE.width);
                    let inside = |r: &Rect| {
                        (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y)
                    };
                    assert!(new == old || damage.iter().any(inside), "{scene:?} {n}: {x},{y}");
                }
                assert!(scene.moves() || n == 0 || before == picture);
            }
        }
    }
}
