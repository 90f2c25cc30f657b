// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The one thread that answers requests.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfio_display_sinks::{Credentials, Stream};
use vfio_display_vnc::Handle;

use crate::connection::{Connection, Step};
use crate::displays::Status;
use crate::request::Request;
use crate::routes::{self, Answer};
use crate::server::{Shared, Verdict};
use crate::visit::Visit;
use crate::websocket::{Aside, WebSocketStream};

/// How long nobody is accepted after that failed: for want of fds, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Accepted in one go.
const ACCEPTED: usize = 16;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    accept_at: Option<Instant>,
    /// Each with its number, in the order in which they came.
    connections: Vec<(u64, Connection)>,
    last: u64,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, listeners: Vec::new(), accept_at: None, connections: Vec::new(), last: 0 }
    }

    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let ready = self.wait();
            self.listeners.append(&mut self.shared.take_listeners());
            let now = Instant::now();
            self.step(&ready.connections, now);
            self.take_verdicts(now);
            if self.accept_at.is_some_and(|at| now >= at) {
                self.accept_at = None;
            }
            for (index, flags) in ready.listeners.iter().enumerate() {
                if flags.contains(PollFlags::IN) {
                    self.accept(index, now);
                }
            }
        }
    }

    fn wait(&self) -> Ready {
        let mut fds = Vec::with_capacity(1 + self.listeners.len() + self.connections.len());
        fds.push(PollFd::new(&self.shared.wake, PollFlags::IN));
        let accepts = if self.accept_at.is_none() { PollFlags::IN } else { PollFlags::empty() };
        fds.extend(self.listeners.iter().map(|listener| PollFd::new(listener, accepts)));
        let connections = self.connections.iter();
        fds.extend(connections.map(|(_, c)| PollFd::from_borrowed_fd(c.fd(), c.wants())));
        let due = self.connections.iter().map(|(_, c)| c.due()).chain(self.accept_at).min();
        let timeout = if self.connections.iter().any(|(_, c)| c.has_more()) {
            Some(Duration::ZERO)
        } else {
            due.map(|due| due.saturating_duration_since(Instant::now()))
        };
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: timeout.as_secs().min(3600) as i64,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ready::default(),
            // Nothing can be done about it, and it is no reason to take a whole core.
            Err(_) => {
                std::thread::sleep(ACCEPT_AGAIN);
                return Ready::default();
            }
        }
        if !fds[0].revents().is_empty() {
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
        }
        let (listeners, connections) = fds[1..].split_at(self.listeners.len());
        let flags = |fds: &[PollFd<'_>]| fds.iter().map(PollFd::revents).collect();
        Ready { listeners: flags(listeners), connections: flags(connections) }
    }

    /// Goes on with those for which something has happened, or nothing for too long.
    fn step(&mut self, ready: &[PollFlags], now: Instant) {
        // From the end: who goes moves only those that had their turn.
        for index in (0..ready.len()).rev() {
            let (id, connection) = &mut self.connections[index];
            if ready[index].is_empty() && !connection.has_more() && now < connection.due() {
                continue;
            }
            let shared = &self.shared;
            match connection.step(now, &shared.options.limits, answers(shared)) {
                // Nobody is there to be answered, and poll would say so again at once.
                Step::Wait
                    if ready[index]
                        .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) =>
                {
                    self.connections.remove(index);
                }
                Step::Wait => {}
                Step::End => _ = self.connections.remove(index),
                Step::Check(credentials) => check(shared, *id, connection, credentials, now),
                Step::Serve(server, aside) => {
                    let (_, connection) = self.connections.remove(index);
                    self.serve(connection, &server, aside);
                }
            }
        }
    }

    /// Answers those whose password has been checked. One may be gone by now.
    fn take_verdicts(&mut self, now: Instant) {
        let shared = &self.shared;
        for (id, verdict) in shared.take_verdicts() {
            if let Some((_, connection)) = self.connections.iter_mut().find(|(it, _)| *it == id) {
                connection.judged(verdict, now, &shared.options.limits, answers(shared));
            }
        }
    }

    fn serve(&self, connection: Connection, server: &Handle, aside: Option<Status>) {
        let (stream, early, mut visit) = connection.into_parts();
        if let Some(visit) = &mut visit {
            visit.enters();
        }
        let aside = aside.map(|aside| Box::new(aside) as Box<dyn Aside>);
        let message = self.shared.options.limits.message;
        let stream = WebSocketStream::new(stream, early, message, aside, visit);
        // A server that has just stopped takes nobody, and the connection ends.
        let _ = server.serve(Box::new(stream));
    }

    fn accept(&mut self, index: usize, now: Instant) {
        for _ in 0..ACCEPTED {
            match self.listeners[index].accept() {
                Ok((stream, peer)) => {
                    let Ok(local) = stream.local_addr() else { continue };
                    self.add(stream, peer, local, now);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_at = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    fn add(
        &mut self,
        stream: std::net::TcpStream,
        peer: SocketAddr,
        local: SocketAddr,
        now: Instant,
    ) {
        let options = &self.shared.options;
        if vfio_display_sinks::set_up(&stream).is_err() {
            return;
        }
        let stream: Box<dyn Stream> = Box::new(stream);
        let secured = match &options.guard {
            Some(guard) => guard.secure(stream),
            None => Ok(stream),
        };
        let Ok(stream) = secured else { return };
        if self.connections.len() >= options.limits.connections {
            // Whoever means it has asked long ago.
            self.connections.remove(0);
        }
        let until = now + options.limits.request;
        let visit = options.guard.clone().map(|guard| Visit::new(guard, peer, now));
        self.last += 1;
        self.connections.push((self.last, Connection::new(stream, local, visit, until)));
    }
}

/// What poll said of the first listeners and connections: all that were there then.
#[derive(Default)]
struct Ready {
    listeners: Vec<PollFlags>,
    connections: Vec<PollFlags>,
}

/// What a connection is answered with.
fn answers(shared: &Shared) -> impl Fn(&Request, SocketAddr, Option<Verdict>) -> Answer {
    |request, local, verdict| routes::answer(shared, request, local, verdict)
}

/// Has a password checked; what is refused without a look at it is answered at once.
fn check(
    shared: &Arc<Shared>,
    id: u64,
    connection: &mut Connection,
    credentials: Credentials,
    now: Instant,
) {
    let Some((guard, from)) = shared.options.guard.as_ref().zip(connection.from()) else { return };
    let weak = Arc::downgrade(shared);
    let done = Box::new(move |verdict| {
        if let Some(shared) = weak.upgrade() {
            shared.judged(id, verdict);
        }
    });
    if let Err(denied) = guard.check(from, credentials, done) {
        connection.judged(Err(denied), now, &shared.options.limits, answers(shared));
    }
}
