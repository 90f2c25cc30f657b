// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The bodies of the fuzz targets.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use vfio_display_sinks::Stream;
use vfio_display_vnc::VncServer;

use crate::connection::{Connection, Step};
use crate::request::{Head, Request};
use crate::routes::{self, Answer, Asked};
use crate::server::{Options, Shared, WebServer};
use crate::websocket::{Aside, WebSocketStream};

const LIMIT: usize = 8 << 10;

/// A name of the server that a request can hit on without knowing its port.
const HOST: &str = "h";

/// Target `http_request`: what a client sends, whole and in pieces, and the answer to it. No bytes
/// bring anybody in.
pub fn request(data: &[u8]) {
    static SERVED: OnceLock<(WebServer, VncServer)> = OnceLock::new();
    let (web, _) = SERVED.get_or_init(|| {
        let vnc = VncServer::start(Default::default(), Arc::new(())).expect("a thread");
        let options = Options { hosts: vec![HOST.into()], ..Options::default() };
        let web = WebServer::start(options).expect("a thread");
        web.publish("vm1", "A screen", vnc.handle());
        (web, vnc)
    });
    let parsed = Request::parse(data, LIMIT);
    if let Head::Whole(request, length) = &parsed {
        assert!(*length <= LIMIT && *length <= data.len());
        // What comes after a request does not change what it is.
        assert_eq!(Request::parse(&data[..*length], LIMIT), parsed);
        assert!(matches!(Request::parse(&data[..*length - 1], LIMIT), Head::Partial));
        check(web.shared(), request);
    }
    // The same through a connection, in pieces.
    let step = data.first().map_or(1, |byte| usize::from(byte % 61) + 1);
    let now = Instant::now();
    let limits = web.shared().options.limits;
    let stream = Pieces::new(data, step, usize::MAX);
    let counts = Arc::clone(&stream.counts);
    let local = SocketAddr::from(([127, 0, 0, 1], 6080));
    let until = now + Duration::from_secs(10);
    let mut connection = Connection::new(Box::new(stream), local, local, until);
    for _ in 0..2 * (data.len() / step) + 8 {
        let answer = |asked: &Asked<'_>| routes::answer(web.shared(), asked);
        match connection.step(now, &limits, answer) {
            Step::Wait => {}
            Step::End => break,
            Step::Serve(..) => panic!("a viewer without a token"),
        }
    }
    if !matches!(parsed, Head::Partial) {
        assert!(counts.written.load(Ordering::Relaxed) > 0, "no answer");
    }
}

fn check(shared: &Arc<Shared>, request: &Request) {
    let at = SocketAddr::from(([127, 0, 0, 1], 6080));
    let asked = Asked { request, peer: at, local: at, tls: None, password: None };
    match routes::answer(shared, &asked) {
        Answer::Respond(response) => {
            let bytes = response.into_bytes();
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a head");
            let head = str::from_utf8(&bytes[..end]).expect("text");
            // No bytes of a request make a header of their own.
            for line in head.split("\r\n").skip(1) {
                let (name, value) = line.split_once(": ").expect("a header");
                assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{line}");
                assert!(value.bytes().all(|b| (0x20..0x7f).contains(&b)), "{line}");
                assert_ne!(name, "Set-Cookie", "let in by {request:?}");
            }
        }
        Answer::Judge(_) | Answer::Socket(..) => panic!("let in by {request:?}"),
    }
}

/// More than a WebSocket may ever hold: a message with its buffer, a chunk, and answers to pings.
const MESSAGE: usize = 4 << 10;

