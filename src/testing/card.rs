// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A moving test card, on which a person and a test see at once what is wrong with a screen.
//!
//! | element | shows |
//! |---|---|
//! | border of one pixel, and corners in red, green, blue, yellow | a picture that is cropped, shifted, mirrored |
//! | rings | wrong aspect, wrong stride: they shear |
//! | colour bars with their names | swapped channels |
//! | grey, red, green and blue ramps | lost bits, wrong gamma |
//! | one-pixel checkers and lines | scaling, lossy coding |
//! | size and frame number | which picture it is |
//! | a square that runs to and fro below | that it is live, and smoothly |
//!
//! The card is a function of size and frame number alone. Two frames in a row differ in
//! [`Card::moving`] and nowhere else. Every element is left out where it has no room, so that any
//! size from 64x64 on works; smaller ones show what fits.

use super::paint::{Letters, Row, Text, half_chord, text_rect};
use crate::font;
use crate::geometry::{Rect, Size};

const WHITE: u32 = 0x00ff_ffff;
const INK: u32 = 0x0010_141c;
const GRID: u32 = 0x003a_465a;
const TRACK: u32 = 0x0018_1e2a;
const MOVER: u32 = 0x00ff_b020;

/// Colour of each bar, its name, and the colour that the name is written in.
const BARS: [(u32, &[u8], u32); 8] = [
    (0x00ff_ffff, b"WHITE", 0),
    (0x00ff_ff00, b"YELLOW", 0),
    (0x0000_ffff, b"CYAN", 0),
    (0x0000_ff00, b"GREEN", 0),
    (0x00ff_00ff, b"MAGENTA", WHITE),
    (0x00ff_0000, b"RED", WHITE),
    (0x0000_00ff, b"BLUE", WHITE),
    (0x0000_0000, b"BLACK", WHITE),
];

/// Colours of the corners: top left, top right, bottom left, bottom right.
const CORNERS: [u32; 4] = [0x00ff_3030, 0x0030_e040, 0x0040_60ff, 0x00ff_e020];

/// One frame of the card.
#[derive(Clone, Copy, Debug)]
pub struct Card {
    size: Size,
    n: u64,
    /// The shorter side, by which everything is measured.
    unit: u32,
    /// Radius of the large ring, and thickness of all of them.
    radius: u32,
    line: u32,
    digits: Digits,
}

/// The frame number in decimal.
type Digits = [u8; 8];

