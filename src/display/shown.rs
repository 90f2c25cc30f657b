// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a sink has been shown, and showing it the rest.

use super::{Poll, PollError};
use crate::cursor::CursorLayer;
use crate::frame::{Frame, Source};
use crate::geometry::Rect;
use crate::picture::Picture;
use crate::screen::Screen;
use crate::sink::{Sink, Takes};

/// What the sink knows.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub(super) takes: Takes,
    pub(super) generation: u64,
    /// Whether it knows that there is nothing to show.
    pub(super) blank: bool,
    /// The screen with the cursor drawn over it, for sinks that draw none.
    blended: Picture,
    /// Where the cursor is in `blended`.
    blended_at: Rect,
    rects: Vec<Rect>,
}

impl Shown {
    /// Shows the sink the screen's damage and the cursor, where there is any news.
    pub(super) fn show<S: Sink + ?Sized>(
        &mut self,
        source: Source,
        screen: &mut Screen,
        cursor: &mut CursorLayer,
        sink: &mut S,
    ) -> Result<Poll, PollError> {
        let size = screen.picture().size();
        let draws_cursor = self.takes.cursor;
        if self.blank {
            // It has drawn over what it was shown before.
            self.blank = false;
            screen.refresh();
        }
        if !draws_cursor && cursor.is_news() {
            screen.mark_rect(self.blended_at);
            screen.mark_rect(cursor.area(size));
        }
        let mut poll = Poll::Same;
        if !screen.damage().is_empty() {
            screen.damage().rects(&mut self.rects);
            let picture = if draws_cursor {
                screen.picture()
            } else {
                self.blend(screen.picture(), cursor);
                &self.blended
            };
            let damage = &self.rects;
            let frame = Frame { picture, damage, source, generation: self.generation };
            sink.frame(&frame).map_err(PollError::Sink)?;
            screen.shown();
            poll = Poll::Shown(size);
        }
        if self.show_cursor(cursor, sink)? {
            poll = Poll::Shown(size);
        }
        Ok(poll)
    }

    /// Shows the sink the cursor, if it draws one and there is any news. Whether it did.
    pub(super) fn show_cursor<S: Sink + ?Sized>(
        &self,
        cursor: &mut CursorLayer,
        sink: &mut S,
    ) -> Result<bool, PollError> {
        if !cursor.is_news() {
            return Ok(false);
        }
        if self.takes.cursor {
            sink.cursor(cursor.cursor().as_ref()).map_err(PollError::Sink)?;
        }
        cursor.told();
        Ok(self.takes.cursor)
    }

    /// Brings the blended picture up to date: the damaged pixels, then the cursor.
    fn blend(&mut self, screen: &Picture, cursor: &CursorLayer) {
        if self.blended.size() != screen.size() {
            self.blended.resize(screen.size());
            self.blended_at = Rect::default();
        }
        for rect in self.rects.iter().chain([&self.blended_at]) {
            self.blended.copy_rect(screen, *rect);
        }
        self.blended_at = cursor.area(screen.size());
        self.blended.copy_rect(screen, self.blended_at);
        cursor.blend(&mut self.blended);
    }
}
