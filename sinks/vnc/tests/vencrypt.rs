// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! VeNCrypt: who is let in sees the picture, everything else is refused. The client shares no code
//! with the server but that of TLS.

mod common;

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use common::secure::*;
use common::server::{Desk, short, until};
use common::viewer::ZRLE;
use common::{Kind, Random, Viewer, change, draw};
use rustls::version::{TLS12, TLS13};
use vfio_display::geometry::Size;
use vfio_display_vnc::{Limits, ListenError};

const SIZE: Size = Size::new(200, 120);

/// A server that asks for a password, or for TLS alone.
fn guarded(password: bool) -> Guarded {
    let mut guarded = Guarded::new(SIZE, Limits::default(), password);
    draw(&mut guarded.desk.picture, SIZE.rect(), Kind::Smooth, &mut Random(1));
    guarded
}

impl Guarded {
    /// It is noted with these words why a viewer left, once more than before.
    fn sent_away(&self, why: &str) {
        let left = || self.desk.left.lock().unwrap().clone();
        until(why, || left().iter().any(|said| said.contains(why)));
        self.desk.left.lock().unwrap().clear();
        assert_eq!(self.desk.server.viewers(), 0);
    }
}

fn sees<S: std::io::Read + std::io::Write>(desk: &mut Desk, viewer: &mut Viewer<S>) {
    let mut random = Random(2);
    for _ in 0..3 {
        let rect = change(&mut desk.picture, &mut random);
        desk.show(&[rect]);
        viewer.request(true).unwrap();
        viewer.update().unwrap();
    }
    let want = desk.picture.pixels().iter().map(|p| p & 0xff_ffff);
    assert!(want.eq(viewer.pixels.iter().copied()), "another picture");
}

