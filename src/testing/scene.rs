// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A guest on a mock: a moving test card that shows what it was sent, and follows its monitor.

use std::io;
use std::ops::Range;

use super::Mock;
use super::card::Card;
use super::paint::{Letters, Row, Text, text_rect};
use crate::font;
use crate::geometry::{Point, Size};
use crate::input::Event;

const INK: u32 = 0xff_b0_20;
const PRESSED: u32 = 0xff_30_30;
/// Arms of the cross where the pointer is, in pixels.
const ARM: u32 = 12;

/// What moves on a mock's screen.
///
/// Only rows that change are drawn, so that damage is what a guest's would be.
#[derive(Debug)]
pub struct Scene {
    mock: Mock,
    shown: Option<(Size, u64)>,
    pointer: Option<Point>,
    pressed: bool,
    /// What it was sent last, in a few letters.
    told: Letters,
    edid: Option<Vec<u8>>,
    /// Rows to draw beside those that move.
    stale: Vec<Range<u32>>,
}

impl Scene {
    /// A guest that draws on `mock`.
    pub fn new(mock: Mock) -> Self {
        Self {
            mock,
            shown: None,
            pointer: None,
            pressed: false,
            told: Letters::new(&[]),
            edid: None,
            stale: Vec::new(),
        }
    }

    /// The guest is sent something, and shows it with the next frame.
    pub fn input(&mut self, event: Event) {
        let state = |down| if down { b" DOWN".as_slice() } else { b" UP".as_slice() };
        let told = match event {
            Event::Key { code, down } => labelled(b"KEY ", code.into(), state(down)),
            Event::Button { code, down } => {
                self.pressed = down;
                labelled(b"BTN ", code.into(), state(down))
            }
            Event::Wheel { vertical, .. } => labelled(
                b"WHEEL ",
                vertical.unsigned_abs(),
                if vertical < 0 { b" DOWN" } else { b" UP" },
            ),
            Event::Pointer { at, .. } => {
                self.stale.extend(self.pointer.map(cross_rows));
                self.pointer = Some(at);
                self.stale.push(cross_rows(at));
                return;
            }
            Event::Motion { .. } => return,
        };
        self.told = told;
        if let Some((size, _)) = self.shown {
            let rect = told_rect(16, size);
            self.stale.push(rect.y..rect.y + rect.height);
        }
        self.stale.extend(self.pointer.map(cross_rows));
    }

    /// Draws frame `n`, after the guest has followed its monitor.
    ///
    /// # Errors
    ///
    /// As [`Mock::set_mode`] and [`Mock::draw_rows`].
    pub fn show(&mut self, n: u64) -> io::Result<()> {
        self.follow_monitor()?;
        let size = match self.mock.screen_size() {
            Some(size) => size,
            None => {
                self.mock.set_mode(self.mock.native_size())?;
                self.mock.native_size()
            }
        };
        let mut rows = std::mem::take(&mut self.stale);
        match self.shown {
            Some((before, last)) if before == size => {
                for card in [Card::new(size, last), Card::new(size, n)] {
                    rows.extend(card.moving().map(|rect| rect.y..rect.y + rect.height));
                }
            }
            _ => rows.push(0..size.height),
        }
        rows.sort_by_key(|range| range.start);
        let mut drawn = 0;
        for range in rows {
            // What overlaps is drawn once.
            let range = range.start.max(drawn)..range.end.min(size.height);
            if !range.is_empty() {
                drawn = range.end;
                self.draw(range, size, n)?;
            }
        }
        self.shown = Some((size, n));
        Ok(())
    }

    /// Sets the mode that the monitor prefers, once one is plugged in.
    fn follow_monitor(&mut self) -> io::Result<()> {
        const UP: u32 = 1;
        if self.mock.link_state() != UP {
            return Ok(());
        }
        let edid = self.mock.edid();
        if edid == self.edid {
            return Ok(());
        }
        self.edid = edid;
        match self.edid.as_deref().and_then(preferred) {
            Some(size) if Some(size) != self.mock.screen_size() => self.mock.set_mode(size),
            _ => Ok(()),
        }
    }

