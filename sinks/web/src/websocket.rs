// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! RFB over WebSocket (RFC 6455): a connection that a VNC server takes for any other.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tungstenite::{Bytes, Error, Message, WebSocket};
use vfio_display_sinks::Stream;

use crate::visit::Visit;

/// What is sent as one message at most. It is also what may be kept here where the socket takes no
/// more, beside an answer to a ping.
const CHUNK: usize = 64 << 10;
const ANSWERS: usize = 1 << 10;

/// Read from the socket at a time.
const READ: usize = 4 << 10;

/// Messages without data that are taken in one go; a flood of them has to wait for the others.
const PATIENCE: usize = 16;

/// What is told in text messages beside the protocol, to clients that asked for it.
pub(crate) trait Aside: Send {
    /// What to tell, where that is another than before.
    fn news(&mut self) -> Option<String>;

    /// Whether there is something to tell.
    fn has_news(&self) -> bool;
}

/// The server's end of a WebSocket that carries bytes in binary messages; how they are cut means
/// nothing. Text from the client ends it.
pub(crate) struct WebSocketStream<S> {
    socket: WebSocket<S>,
    /// Of a message that was not read to its end.
    input: Bytes,
    /// There may be more inside than poll(2) knows of.
    unread: bool,
    unsent: bool,
    aside: Option<Box<dyn Aside>>,
    _visit: Option<Visit>,
}

impl<S: Stream> WebSocketStream<S> {
    /// After the handshake; `early` is what was read beyond it.
    pub(crate) fn new(
        stream: S,
        early: Vec<u8>,
        message: usize,
        aside: Option<Box<dyn Aside>>,
        visit: Option<Visit>,
    ) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(CHUNK + ANSWERS)
            .max_message_size(Some(message))
            .max_frame_size(Some(message));
        let unread = !early.is_empty();
        let socket = WebSocket::from_partially_read(stream, early, Role::Server, Some(config));
        Self { socket, input: Bytes::new(), unread, unsent: false, aside, _visit: visit }
    }

    fn flush_socket(&mut self) -> io::Result<()> {
        let done = self.socket.flush().map_err(into_io);
        self.unsent = matches!(&done, Err(error) if error.kind() == ErrorKind::WouldBlock);
        done
    }

    /// Sends `message`, or keeps it: not to be called where something is kept already.
    fn send(&mut self, message: Message) -> io::Result<()> {
        match self.socket.write(message).map_err(into_io) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.unsent = true,
            done => done?,
        }
        Ok(())
    }
}

impl<S: Stream> Read for WebSocketStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        for _ in 0..PATIENCE {
            if !self.input.is_empty() {
                let length = self.input.len().min(buffer.len());
                buffer[..length].copy_from_slice(&self.input.split_to(length));
                return Ok(length);
            }
            self.unread = true;
            match self.socket.read() {
                Ok(Message::Binary(bytes)) => self.input = bytes,
                Ok(Message::Close(_)) => {
                    // The answer to it is queued, and an end is the result either way.
                    let _ = self.flush_socket();
                    return Ok(0);
                }
                Ok(Message::Text(_)) => {
                    let (code, reason) = (CloseCode::Unsupported, "binary only".into());
                    let _ = self.socket.close(Some(CloseFrame { code, reason }));
                    return Err(io::Error::new(ErrorKind::InvalidData, "a text message"));
                }
                // A ping has its answer queued.
                Ok(_) => match self.flush_socket() {
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    _ => {}
                },
                Err(Error::ConnectionClosed | Error::AlreadyClosed) => return Ok(0),
                Err(error) => {
                    let error = into_io(error);
                    self.unread = error.kind() == ErrorKind::Interrupted;
                    return Err(error);
                }
            }
        }
        Err(ErrorKind::WouldBlock.into())
    }
}

impl<S: Stream> Write for WebSocketStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.flush()?;
        if self.unsent {
            return Err(ErrorKind::WouldBlock.into());
        }
        let chunk = &bytes[..bytes.len().min(CHUNK)];
        self.send(Message::Binary(Bytes::copy_from_slice(chunk)))?;
        Ok(chunk.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_socket()?;
        if let Some(news) = self.aside.as_mut().and_then(|aside| aside.news()) {
            self.send(Message::Text(news.into()))?;
        }
        Ok(())
    }
}

impl<S: Stream> AsFd for WebSocketStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }
}

impl<S: Stream> Stream for WebSocketStream<S> {
    fn has_input(&self) -> bool {
        !self.input.is_empty() || self.unread || self.socket.get_ref().has_input()
    }

    fn has_output(&self) -> bool {
        let news = self.aside.as_ref().is_some_and(|aside| aside.has_news());
        self.unsent || news || self.socket.get_ref().has_output()
    }

    fn tls(&self) -> Option<&'static str> {
        self.socket.get_ref().tls()
    }
}

fn into_io(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => ErrorKind::BrokenPipe.into(),
        other => io::Error::new(ErrorKind::InvalidData, other),
    }
}