#[test]
fn who_has_the_password_sees_the_picture() {
    let mut guarded = guarded(true);
    let at = guarded.at;
    for (tls, version, name) in [
        (&TLS13, b"RFB 003.008\n", "TLS1.3"),
        (&TLS12, b"RFB 003.008\n", "TLS1.2"),
        (&TLS13, b"RFB 003.007\n", "TLS1.3"),
    ] {
        let mut stream = guarded.dial();
        let port = stream.local_addr().unwrap().port();
        start_tls(&mut stream, version, PLAIN).unwrap();
        let mut tls = guarded.door.tls_of(stream, &[tls]);
        say(&mut tls, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
        result(&mut tls).unwrap();
        let connect = || Viewer::init(tls).unwrap();
        let mut viewer = guarded.desk.viewer_by(&[ZRLE], connect);
        sees(&mut guarded.desk, &mut viewer);
        assert_eq!(guarded.desk.server.viewers(), 1);
        drop(viewer);
        until("gone", || guarded.desk.server.viewers() == 0);
        let lines = std::mem::take(&mut *guarded.door.lines.lock().unwrap());
        let [came, left] = lines.as_slice() else { panic!("{lines:?}") };
        let start = format!("vnc from=127.0.0.1:{port} tls={name} user=\"{USER}\" after=");
        assert!(came.starts_with(&start) && came.ends_with(" entered"), "{came}");
        assert!(left.starts_with(&start) && left.ends_with("left: the viewer hung up"), "{left}");
        assert!(!lines.concat().contains(PASSWORD));
    }
    assert_eq!(at, guarded.at);
}

#[test]
fn tls_alone_is_a_choice_of_the_server() {
    let mut guarded = guarded(false);
    let mut stream = guarded.dial();
    start_tls(&mut stream, b"RFB 003.008\n", NONE).unwrap();
    let mut tls = guarded.door.tls(stream);
    result(&mut tls).unwrap();
    let mut viewer = guarded.desk.viewer_by(&[ZRLE], || Viewer::init(tls).unwrap());
    sees(&mut guarded.desk, &mut viewer);
    assert!(guarded.door.lines.lock().unwrap()[0].contains(" user=- "));
}

#[test]
fn who_has_not_is_told_so_and_nothing_else() {
    let guarded = guarded(true);
    let wrong = "wrong user name or password";
    let long = "x".repeat(1024);
    for (host, (user, password)) in (2..).zip([
        (USER, "wrong"),
        (USER, ""),
        ("", ""),
        ("bert", PASSWORD),
        (USER, &long),
        (&long, PASSWORD),
        ("an\nna", "x"),
    ]) {
        let mut tls = guarded.inside(host);
        say(&mut tls, user.as_bytes(), password.as_bytes()).unwrap();
        assert_eq!(result(&mut tls), Err(wrong.into()), "{user}");
        is_over(&mut tls);
        guarded.sent_away(wrong);
        let line = guarded.door.lines.lock().unwrap().pop().unwrap();
        assert!(line.ends_with(&format!("refused: {wrong}")) && !line.contains('\n'), "{line}");
        assert!(line.contains(&format!("from=127.0.0.{host}:")), "{line}");
    }
    // 3.7 has no place for a reason.
    let mut stream = guarded.dial();
    start_tls(&mut stream, b"RFB 003.007\n", PLAIN).unwrap();
    let mut tls = guarded.door.tls(stream);
    say(&mut tls, USER.as_bytes(), b"wrong").unwrap();
    assert_eq!(take(&mut tls).unwrap(), [0, 0, 0, 1]);
    is_over(tls);
}

#[test]
fn there_is_no_way_down_from_tls() {
    for guarded in [guarded(true), guarded(false)] {
        for chosen in [0, 1, 2, 5, 16, 18, 20, 30, 255] {
            let mut stream = guarded.dial();
            assert_eq!(&take(&mut stream).unwrap(), b"RFB 003.008\n");
            stream.write_all(b"RFB 003.008\n").unwrap();
            assert_eq!(take(&mut stream).unwrap(), [1, 19]);
            // As a viewer goes on that was let in.
            stream.write_all(&[chosen, 1]).unwrap();
            assert_eq!(result(&mut stream), Err("this security type was not offered".into()));
            is_over(stream);
            guarded.sent_away(&format!("security type {chosen} was not offered"));
        }
        for old in [b"RFB 003.003\n", b"RFB 003.005\n", b"RFB 003.889\n", b"RFB 000.000\n"] {
            let mut stream = guarded.dial();
            stream.write_all(&[&old[..], &[1]].concat()).unwrap();
            assert_eq!(&take(&mut stream).unwrap(), b"RFB 003.008\n");
            assert_eq!(take(&mut stream).unwrap(), [0; 4], "no security type");
            let length = u32::from_be_bytes(take(&mut stream).unwrap());
            let mut reason = vec![0; length as usize];
            std::io::Read::read_exact(&mut stream, &mut reason).unwrap();
            assert!(reason.starts_with(b"TLS is required"));
            is_over(stream);
            guarded.sent_away("RFB 3.3");
        }
    }
}

#[test]
fn versions_and_subtypes_that_are_not_served() {
    for (guarded, offered) in [(guarded(true), PLAIN), (guarded(false), NONE)] {
        for version in [[0, 0], [0, 1], [0, 3], [1, 2], [255, 255]] {
            let mut stream = guarded.dial();
            choose_vencrypt(&mut stream, b"RFB 003.008\n").unwrap();
            stream.write_all(&version).unwrap();
            assert_ne!(take(&mut stream).unwrap(), [0]);
            is_over(stream);
            guarded.sent_away(&format!("VeNCrypt {}.{} is not served", version[0], version[1]));
        }
        // Plain without TLS, TLS without a certificate, the DES challenge, what the other has.
        for subtype in [0, 1, 256, 257, 258, 259, 261, PLAIN + NONE - offered, 263, u32::MAX] {
            let mut stream = guarded.dial();
            choose_vencrypt(&mut stream, b"RFB 003.008\n").unwrap();
            stream.write_all(&[0, 2]).unwrap();
            assert_eq!(take(&mut stream).unwrap(), [0, 1]);
            assert_eq!(take(&mut stream).unwrap(), offered.to_be_bytes());
            stream.write_all(&subtype.to_be_bytes()).unwrap();
            assert_eq!(take(&mut stream).unwrap(), [0]);
            is_over(stream);
            guarded.sent_away(&format!("VeNCrypt subtype {subtype} was not offered"));
        }
    }
}

/// To where the subtype is chosen.
fn to_subtype(guarded: &Guarded) -> TcpStream {
    let mut stream = guarded.dial();
    choose_vencrypt(&mut stream, b"RFB 003.008\n").unwrap();
    stream.write_all(&[0, 2]).unwrap();
    take::<6>(&mut stream).unwrap();
    stream
}

#[test]
fn what_is_said_before_tls_is_not_taken_for_what_is_said_inside() {
    let guarded = guarded(true);
    let mut password = Vec::new();
    say(&mut password, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    // The right password in the clear, in one piece with what comes before TLS.
    let mut stream = to_subtype(&guarded);
    stream.write_all(&[&PLAIN.to_be_bytes()[..], &password, &[1]].concat()).unwrap();
    assert_eq!(take(&mut stream).unwrap(), [1]);
    is_over(stream);
    guarded.sent_away("without waiting");
    // And in place of a ClientHello.
    let mut stream = guarded.dial();
    start_tls(&mut stream, b"RFB 003.008\n", PLAIN).unwrap();
    stream.write_all(&password).unwrap();
    is_over(stream);
    guarded.sent_away("TLS: ");
    // Amid TLS.
    let mut tls = guarded.inside(1);
    tls.flush().unwrap();
    tls.sock.write_all(&password).unwrap();
    guarded.sent_away("TLS: ");
    assert!(guarded.desk.heard.viewers.lock().unwrap().is_empty(), "nobody ever looked");
}

#[test]
fn what_is_said_inside_is_checked_as_well() {
    let guarded = guarded(true);
    let lengths = |user: u32, password: u32| [user.to_be_bytes(), password.to_be_bytes()].concat();
    let mut on = Vec::new();
    say(&mut on, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    on.push(1);
    for (message, why) in [
        (lengths(u32::MAX, 0), "a user name of 4294967295, and 1024 is the limit"),
        (lengths(4, u32::MAX), "a password of 4294967295, and 1024 is the limit"),
        (lengths(1025, 1), "a user name of 1025"),
        (lengths(0, 1025), "a password of 1025"),
        (on, "without waiting"),
    ] {
        let mut tls = guarded.inside(1);
        tls.write_all(&message).unwrap();
        tls.flush().unwrap();
        is_over(tls);
        guarded.sent_away(why);
    }
    // In records of a byte each it is as good.
    let mut tls = guarded.inside(1);
    let mut message = Vec::new();
    say(&mut message, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    for byte in message {
        tls.write_all(&[byte]).unwrap();
        tls.flush().unwrap();
    }
    result(&mut tls).unwrap();
}

#[test]
fn half_a_handshake_ends_and_a_person_who_types_has_time() {
    let limits = Limits { password: Duration::from_secs(60), ..short() };
    let mut guarded = Guarded::new(SIZE, limits, true);
    let mut typing = guarded.inside(2);
    typing.flush().unwrap();
    let start = || {
        let mut stream = guarded.dial();
        start_tls(&mut stream, b"RFB 003.008\n", PLAIN).unwrap();
        stream
    };
    let silent = start();
    let mut cut = start();
    let mut hello = Vec::new();
    guarded.door.tls(guarded.dial()).conn.write_tls(&mut hello).unwrap();
    cut.write_all(&hello[..100]).unwrap();
    let mut deaf = start();
    deaf.write_all(&hello).unwrap();
    let before = to_subtype(&guarded);
    for stream in [silent, cut, before] {
        is_over(stream);
    }
    // It had an answer, and says no more.
    until("all four", || {
        let left = guarded.desk.left.lock().unwrap();
        left.iter().filter(|why| why.contains("no progress in the handshake")).count() >= 4
    });
    drop(deaf);
    std::thread::sleep(limits.handshake);
    say(&mut typing, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
    result(&mut typing).unwrap();
    let mut viewer = guarded.desk.viewer_by(&[ZRLE], || Viewer::init(typing).unwrap());
    sees(&mut guarded.desk, &mut viewer);
    // A person who types nothing has an end as well.
    let limits = Limits { password: Duration::from_millis(600), ..short() };
    let guarded = Guarded::new(SIZE, limits, true);
    let mut tls = guarded.inside(1);
    tls.flush().unwrap();
    is_over(tls);
    guarded.sent_away("no progress in the handshake");
}

#[test]
fn a_viewer_that_is_gone_before_the_verdict() {
    let guarded = guarded(true);
    for host in 2..12 {
        let mut tls = guarded.inside(host);
        say(&mut tls, USER.as_bytes(), PASSWORD.as_bytes()).unwrap();
        if host % 2 == 0 {
            tls.sock.shutdown(Shutdown::Both).unwrap();
        }
    }
    until("all gone", || guarded.door.lines.lock().unwrap().len() == 10);
    guarded.log_in(1, USER, PASSWORD).unwrap();
}

#[test]
fn others_can_reach_it_only_through_a_password() {
    let free = Desk::new(SIZE, short());
    let (tls, password) = (guarded(false), guarded(true));
    for at in ["0.0.0.0:0", "[::]:0"] {
        let at = at.parse().unwrap();
        for desk in [&free, &tls.desk] {
            let result = desk.server.listen_tcp(at);
            assert!(matches!(result, Err(ListenError::NotLoopback(_))), "{at}");
        }
        let Ok(open) = password.desk.server.listen_tcp(at) else {
            assert!(at.is_ipv6(), "no IPv6 here");
            continue;
        };
        // On this machine too, whatever the address.
        let mut stream = TcpStream::connect(("127.0.0.1", open.port())).unwrap();
        start_tls(&mut stream, b"RFB 003.008\n", PLAIN).unwrap();
    }
    // A socket file has the kernel to guard it.
    let path = password.door.directory.path().join("vnc");
    password.desk.server.listen_unix(&path).unwrap();
    Viewer::connect(std::os::unix::net::UnixStream::connect(path).unwrap()).unwrap();
}
