// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A connection until it is a viewer's: a request, its answer, and the end.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::event::PollFlags;
use vfio_display_sinks::{Credentials, Denied, Stream};
use vfio_display_vnc::Handle;
use zeroize::Zeroize as _;

use crate::displays::Status as Aside;
use crate::limits::Limits;
use crate::request::{Head, Request};
use crate::response::{Response, Status};
use crate::routes::{Answer, Next, denial};
use crate::server::Verdict;
use crate::visit::Visit;

/// Read at a time.
const READ: usize = 4 << 10;

pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    local: SocketAddr,
    visit: Option<Visit>,
    until: Instant,
    state: State,
    /// What was read of the request; when that is answered, what came after it.
    read: Vec<u8>,
}

enum State {
    Asked,
    /// Its password is being checked.
    Checking(Box<Request>),
    Answering(Vec<u8>, usize, Option<(Handle, Option<Aside>)>),
    /// All is said. What the client still says is read: if it were not, the end would overtake the
    /// answer (RFC 9112, section 9.6).
    Lingering,
}

/// What there is to do with a connection.
pub(crate) enum Step {
    Wait,
    End,
    /// These are to be checked; then it is [told](Connection::judged).
    Check(Credentials),
    /// It is a viewer of this server.
    Serve(Handle, Option<Aside>),
}

impl Connection {
    pub(crate) fn new(
        stream: Box<dyn Stream>,
        local: SocketAddr,
        visit: Option<Visit>,
        until: Instant,
    ) -> Self {
        Self { stream, local, visit, until, state: State::Asked, read: Vec::new() }
    }

    /// Where it comes from, where that is written down.
    pub(crate) fn from(&self) -> Option<IpAddr> {
        self.visit.as_ref().map(|visit| visit.from.ip())
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
        self.wants().contains(PollFlags::IN) && self.stream.has_input()
    }

    /// When to come back even if nothing happens.
    pub(crate) const fn due(&self) -> Instant {
        self.until
    }

    /// The stream, what was read beyond the request, and what is written down of it.
    pub(crate) fn into_parts(self) -> (Box<dyn Stream>, Vec<u8>, Option<Visit>) {
        (self.stream, self.read, self.visit)
    }

    /// Its password has been checked, or was refused unseen: answers the request, if that waits.
    pub(crate) fn judged(
        &mut self,
        verdict: Verdict,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Request, SocketAddr, Option<Verdict>) -> Answer,
    ) {
        let State::Checking(request) = &self.state else { return };
        match answer(request, self.local, Some(verdict)) {
            Answer::Respond(response) => self.respond(response, None, now, limits),
            Answer::Socket(next) => self.open(*next, now, limits),
            // It has been.
            Answer::Check(_) => self.respond(denial(Denied::Wrong), None, now, limits),
        }
    }

    /// Goes on as far as it can without waiting. `answer` is asked once at most.
    pub(crate) fn step(
        &mut self,
        now: Instant,
        limits: &Limits,
        answer: impl FnOnce(&Request, SocketAddr, Option<Verdict>) -> Answer,
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
        answer: impl FnOnce(&Request, SocketAddr, Option<Verdict>) -> Answer,
    ) -> io::Result<Step> {
        if self.stream.has_output() {
            ignore_transient(self.stream.flush())?;
        }
        if let State::Asked = self.state {
            if now >= self.until {
                let response = Response::refusal(Status::Timeout, "no whole request in time");
                self.respond(response, None, now, limits);
            } else if let Some(credentials) = self.receive(now, limits, answer)? {
                return Ok(Step::Check(credentials));
            }
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
                return Ok(Step::Serve(next.0, next.1));
            }
            ignore_transient(self.stream.flush())?;
            if !self.stream.has_output() {
                self.stream.finish()?;
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
        answer: impl FnOnce(&Request, SocketAddr, Option<Verdict>) -> Answer,
    ) -> io::Result<Option<Credentials>> {
        let mut buffer = [0; READ];
        let length = self.stream.read(&mut buffer)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.read.extend_from_slice(&buffer[..length]);
        // It may have been a password.
        buffer.zeroize();
        if let Some(visit) = &mut self.visit {
            visit.tls = self.stream.tls();
        }
        match Request::parse(&self.read, limits.head) {
            Head::Partial => {}
            Head::Refused(status) => {
                self.respond(Response::refusal(status, "not answered"), None, now, limits);
            }
            Head::Whole(request, length) => {
                self.read[..length].zeroize();
                self.read.drain(..length);
                match answer(&request, self.local, None) {
                    Answer::Respond(response) => self.respond(response, None, now, limits),
                    Answer::Socket(next) => self.open(*next, now, limits),
                    Answer::Check(credentials) => {
                        if let Some(visit) = &mut self.visit {
                            visit.user = Some(credentials.user.as_slice().into());
                        }
                        self.state = State::Checking(request);
                        return Ok(Some(credentials));
                    }
                }
            }
        }
        Ok(None)
    }

    /// Answers, and is a viewer's from then on.
    fn open(&mut self, next: Next, now: Instant, limits: &Limits) {
        if let Some(visit) = &mut self.visit {
            visit.user = next.user;
        }
        self.respond(next.response, Some((next.server, next.aside)), now, limits);
    }

    fn respond(
        &mut self,
        response: Response,
        next: Option<(Handle, Option<Aside>)>,
        now: Instant,
        limits: &Limits,
    ) {
        if let Some(visit) = &mut self.visit {
            match response.status {
                status @ (Status::Forbidden
                | Status::Misdirected
                | Status::TooMany
                | Status::Unavailable) => visit.refused(status.reason()),
                // A browser that has not been asked yet sends none.
                Status::Unauthorized if visit.user.is_some() => visit.refused("wrong password"),
                Status::BadRequest | Status::Timeout => {}
                _ => visit.answered(),
            }
        }
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
