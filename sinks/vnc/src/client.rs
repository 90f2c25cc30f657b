// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A viewer: its connection, its session, and what it may still do this second.

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use vfio_display::Picture;
use vfio_display_sinks::{Denied, Done, Stream, network};
use zeroize::Zeroize;

use crate::entrance::{Awaits, Security};
use crate::error::Error;
use crate::gate::Gate;
use crate::limits::Limits;
use crate::session::{Said, Session, Stage};
use crate::tile::Scratch;

/// Read at a time. The other viewers have their turn before more is.
pub(crate) const READ: usize = 16 << 10;

pub(crate) struct Client {
    pub(crate) id: u64,
    /// Not there only while TLS is put over it, or that failed.
    stream: Option<Box<dyn Stream>>,
    gate: Option<Gate>,
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
        gate: Option<Gate>,
        session: Session,
        limits: Limits,
        now: Instant,
    ) -> Self {
        let security = gate.as_ref().map_or(Security::None, Gate::security);
        Self {
            id,
            stream: Some(stream),
            gate,
            session: session.behind(security),
            limits,
            since: now,
            ready: None,
            progress: now,
            allowance: (limits.messages.into(), now),
            more: false,
            sent: 0,
        }
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(|stream| stream.as_fd())
    }

    /// Where it comes from, if it is looked at.
    pub(crate) fn network(&self) -> Option<IpAddr> {
        self.gate.as_ref().map(|gate| network(gate.from.ip()))
    }

    pub(crate) fn tls(&self) -> Option<&'static str> {
        self.stream.as_ref()?.tls()
    }

    pub(crate) fn wants_input(&self) -> bool {
        self.allowance.0 > 0 && self.session.wants_input()
    }

    /// Whether reading need not wait for poll.
    pub(crate) fn has_more(&self) -> bool {
        (self.more || self.stream.as_ref().is_some_and(|s| s.has_input())) && self.wants_input()
    }

    pub(crate) fn wants_output(&self) -> bool {
        !self.session.output().is_empty() || self.stream.as_ref().is_some_and(|s| s.has_output())
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
        let Some(stream) = &mut self.stream else {
            return Err(Error::HungUp);
        };
        let length = match stream.read(buffer) {
            Ok(0) => return Err(Error::HungUp),
            Ok(length) => length,
            Err(error) if is_transient(&error) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.more = length == buffer.len();
        let entering = !self.is_looking();
        let result = self.session.receive(&buffer[..length], to);
        if entering {
            // It may have been a password.
            buffer[..length].zeroize();
        }
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
        let Some(stream) = &mut self.stream else {
            return Err(Error::HungUp);
        };
        while !self.session.output().is_empty() {
            match stream.write(self.session.output()) {
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
        match stream.flush() {
            Err(error) if !is_transient(&error) => Err(error.into()),
            _ => Ok(!stream.has_output()),
        }
    }

    /// Does what the session waits for: puts TLS over the connection, has a password checked.
    /// `done` hears of the latter, if that takes time.
    pub(crate) fn go_on(&mut self, now: Instant, done: impl FnOnce() -> Done) -> Result<(), Error> {
        let Some(gate) = &mut self.gate else {
            return Ok(());
        };
        match self.session.awaits() {
            Some(Awaits::Tls) if self.session.output().is_empty() => {
                if let Some(stream) = self.stream.take() {
                    self.stream = Some(gate.secure(stream)?);
                }
                self.session.tls_started();
            }
            Some(Awaits::Verdict) => {
                if let Some(credentials) = self.session.take_credentials()
                    && let Err(denied) = gate.check(credentials, done())
                {
                    return self.answer(Err(denied), now);
                }
            }
            Some(Awaits::Tls) | None => {}
        }
        Ok(())
    }

    /// Lets it in, or tells it why not.
    pub(crate) fn answer(
        &mut self,
        verdict: Result<(), Denied>,
        now: Instant,
    ) -> Result<(), Error> {
        self.session.answer(verdict);
        self.send(now)?;
        Ok(verdict?)
    }

    /// Writes down that it is a viewer.
    pub(crate) fn enter(&mut self, now: Instant) {
        let (tls, after) = (self.tls(), now.saturating_duration_since(self.since));
        if let Some(gate) = &mut self.gate {
            gate.enter(tls, after);
        }
    }

    /// Writes down that it is gone.
    pub(crate) fn leave(&self, now: Instant, why: Option<&Error>) {
        if let Some(gate) = &self.gate {
            gate.leave(self.tls(), now.saturating_duration_since(self.since), why);
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
            let typing = self.session.asks_password() && self.tls().is_some();
            let Limits { handshake, password, .. } = self.limits;
            let end = self.since + if typing { password.max(handshake) } else { handshake };
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
