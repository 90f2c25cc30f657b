// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One viewer's side of the protocol, without a socket: bytes in, events and bytes out.

use std::sync::Arc;

use vfio_display::geometry::{Rect, Size};
use vfio_display::input::Event;

use crate::error::Error;
use crate::handshake::{self, Version};
use crate::held::Held;
use crate::limits::Limits;
use crate::messages::{self, Encodings};
use crate::pixel_format::PixelFormat;
use crate::region::Region;
use crate::update::{Encoder, Update};
use vfio_display_sinks::Shape;

mod obey;
mod updates;

/// The largest side of a screen that a viewer is told of, in pixels; what lies beyond is not sent.
/// An update of such a screen still has fewer rectangles than can be counted.
pub const MAX_SIDE: u32 = 16384;

/// Answers that may wait for the end of an update, in bytes. More than that, and nothing is read.
const MAX_REPLIES: usize = 4096;

/// Something that a viewer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A key, a button, the pointer.
    Input(Event),
    /// It would like the screen to be this large; inside the limits.
    Resize(Size),
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Version, security type, ClientInit.
    Handshake,
    /// It waits for [`Session::start`].
    Ready,
    /// It is told about the screen.
    Running,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Version,
    Security(Version),
    ClientInit,
    Ready,
    Running,
}

/// The server's end of one connection.
///
/// Whoever has the connection feeds what arrives to [`receive`](Self::receive), sends what
/// [`output`](Self::output) has, tells it what changed on the screen, and calls
/// [`encode`](Self::encode) while that has something to do. Its memory is bounded: by
/// [`Limits::ahead`] and one piece of an update, however slowly the viewer reads.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    name: Arc<str>,
    /// Whether it may ask for another size.
    resizable: bool,
    phase: Phase,
    /// The beginning of a message.
    message: Vec<u8>,
    /// Bytes of a cut text that are still to come.
    skip: u32,
    out: Vec<u8>,
    sent: usize,
    /// Messages that wait for the end of an update.
    replies: Vec<u8>,
    /// Of the screen now.
    screen: Size,
    /// As the viewer was told.
    size: Size,
    format: PixelFormat,
    /// Takes effect with the next update, which the viewer can tell apart by a fence only.
    next_format: Option<PixelFormat>,
    encodings: Encodings,
    settled: bool,
    greeted: Encodings,
    pending: Region,
    wanted: Option<Rect>,
    continuous: Option<Rect>,
    unconfirmed: u32,
    size_asked: bool,
    cursor: Option<Arc<Shape>>,
    cursor_due: bool,
    held: Held,
    update: Option<Update>,
    encoder: Encoder,
}

impl Session {
    /// A session that greets. `name` is the title of the viewer's window; `resizable` says
    /// whether a SetDesktopSize is passed on or refused.
    pub fn new(limits: Limits, name: Arc<str>, resizable: bool) -> Self {
        Self {
            limits,
            name,
            resizable,
            phase: Phase::Version,
            message: Vec::new(),
            skip: 0,
            out: handshake::GREETING.to_vec(),
            sent: 0,
            replies: Vec::new(),
            screen: Size::default(),
            size: Size::default(),
            format: PixelFormat::XRGB8888,
            next_format: None,
            encodings: Encodings::default(),
            settled: false,
            greeted: Encodings::default(),
            pending: Region::new(),
            wanted: None,
            continuous: None,
            unconfirmed: 0,
            size_asked: false,
            cursor: None,
            cursor_due: false,
            held: Held::default(),
            update: None,
            encoder: Encoder::default(),
        }
    }

    /// How far it is.
    pub const fn stage(&self) -> Stage {
        match self.phase {
            Phase::Version | Phase::Security(_) | Phase::ClientInit => Stage::Handshake,
            Phase::Ready => Stage::Ready,
            Phase::Running => Stage::Running,
        }
    }

    /// What it understands, once it has said so or asked for an update without saying.
    pub const fn encodings(&self) -> Option<&Encodings> {
        if self.settled { Some(&self.encodings) } else { None }
    }

    /// Bytes for the viewer.
    pub fn output(&self) -> &[u8] {
        &self.out[self.sent..]
    }

