// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A viewer: its connection, its session, and what it may still do this second.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use vfio_display::Picture;

use crate::error::Error;
use crate::limits::Limits;
use crate::session::{Said, Session, Stage};
use crate::tile::Scratch;

/// A connection: what a socket, or TLS over one, is. `as_fd` is what is polled; its reads and
/// writes must not block.
pub trait Stream: Read + Write + AsFd + Send {}

impl<S: Read + Write + AsFd + Send> Stream for S {}

/// Read at a time. The other viewers have their turn before more is.
pub(crate) const READ: usize = 16 << 10;

pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) session: Session,
    limits: Limits,
    since: Instant,
    /// When the handshake was complete but for the size of the screen.
    ready: Option<Instant>,
    /// When it last took a byte, or had none to take.
    progress: Instant,
    /// Messages that it may still send, less than 0 where it sent too many, and when that was
    /// counted.
    allowance: (i64, Instant),
    /// The last read filled the buffer, so there may be more that poll does not know of.
    more: bool,
    /// Bytes that it took and nobody has counted yet.
    pub(crate) sent: u64,
}

impl Client {
    pub(crate) fn new(
        id: u64,
        stream: Box<dyn Stream>,
        limits: Limits,
        name: Arc<str>,
        resizable: bool,
        now: Instant,
    ) -> Self {
        Self {
            id,
            stream,
            session: Session::new(limits, name, resizable),
            limits,
            since: now,
            ready: None,
            progress: now,
            allowance: (limits.messages.into(), now),
            more: false,
            sent: 0,
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    pub(crate) fn wants_input(&self) -> bool {
        self.allowance.0 > 0 && self.session.wants_input()
    }

    /// Whether reading need not wait for poll.
    pub(crate) fn has_more(&self) -> bool {
        self.more && self.wants_input()
    }

    pub(crate) fn wants_output(&self) -> bool {
        !self.session.output().is_empty()
    }

    /// It counts as a viewer from when it has asked for a screen.
    pub(crate) fn is_looking(&self) -> bool {
        self.session.stage() != Stage::Handshake
    }

    pub(crate) fn receive(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        to: &mut dyn FnMut(Said),
    ) -> Result<(), Error> {
        self.more = false;
        // About as much as it may say: a message has 6 bytes at least, and mostly more.
        let most = (self.allowance.0.max(0) as usize * 8).clamp(64, buffer.len());
        let buffer = &mut buffer[..most];
        let length = match self.stream.read(buffer) {
            Ok(0) => return Err(Error::HungUp),
            Ok(length) => length,
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.more = length == buffer.len();
        let result = self.session.receive(&buffer[..length], to);
        if result.is_err() {
            // A last word, if its socket takes it.
            let _ = self.send(now);
        }
        self.allowance.0 -= i64::from(result?);
        if self.session.stage() == Stage::Ready {
            self.ready.get_or_insert(now);
        }
        Ok(())
    }

    /// Sends what is there until it would block. True if all of it went.
    pub(crate) fn send(&mut self, now: Instant) -> Result<bool, Error> {
        while self.wants_output() {
            match self.stream.write(self.session.output()) {
                Ok(0) => return Err(Error::HungUp),
                Ok(length) => {
                    self.session.sent(length);
                    self.sent += length as u64;
                    self.progress = now;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_transient(&error) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        match self.stream.flush() {
            Err(error) if !is_transient(&error) => Err(error.into()),
            _ => Ok(true),
        }
    }

    /// Encodes and sends, until the update is complete, the socket is full, or it is another's turn.
    pub(crate) fn update(
        &mut self,
        picture: &Picture,
        scratch: &mut Scratch,
        turn: Duration,
    ) -> Result<(), Error> {
        let start = Instant::now();
        if !self.wants_output() {
            self.progress = start;
        }
        loop {
            self.session.encode(picture, scratch);
            let now = Instant::now();
            let over = now - start >= turn;
            // Small pieces go together: each that is sent wakes the viewer, which then competes
            // with us for a core.
            if !over && self.session.is_amid_update() && self.session.is_due() {
                continue;
            }
            if !self.send(now)? || over || !self.session.is_amid_update() {
                return Ok(());
            }
        }
    }

    /// What it did not do in time, and the time at which to ask again.
    pub(crate) fn check(&mut self, now: Instant) -> Result<Option<Instant>, Error> {
        let (left, at) = self.allowance;
        let earned = u128::from(self.limits.messages) * (now - at).as_nanos() / 1_000_000_000;
        if earned > 0 {
            let most = self.limits.messages.into();
            let earned = i64::try_from(earned).unwrap_or(most);
            self.allowance = (left.saturating_add(earned).min(most), now);
        }
        let mut next = None;
        let mut at = |time: Instant| next = Some(next.map_or(time, |next: Instant| next.min(time)));
        if self.session.stage() == Stage::Handshake {
            let end = self.since + self.limits.handshake;
            if now >= end {
                return Err(Error::TimedOut("the handshake"));
            }
            at(end);
        }
        if self.wants_output() {
            let end = self.progress + self.limits.stall;
            if now >= end {
                return Err(Error::TimedOut("taking an update"));
            }
            at(end);
        } else {
            self.progress = now;
        }
        if self.allowance.0 <= 0 {
            // Not for each message on its own: that would be a wake-up for each.
            at(now + Duration::from_millis(20));
        }
        if let Some(end) = self.start_by() {
            at(end);
        }
        Ok(next)
    }

    /// When it is to be told a size, known or not; if it waits for that.
    pub(crate) fn start_by(&self) -> Option<Instant> {
        let ready = self.ready.filter(|_| self.session.stage() == Stage::Ready)?;
        Some(ready + self.limits.first_frame)
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
