// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What hostile viewers do. Each of them is sent away or held to its bounds, and another keeps
//! watching.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use common::server::{Desk, memory, short, until};
use common::viewer::ZRLE;
use common::{Random, Viewer, change};
use vfio_display::geometry::Size;
use vfio_display_vnc::Limits;

const SIZE: Size = Size::new(200, 120);

/// Memory is counted by process, so one attack at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// A desk with somebody who watches it.
struct Watched {
    _alone: MutexGuard<'static, ()>,
    desk: Desk,
    watcher: Viewer<UnixStream>,
    random: Random,
}

impl Watched {
    fn new(limits: Limits) -> Self {
        let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
        let mut desk = Desk::new(SIZE, limits);
        let watcher = desk.viewer(&[ZRLE]);
        Self { _alone, desk, watcher, random: Random(9) }
    }

    /// An attacker who is through the handshake.
    fn inside(&mut self) -> UnixStream {
        self.desk.viewer(&[ZRLE]).stream
    }

    fn still_watches(&mut self) {
        for _ in 0..3 {
            let rect = change(&mut self.desk.picture, &mut self.random);
            self.desk.show(&[rect]);
            self.watcher.request(true).unwrap();
            self.watcher.update().unwrap();
        }
        let want = self.desk.picture.pixels().iter().map(|p| p & 0xff_ffff);
        assert!(want.eq(self.watcher.pixels.iter().copied()));
    }

    /// The connection ends, and the reason that is noted has these words.
    fn sent_away(&mut self, mut stream: UnixStream, why: &str) {
        let mut rest = Vec::new();
        match stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{why}"),
        }
        let left = self.desk.left.clone();
        until(why, || left.lock().unwrap().iter().any(|said| said.contains(why)));
        self.still_watches();
    }
}

#[test]
fn messages_that_make_no_sense() {
    let format = |bytes: [u8; 16]| [&[0; 4], &bytes[..]].concat();
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("a type that is none", vec![77], "unknown type 77"),
        ("a colour map of its own", vec![1], "unknown type 1"),
        ("audio that was not offered", vec![255, 1, 0, 0], "unknown type 255"),
        ("a cut text of 4 GB", vec![6, 0, 0, 0, 255, 255, 255, 255], "ClientCutText of 4294967295"),
        ("a cut text of 2 MB", vec![6, 0, 0, 0, 0, 32, 0, 0], "ClientCutText of 2097152"),
        ("65535 encodings", vec![2, 0, 255, 255], "SetEncodings of 65535"),
        ("a fence of 65 bytes", vec![248, 0, 0, 0, 0, 0, 0, 0, 65], "ClientFence of 65"),
        ("24 bits", format([24, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]), "bits per"),
        ("no bits", format([0; 16]), "bits per"),
        ("deep", format([16, 32, 0, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]), "depth"),
        ("maxima of 0", format([32, 24, 0, 1, 0, 0, 0, 0, 0, 0, 16, 8, 0, 0, 0, 0]), "maximum"),
        ("odd", format([32, 24, 0, 1, 0, 254, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0]), "maximum"),
        (
            "shifted out",
            format([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 200, 8, 0, 0, 0, 0]),
            "outside",
        ),
        (
            "overlapping",
            format([32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 8, 8, 0, 0, 0, 0]),
            "overlap",
        ),
    ];
    let mut watched = Watched::new(Limits::default());
    for (what, message, why) in cases {
        println!("{what}");
        let mut stream = watched.inside();
        stream.write_all(&message).unwrap();
        watched.sent_away(stream, why);
    }
}

#[test]
fn security_types_that_were_not_offered() {
    let mut watched = Watched::new(Limits::default());
    for chosen in [0, 2, 5, 16, 18, 19, 30, 255] {
        let mut stream = watched.desk.stream();
        stream.write_all(b"RFB 003.008\n").unwrap();
        let mut offered = [0; 14];
        stream.read_exact(&mut offered).unwrap();
        stream.write_all(&[chosen, 1]).unwrap();
        let mut result = [0; 4];
        stream.read_exact(&mut result).unwrap();
        assert_eq!(result, [0, 0, 0, 1]);
        watched.sent_away(stream, &format!("security type {chosen} "));
    }
    assert_eq!(watched.desk.server.viewers(), 1);
}

