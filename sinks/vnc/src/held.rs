// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer holds down, and where its pointer is, out of a PointerEvent's mask.

use vfio_display::geometry::{Point, Size};
use vfio_display::input::{BTN_LEFT, BTN_MIDDLE, BTN_RIGHT, Event};
use vfio_display_sinks::Held as Down;

/// The buttons of a PointerEvent's mask, from bit 0 (RFC 6143, section 7.5.5). The next four bits
/// are the wheel: up, down, left, right.
const BUTTONS: [u16; 3] = [BTN_LEFT, BTN_MIDDLE, BTN_RIGHT];

#[derive(Debug, Default)]
pub(crate) struct Held {
    down: Down,
    mask: u8,
    at: Option<(Point, Size)>,
}

impl Held {
    pub(crate) fn key(&mut self, code: u16, down: bool, to: &mut dyn FnMut(Event)) {
        self.down.key(code, down, to);
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
        for (bit, code) in BUTTONS.into_iter().enumerate() {
            self.down.button(code, mask & 1 << bit != 0, to);
        }
        let pressed = |bit: u8| i32::from(mask & !self.mask & 1 << bit != 0);
        let (vertical, horizontal) = (pressed(3) - pressed(4), pressed(6) - pressed(5));
        if (vertical, horizontal) != (0, 0) {
            to(Event::Wheel { horizontal, vertical });
        }
        self.mask = mask;
    }

    pub(crate) fn release(&mut self, to: &mut dyn FnMut(Event)) {
        self.down.release(to);
        self.mask = 0;
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
