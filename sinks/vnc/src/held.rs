// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer holds down, and where its pointer is: so that only changes are told, and
//! everything is let go when it leaves.

use vfio_display::geometry::{Point, Size};
use vfio_display::input::{BTN_LEFT, BTN_MIDDLE, BTN_RIGHT, Event};

/// `KEY_*` codes end at 0x2ff.
const KEYS: usize = 0x300;

/// The buttons of a PointerEvent's mask, from bit 0 (RFC 6143, section 7.5.5). The next four bits
/// are the wheel: up, down, left, right.
const BUTTONS: [u16; 3] = [BTN_LEFT, BTN_MIDDLE, BTN_RIGHT];

#[derive(Debug)]
pub(crate) struct Held {
    keys: [u64; KEYS / 64],
    buttons: u8,
    at: Option<(Point, Size)>,
}

impl Default for Held {
    fn default() -> Self {
        Self { keys: [0; KEYS / 64], buttons: 0, at: None }
    }
}

impl Held {
    pub(crate) fn key(&mut self, code: u16, down: bool, to: &mut dyn FnMut(Event)) {
        let Some(word) = self.keys.get_mut(usize::from(code) / 64) else { return };
        let bit = 1 << (code % 64);
        let was = *word & bit != 0;
        *word = if down { *word | bit } else { *word & !bit };
        // Down again is a repeat. Up again says nothing.
        if down || was {
            to(Event::Key { code, down });
        }
    }

    /// The order is that in which a person would have done it: there first, then the click.
    pub(crate) fn pointer(&mut self, at: Point, screen: Size, mask: u8, to: &mut dyn FnMut(Event)) {
        if screen.area() == 0 {
            return;
        }
        let at = Point::new(
            at.x.clamp(0, screen.width as i32 - 1),
            at.y.clamp(0, screen.height as i32 - 1),
        );
        if self.at != Some((at, screen)) {
            self.at = Some((at, screen));
            to(Event::Pointer { at, screen });
        }
        let changed = self.buttons ^ mask;
        for (bit, code) in BUTTONS.into_iter().enumerate() {
            if changed & 1 << bit != 0 {
                to(Event::Button { code, down: mask & 1 << bit != 0 });
            }
        }
        let pressed = |bit: u8| i32::from(changed & mask & 1 << bit != 0);
        let (vertical, horizontal) = (pressed(3) - pressed(4), pressed(6) - pressed(5));
        if (vertical, horizontal) != (0, 0) {
            to(Event::Wheel { horizontal, vertical });
        }
        self.buttons = mask;
    }

    pub(crate) fn release(&mut self, to: &mut dyn FnMut(Event)) {
        for code in 0..KEYS as u16 {
            if self.keys[usize::from(code) / 64] & 1 << (code % 64) != 0 {
                self.key(code, false, to);
            }
        }
        for (bit, code) in BUTTONS.into_iter().enumerate() {
            if self.buttons & 1 << bit != 0 {
                to(Event::Button { code, down: false });
            }
        }
        self.buttons = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCREEN: Size = Size::new(100, 50);

    fn told(act: impl FnOnce(&mut dyn FnMut(Event))) -> Vec<Event> {
        let mut events = Vec::new();
        act(&mut |event| events.push(event));
        events
    }

    #[test]
    fn tells_changes_and_repeats() {
        let mut held = Held::default();
        let (down, up) =
            (Event::Key { code: 30, down: true }, Event::Key { code: 30, down: false });
        assert_eq!(told(|to| held.key(30, true, to)), [down]);
        assert_eq!(told(|to| held.key(30, true, to)), [down]);
        assert_eq!(told(|to| held.key(30, false, to)), [up]);
        assert_eq!(told(|to| held.key(30, false, to)), []);
        assert_eq!(told(|to| held.key(0xffff, true, to)), []);
    }

    #[test]
    fn a_pointer_moves_clicks_and_turns() {
        let mut held = Held::default();
        let at = Point::new(5, 6);
        let moved = Event::Pointer { at, screen: SCREEN };
        let left = |down| Event::Button { code: BTN_LEFT, down };
        assert_eq!(told(|to| held.pointer(at, SCREEN, 1, to)), [moved, left(true)]);
        assert_eq!(told(|to| held.pointer(at, SCREEN, 1, to)), []);
        assert_eq!(told(|to| held.pointer(at, SCREEN, 0, to)), [left(false)]);
        let wheel = |horizontal, vertical| Event::Wheel { horizontal, vertical };
        assert_eq!(told(|to| held.pointer(at, SCREEN, 8, to)), [wheel(0, 1)]);
        assert_eq!(told(|to| held.pointer(at, SCREEN, 0, to)), []);
        assert_eq!(told(|to| held.pointer(at, SCREEN, 16, to)), [wheel(0, -1)]);
        assert_eq!(told(|to| held.pointer(at, SCREEN, 64, to)), [wheel(1, 0)]);
        let corner = Event::Pointer { at: Point::new(99, 49), screen: SCREEN };
        let far = Point::new(65535, 65535);
        assert_eq!(told(|to| held.pointer(far, SCREEN, 0, to)), [corner]);
    }

    #[test]
    fn lets_go_of_everything_once() {
        let mut held = Held::default();
        held.key(29, true, &mut |_| {});
        held.key(0x2ff, true, &mut |_| {});
        held.pointer(Point::new(0, 0), SCREEN, 0b101, &mut |_| {});
        let button = |code| Event::Button { code, down: false };
        assert_eq!(
            told(|to| held.release(to)),
            [
                Event::Key { code: 29, down: false },
                Event::Key { code: 0x2ff, down: false },
                button(BTN_LEFT),
                button(BTN_RIGHT)
            ]
        );
        assert_eq!(told(|to| held.release(to)), []);
    }
}
