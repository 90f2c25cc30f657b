// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pictures that look random and are the same in every run.

use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};

/// splitmix64.
#[derive(Clone, Debug)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, limit: u32) -> u32 {
        if limit == 0 { 0 } else { (self.next() % u64::from(limit)) as u32 }
    }
}

/// What a part of a screen looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Solid,
    /// Two colours, as text has.
    Text,
    /// A few colours.
    Few,
    /// About a hundred.
    Many,
    /// Long runs of many colours.
    Bars,
    Smooth,
    Noise,
}

pub const KINDS: [Kind; 7] =
    [Kind::Solid, Kind::Text, Kind::Few, Kind::Many, Kind::Bars, Kind::Smooth, Kind::Noise];

/// Draws into `rect`.
pub fn draw(picture: &mut Picture, rect: Rect, kind: Kind, random: &mut Random) {
    let colours: Vec<u32> = (0..100).map(|_| random.next() as u32 | 0xff00_0000).collect();
    let rows = picture.rows_mut().skip(rect.y as usize).take(rect.height as usize);
    for (y, row) in (0..).zip(rows) {
        for (x, pixel) in (0..).zip(&mut row[rect.x as usize..][..rect.width as usize]) {
            let x: u32 = x;
            let y: u32 = y;
            *pixel = 0xff00_0000
                | match kind {
                    Kind::Solid => colours[0],
                    Kind::Text => colours[random.below(4) as usize / 3],
                    Kind::Few => colours[(x / 3 + y / 5) as usize % 13],
                    Kind::Many => colours[random.below(100) as usize],
                    Kind::Bars => colours[0].wrapping_mul(y * 3 + x / 40),
                    Kind::Smooth => {
                        (x * 255 / rect.width) << 16 | (y * 255 / rect.height) << 8 | 40
                    }
                    Kind::Noise => random.next() as u32,
                };
        }
    }
}

/// Draws something somewhere. Returns where.
pub fn change(picture: &mut Picture, random: &mut Random) -> Rect {
    let Size { width, height } = picture.size();
    let (x, y) = (random.below(width), random.below(height));
    let most = if random.below(4) == 0 { 4000 } else { 90 };
    let width = random.below((width - x).min(most)) + 1;
    let height = random.below((height - y).min(most)) + 1;
    let rect = Rect { x, y, width, height };
    let kind = KINDS[random.below(7) as usize];
    draw(picture, rect, kind, random);
    rect
}
