// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a session tells its viewer: sizes, the pointer's shape, pixels.

use vfio_display::geometry::{Rect, Size};
use vfio_display::picture::Picture;

use super::{Phase, Session, Stage};
use crate::cursor;
use crate::messages::Encoding;
use crate::region::union;
use crate::tile::Scratch;
use crate::update::Update;
use crate::wire::{encoding, put_pixels, put_rect, put_u32, put_update, server};

/// Updates that may be on their way unasked, where the viewer confirms them (Fence).
const MAX_UNCONFIRMED: u32 = 4;

/// A fence's flags (rfbproto, ClientFence).
pub(super) const FENCE_REQUEST: u32 = 1 << 31;
const FENCE_BLOCK_BEFORE: u32 = 1;
pub(super) const FENCE_KNOWN: u32 = 0b111;

impl Session {
    /// Whether [`encode`](Self::encode) has something to do.
    pub fn is_due(&self) -> bool {
        if self.stage() != Stage::Running || self.output().len() > self.limits.ahead {
            return false;
        }
        if self.update.is_some() {
            return true;
        }
        // One update at a time: what changes while it is on its way is merged into the next.
        if !self.output().is_empty() {
            return false;
        }
        let Some(area) = self.area() else { return false };
        self.size_due().is_some()
            || self.key_due()
            || self.shape_due()
            || self.pending.touches(area)
    }

    /// Whether an update is begun and not yet encoded to its end.
    pub const fn is_amid_update(&self) -> bool {
        self.update.is_some()
    }

    /// Encodes the next piece of an update from the screen as it is now.
    pub fn encode(&mut self, picture: &Picture, scratch: &mut Scratch) {
        if !self.is_due() {
            return;
        }
        self.sent_away();
        if self.update.is_none() && !self.begin() {
            return;
        }
        let Some(update) = &mut self.update else { return };
        self.encoder.piece(update, picture, scratch, &mut self.out);
        if update.is_done() {
            self.update = None;
            if self.continuous.is_some() && self.encodings.fence {
                put_fence(&mut self.out, FENCE_REQUEST | FENCE_BLOCK_BEFORE, &[]);
                self.unconfirmed += 1;
            }
            self.flush_replies();
        } else if self.encodings.last_rect && self.resizes() {
            // What is left has gone from the screen, and all of the new one is pending.
            put_rect(&mut self.out, Rect::default(), encoding::LAST_RECT);
            self.update = None;
            self.flush_replies();
        }
    }

    /// Makes room for what comes, rather than letting what was taken pile up before it.
    fn sent_away(&mut self) {
        self.out.drain(..self.sent);
        self.sent = 0;
    }

    /// Where the viewer wants to see what changes, if it does now.
    fn area(&self) -> Option<Rect> {
        let unasked = self.continuous.filter(|_| self.unconfirmed < MAX_UNCONFIRMED);
        match (self.wanted, unasked) {
            (Some(a), Some(b)) => Some(union(a, b)),
            (a, b) => a.or(b),
        }
    }

    /// Whether the viewer has to be told another size, and can be.
    fn resizes(&self) -> bool {
        let able = self.encodings.desktop_size || self.encodings.extended_desktop_size;
        able && self.size != self.screen
    }

    /// The encoding in which the size is to be told, if it is.
    fn size_due(&self) -> Option<i32> {
        let asked = self.size_asked && self.encodings.extended_desktop_size;
        match (self.resizes() || asked, self.encodings.extended_desktop_size) {
            (false, _) => None,
            (true, true) => Some(encoding::EXTENDED_DESKTOP_SIZE),
            (true, false) => Some(encoding::DESKTOP_SIZE),
        }
    }

    const fn key_due(&self) -> bool {
        self.encodings.extended_key && !self.greeted.extended_key
    }

    const fn shape_due(&self) -> bool {
        self.cursor_due && (self.encodings.cursor || self.encodings.cursor_with_alpha)
    }

    /// Begins an update. False if it is complete without a piece of the screen.
    fn begin(&mut self) -> bool {
        if let Some(format) = self.next_format.take() {
            self.format = format;
            if !format.true_colour {
                format.write_colour_map(&mut self.out);
            }
        }
        if let Some(encoding) = self.size_due() {
            self.tell_size(encoding);
            return false;
        }
        self.size_asked = false;
        let Some(area) = self.area() else { return false };
        self.pending.clip(self.size);
        let update = Update::new(&self.pending.take(area), self.encodings.pixels);
        let (key, shape) = (self.key_due(), self.shape_due());
        self.wanted = None;
        let rectangles = update.count() + usize::from(key) + usize::from(shape);
        if rectangles == 0 {
            return false;
        }
        put_update(&mut self.out, rectangles);
        if key {
            put_rect(&mut self.out, Rect::default(), encoding::QEMU_EXTENDED_KEY);
            self.greeted.extended_key = true;
        }
        if shape {
            self.encoder.prepare(&self.format, Encoding::Raw);
            let pixels = self.encoder.pixels();
            cursor::put(self.cursor.as_deref(), &self.encodings, pixels, &mut self.out);
            self.cursor_due = false;
        }
        if update.is_done() {
            return false;
        }
        self.encoder.prepare(&self.format, self.encodings.pixels);
        self.update = Some(update);
        true
    }

    /// An update of its own: nothing else may be in it (rfbproto, ExtendedDesktopSize).
    fn tell_size(&mut self, encoding: i32) {
        self.size_asked = false;
        put_update(&mut self.out, 1);
        if self.resizes() {
            self.size = self.screen;
            self.pending.set_whole(self.size);
            // What was asked for is of a screen that is gone; the question still stands.
            self.wanted = self.wanted.map(|_| self.size.rect());
            self.continuous = self.continuous.map(|_| self.size.rect());
        }
        if encoding == encoding::DESKTOP_SIZE {
            put_rect(&mut self.out, self.size.rect(), encoding);
        } else {
            put_screen(&mut self.out, (0, 0), self.size);
        }
    }

    /// Moves answers to the output, where they don't land in the middle of an update.
    pub(super) fn flush_replies(&mut self) {
        if self.update.is_none() && matches!(self.phase, Phase::Running) {
            self.out.append(&mut self.replies);
        }
    }
}

/// An ExtendedDesktopSize rectangle with one screen. `why` is reason and status.
pub(super) fn put_screen(out: &mut Vec<u8>, why: (u16, u16), size: Size) {
    let (x, y) = (why.0.into(), why.1.into());
    let rect = Rect { x, y, width: size.width, height: size.height };
    put_rect(out, rect, encoding::EXTENDED_DESKTOP_SIZE);
    out.extend_from_slice(&[1, 0, 0, 0]);
    // The screen's id, its place and size, its flags.
    put_u32(out, 0);
    for value in [0, 0, size.width, size.height] {
        put_pixels(out, value);
    }
    put_u32(out, 0);
}

pub(super) fn put_fence(out: &mut Vec<u8>, flags: u32, payload: &[u8]) {
    out.extend_from_slice(&[server::FENCE, 0, 0, 0]);
    put_u32(out, flags);
    out.push(payload.len() as u8);
    out.extend_from_slice(payload);
}
