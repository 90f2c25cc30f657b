// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One viewer's side of the protocol, without a socket: bytes in, events and bytes out.

use std::sync::Arc;

use vfio_display::geometry::{Rect, Size};
use vfio_display::input::Event;

use crate::entrance::{Awaits, Entrance, Security};
use crate::error::Error;
use crate::handshake;
use crate::held::Held;
use crate::limits::Limits;
use crate::messages::{self, Encodings};
use crate::pixel_format::PixelFormat;
use crate::region::Region;
use crate::update::{Encoder, Update};
use vfio_display_sinks::{Credentials, Denied, Shape};
use zeroize::Zeroize;

mod obey;
mod updates;

/// The largest side of a screen that a viewer is told of, in pixels; what lies beyond is not sent.
/// An update of such a screen still has fewer rectangles than can be counted.
pub const MAX_SIDE: u32 = 16384;

/// Answers that may wait for the end of an update, in bytes. More than that, and nothing is read.
const MAX_REPLIES: usize = 4096;

/// Bytes of a name and a password at most, which the beginning of a message never outgrows: no copy
/// of them is left behind in memory. Other messages are longer.
const MESSAGE: usize = 8 + 2 * 1024;

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
    /// Version, security type, what that takes, ClientInit.
    Handshake,
    /// It waits for [`Session::start`].
    Ready,
    /// It is told about the screen.
    Running,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Entering,
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
    entrance: Entrance,
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
            phase: Phase::Entering,
            entrance: Entrance::new(Security::None),
            message: Vec::with_capacity(MESSAGE),
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

    /// The same, but that the viewer has to go through TLS, or a password as well, to be let in.
    #[must_use]
    pub fn behind(mut self, security: Security) -> Self {
        self.entrance = Entrance::new(security);
        self
    }

    /// What it waits for that its viewer does not send. Until then it takes no input.
    pub const fn awaits(&self) -> Option<Awaits> {
        self.entrance.awaits()
    }

    /// TLS has begun where the session awaited it: what is received and sent from now on is inside
    /// it. Not before all of the output has been sent.
    pub fn tls_started(&mut self) {
        if self.output().is_empty() {
            self.entrance.tls_started(&mut self.out);
        }
    }

    /// What the viewer said to be let in, once.
    pub const fn take_credentials(&mut self) -> Option<Credentials> {
        self.entrance.take_credentials()
    }

    /// Lets the viewer in, or tells it why not; it is to be sent away then.
    pub fn answer(&mut self, verdict: Result<(), Denied>) {
        self.entrance.answer(verdict, &mut self.out);
    }

    /// Whether the viewer is asked for a password, which a person may have to type.
    pub(crate) const fn asks_password(&self) -> bool {
        self.entrance.asks_password()
    }

    /// How far it is.
    pub const fn stage(&self) -> Stage {
        match self.phase {
            Phase::Entering => Stage::Handshake,
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

    /// Whether it should be fed. If not, the viewer asks for answers and takes none, or has to wait.
    pub fn wants_input(&self) -> bool {
        self.awaits().is_none()
            && self.replies.len() < MAX_REPLIES
            && self.output().len() < self.limits.ahead + (1 << 20)
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
                let mut message = std::mem::take(&mut self.message);
                let entering = matches!(self.phase, Phase::Entering);
                let handled = self.handle(&message, to);
                count += u32::from(!messages::is_request(&message));
                if entering {
                    // It may have been a password.
                    message.zeroize();
                }
                self.message = message;
                self.message.clear();
                handled?;
            }
        }
        self.flush_replies();
        Ok(count)
    }

    /// Bytes that the message has at least, as far as it is there.
    fn message_length(&self) -> Result<usize, Error> {
        match self.phase {
            Phase::Entering => self.entrance.length(&self.message),
            Phase::Ready | Phase::Running => messages::length(&self.message, &self.limits),
        }
    }

    fn handle(&mut self, bytes: &[u8], to: &mut dyn FnMut(Said)) -> Result<(), Error> {
        match self.phase {
            Phase::Entering => {
                if self.entrance.handle(bytes, &mut self.out)? {
                    self.phase = Phase::Ready;
                }
            }
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