    /// The viewer has taken so many bytes of the output.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(bytes).min(self.out.len());
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        }
    }

    /// Whether it should be fed. If not, the viewer asks for answers and takes none.
    pub fn wants_input(&self) -> bool {
        self.replies.len() < MAX_REPLIES && self.output().len() < self.limits.ahead + (1 << 20)
    }

    /// Takes bytes as they arrive, in pieces of any length, and tells what they say. Returns how
    /// many messages were complete, but for requests for updates: many of them are as good as one.
    ///
    /// # Errors
    ///
    /// Why the connection can't go on. The output may hold a last word for the viewer.
    pub fn receive(&mut self, mut bytes: &[u8], to: &mut dyn FnMut(Said)) -> Result<u32, Error> {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let length = bytes.len().min(self.skip as usize);
                self.skip -= length as u32;
                bytes = &bytes[length..];
                continue;
            }
            let want = self.message_length()?;
            let (more, rest) = bytes.split_at(bytes.len().min(want - self.message.len()));
            self.message.extend_from_slice(more);
            bytes = rest;
            if self.message.len() == want && self.message_length()? == want {
                let message = std::mem::take(&mut self.message);
                self.handle(&message, to)?;
                count += u32::from(!messages::is_request(&message));
                self.message = message;
                self.message.clear();
            }
        }
        self.flush_replies();
        Ok(count)
    }

    /// Bytes that the message has at least, as far as it is there.
    fn message_length(&self) -> Result<usize, Error> {
        match self.phase {
            Phase::Version => Ok(12),
            Phase::Security(_) | Phase::ClientInit => Ok(1),
            Phase::Ready | Phase::Running => messages::length(&self.message, &self.limits),
        }
    }

    fn handle(&mut self, bytes: &[u8], to: &mut dyn FnMut(Said)) -> Result<(), Error> {
        match self.phase {
            Phase::Version => {
                let mut version = [0; 12];
                version.copy_from_slice(bytes);
                let version = Version::parse(&version)?;
                handshake::put_security(version, &mut self.out);
                self.phase = match version {
                    Version::V3 => Phase::ClientInit,
                    _ => Phase::Security(version),
                };
            }
            Phase::Security(version) => {
                handshake::put_result(version, bytes[0], &mut self.out)?;
                self.phase = Phase::ClientInit;
            }
            // Its byte asks whether others may stay. They may: one viewer can't put out another.
            Phase::ClientInit => self.phase = Phase::Ready,
            Phase::Ready | Phase::Running => {
                self.obey(messages::parse(bytes, &self.limits)?, to);
            }
        }
        Ok(())
    }

    /// Goes on after the handshake, now that the size of the screen is known.
    pub fn start(&mut self, screen: Size) {
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        self.phase = Phase::Running;
        self.screen = clamped(screen);
        self.size = self.screen;
        self.pending.set_whole(self.size);
        handshake::put_server_init(self.size, &self.name, &mut self.out);
        self.flush_replies();
    }

    /// The screen has changed there.
    pub fn damaged(&mut self, damage: &Region) {
        self.pending.add_all(damage);
    }

    /// The screen has another size now, and all of it is new.
    pub fn resized(&mut self, screen: Size) {
        self.screen = clamped(screen);
        self.pending.set_whole(self.screen);
        self.pending.add(self.size.rect());
    }

    /// The pointer looks like this now, or is hidden.
    pub fn set_cursor(&mut self, shape: Option<Arc<Shape>>) {
        if self.cursor != shape {
            self.cursor = shape;
            self.cursor_due = true;
        }
    }

    /// Lets go of every key and button that the viewer holds. To be called when it is gone.
    pub fn release(&mut self, to: &mut dyn FnMut(Said)) {
        self.held.release(&mut |event| to(Said::Input(event)));
    }

    /// Bytes of memory that grow with what a viewer does.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn memory(&self) -> usize {
        self.message.capacity() + self.out.capacity() + self.replies.capacity()
    }
}

fn clamped(size: Size) -> Size {
    Size::new(size.width.min(MAX_SIDE), size.height.min(MAX_SIDE))
}
