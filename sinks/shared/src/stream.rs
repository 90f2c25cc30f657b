// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A connection to a viewer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

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
