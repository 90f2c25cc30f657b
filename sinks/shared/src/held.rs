// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer holds down: so that only changes are told, and everything is let go when it
//! leaves.

use vfio_display::input::Event;

/// `KEY_*` and `BTN_*` codes end at 0x2ff.
const CODES: usize = 0x300;
const WORDS: usize = CODES / 64;

/// Keys and buttons that are down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    keys: [u64; WORDS],
    buttons: [u64; WORDS],
}

impl Held {
    /// A key, `KEY_*`, goes down or up. Down again is a repeat, and told; up again says nothing.
    pub fn key(&mut self, code: u16, down: bool, to: &mut dyn FnMut(Event)) {
        if set(&mut self.keys, code, down).is_some_and(|was| down || was) {
            to(Event::Key { code, down });
        }
    }

    /// A button, `BTN_*`, goes down or up; only changes are told.
    pub fn button(&mut self, code: u16, down: bool, to: &mut dyn FnMut(Event)) {
        if set(&mut self.buttons, code, down).is_some_and(|was| was != down) {
            to(Event::Button { code, down });
        }
    }

    /// Whether nothing is down.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Lets go of everything: of keys, then of buttons, each in the order of their codes.
    pub fn release(&mut self, to: &mut dyn FnMut(Event)) {
        for code in codes(&std::mem::take(&mut self.keys)) {
            to(Event::Key { code, down: false });
        }
        for code in codes(&std::mem::take(&mut self.buttons)) {
            to(Event::Button { code, down: false });
        }
    }
}

/// Notes what `code` is now, and answers with what it was; `None` where there is no such code.
fn set(words: &mut [u64; WORDS], code: u16, down: bool) -> Option<bool> {
    let word = words.get_mut(usize::from(code) / 64)?;
    let bit = 1 << (code % 64);
    let was = *word & bit != 0;
    *word = if down { *word | bit } else { *word & !bit };
    Some(was)
}

fn codes(words: &[u64; WORDS]) -> impl Iterator<Item = u16> {
    (0..CODES as u16).filter(|code| words[usize::from(*code) / 64] & 1 << (code % 64) != 0)
}

#[cfg(test)]
mod tests {
    use vfio_display::input::{BTN_LEFT, BTN_RIGHT};

    use super::*;

    fn told(act: impl FnOnce(&mut dyn FnMut(Event))) -> Vec<Event> {
        let mut events = Vec::new();
        act(&mut |event| events.push(event));
        events
    }

    const fn key(code: u16, down: bool) -> Event {
        Event::Key { code, down }
    }

    const fn button(code: u16, down: bool) -> Event {
        Event::Button { code, down }
    }

    #[test]
    fn tells_changes_and_repeats() {
        let mut held = Held::default();
        assert_eq!(told(|to| held.key(30, true, to)), [key(30, true)]);
        assert_eq!(told(|to| held.key(30, true, to)), [key(30, true)]);
        assert_eq!(told(|to| held.key(30, false, to)), [key(30, false)]);
        assert_eq!(told(|to| held.key(30, false, to)), []);
        assert_eq!(told(|to| held.key(0xffff, true, to)), []);
        assert_eq!(told(|to| held.button(BTN_LEFT, true, to)), [button(BTN_LEFT, true)]);
        assert_eq!(told(|to| held.button(BTN_LEFT, true, to)), []);
        assert!(!held.is_empty());
    }

    #[test]
    fn lets_go_of_everything_once() {
        let mut held = Held::default();
        held.button(BTN_RIGHT, true, &mut |_| {});
        held.key(0x2ff, true, &mut |_| {});
        held.key(29, true, &mut |_| {});
        held.button(BTN_LEFT, true, &mut |_| {});
        let all = [key(29, false), key(0x2ff, false), button(BTN_LEFT, false)];
        let all = [&all[..], &[button(BTN_RIGHT, false)]].concat();
        assert_eq!(told(|to| held.release(to)), all);
        assert!(held.is_empty());
        assert_eq!(told(|to| held.release(to)), []);
    }
}
