// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A thousand listeners that misbehave: fds and threads are as many as before. In a process of its
//! own, because they are counted.

mod common;

use std::io::{Read as _, Write as _};
use std::time::Duration;

use common::desk::{fds, threads};
use common::raw::{assert_exact, listener, short};
use common::{Desk, Random, Raw, until};
use vfio_display::geometry::Size;
use vfio_display::sink::Sink as _;

const SIZE: Size = Size::new(640, 480);
const MAP: &str = "org.qemu.Display1.Listener.Unix.Map";

/// What a listener does instead of listening.
fn misbehave(client: &mut Raw, random: &mut Random) {
    let Ok(mut stream) = client.register() else { return };
    let junk: Vec<u8> = (0..random.below(400)).map(|_| random.next() as u8).collect();
    match random.below(8) {
        0 => drop(stream),
        1 => drop(stream.write_all(&junk)),
        2 => drop(stream.write_all(b"\0AUTH EXTERNAL ")),
        kind => {
            let Ok(mut raw) = Raw::handshake(stream) else { return };
            match kind {
                3 => {}
                4 => drop(raw.stream.write_all(&junk)),
                5 => drop(raw.stream.write_all(b"l\x01\0\x01\xff\xff\xff\x07\x01\0\0\0\0\0\0\0")),
                6 => {
                    // Amid a call.
                    let mut some = vec![0; 1 + random.below(5000) as usize];
                    let _ = raw.stream.set_read_timeout(Some(Duration::from_millis(20)));
                    let _ = raw.stream.read(&mut some);
                }
                _ => {
                    // Maps, answers, and is gone.
                    if let Ok(call) = raw.read() {
                        let _ = raw.answer(&call, Some(&[MAP]));
                    }
                    let _ = raw.stream.set_read_timeout(Some(Duration::from_millis(20)));
                    let _ = raw.read();
                }
            }
        }
    }
}

#[test]
fn a_thousand_come_and_go_and_nothing_is_left() {
    let mut desk = Desk::new(SIZE, short());
    let (_client, mut good) = listener(&desk, &[]);
    let mut random = Random(4);
    desk.fill(&mut random);
    assert_exact(&mut desk, &mut good);
    let mut before = None;
    for n in 0..1000 {
        let mut client = Raw::client(&desk);
        misbehave(&mut client, &mut random);
        drop(client);
        desk.change(&mut random);
        while good.turn(Duration::from_millis(1)) {}
        if n == 49 {
            until("one", || desk.server.listeners() == 1);
            before = Some((fds(), threads()));
        }
    }
    assert_exact(&mut desk, &mut good);
    let (open, running) = before.unwrap();
    until("the same fds and threads", || {
        while good.turn(Duration::from_millis(1)) {}
        fds() <= open && threads() <= running && desk.server.listeners() == 1
    });
    drop(good);
    until("nobody", || desk.server.takes().idle);
}