#[test]
fn those_who_are_no_viewers() {
    let mut watched = Watched::new(Limits::default());
    let mut stream = watched.desk.stream();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    watched.sent_away(stream, "not an RFB client");
}

#[test]
fn half_open_connections_are_dropped() {
    let mut watched = Watched::new(short());
    let silent = watched.desk.stream();
    let mut slow = watched.desk.stream();
    slow.write_all(b"RFB 003.").unwrap();
    let mut nearly = watched.desk.stream();
    nearly.write_all(b"RFB 003.008\n\x01").unwrap();
    let start = Instant::now();
    for stream in [silent, slow, nearly] {
        watched.sent_away(stream, "no progress in the handshake");
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn more_of_them_than_there_is_room_for() {
    let mut watched = Watched::new(Limits { strangers: 7, ..short() });
    let streams: Vec<_> = (0..40).map(|_| watched.desk.stream()).collect();
    watched.still_watches();
    let left = watched.desk.left.clone();
    until("the first of them made room", || {
        left.lock().unwrap().iter().filter(|why| why.contains("more than 7")).count() == 33
    });
    drop(streams);
    watched.still_watches();
    // And there is room again.
    until("room", || {
        let mut stream = watched.desk.stream();
        stream.read_exact(&mut [0; 12]).is_ok()
    });
}

#[test]
fn a_viewer_that_asks_and_never_reads_is_let_go() {
    let mut watched = Watched::new(short());
    let mut deaf = watched.desk.viewer(&[0]);
    for _ in 0..400 {
        if deaf.request(false).is_err() {
            break;
        }
        watched.still_watches();
        if watched.desk.left.lock().unwrap().iter().any(|why| why.contains("taking an update")) {
            return;
        }
    }
    let left = watched.desk.left.clone();
    until("let go", || left.lock().unwrap().iter().any(|why| why.contains("taking an update")));
}

#[test]
fn floods_take_their_turn_and_no_memory() {
    let requests = [[3, 0, 0, 0, 0, 0, 0, 200, 0, 120]; 100].concat();
    let fences = [[248, 0, 0, 0, 128, 0, 0, 0, 0]; 100].concat();
    let sizes = [[251, 0, 4, 0, 3, 0, 0, 0]; 100].concat();
    let keys = [[4, 1, 0, 0, 0, 0, 0, 0x61]; 100].concat();
    let moves: Vec<u8> = (0..100).flat_map(|x| [5, 0, 0, x, 0, x]).collect();
    let text = [&[6, 0, 0, 0, 0, 16, 0, 0][..], &vec![b'x'; 1 << 20]].concat();
    for flood in [requests, fences, sizes, keys, moves, text] {
        let mut watched = Watched::new(Limits::default());
        let before = memory();
        let mut stream = watched.inside();
        stream.set_nonblocking(true).unwrap();
        let start = Instant::now();
        let mut at = 0;
        while start.elapsed() < Duration::from_millis(400) {
            // A whole message may be cut anywhere; what follows goes on from there.
            match stream.write(&flood[at..]) {
                Ok(length) => at = (at + length) % flood.len(),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
        watched.still_watches();
        let events = watched.desk.heard.events.lock().unwrap().len();
        assert!(events < 4000, "{events} events in 0.4 s");
        let sizes = watched.desk.heard.sizes.lock().unwrap().len();
        assert!(sizes < 4000, "{sizes} sizes in 0.4 s");
        assert!(memory() < before + 16_000, "{} KB more", memory() - before);
    }
}

#[test]
fn a_handshake_byte_by_byte_is_as_good() {
    let mut watched = Watched::new(Limits::default());
    let mut stream = watched.desk.stream();
    for byte in b"RFB 003.008\n\x01\x01\x03\x00\x00\x00\x00\x00\x00\xc8\x00\x78" {
        stream.write_all(&[*byte]).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut all = vec![0; 12 + 2 + 4 + 24 + 12 + 4];
    stream.read_exact(&mut all).unwrap();
    watched.still_watches();
}