impl Card {
    /// Frame `n` of the card at `size`. The number shown has eight digits.
    pub fn new(size: Size, n: u64) -> Self {
        let unit = size.width.min(size.height);
        let mut digits = [b'0'; 8];
        let mut rest = n;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
        }
        Self { size, n, unit, radius: unit * 2 / 5, line: (unit / 240).max(1), digits }
    }

    /// The pixel at `x`, `y`, as `0x00RRGGBB`. Whole rows are cheaper by [`row`](Self::row).
    pub fn pixel(&self, x: u32, y: u32) -> u32 {
        let mut row = vec![0; self.size.width as usize];
        self.row(y, &mut row);
        row.get(x as usize).copied().unwrap_or_default()
    }

    /// All pixels, row by row, each `0x00RRGGBB`.
    pub fn picture(&self) -> Vec<u32> {
        let mut picture = vec![0; self.size.area() as usize];
        if self.size.width > 0 {
            for (y, row) in (0..).zip(picture.chunks_exact_mut(self.size.width as usize)) {
                self.row(y, row);
            }
        }
        picture
    }

    /// Fills `out`, one row long, with the pixels of row `y`.
    pub fn row(&self, y: u32, out: &mut [u32]) {
        let mut row = Row { y, out };
        self.background(&mut row);
        self.rings(&mut row);
        self.circle(&mut row);
        self.track(&mut row);
        self.border(&mut row);
    }

    /// Where this frame may differ from the one after it: the square's way and the frame number.
    pub fn moving(&self) -> [Rect; 2] {
        let next = Self::new(self.size, self.n.wrapping_add(1));
        let (a, b) = (self.mover(), next.mover());
        let x = a.x.min(b.x);
        let mover = Rect { x, width: (a.x + a.width).max(b.x + b.width) - x, ..a };
        [mover, self.number().rect]
    }

    fn background(&self, row: &mut Row<'_>) {
        let Size { width, height } = self.size;
        let shade = 20 + (row.y * 16 / height.max(1));
        row.fill(0, width, shade << 16 | (shade + 6) << 8 | (shade + 16));
        let cell = (self.unit / 16).max(8);
        if row.y % cell == height / 2 % cell {
            row.fill(0, width, GRID);
        }
        for x in (width / 2 % cell..width).step_by(cell as usize) {
            row.fill(x, x + 1, GRID);
        }
    }

    fn rings(&self, row: &mut Row<'_>) {
        let Size { width, height } = self.size;
        let radius = self.unit / 9;
        let inset = radius + self.unit / 16;
        for x in [inset, width.saturating_sub(1 + inset)] {
            for y in [inset, height.saturating_sub(1 + inset)] {
                row.ring(x, y, radius, self.line, WHITE);
                row.ring(x, y, radius / 2, self.line, GRID);
            }
        }
        row.ring(width / 2, height / 2, self.radius, self.line * 2, WHITE);
    }

    /// What is inside the large ring.
    fn circle(&self, row: &mut Row<'_>) {
        let (x, y) = (self.size.width / 2, self.size.height / 2);
        let inner = self.radius.saturating_sub(2 * self.line);
        let Some(half) = half_chord(inner, y.abs_diff(row.y)) else {
            return;
        };
        let (left, right) = (x.saturating_sub(half), x + half + 1);
        row.fill(left, right, INK);
        let (full_left, full) = (x.saturating_sub(inner), 2 * inner + 1);
        // Rows from the top of the circle, in 64ths of its height.
        let top = y.saturating_sub(inner);
        let at = |part: u32| top + full * part / 64;
        let ramp = |x: u32| (x.saturating_sub(full_left) * 255 / full.max(1)).min(255);
        let part = |from: u32, to: u32| (at(from)..at(to)).contains(&row.y);
        if part(19, 32) {
            self.bars(row, full_left, full, left..right, at(32));
        } else if part(32, 37) {
            row.paint(left, right, |x| ramp(x) * 0x0001_0101);
        } else if part(37, 40) {
            row.paint(left, right, |x| ramp(x) << 16);
        } else if part(40, 43) {
            row.paint(left, right, |x| ramp(x) << 8);
        } else if part(43, 46) {
            row.paint(left, right, ramp);
        } else if part(46, 51) {
            self.fine(row, full_left, full, left..right);
        }
        for text in [self.headline(), self.number()] {
            row.text(&text);
        }
    }

    fn bars(
        &self,
        row: &mut Row<'_>,
        start: u32,
        full: u32,
        inside: std::ops::Range<u32>,
        bottom: u32,
    ) {
        let edge = |bar: u32| start + full * bar / 8;
        for (bar, (colour, name, ink)) in (0..).zip(BARS) {
            let (from, to) = (edge(bar), edge(bar + 1));
            row.fill(from.max(inside.start), to.min(inside.end), colour);
            let scale = (to - from) / font::width(8);
            // Low, where the circle is wide.
            let top = bottom.saturating_sub(scale * 12);
            let rect = text_rect(name.len() as u32, scale, (from + to) / 2, top);
            let fits = rect.x >= inside.start && rect.x + rect.width <= inside.end;
            if scale > 0 && fits {
                row.text(&Text { letters: Letters::new(&[name]), rect, scale, colour: ink });
            }
        }
    }

    /// Patterns of one pixel: checkers, columns, rows, and checkers of two.
    fn fine(&self, row: &mut Row<'_>, start: u32, full: u32, inside: std::ops::Range<u32>) {
        let y = row.y;
        let edge = |part: u32| (start + full * part / 4).clamp(inside.start, inside.end);
        let light = |on: u32| if on & 1 == 0 { WHITE } else { 0 };
        row.paint(edge(0), edge(1), |x| light(x ^ y));
        row.paint(edge(1), edge(2), light);
        row.paint(edge(2), edge(3), |_| light(y));
        row.paint(edge(3), edge(4), |x| light((x ^ y) >> 1));
    }

    /// The size, above the bars.
    fn headline(&self) -> Text {
        let Size { width, height } = self.size;
        let mut letters = Letters::new(&[]);
        letters.number(width);
        letters.push(b'x');
        letters.number(height);
        self.line_of_text(letters, 9, 34, WHITE)
    }

    /// The frame number, below the fine patterns.
    fn number(&self) -> Text {
        let letters = Letters::new(&[&self.digits]);
        self.line_of_text(letters, 53, 26, MOVER)
    }

    /// Text in the circle at `part` 64ths of its height, as large as `width` 64ths allow.
    fn line_of_text(&self, letters: Letters, part: u32, width: u32, colour: u32) -> Text {
        let full = 2 * self.radius.saturating_sub(2 * self.line) + 1;
        let scale = (full * width / 64 / font::width(letters.len)).min(full * 6 / 64 / font::ROWS);
        let top = (self.size.height / 2).saturating_sub(full / 2) + full * part / 64;
        Text {
            letters,
            rect: text_rect(letters.len, scale, self.size.width / 2, top),
            scale,
            colour,
        }
    }

    /// The strip that the square runs in.
    fn strip(&self) -> Rect {
        let Size { width, height } = self.size;
        let side = (self.unit / 24).max(2);
        let inset = self.unit / 3;
        Rect {
            x: inset,
            y: height.saturating_sub(side + self.unit / 40 + 1),
            width: width.saturating_sub(2 * inset),
            height: side,
        }
    }

    /// The square that runs to and fro.
    fn mover(&self) -> Rect {
        let strip = self.strip();
        let side = strip.height.min(strip.width);
        let way = strip.width - side;
        let step = u64::from((side / 4).max(1));
        // There and back again.
        let at = match u64::from(way) {
            0 => 0,
            way => {
                let at = (u128::from(self.n) * u128::from(step) % (2 * u128::from(way))) as u64;
                at.min(2 * way - at) as u32
            }
        };
        Rect { x: strip.x + at, y: strip.y, width: side, height: side }
    }

    fn track(&self, row: &mut Row<'_>) {
        let (strip, mover) = (self.strip(), self.mover());
        if (strip.y..strip.y + strip.height).contains(&row.y) {
            row.fill(strip.x, strip.x + strip.width, TRACK);
            row.fill(mover.x, mover.x + mover.width, MOVER);
        }
    }

    fn border(&self, row: &mut Row<'_>) {
        let Size { width, height } = self.size;
        let arm = (self.unit / 12).max(3);
        let thick = (self.unit / 100).max(1);
        let from_bottom = (height - 1).saturating_sub(row.y);
        for (depth, colours) in [(row.y, &CORNERS[..2]), (from_bottom, &CORNERS[2..])] {
            // Inside the border, with a pixel of background between them.
            let Some(depth) = depth.checked_sub(2) else { continue };
            let long = if depth < thick {
                arm
            } else if depth < arm {
                thick
            } else {
                0
            };
            row.fill(2, 2 + long, colours[0]);
            row.fill((width - 2).saturating_sub(long), width - 2, colours[1]);
        }
        if row.y == 0 || from_bottom == 0 {
            row.fill(0, width, WHITE);
        }
        row.fill(0, 1, WHITE);
        row.fill(width - 1, width, WHITE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [(u32, u32); 9] = [
        (1024, 768),
        (320, 200),
        (64, 64),
        (65, 131),
        (1366, 768),
        (200, 1200),
        (3000, 64),
        (7, 5),
        (1, 1),
    ];

    #[test]
    fn frames_differ_where_they_say_and_nowhere_else() {
        for (width, height) in SIZES {
            for n in [0, 1, 9, 99, 1000, u64::MAX] {
                let card = Card::new(Size::new(width, height), n);
                let next = Card::new(Size::new(width, height), n.wrapping_add(1));
                let moving = card.moving();
                let (before, after) = (card.picture(), next.picture());
                let mut differ = 0;
                for (at, (a, b)) in (0..).zip(before.iter().zip(&after)) {
                    let (x, y) = (at % width, at / width);
                    let inside = |r: &Rect| {
                        (r.x..r.x + r.width).contains(&x) && (r.y..r.y + r.height).contains(&y)
                    };
                    differ += u32::from(a != b);
                    assert!(a == b || moving.iter().any(inside), "{width}x{height} {n}: {x},{y}");
                }
                assert!(differ > 0 || width.min(height) < 64, "{width}x{height} {n}: frozen");
            }
        }
    }

    #[test]
    fn the_outermost_pixels_tell_a_cropped_picture() {
        for (width, height) in SIZES {
            let card = Card::new(Size::new(width, height), 5);
            for (x, y) in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)] {
                assert_eq!(card.pixel(x, y), WHITE, "{width}x{height}: {x},{y}");
            }
        }
    }

    #[test]
    fn corners_and_bars_have_their_colours() {
        let card = Card::new(Size::new(1024, 768), 0);
        let corners = [(5, 5), (1018, 5), (5, 762), (1018, 762)];
        assert_eq!(corners.map(|(x, y)| card.pixel(x, y)), CORNERS);
        let bar = |at: u32| card.pixel(512 - 302 + 75 * at + 37, 300);
        assert_eq!([0, 1, 2, 3, 4, 5, 6, 7].map(bar), BARS.map(|(colour, ..)| colour));
    }
}
