// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a port that others can reach gets to see: scanners, floods, guesses. None of it costs a viewer
//! anything, and guessing takes time.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use common::secure::*;
use common::server::{fds, memory, short, until};
use common::viewer::ZRLE;
use common::{Random, Viewer, change};
use vfio_display::geometry::Size;
use vfio_display_vnc::Limits;

const SIZE: Size = Size::new(200, 120);

/// Fds and memory are counted by process.
static ALONE: Mutex<()> = Mutex::new(());

/// A door with somebody behind it who watches.
struct Watched {
    _alone: MutexGuard<'static, ()>,
    guarded: Guarded,
    watcher: Viewer<Tls>,
    random: Random,
}

impl Watched {
    fn new(limits: Limits) -> Self {
        let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
        let mut guarded = Guarded::new(SIZE, limits, true);
        let watcher = guarded.viewer(&[ZRLE]);
        Self { _alone, guarded, watcher, random: Random(9) }
    }

    fn still_watches(&mut self) {
        let desk = &mut self.guarded.desk;
        for _ in 0..2 {
            let rect = change(&mut desk.picture, &mut self.random);
            desk.show(&[rect]);
            self.watcher.request(true).unwrap();
            self.watcher.update().unwrap();
        }
        let want = desk.picture.pixels().iter().map(|p| p & 0xff_ffff);
        assert!(want.eq(self.watcher.pixels.iter().copied()));
        assert_eq!(desk.server.viewers(), 1);
    }
}

