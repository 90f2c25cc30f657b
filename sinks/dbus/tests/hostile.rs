// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Listeners that truncate, seal, never read, or die amid a call: the others go on, and nothing is
//! left of them.

mod common;

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use common::raw::{assert_exact, listener, short};
use common::{Desk, Random, Raw, until};
use rustix::fs::{SealFlags, fcntl_add_seals, ftruncate};
use rustix::io::{Errno, pwrite};
use vfio_display::WritableMapping;
use vfio_display::geometry::Size;
use vfio_display_dbus::Limits;

const SIZE: Size = Size::new(640, 480);
const MAP: &str = "org.qemu.Display1.Listener.Unix.Map";

#[test]
fn memory_that_is_mapped_can_not_be_hurt() {
    let mut desk = Desk::new(SIZE, Limits::default());
    let (_client, mut map) = listener(&desk, &[MAP]);
    let (_other, mut copy) = listener(&desk, &[]);
    let mut random = Random(1);
    desk.fill(&mut random);
    assert_exact(&mut desk, &mut copy);
    while map.given.is_empty() {
        map.turn(Duration::from_secs(20));
    }
    let fd = map.given.remove(0);
    for size in [0, 1, 1 << 30] {
        assert_eq!(ftruncate(&fd, size), Err(Errno::PERM));
    }
    assert_eq!(fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
    assert_eq!(pwrite(&fd, &[1; 4096], 0), Err(Errno::PERM));
    assert_eq!(WritableMapping::new(fd.as_fd(), 0, 4096).unwrap_err(), Errno::PERM);
    // Opened anew through procfs it is no other.
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd));
    let again: OwnedFd =
        std::fs::File::options().read(true).write(true).open(again).unwrap().into();
    assert_eq!(ftruncate(&again, 0), Err(Errno::PERM));
    assert_eq!(pwrite(&again, &[1], 0), Err(Errno::PERM));
    // A SIGBUS would end this.
    for _ in 0..50 {
        desk.change(&mut random);
        while map.turn(Duration::from_millis(1)) {}
    }
    assert_exact(&mut desk, &mut copy);
    assert_eq!(desk.server.listeners(), 2);
}

#[test]
fn one_that_never_reads_is_let_go_of_and_holds_nobody_up() {
    let mut desk = Desk::new(SIZE, short());
    let (_client, mut good) = listener(&desk, &[]);
    let (_other, deaf) = listener(&desk, &[]);
    until("two", || desk.server.listeners() == 2);
    let mut random = Random(2);
    let start = Instant::now();
    let mut longest = Duration::ZERO;
    while desk.server.listeners() == 2 {
        let at = Instant::now();
        desk.set_mode(SIZE, &mut random);
        longest = longest.max(at.elapsed());
        good.turn(Duration::from_millis(5));
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    assert_exact(&mut desk, &mut good);
    assert_eq!(desk.left.lock().unwrap().as_slice(), ["no progress in telling its interfaces"]);
    assert!(longest < Duration::from_millis(400), "the display waited {longest:?}");
    drop(deaf);
}

#[test]
fn no_more_than_there_is_room_for() {
    let desk = Desk::new(SIZE, Limits { listeners: 2, peers: 3, ..short() });
    let mut clients: Vec<_> = (0..3).map(|_| Raw::client(&desk)).collect();
    let first = clients[0].register().unwrap();
    let second = clients[1].register().unwrap();
    let refused = clients[2].register().unwrap_err();
    assert!(refused.contains("org.qemu.Display1.Error.Failed"), "{refused}");
    // One that says nothing has its place only so long.
    until("a place", || clients[2].register().is_ok());
    drop((first, second));
    // A fourth is not served at all.
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    desk.server.serve(theirs);
    assert!(Raw::handshake(ours).is_err());
}

#[test]
fn what_is_no_socket_is_no_listener() {
    let desk = Desk::new(SIZE, Limits::default());
    let mut client = Raw::client(&desk);
    let null = std::fs::File::open("/dev/null").unwrap();
    let memory = tempfile::tempfile().unwrap();
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    for fd in [null.into(), memory.into(), tcp.into(), OwnedFd::from(pipe)] {
        let refused = client.register_fd(fd).unwrap_err();
        assert!(refused.contains("org.qemu.Display1.Error.Failed"), "{refused}");
    }
    assert_eq!(desk.server.listeners(), 0);
}

#[test]
fn a_message_that_is_too_long_ends_its_connection_alone() {
    let mut desk = Desk::new(SIZE, Limits::default());
    let (_client, mut good) = listener(&desk, &[]);
    let (mut client, bad) = listener(&desk, &[]);
    desk.fill(&mut Random(3));
    // 100 MiB of body are announced, which a library would take memory for.
    let header = [&b"l\x01\0\x01"[..], &(100_u32 << 20).to_le_bytes(), &[1, 0, 0, 0, 0, 0, 0, 0]];
    (&bad.raw.stream).write_all(&header.concat()).unwrap();
    until("one", || desk.server.listeners() == 1);
    client.stream.write_all(&header.concat()).unwrap();
    assert!(matches!(client.stream.read(&mut [0; 64]), Ok(0) | Err(_)), "closed");
    assert_exact(&mut desk, &mut good);
}
