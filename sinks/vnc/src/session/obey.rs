// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a session does with what its viewer says.

use vfio_display::geometry::{Point, Size};
use vfio_display_sinks::scancode;

use super::updates::{FENCE_KNOWN, FENCE_REQUEST, put_fence, put_screen};
use super::{Said, Session};
use crate::keysym;
use crate::messages::{Encodings, Message};
use crate::region::union;
use crate::wire::{put_update, server};

impl Session {
    pub(super) fn obey(&mut self, message: Message, to: &mut dyn FnMut(Said)) {
        match message {
            Message::SetPixelFormat(format) => {
                self.next_format = Some(format);
                self.cursor_due = true;
            }
            Message::SetEncodings(encodings) => self.set_encodings(encodings),
            Message::UpdateRequest { incremental, area } => {
                self.settled = true;
                if incremental && self.continuous.is_some() {
                    return;
                }
                if !incremental {
                    self.pending.add(area);
                    self.size_asked = true;
                }
                self.wanted = Some(self.wanted.map_or(area, |wanted| union(wanted, area)));
            }
            Message::Key { down, keysym } => {
                if let Some(code) = keysym::key(keysym) {
                    self.held.key(code, down, &mut |event| to(Said::Input(event)));
                }
            }
            Message::ExtendedKey { down, keysym, scancode } => {
                if let Some(code) = scancode::key(scancode).or_else(|| keysym::key(keysym)) {
                    self.held.key(code, down, &mut |event| to(Said::Input(event)));
                }
            }
            Message::Pointer { mask, x, y } => {
                let at = Point::new(x.into(), y.into());
                self.held.pointer(at, self.size, mask, &mut |event| to(Said::Input(event)));
            }
            Message::CutText(length) => self.skip = length,
            Message::Continuous { enable, area } => {
                self.continuous = enable.then_some(area);
                if !enable {
                    self.replies.push(server::END_OF_CONTINUOUS_UPDATES);
                }
            }
            Message::Fence { flags, payload } => {
                if flags & FENCE_REQUEST == 0 {
                    self.unconfirmed = self.unconfirmed.saturating_sub(1);
                } else {
                    put_fence(&mut self.replies, flags & FENCE_KNOWN, &payload);
                }
            }
            Message::SetDesktopSize(size) => self.answer_resize(size, to),
        }
    }

    fn set_encodings(&mut self, encodings: Encodings) {
        self.settled = true;
        self.encodings = encodings;
        self.encoder.set_hint(encodings.compress_level.unwrap_or(1));
        self.cursor_due = true;
        // What we understand is said once, the first time that the viewer names it.
        if encodings.fence && !self.greeted.fence {
            put_fence(&mut self.replies, FENCE_REQUEST, &[]);
            // Its answer is not about an update.
            self.unconfirmed += 1;
        }
        if encodings.continuous_updates && !self.greeted.continuous_updates {
            self.replies.push(server::END_OF_CONTINUOUS_UPDATES);
        }
        self.greeted.fence |= encodings.fence;
        self.greeted.continuous_updates |= encodings.continuous_updates;
    }

    /// Says at once whether it was passed on (rfbproto, SetDesktopSize). The new size follows
    /// when the guest has it.
    fn answer_resize(&mut self, size: Size, to: &mut dyn FnMut(Said)) {
        const PROHIBITED: u16 = 1;
        const INVALID: u16 = 3;
        const FORWARDED: u16 = 4;
        let side = 1..=u32::from(self.limits.side);
        let status = if !self.resizable {
            PROHIBITED
        } else if !side.contains(&size.width) || !side.contains(&size.height) {
            INVALID
        } else {
            to(Said::Resize(size));
            FORWARDED
        };
        put_update(&mut self.replies, 1);
        put_screen(&mut self.replies, (1, status), self.size);
    }
}
