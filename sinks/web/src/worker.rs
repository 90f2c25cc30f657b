// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The one thread that answers requests.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfio_display_sinks::Stream;

use crate::connection::{Connection, Step};
use crate::routes::{self, Asked, Opened};
use crate::server::Shared;
use crate::websocket::{Aside, WebSocketStream};

/// How long nobody is accepted after that failed: for want of fds, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Accepted in one go.
const ACCEPTED: usize = 16;

pub(crate) struct Worker {
    shared: Arc<Shared>,
    listeners: Vec<TcpListener>,
    accept_at: Option<Instant>,
    /// In the order in which they came.
    connections: Vec<Connection>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, listeners: Vec::new(), accept_at: None, connections: Vec::new() }
    }

    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let ready = self.wait();
            self.listeners.append(&mut self.shared.take_listeners());
            let now = Instant::now();
            self.step(&ready.connections, now);
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
        fds.extend(connections.map(|c| PollFd::from_borrowed_fd(c.fd(), c.wants())));
        let due = self.connections.iter().map(Connection::due).chain(self.accept_at).min();
        let timeout = if self.connections.iter().any(Connection::has_more) {
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
            let connection = &mut self.connections[index];
            if ready[index].is_empty() && !connection.has_more() && now < connection.due() {
                continue;
            }
            let shared = &self.shared;
            let answer = |asked: &Asked<'_>| routes::answer(shared, asked);
            match connection.step(now, &shared.options.limits, answer) {
                // Nobody is there to be answered, and poll would say so again at once.
                Step::Wait
                    if ready[index]
                        .intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) =>
                {
                    self.connections.remove(index);
                }
                Step::Wait => {}
                Step::End => _ = self.connections.remove(index),
                Step::Serve(opened) => {
                    let connection = self.connections.remove(index);
                    self.serve(connection, *opened);
                }
            }
        }
    }

    fn serve(&self, connection: Connection, opened: Opened) {
        let Opened { server, aside, visit } = opened;
        let (stream, early) = connection.into_parts();
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
        let stream = Box::new(stream) as Box<dyn Stream>;
        let stream = match &options.guard {
            Some(guard) => guard.secure(stream),
            None => Ok(stream),
        };
        let Ok(stream) = stream else { return };
        if self.connections.len() >= options.limits.connections {
            // Whoever means it has asked long ago.
            self.connections.remove(0);
        }
        let until = now + options.limits.request;
        self.connections.push(Connection::new(stream, peer, local, until));
    }
}

/// What poll said of the first listeners and connections: all that were there then.
#[derive(Default)]
struct Ready {
    listeners: Vec<PollFlags>,
    connections: Vec<PollFlags>,
}
