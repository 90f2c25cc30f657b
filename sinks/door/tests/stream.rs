// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! TLS over connections as they are: slow, cut in pieces, full, and not TLS at all.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::client;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConnection, SupportedProtocolVersion};
use vfio_display_door::{Identity, TlsStream};
use vfio_display_sinks::Stream as _;

/// A server's stream that does not block, a client's socket that does, and the client's TLS.
fn pair(version: &'static SupportedProtocolVersion) -> Pair {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity::kept_in(directory.path(), &["localhost".into()]).unwrap();
    let tls = client(identity.certificate_file(), &[version]);
    let (ours, socket) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    Pair { server: TlsStream::new(ours, &identity).unwrap(), socket, tls }
}

struct Pair {
    server: TlsStream<UnixStream>,
    socket: UnixStream,
    tls: ClientConnection,
}

impl Pair {
    /// The handshake, with what the client sends in pieces of so many bytes.
    fn shake(&mut self, piece: usize) {
        let mut rounds = 0;
        while self.tls.is_handshaking() || self.server.tls().is_none() {
            let mut flight = Vec::new();
            while self.tls.wants_write() {
                self.tls.write_tls(&mut flight).unwrap();
            }
            for bytes in flight.chunks(piece) {
                self.socket.write_all(bytes).unwrap();
                would_block(self.server.read(&mut [0; 64]));
            }
            if self.tls.is_handshaking() {
                self.tls.read_tls(&mut self.socket).unwrap();
                self.tls.process_new_packets().unwrap();
            }
            rounds += 1;
            assert!(rounds < 10, "no end of the handshake");
        }
    }

    /// Has the client send bytes in one record each.
    fn send(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket).unwrap();
        }
    }
}

fn would_block(result: io::Result<usize>) {
    assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
}

#[test]
fn a_handshake_in_pieces_and_what_follows() {
    for (version, name) in [(&TLS12, "TLS 1.2"), (&TLS13, "TLS 1.3")] {
        for piece in [1, 7, 100_000] {
            let mut pair = pair(version);
            // What is written before is kept until it can be encrypted.
            assert_eq!(pair.server.write(b"early").unwrap(), 5);
            pair.shake(piece);
            assert_eq!(pair.server.tls(), Some(name));
            pair.send(b"hello");
            assert!(!pair.server.has_input(), "nothing but poll can know");
            let mut two = [0; 2];
            assert_eq!(pair.server.read(&mut two).unwrap(), 2);
            assert!(pair.server.has_input(), "three more are here");
            let mut rest = [0; 8];
            assert_eq!(pair.server.read(&mut rest).unwrap(), 3);
            assert_eq!((&two, &rest[..3]), (b"he", &b"llo"[..]));
            assert!(!pair.server.has_input());
            would_block(pair.server.read(&mut rest));
            pair.server.flush().unwrap();
            assert!(!pair.server.has_output());
            let mut early = [0; 5];
            let Pair { tls, socket, .. } = &mut pair;
            rustls::Stream::new(tls, socket).read_exact(&mut early).unwrap();
            assert_eq!(&early, b"early");
            // Its end, with and without a word.
            if piece == 1 {
                pair.tls.send_close_notify();
                pair.send(b"");
            } else {
                pair.socket.shutdown(std::net::Shutdown::Write).unwrap();
            }
            assert_eq!(pair.server.read(&mut rest).unwrap(), 0);
            assert_eq!(pair.server.read(&mut rest).unwrap(), 0);
        }
    }
}

#[test]
fn a_peer_that_does_not_read_fills_a_bounded_buffer() {
    let mut pair = pair(&TLS13);
    pair.shake(usize::MAX);
    let bytes = vec![7; 1 << 20];
    let mut written = 0;
    loop {
        match pair.server.write(&bytes) {
            Ok(length) => written += length,
            Err(error) => break assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
        assert!(written < 4 << 20, "{written} bytes are nowhere");
    }
    assert!(pair.server.has_output());
    assert_eq!(pair.server.flush().unwrap_err().kind(), ErrorKind::WouldBlock);
    // When it reads, all of it comes, and in order.
    let mut read = 0;
    let mut buffer = [0; 4096];
    pair.socket.set_nonblocking(true).unwrap();
    while read < written {
        let _ = pair.server.flush();
        let Pair { tls, socket, .. } = &mut pair;
        match rustls::Stream::new(tls, socket).read(&mut buffer) {
            Ok(length) => {
                assert!(length > 0 && buffer[..length].iter().all(|byte| *byte == 7));
                read += length;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert!(!pair.server.has_output());
}

#[test]
fn what_is_no_tls_is_an_error_and_stays_one() {
    for garbage in [
        &b"RFB 003.008\n\x01\x01"[..],
        b"GET / HTTP/1.1\r\n\r\n",
        &[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0, 0, 0x10, 1, 0, 0x80],
        // A record of 64 KiB; an alert; a ClientHello that is cut short in itself.
        &[22, 3, 1, 255, 255, 1, 0, 0, 4],
        &[21, 3, 3, 0, 2, 2, 40],
        &[22, 3, 1, 0, 5, 1, 0, 0, 1, 3],
    ] {
        let mut pair = pair(&TLS13);
        pair.socket.write_all(garbage).unwrap();
        let error = pair.server.read(&mut [0; 64]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{garbage:02x?}");
        assert!(error.to_string().starts_with("TLS: "), "{error}");
        assert_eq!(pair.server.read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::InvalidData);
        assert_eq!(pair.server.write(b"x").unwrap_err().kind(), ErrorKind::InvalidData);
        assert!(pair.server.tls().is_none());
    }
}

#[test]
fn plaintext_amid_tls_is_an_error() {
    let mut pair = pair(&TLS13);
    pair.shake(usize::MAX);
    pair.send(b"fine");
    assert_eq!(pair.server.read(&mut [0; 64]).unwrap(), 4);
    pair.socket.write_all(b"\x17\x03\x03\x00\x04text").unwrap();
    assert_eq!(pair.server.read(&mut [0; 64]).unwrap_err().kind(), ErrorKind::InvalidData);
}
