// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! TLS over a connection that does not block.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustls::{ProtocolVersion, ServerConnection};
use vfio_display_sinks::Stream;

use crate::tls::Identity;

/// Bytes that are kept where the connection takes no more, before and after encryption each.
const AHEAD: usize = 64 << 10;

/// Reads of the connection, of at most 4 KiB each, that may bring nothing before it is another's
/// turn: records can be empty, and a peer may send nothing else.
const PULLS: usize = 16;

/// The server's end of TLS. The handshake is part of the first reads and writes.
///
/// A peer that hangs up without a close_notify is at its end all the same: what is spoken inside
/// says by itself where it ends.
pub struct TlsStream<S: Stream> {
    stream: S,
    tls: ServerConnection,
    /// Decrypted and not read yet.
    plain: usize,
    /// Nothing more comes.
    ended: bool,
    /// Nothing that goes on would make sense.
    failed: bool,
}

impl<S: Stream> TlsStream<S> {
    /// Waits for a ClientHello on `stream`, which must not block.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub fn new(stream: S, identity: &Identity) -> io::Result<Self> {
        let config = std::sync::Arc::clone(&identity.config);
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        tls.set_buffer_limit(Some(AHEAD));
        Ok(Self { stream, tls, plain: 0, ended: false, failed: false })
    }

    /// Takes what has come.
    fn pull(&mut self) -> io::Result<()> {
        if self.tls.read_tls(&mut self.stream)? == 0 {
            self.ended = true;
            return Ok(());
        }
        match self.tls.process_new_packets() {
            Ok(state) => {
                self.plain = state.plaintext_bytes_to_read();
                self.ended |= state.peer_has_closed() && self.plain == 0;
            }
            Err(error) => {
                self.failed = true;
                // An alert says why, if the socket takes it.
                let _ = self.push();
                return Err(io::Error::new(ErrorKind::InvalidData, format!("TLS: {error}")));
            }
        }
        // The next part of the handshake. A full socket is seen to by `flush`.
        match self.push() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends what is encrypted.
    fn push(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.flush()
    }

    fn check(&self) -> io::Result<()> {
        if self.failed { Err(ErrorKind::InvalidData.into()) } else { Ok(()) }
    }
}

impl<S: Stream> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        if buffer.is_empty() {
            return Ok(0);
        }
        for _ in 0..PULLS {
            if self.plain > 0 || self.ended {
                break;
            }
            self.pull()?;
        }
        if self.plain == 0 {
            return if self.ended { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let length = self.tls.reader().read(buffer)?;
        self.plain = self.plain.saturating_sub(length);
        Ok(length)
    }
}

impl<S: Stream> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut length = self.tls.writer().write(bytes)?;
        let pushed = self.push();
        if length == 0 && !matches!(&pushed, Err(error) if error.kind() != ErrorKind::WouldBlock) {
            length = self.tls.writer().write(bytes)?;
        }
        match pushed {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error),
            _ if length == 0 => Err(ErrorKind::WouldBlock.into()),
            _ => Ok(length),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.push()
    }
}

impl<S: Stream> AsFd for TlsStream<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl<S: Stream> Stream for TlsStream<S> {
    fn has_input(&self) -> bool {
        self.plain > 0 || self.stream.has_input()
    }

    fn has_output(&self) -> bool {
        self.tls.wants_write() || self.stream.has_output()
    }

    fn tls(&self) -> Option<&'static str> {
        if self.tls.is_handshaking() {
            return None;
        }
        match self.tls.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Some("TLS 1.2"),
            ProtocolVersion::TLSv1_3 => Some("TLS 1.3"),
            _ => None,
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.tls.send_close_notify();
        // If the socket takes it: who reads knows by what was said where that ends.
        let _ = self.push();
        self.stream.finish()
    }
}

impl<S: Stream> Drop for TlsStream<S> {
    fn drop(&mut self) {
        if !self.failed {
            self.tls.send_close_notify();
            // If the socket takes it.
            let _ = self.push();
        }
    }
}

impl<S: Stream> fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TlsStream({:?})", self.tls())
    }
}
