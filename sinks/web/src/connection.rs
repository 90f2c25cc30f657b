// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A connection until it is a viewer's: a request, its answer, and the end.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;
use rustix::net::Shutdown;
use vfio_display_sinks::{Denied, Stream};

use crate::limits::Limits;
use crate::request::{Head, Request};
use crate::response::{Response, Status};
use crate::routes::{Answer, Asked, Opened, Verdict};

/// Read at a time.
const READ: usize = 4 << 10;

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    peer: SocketAddr,
    local: SocketAddr,
    until: Instant,
    state: State,
    /// What was read of the request; when that is answered, what came after it.
    read: Vec<u8>,
}

enum State {
    Asked,
    /// A password is being checked.
    Judged(Box<Request>, Verdict),
    Answering(Vec<u8>, usize, Option<Box<Opened>>),
    /// All is said. What the client still says is read: if it were not, the end would overtake the
    /// answer (RFC 9112, section 9.6).
    Lingering,
}

/// What there is to do with a connection.
pub(crate) enum Step {
    Wait,
    End,
    /// It is a viewer.
    Serve(Box<Opened>),
}

impl Connection {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        peer: SocketAddr,
        local: SocketAddr,
        until: Instant,
    ) -> Self {
        Self { stream, peer, local, until, state: State::Asked, read: Vec::new() }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What to wait for.
    pub(crate) fn wants(&self) -> PollFlags {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, matches!(self.state, State::Asked | State::Lingering));
        let answering = matches!(self.state, State::Answering(..));
        flags.set(PollFlags::OUT, answering || self.stream.has_output());
        flags
    }

    /// Whether it need not wait for poll.
    pub(crate) fn has_more(&self) -> bool {
        if let State::Judged(_, verdict) = &self.state {
            return verdict.get().is_some();
        }
        self.wants().contains(PollFlags::IN) && self.stream.has_input()
    }

    /// When to come back even if nothing happens.
    pub(crate) fn due(&self) -> Instant {
        self.until
    }

    /// The stream, and what was read beyond the request.
    pub(crate) fn into_parts(self) -> (Box<dyn Stream>, Vec<u8>) {
        (self.stream, self.read)
    }

    /// Goes on as far as it can without waiting. `answer` is asked once at most.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Asked<'_>) -> Answer,
    ) -> Step {
        match self.advance(now, limits, answer) {
            Ok(step) => step,
            Err(error) if is_transient(&error) && now < self.due() => Step::Wait,
            Err(_) => Step::End,
        }
    }

    fn advance(
        &mut self,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Asked<'_>) -> Answer,
    ) -> io::Result<Step> {
        if self.stream.has_output() {
            ignore_transient(self.stream.flush())?;
        }
        match &self.state {
            State::Asked | State::Judged(..) if now >= self.until => {
                let response = Response::refusal(Status::Timeout, "not in time");
                self.respond(response, None, now, limits);
            }
            State::Asked => self.receive(now, limits, answer)?,
            State::Judged(request, verdict) => {
                if let Some(outcome) = verdict.get() {
                    let request = request.clone();
                    let outcome = Some(*outcome);
                    self.ask(request, outcome, now, limits, answer);
                }
            }
            State::Answering(..) | State::Lingering => {}
        }
        if let State::Answering(bytes, sent, next) = &mut self.state {
            while *sent < bytes.len() {
                match self.stream.write(&bytes[*sent..]) {
                    Ok(0) => return Ok(Step::End),
                    Ok(length) => *sent += length,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) if now >= self.until => return Ok(Step::End),
                    Err(error) => return Err(error),
                }
            }
            if let Some(next) = next.take() {
                return Ok(Step::Serve(next));
            }
            ignore_transient(self.stream.flush())?;
            if !self.stream.has_output() {
                rustix::net::shutdown(self.stream.as_fd(), Shutdown::Write)?;
                self.state = State::Lingering;
                self.until = now + limits.linger;
            }
        }
        if let State::Lingering = self.state {
            // A little at each turn, so that who goes on talking takes nobody else's.
            if self.stream.read(&mut [0; READ])? == 0 {
                return Ok(Step::End);
            }
        }
        Ok(if now >= self.until { Step::End } else { Step::Wait })
    }

    fn receive(
        &mut self,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Asked<'_>) -> Answer,
    ) -> io::Result<()> {
        let mut buffer = [0; READ];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.read.extend_from_slice(&buffer[..length]);
        match Request::parse(&self.read, limits.head) {
            Head::Partial => {}
            Head::Refused(status) => {
                self.respond(Response::refusal(status, "not answered"), None, now, limits);
            }
            Head::Whole(request, length) => {
                self.read.drain(..length);
                self.ask(request, None, now, limits, answer);
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        request: Box<Request>,
        password: Option<Result<(), Denied>>,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Asked<'_>) -> Answer,
    ) {
        let (peer, local, tls) = (self.peer, self.local, self.stream.tls());
        match answer(&Asked { request: &request, peer, local, tls, password }) {
            Answer::Respond(response) => self.respond(response, None, now, limits),
            Answer::Judge(verdict) => {
                self.until = now + limits.request;
                self.state = State::Judged(request, verdict);
            }
            Answer::Socket(response, opened) => self.respond(response, Some(opened), now, limits),
        }
    }

    fn respond(
        &mut self,
        response: Response,
        next: Option<Box<Opened>>,
        now: Instant,
        limits: &Limits,
    ) {
        self.until = now + limits.request;
        self.state = State::Answering(response.into_bytes(), 0, next);
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn ignore_transient(done: io::Result<()>) -> io::Result<()> {
    match done {
        Err(error) if !is_transient(&error) => Err(error),
        _ => Ok(()),
    }
}
