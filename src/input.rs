// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The way back: what a viewer does, in the terms of Linux input devices.
//!
//! Codes are those of `<linux/input-event-codes.h>`: `KEY_*` for keys and `BTN_*` for buttons.

use crate::geometry::{Point, Size};

/// `BTN_LEFT` of `<linux/input-event-codes.h>`.
pub const BTN_LEFT: u16 = 0x110;
/// `BTN_RIGHT`.
pub const BTN_RIGHT: u16 = 0x111;
/// `BTN_MIDDLE`.
pub const BTN_MIDDLE: u16 = 0x112;
/// `BTN_SIDE`.
pub const BTN_SIDE: u16 = 0x113;
/// `BTN_EXTRA`.
pub const BTN_EXTRA: u16 = 0x114;

/// Something that a viewer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A key, `KEY_*`, went down or up. A key that repeats goes down again.
    Key {
        /// Its code.
        code: u16,
        /// Down, or up.
        down: bool,
    },
    /// A button, `BTN_*`, went down or up.
    Button {
        /// Its code.
        code: u16,
        /// Down, or up.
        down: bool,
    },
    /// The pointer is at a pixel of the screen.
    Pointer {
        /// Where; inside `screen`.
        at: Point,
        /// The size that the viewer sees.
        screen: Size,
    },
    /// The pointer moved by so many pixels.
    Motion {
        /// To the right.
        dx: i32,
        /// Downwards.
        dy: i32,
    },
    /// The wheel turned by so many notches.
    Wheel {
        /// To the right.
        horizontal: i32,
        /// Away from the person, as `REL_WHEEL` counts.
        vertical: i32,
    },
}

/// A viewer's screen, as it would like the guest's to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UiInfo {
    /// In pixels.
    pub size: Size,
    /// In millimetres, where it is known.
    pub millimetres: Option<Size>,
}

/// What an embedder does with what viewers do. Nothing has to be done with any of it.
///
/// Sinks call it from their own threads.
pub trait BackChannel: Send + Sync {
    /// A viewer did something. When one goes, its keys and buttons are released first.
    fn input(&self, _event: Event) {}

    /// A viewer would like another size.
    fn ui_info(&self, _info: UiInfo) {}

    /// So many viewers are looking now. At 0 nobody needs frames.
    fn viewers(&self, _count: usize) {}
}

/// The back-channel that ignores everything.
impl BackChannel for () {}