    fn draw(&self, range: Range<u32>, size: Size, n: u64) -> io::Result<()> {
        let card = Card::new(size, n);
        let mut pixels = vec![0; (range.len() as u32 * size.width) as usize];
        for (y, out) in range.clone().zip(pixels.chunks_exact_mut(size.width as usize)) {
            card.row(y, out);
            self.overlay(&mut Row { y, out }, size);
        }
        self.mock.draw_rows(range.start, &pixels)
    }

    fn overlay(&self, row: &mut Row<'_>, size: Size) {
        let rect = told_rect(self.told.len, size);
        row.text(&Text { letters: self.told, rect, scale: scale(size), colour: INK });
        let Some(Point { x, y }) = self.pointer else { return };
        let (x, y) = (x.max(0).cast_unsigned(), y.max(0).cast_unsigned());
        let colour = if self.pressed { PRESSED } else { INK };
        if row.y == y {
            row.fill(x.saturating_sub(ARM), x.saturating_add(ARM + 1), colour);
        } else if row.y.abs_diff(y) <= ARM {
            row.fill(x, x.saturating_add(1), colour);
        }
    }
}

fn labelled(label: &[u8], number: u32, state: &[u8]) -> Letters {
    let mut letters = Letters::new(&[label]);
    letters.number(number);
    state.iter().for_each(|letter| letters.push(*letter));
    letters
}

fn scale(size: Size) -> u32 {
    (size.height / 300).clamp(1, 8)
}

fn told_rect(letters: u32, size: Size) -> crate::geometry::Rect {
    text_rect(letters, scale(size), size.width / 2, font::ROWS * scale(size))
}

fn cross_rows(at: Point) -> Range<u32> {
    let y = at.y.max(0).cast_unsigned();
    y.saturating_sub(ARM)..y.saturating_add(ARM + 1)
}

/// The mode of the first detailed timing, VESA E-EDID 1.4 section 3.10.2.
fn preferred(edid: &[u8]) -> Option<Size> {
    let timing = edid.get(54..72)?;
    let side = |low: usize, high: usize| u32::from(timing[low]) | u32::from(timing[high] >> 4) << 8;
    let size = Size::new(side(2, 4), side(5, 7));
    (size.width > 0 && size.height > 0).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Personality;

    const SIZE: Size = Size::new(320, 256);

    fn scene() -> (Mock, Scene) {
        let mock = Mock::new(Personality::Region, SIZE).unwrap();
        (mock.clone(), Scene::new(mock))
    }

    fn picture(mock: &Mock) -> Vec<u32> {
        let mut display = crate::Display::new(mock.clone()).unwrap();
        let crate::Look::Live(_, picture) = display.look().unwrap() else { panic!("off") };
        picture.pixels().iter().map(|pixel| pixel & 0xff_ffff).collect()
    }

    #[test]
    fn drawing_what_moves_is_drawing_all() {
        let (mock, mut scene) = scene();
        for n in [0, 1, 2, 40, 41] {
            scene.show(n).unwrap();
            assert!(picture(&mock) == Card::new(SIZE, n).picture(), "frame {n}");
        }
    }

    #[test]
    fn what_it_is_sent_is_on_the_screen_and_goes() {
        let (mock, mut scene) = scene();
        scene.show(0).unwrap();
        let before = picture(&mock);
        scene.input(Event::Key { code: 30, down: true });
        scene.show(0).unwrap();
        let key = picture(&mock);
        assert_ne!(before, key);
        scene.input(Event::Pointer { at: Point::new(100, 130), screen: SIZE });
        scene.show(0).unwrap();
        assert_eq!(picture(&mock)[130 * 320 + 100], INK);
        scene.input(Event::Pointer { at: Point::new(0, 255), screen: SIZE });
        scene.show(0).unwrap();
        assert_eq!(picture(&mock)[130 * 320 + 100], key[130 * 320 + 100]);
    }
}