/// What nmap's service probes and others like them begin with.
const PROBES: [&[u8]; 16] = [
    b"",
    b"\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"OPTIONS / RTSP/1.0\r\n\r\n",
    b"HELP\r\n",
    b"EHLO x\r\n",
    b"SSH-2.0-x\r\n",
    // TLS and SSLv2 hellos, RPC, DNS, SMB, X11, LDAP, RDP, Java RMI.
    b"\x16\x03\x00\x00\x53\x01\x00\x00\x4f\x03\x00\x3f\x47\xd7\xf7\xba\x2c\xee\xea\xb2",
    b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10\x01\x00\x80\x02\x00\x80\x03\x00\x80",
    b"\x80\x00\x00\x28\x72\xfe\x1d\x13\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x86\xa0",
    b"\x00\x06\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07version\x04bind\x00\x00\x10\x00\x03",
    b"\x00\x00\x00\xa4\xff\x53\x4d\x42\x72\x00\x00\x00\x00\x08\x01\x40",
    b"l\x00\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"0\x0c\x02\x01\x01`\x07\x02\x01\x02\x04\x00\x80\x00",
    b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    b"JRMI\x00\x02K",
];

/// Two hundred, from a seed: probes, bytes that are nothing, and what begins as a viewer does and
/// goes astray at any step.
#[test]
fn probes_and_garbage_cost_nobody_anything() {
    let mut watched = Watched::new(short());
    let settled = (fds(), memory());
    let viewers = watched.guarded.desk.heard.viewers.lock().unwrap().clone();
    let mut random = Random(41);
    let mut open = Vec::new();
    for round in 0..200 {
        let garbage: Vec<u8> = (0..random.below(300)).map(|_| random.below(256) as u8).collect();
        let bytes = match random.below(5) {
            0 => PROBES[random.below(16) as usize].to_vec(),
            1 => garbage,
            // So many right steps, and then none.
            2 => [&b"RFB 003.008\n\x13\x00\x02\x00\x00\x01\x06"[..], &garbage].concat(),
            3 => [&b"RFB 003.008\n"[..], &garbage].concat(),
            _ => [&b"RFB 003.008\n\x13\x00"[..], &garbage].concat(),
        };
        let inside = random.below(4) == 0;
        let host = 2 + random.below(20) as u8;
        let mut stream = watched.guarded.dial_from(host);
        if inside {
            // It may be hung up on at any time from here on.
            let mut greeted = [0; 12];
            let _ = stream.read_exact(&mut greeted);
        }
        let _ = stream.write_all(&bytes);
        match random.below(4) {
            0 => _ = stream.shutdown(Shutdown::Write),
            1 => open.push(stream),
            2 => open.insert(0, stream),
            _ => drop(stream),
        }
        if random.below(3) == 0 {
            open.pop();
        }
        if round % 10 == 0 {
            watched.still_watches();
        }
        assert!(fds() < settled.0 + 2 * 32 + 70, "{} fds", fds());
    }
    drop(open);
    let lines = watched.guarded.door.lines.clone();
    until("all are written down", || lines.lock().unwrap().len() == 201);
    watched.still_watches();
    assert!(lines.lock().unwrap()[1..].iter().all(|line| line.contains("refused: ")));
    assert_eq!(fds(), settled.0);
    assert!(memory() < settled.1 + 16_000, "{} KB more", memory() - settled.1);
    assert_eq!(*watched.guarded.desk.heard.viewers.lock().unwrap(), viewers, "nobody came or went");
}

#[test]
fn a_flood_from_one_address_leaves_room_for_others() {
    let limits = Limits { strangers: 8, viewers: 2, ..Limits::default() };
    let mut watched = Watched::new(limits);
    // Somebody is typing a password, and another has only just come.
    let mut typing = watched.guarded.inside(3);
    typing.flush().unwrap();
    let mut fresh = watched.guarded.dial_from(4);
    let flood: Vec<TcpStream> = (0..60).map(|_| watched.guarded.dial_from(2)).collect();
    let left = watched.guarded.desk.left.clone();
    until("the flood made room for itself", || left.lock().unwrap().len() == 54);
    assert!(
        left.lock()
            .unwrap()
            .iter()
            .all(|why| why == "more than 8 connections are amid their handshake")
    );
    watched.still_watches();
    start_tls(&mut fresh, b"RFB 003.008\n", PLAIN).unwrap();
    say(&mut typing, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    result(&mut typing).unwrap();
    let typing = watched.guarded.desk.viewer_by(&[ZRLE], || Viewer::init(typing).unwrap());
    assert_eq!(watched.guarded.desk.server.viewers(), 2);
    // Those who get in are limited as well, on their own.
    let mut third = watched.guarded.log_in(5, USER, PASSWORD).unwrap();
    third.write_all(&[1]).unwrap();
    third.flush().unwrap();
    is_over(third);
    until("told", || {
        left.lock().unwrap().iter().any(|why| why == "2 viewers are connected already")
    });
    drop(typing);
    until("gone", || watched.guarded.desk.server.viewers() == 1);
    watched.still_watches();
    drop(flood);
}

#[test]
fn a_flood_from_everywhere_is_bounded() {
    let mut watched = Watched::new(Limits { strangers: 8, ..Limits::default() });
    let before = fds();
    let mut flood = Vec::new();
    for host in 2..200 {
        flood.push(watched.guarded.dial_from(host));
    }
    let left = watched.guarded.desk.left.clone();
    until("all but eight", || left.lock().unwrap().len() == 190);
    // Ours, and eight of theirs.
    assert!(fds() <= before + 198 + 8, "{} fds", fds() - before);
    watched.still_watches();
    // A viewer that is quick gets in all the same.
    watched.guarded.log_in(201, USER, PASSWORD).unwrap();
}

/// Guesses as fast as it is let, from one address, for a day of the door's time.
#[test]
fn guessing_takes_time() {
    let mut watched = Watched::new(Limits::default());
    let guarded = &watched.guarded;
    let start = *guarded.door.clock.lock().unwrap();
    let (mut checked, mut refused, mut in_a_minute) = (0, 0, 0);
    let mut delays = Vec::new();
    loop {
        let now = *guarded.door.clock.lock().unwrap();
        if now - start > Duration::from_secs(3600) {
            break;
        }
        let Err(why) = guarded.log_in(2, USER, &format!("guess {checked}")) else {
            panic!("let in")
        };
        if why == "wrong user name or password" {
            checked += 1;
            assert!(checked < 100, "there is no end of guesses");
            in_a_minute += u32::from(now - start < Duration::from_secs(60));
            continue;
        }
        refused += 1;
        let seconds = why.strip_prefix("too many wrong passwords from your address; try again in ");
        let seconds = seconds.and_then(|rest| rest.strip_suffix(" s")).expect(&why);
        delays.push(seconds.parse().unwrap());
        // The right one is refused as well, unseen; a millisecond too soon it still is.
        *guarded.door.clock.lock().unwrap() +=
            Duration::from_secs(delays[delays.len() - 1]) - Duration::from_millis(1);
        assert!(guarded.log_in(2, USER, PASSWORD).is_err_and(|why| why.starts_with("too many")));
        guarded.door.pass(Duration::from_millis(1));
        // Nobody else waits.
        if refused % 4 == 0 {
            guarded.log_in(3, USER, PASSWORD).unwrap();
        }
    }
    println!("{in_a_minute} guesses in a minute, {checked} in an hour, delays {delays:?}");
    assert_eq!(delays[..10], [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
    assert_eq!((in_a_minute, checked), (8, 22));
    watched.still_watches();
    // Guesses at a time are no way around it: some are checked, the others not looked at.
    let mut many: Vec<Tls> = (0..12).map(|_| watched.guarded.inside(7)).collect();
    for tls in &mut many {
        say(tls, USER.as_bytes(), b"guess").unwrap();
    }
    let results: Vec<_> = many.iter_mut().map(|tls| result(tls).unwrap_err()).collect();
    let checked = results.iter().filter(|why| why.starts_with("wrong")).count();
    assert_eq!(checked, 3, "{results:?}");
    watched.still_watches();
}

/// nmap itself: what serves there, and two hundred passwords at its own pace, in no time of the door's.
#[test]
#[ignore = "needs nmap: cargo xtask test installs it"]
fn nmap_finds_nothing_and_disturbs_nobody() {
    let mut watched = Watched::new(Limits::default());
    let before = fds();
    let mut nmap = Command::new("nmap")
        .args(["-Pn", "-sV", "--script", "vnc-info,vnc-brute"])
        .args(["--script-args", "brute.guesses=200", "-p", &watched.guarded.at.port().to_string()])
        .arg("127.0.0.1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("nmap is not installed");
    while nmap.try_wait().unwrap().is_none() {
        watched.still_watches();
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = nmap.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    println!("{said}");
    for words in ["VeNCrypt (19)", "No valid accounts found"] {
        assert!(said.contains(words), "{words}");
    }
    until("all gone", || fds() == before);
    let lines = watched.guarded.door.lines.lock().unwrap().clone();
    let count = |words: &str| lines.iter().filter(|line| line.contains(words)).count();
    assert_eq!((count("wrong user name"), count(" entered")), (3, 1));
    assert!(count("too many wrong passwords") >= 100, "{lines:#?}");
    watched.still_watches();
}

/// Hashing is slow, and others do not wait for it: not viewers, and not their handshakes.
#[test]
fn checks_are_bounded_and_nobody_waits_for_them() {
    let mut watched = Watched::new(Limits { strangers: 64, ..Limits::default() });
    let mut many: Vec<Tls> = (2..42).map(|host| watched.guarded.inside(host)).collect();
    for tls in &mut many {
        tls.flush().unwrap();
    }
    for tls in &mut many {
        say(tls, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    }
    watched.still_watches();
    let results: Vec<_> = many.iter_mut().map(result).collect();
    let busy = |result: &&Result<(), String>| {
        result.as_ref().is_err_and(|why| why.contains("too many passwords are being checked"))
    };
    let (right, busy) =
        (results.iter().filter(|r| r.is_ok()).count(), results.iter().filter(busy).count());
    println!("{right} checked, {busy} sent away");
    assert_eq!(right + busy, 40, "{results:?}");
    assert!(right >= 17, "one under way and sixteen that wait");
    drop(many);
    watched.still_watches();
    // Who was sent away for that has not used up a try.
    for _ in 0..5 {
        watched.guarded.log_in(41, USER, PASSWORD).unwrap();
    }
}

#[test]
fn one_that_hangs_up_is_found_whatever_it_waits_for() {
    let mut watched = Watched::new(Limits::default());
    let before = fds();
    for host in 2..20 {
        let mut stream = watched.guarded.dial_from(host);
        start_tls(&mut stream, b"RFB 003.008\n", PLAIN).unwrap();
        let mut tls = watched.guarded.door.tls(stream);
        if host % 2 == 0 {
            tls.flush().unwrap();
        }
        if host % 4 == 0 {
            say(&mut tls, USER.as_bytes(), b"wrong").unwrap();
        }
        if let Err(error) = tls.sock.shutdown(Shutdown::Both) {
            assert_eq!(error.kind(), ErrorKind::NotConnected);
        }
    }
    until("all gone", || fds() == before);
    watched.still_watches();
}
