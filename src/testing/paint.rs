// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the test card is drawn with, one row at a time.

use crate::font;
use crate::geometry::Rect;

/// A row that is being drawn.
pub(super) struct Row<'a> {
    pub(super) y: u32,
    pub(super) out: &'a mut [u32],
}

impl Row<'_> {
    /// The columns from `from` to `to` that lie in the row.
    fn columns(&mut self, from: u32, to: u32) -> &mut [u32] {
        let end = self.out.len();
        let to = (to as usize).min(end);
        let from = (from as usize).min(to);
        &mut self.out[from..to]
    }

    /// One colour from column `from` to before `to`.
    pub(super) fn fill(&mut self, from: u32, to: u32, colour: u32) {
        self.columns(from, to).fill(colour);
    }

    /// A colour for each column.
    pub(super) fn paint(&mut self, from: u32, to: u32, colour: impl Fn(u32) -> u32) {
        for (x, pixel) in (from..).zip(self.columns(from, to)) {
            *pixel = colour(x);
        }
    }

    /// The part of a ring around `x`, `y` that lies in this row.
    pub(super) fn ring(&mut self, x: u32, y: u32, radius: u32, line: u32, colour: u32) {
        let dy = y.abs_diff(self.y);
        let Some(outer) = half_chord(radius, dy) else {
            return;
        };
        let inner = half_chord(radius.saturating_sub(line), dy);
        match inner {
            Some(inner) => {
                self.fill(x.saturating_sub(outer), x.saturating_sub(inner), colour);
                self.fill(x + inner + 1, x + outer + 1, colour);
            }
            None => self.fill(x.saturating_sub(outer), x + outer + 1, colour),
        }
    }

    /// The part of a text that lies in this row.
    pub(super) fn text(&mut self, text: &Text) {
        let Text { letters, rect, scale, colour } = text;
        let Some(dy) = self.y.checked_sub(rect.y).filter(|dy| *dy < rect.height) else {
            return;
        };
        let letters = &letters.bytes[..letters.len as usize];
        for column in 0..rect.width / scale {
            if font::pixel(letters, column, dy / scale) {
                let x = rect.x + column * scale;
                self.fill(x, x + scale, *colour);
            }
        }
    }
}

/// A few letters, kept without allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Letters {
    bytes: [u8; 16],
    pub(super) len: u32,
}

impl Letters {
    pub(super) fn new(parts: &[&[u8]]) -> Self {
        let mut letters = Self { bytes: [0; 16], len: 0 };
        for letter in parts.iter().copied().flatten() {
            letters.push(*letter);
        }
        letters
    }

    /// One more letter; what does not fit is left out.
    pub(super) fn push(&mut self, letter: u8) {
        if let Some(place) = self.bytes.get_mut(self.len as usize) {
            *place = letter;
            self.len += 1;
        }
    }

    /// A number in decimal.
    pub(super) fn number(&mut self, number: u32) {
        if number >= 10 {
            self.number(number / 10);
        }
        self.push(b'0' + (number % 10) as u8);
    }
}

/// Letters at a place; empty where the scale is 0.
pub(super) struct Text {
    pub(super) letters: Letters,
    pub(super) rect: Rect,
    pub(super) scale: u32,
    pub(super) colour: u32,
}

/// Where `letters` letters lie that are centred on column `middle`, from row `top` on.
pub(super) fn text_rect(letters: u32, scale: u32, middle: u32, top: u32) -> Rect {
    let width = font::width(letters) * scale;
    Rect { x: middle.saturating_sub(width / 2), y: top, width, height: font::ROWS * scale }
}

/// Half the width of a circle, without its middle, `dy` rows from its centre; `None` outside.
pub(super) fn half_chord(radius: u32, dy: u32) -> Option<u32> {
    let (radius, dy) = (u64::from(radius), u64::from(dy));
    // Half a pixel more than the radius, so that small circles come out round.
    let square = (radius * radius + radius).checked_sub(dy * dy)?;
    (dy <= radius).then(|| square.isqrt() as u32)
}
