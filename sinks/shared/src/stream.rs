// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A connection to a viewer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::net::sockopt;

/// A connection: what a socket is, or a layer over one, such as TLS or WebSocket. `as_fd` is what
/// is polled; reads, writes and flushes must not block.
///
/// A layer keeps bytes of its own, and says so: `poll(2)` knows only of the socket's. What it keeps
/// is bounded: where the socket takes no more, `write` answers
/// [`WouldBlock`](std::io::ErrorKind::WouldBlock).
pub trait Stream: Read + Write + AsFd + Send {
    /// Whether reading need not wait for the fd to be readable.
    fn has_input(&self) -> bool {
        false
    }

    /// Whether `flush` has something to send once the fd is writable.
    fn has_output(&self) -> bool {
        false
    }

    /// The version of TLS that protects it, once its handshake is complete.
    fn tls(&self) -> Option<&'static str> {
        None
    }
}

impl Stream for TcpStream {}

impl Stream for UnixStream {}

impl<S: Stream + ?Sized> Stream for Box<S>
where
    Self: AsFd,
{
    fn has_input(&self) -> bool {
        (**self).has_input()
    }

    fn has_output(&self) -> bool {
        (**self).has_output()
    }

    fn tls(&self) -> Option<&'static str> {
        (**self).tls()
    }
}

/// Makes a viewer's connection non-blocking, and more. An update is one answer: it must not wait for
/// the next. And a viewer that vanished while the
/// screen stood still is found out after three minutes.
pub fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}
