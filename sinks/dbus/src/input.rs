// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What clients do with the keyboard and the mouse, and what each holds down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use vfio_display::geometry::{Point, Size};
use vfio_display::input::{
    BTN_EXTRA, BTN_LEFT, BTN_MIDDLE, BTN_RIGHT, BTN_SIDE, BackChannel, Event,
};
use vfio_display_sinks::{Held, scancode};

use crate::error::Refused;

/// Who a call is from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Client {
    /// The unique name of a client on the bus.
    Bus(String),
    /// The number of a connection to the socket.
    Peer(u64),
}

/// The way to the back-channel.
pub(crate) struct Input {
    back: Arc<dyn BackChannel>,
    view_only: bool,
    holders: usize,
    held: Mutex<BTreeMap<Client, Held>>,
}

/// What a button's number stands for (`InputButton` of QEMU's `qapi/ui.json`).
enum Button {
    Code(u16),
    Wheel { horizontal: i32, vertical: i32 },
}

impl Button {
    const fn new(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Code(BTN_LEFT),
            1 => Self::Code(BTN_MIDDLE),
            2 => Self::Code(BTN_RIGHT),
            3 => Self::Wheel { horizontal: 0, vertical: 1 },
            4 => Self::Wheel { horizontal: 0, vertical: -1 },
            5 => Self::Code(BTN_SIDE),
            6 => Self::Code(BTN_EXTRA),
            7 => Self::Wheel { horizontal: -1, vertical: 0 },
            8 => Self::Wheel { horizontal: 1, vertical: 0 },
            _ => return None,
        })
    }
}

impl Input {
    pub(crate) fn new(back: Arc<dyn BackChannel>, view_only: bool, holders: usize) -> Self {
        Self { back, view_only, holders, held: Mutex::default() }
    }

    pub(crate) fn back(&self) -> &dyn BackChannel {
        &*self.back
    }

    /// A key, by QEMU's number. One that there is no `KEY_*` for goes nowhere, as in QEMU.
    pub(crate) fn key(&self, client: Client, number: u32, down: bool) -> Result<(), Refused> {
        let Some(code) = scancode::key(number) else { return Ok(()) };
        self.hold(client, |held, to| held.key(code, down, to))
    }

    /// A button, or the wheel, which turns when it is pressed.
    pub(crate) fn button(&self, client: Client, number: u32, down: bool) -> Result<(), Refused> {
        match Button::new(number) {
            Some(Button::Code(code)) => self.hold(client, |held, to| held.button(code, down, to)),
            Some(Button::Wheel { horizontal, vertical }) => {
                if down {
                    self.tell(Event::Wheel { horizontal, vertical });
                }
                Ok(())
            }
            None => Err(Refused::Invalid(format!("there is no button {number}"))),
        }
    }

    /// The pointer is at a pixel of a screen of `screen`.
    pub(crate) fn pointer(&self, x: u32, y: u32, screen: Size) -> Result<(), Refused> {
        if x >= screen.width || y >= screen.height {
            return Err(Refused::Invalid(format!("{x},{y} is not on a screen of {screen}")));
        }
        // A screen has at most 16384 pixels a side.
        let at = Point::new(x as i32, y as i32);
        self.tell(Event::Pointer { at, screen });
        Ok(())
    }

    pub(crate) fn motion(&self, dx: i32, dy: i32) {
        self.tell(Event::Motion { dx, dy });
    }

    /// Lets go of what `client` holds down.
    pub(crate) fn release(&self, client: &Client) {
        let held = self.lock().remove(client);
        if let Some(mut held) = held {
            held.release(&mut |event| self.back.input(event));
        }
    }

    /// Lets go of what anybody holds down.
    pub(crate) fn release_all(&self) {
        for mut held in std::mem::take(&mut *self.lock()).into_values() {
            held.release(&mut |event| self.back.input(event));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Client, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: Event) {
        if !self.view_only {
            self.back.input(event);
        }
    }

    fn hold(
        &self,
        client: Client,
        act: impl FnOnce(&mut Held, &mut dyn FnMut(Event)),
    ) -> Result<(), Refused> {
        if self.view_only {
            return Ok(());
        }
        let mut held = self.lock();
        if held.len() >= self.holders && !held.contains_key(&client) {
            return Err(Refused::Failed(format!("{} clients hold keys already", held.len())));
        }
        let entry = held.entry(client.clone()).or_default();
        act(entry, &mut |event| self.back.input(event));
        if entry.is_empty() {
            held.remove(&client);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl BackChannel for Heard {
        fn input(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn input(view_only: bool) -> (Arc<Heard>, Input) {
        let heard = Arc::new(Heard::default());
        (Arc::clone(&heard), Input::new(heard, view_only, 2))
    }

    fn heard(heard: &Heard) -> Vec<Event> {
        std::mem::take(&mut heard.0.lock().unwrap())
    }

    const A: Client = Client::Peer(1);
    const B: Client = Client::Peer(2);

    #[test]
    fn numbers_become_codes() {
        let (back, input) = input(false);
        input.key(A, 0x1e, true).unwrap();
        input.key(A, 0x1e, false).unwrap();
        input.key(A, 0xdb, true).unwrap();
        input.key(A, 0xffff, true).unwrap();
        for button in 0..9 {
            input.button(A, button, true).unwrap();
        }
        assert!(matches!(input.button(A, 9, true), Err(Refused::Invalid(_))));
        let key = |code, down| Event::Key { code, down };
        let button = |code| Event::Button { code, down: true };
        let wheel = |horizontal, vertical| Event::Wheel { horizontal, vertical };
        assert_eq!(heard(&back)[..3], [key(30, true), key(30, false), key(125, true)]);
        input.release(&A);
        assert_eq!(heard(&back).len(), 6, "a key and five buttons");
        for number in [0, 3, 8] {
            input.button(A, number, true).unwrap();
        }
        assert_eq!(heard(&back), [button(BTN_LEFT), wheel(0, 1), wheel(1, 0)]);
    }

    #[test]
    fn each_client_lets_go_of_its_own() {
        let (back, input) = input(false);
        input.key(A, 0x1e, true).unwrap();
        input.key(B, 0x30, true).unwrap();
        assert!(matches!(input.key(Client::Peer(3), 2, true), Err(Refused::Failed(_))));
        heard(&back);
        input.release(&A);
        assert_eq!(heard(&back), [Event::Key { code: 30, down: false }]);
        input.release_all();
        assert_eq!(heard(&back), [Event::Key { code: 48, down: false }]);
    }

    #[test]
    fn a_pointer_is_on_the_screen() {
        let (back, input) = input(false);
        let screen = Size::new(10, 5);
        input.pointer(9, 4, screen).unwrap();
        assert!(
            input.pointer(10, 4, screen).is_err() && input.pointer(0, u32::MAX, screen).is_err()
        );
        assert_eq!(heard(&back), [Event::Pointer { at: Point::new(9, 4), screen }]);
    }

    #[test]
    fn who_only_looks_does_nothing() {
        let (back, input) = input(true);
        input.key(A, 0x1e, true).unwrap();
        input.button(A, 3, true).unwrap();
        input.pointer(1, 1, Size::new(2, 2)).unwrap();
        input.motion(1, 1);
        assert_eq!(heard(&back), []);
    }
}