/// Target `websocket_frame`: frames that make sense or none, in pieces of any length, while the other
/// side takes what it likes. The first byte says how long the pieces are, the second how much is
/// taken.
pub fn frames(data: &[u8]) {
    let [step, taken, rest @ ..] = data else { return };
    let (early, rest) = rest.split_at(rest.len().min(usize::from(step >> 6) * 3));
    let step = usize::from(step & 63) + 1;
    let stream = Pieces::new(rest, step, usize::from(*taken) * 64);
    let counts = Arc::clone(&stream.counts);
    let aside = (taken & 1 == 1).then(|| Box::new(Count(0)) as Box<dyn Aside>);
    let mut socket = WebSocketStream::new(stream, early.to_vec(), MESSAGE, aside, None);
    let mut buffer = [0; 100];
    let (mut got, mut sent) = (0, 0);
    let rounds = 2 * (rest.len() / step) + 64;
    for round in 0..rounds {
        match socket.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => got += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        match socket.write(&[round as u8; 300]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        // What could not be sent is known to be there.
        if socket.flush().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
            assert!(socket.has_output());
        }
    }
    // A frame has two bytes and a mask at least, and none of that is handed on.
    assert!(got <= data.len(), "{got} bytes out of {}", data.len());
    // What was taken and is not written yet is bounded: here a single message.
    let written = counts.written.load(Ordering::Relaxed);
    assert!(sent <= written + 300, "{sent} taken, {written} written");
    // It waits for nothing, and does not turn in circles.
    let reads = counts.reads.load(Ordering::Relaxed);
    assert!(reads <= 4 * rounds, "{reads} reads in {rounds} rounds");
}

/// Something to tell, each third time.
struct Count(u32);

impl Aside for Count {
    fn has_news(&self) -> bool {
        self.0.is_multiple_of(3)
    }

    fn news(&mut self) -> Option<String> {
        self.0 += 1;
        self.0.is_multiple_of(3).then(|| "{}".to_owned())
    }
}

/// What was done with a connection.
#[derive(Default)]
struct Counts {
    reads: AtomicUsize,
    written: AtomicUsize,
}

/// A connection that brings bytes in pieces, with nothing to read in between, and takes so many.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    step: usize,
    dry: bool,
    room: usize,
    counts: Arc<Counts>,
    fd: UnixStream,
}

impl Pieces {
    fn new(bytes: &[u8], step: usize, room: usize) -> Self {
        static FD: OnceLock<UnixStream> = OnceLock::new();
        let fd = FD.get_or_init(|| UnixStream::pair().expect("fds").0);
        let fd = fd.try_clone().expect("an fd");
        let counts = Arc::default();
        Self { bytes: bytes.to_vec(), at: 0, step, dry: false, room, counts, fd }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        self.dry = !self.dry;
        if self.dry {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = self.step.min(buffer.len()).min(self.bytes.len() - self.at);
        buffer[..length].copy_from_slice(&self.bytes[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(self.room);
        if length == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= length;
        self.counts.written.fetch_add(length, Ordering::Relaxed);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Pieces {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Stream for Pieces {}

#[cfg(test)]
mod tests {
    use vfio_display::testing::rng::Rng;

    /// The seeds, as they are and with bytes changed, cut and doubled: a short fuzz run in each test
    /// run.
    fn near_the_seeds(target: &str, run: fn(&[u8])) {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/");
        let mut random = Rng::new(12);
        let mut seeds = 0;
        for entry in std::fs::read_dir(format!("{corpus}{target}")).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            seeds += 1;
            run(&seed);
            for _ in 0..300 {
                let mut data = seed.clone();
                for _ in 0..random.below(6) + 1 {
                    let at = random.below(data.len() as u64) as usize;
                    match random.below(4) {
                        0 => data.truncate(at + 1),
                        1 => data.extend_from_within(at..),
                        _ => data[at] = random.next() as u8,
                    }
                }
                run(&data);
            }
        }
        assert!(seeds >= 3);
    }

    #[test]
    fn requests_near_the_seeds() {
        near_the_seeds("http_request", super::request);
    }

    #[test]
    fn frames_near_the_seeds() {
        near_the_seeds("websocket_frame", super::frames);
    }
}
