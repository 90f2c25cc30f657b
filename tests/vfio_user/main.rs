// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whatever a vfio-user server says or does: a typed error in bounded time.
#![cfg(feature = "vfio-user")]

mod server;

use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::io::Errno as E;
use vfio_display::device::{IrqIndex, RegionDevice as _, RegionIndex};
use vfio_display::error::{Error, Gone};
use vfio_display::region::{RegionFlags, RegionInfo};
use vfio_display::vfio_user::{ProtocolError, VfioUser};

use self::server::{ERROR, Message, REPLY, Server, TIMEOUT, answer_region, message, region};
use self::server::{serve, start};

/// Region 9 as a client that has asked knows it.
fn known(size: u64) -> RegionInfo {
    RegionInfo {
        index: RegionIndex(9),
        flags: RegionFlags::READ | RegionFlags::WRITE,
        size,
        offset: 0,
        capabilities: Vec::new(),
    }
}

fn memfd(len: u64, seals: SealFlags) -> OwnedFd {
    let fd = memfd_create("test", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
    ftruncate(&fd, len).unwrap();
    fcntl_add_seals(&fd, seals).unwrap();
    fd
}

/// What a client says to the answer that `reply` makes of its question for device info.
fn device_info(reply: impl FnOnce(&Message) -> Vec<u8> + Send + 'static) -> Error {
    let (client, server) = serve(|server| {
        let asked = server.next().unwrap();
        server.send(&reply(&asked));
        // What comes after a broken message would be seen as an answer to the next one.
        let info = [16_u32, 2, 10, 6].map(u32::to_le_bytes).concat();
        server.send(&message(asked.id + 1, 4, REPLY, 0, &info));
        assert!(server.next().is_none(), "nothing is asked of a server that broke the protocol");
    });
    let client = client.unwrap();
    let error = client.device_info().unwrap_err();
    assert!(error.is_gone(), "{error}");
    assert_eq!(client.device_info().unwrap_err(), error, "it stays that way");
    drop(client);
    server.join().unwrap();
    error
}

#[test]
fn large_accesses_go_in_pieces_that_the_server_takes() {
    let (client, server) = serve(|server| {
        let mut seen = Vec::new();
        while let Some(asked) = server.next() {
            let count = asked.word(12);
            seen.push((asked.command, asked.word(0), count, asked.payload.len()));
            let mut answer = asked.payload[..16].to_vec();
            if asked.command == 9 {
                answer.extend((0..count).map(|at| (asked.word(0) / 4096 + at) as u8));
            }
            server.send(&asked.reply(&answer));
        }
        assert_eq!(
            seen,
            [
                (9, 100, 4096, 16),
                (9, 4196, 4096, 16),
                (9, 8292, 8, 16),
                (10, 0, 4096, 4112),
                (10, 4096, 1, 17),
                (9, 16, 8, 16),
            ]
        );
    });
    let client = client.unwrap();
    let mut buf = vec![0; 8200];
    client.read(&known(1 << 20), 100, &mut buf).unwrap();
    assert_eq!((buf[0], buf[4096], buf[8192], buf[8199]), (0, 1, 2, 9));
    client.write(&known(1 << 20), 0, &[7; 4097]).unwrap();
    client.read(&known(1 << 20), 16, &mut buf[..8]).unwrap();
    let outside = client.read(&known(4096), 4090, &mut buf[..8]).unwrap_err();
    assert!(matches!(outside, Error::OutsideRegion { .. }));
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_no_is_an_errno_and_the_connection_lives_on() {
    let (client, server) = serve(|server| {
        for error in [22, 0, 13] {
            let asked = server.next().unwrap();
            server.send(&asked.with_flags(ERROR, error, &[]));
        }
    });
    let client = client.unwrap();
    let errnos = [(); 3].map(|()| client.reset().unwrap_err().errno().unwrap());
    assert_eq!(errnos, [E::INVAL, E::IO, E::ACCESS].map(Into::into));
    server.join().unwrap();
    assert_eq!(client.reset().unwrap_err(), Error::Gone(Gone::Closed));
}

#[test]
fn answers_to_something_else_are_refused() {
    let protocol = |error| match error {
        Error::Protocol(error) => error,
        other => panic!("{other}"),
    };
    let other = protocol(device_info(|m| message(m.id ^ 1, m.command, REPLY, 0, &[0; 16])));
    assert_eq!(other, ProtocolError::OtherReply { asked: (1, 4), got: (0, 4) });
    let other = protocol(device_info(|m| message(m.id, 5, REPLY, 0, &[0; 16])));
    assert_eq!(other, ProtocolError::OtherReply { asked: (1, 4), got: (1, 5) });
    let flags = protocol(device_info(|m| m.with_flags(3, 0, &[0; 16])));
    assert_eq!(flags, ProtocolError::Type { flags: 3 });
    for size in [0, 15, 31, 33, u32::MAX] {
        let error = protocol(device_info(move |m| {
            let mut reply = m.reply(&[0; 16]);
            reply[4..8].copy_from_slice(&size.to_le_bytes());
            reply
        }));
        assert_eq!(error, ProtocolError::Size { command: 4, size, least: 32, most: 32 });
    }
    let long = protocol(device_info(|m| m.with_flags(ERROR, 22, &[0; 16])));
    assert!(matches!(long, ProtocolError::Size { .. }));
}

#[test]
fn a_read_of_another_place_is_refused() {
    for change in [0, 8, 12] {
        let (client, server) = serve(move |server| {
            let asked = server.next().unwrap();
            let mut answer = asked.payload.clone();
            answer[change] ^= 1;
            answer.extend([0xaa; 8]);
            server.send(&asked.reply(&answer));
        });
        let error = client.unwrap().read(&known(4096), 64, &mut [0; 8]).unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::OtherAccess { .. })), "{error}");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_stops_half_way_is_gone() {
    let whole = message(1, 4, REPLY, 0, &[0; 16]).len();
    for bytes in 0..whole {
        let (client, server) = serve(move |server| {
            let asked = server.next().unwrap();
            server.send(&asked.reply(&[0; 16])[..bytes]);
        });
        let error = client.unwrap().device_info().unwrap_err();
        assert_eq!(error, Error::Gone(Gone::Closed), "after {bytes} bytes");
        server.join().unwrap();
    }
}

#[test]
fn a_server_that_does_not_answer_costs_one_time_out() {
    let (client, server) = serve(|server| while server.next().is_some() {});
    let client = client.unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        let silent = client.device_info().unwrap_err();
        assert_eq!(silent, Error::Gone(Gone::Silent { timeout: TIMEOUT }));
    }
    assert!((TIMEOUT..2 * TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
    drop(client);
    server.join().unwrap();
}

#[test]
fn a_server_that_trickles_costs_one_time_out() {
    let (client, server) = serve(|server| {
        let asked = server.next().unwrap();
        for byte in asked.reply(&[0; 16]) {
            server.send(&[byte]);
            thread::sleep(TIMEOUT / 8);
        }
    });
    let client = client.unwrap();
    let start = Instant::now();
    let late = client.device_info().unwrap_err();
    assert_eq!(late, Error::Gone(Gone::Silent { timeout: TIMEOUT }));
    assert!(start.elapsed() < 2 * TIMEOUT, "{:?}", start.elapsed());
    server.join().unwrap();
}

#[test]
fn a_server_that_reads_nothing_costs_one_time_out() {
    let (client, server) = serve(|server| {
        thread::sleep(3 * TIMEOUT);
        let _ = server.0.set_nonblocking(true);
    });
    let client = client.unwrap();
    let start = Instant::now();
    // Pieces of 4096 bytes, none of which is answered.
    let error = client.write(&known(1 << 30), 0, &vec![0; 1 << 24]).unwrap_err();
    assert_eq!(error, Error::Gone(Gone::Silent { timeout: TIMEOUT }));
    assert!(start.elapsed() < 2 * TIMEOUT, "{:?}", start.elapsed());
    server.join().unwrap();
}

#[test]
fn connecting_ends_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let missing = VfioUser::connect(&path, TIMEOUT).unwrap_err();
    assert_eq!(missing.errno(), Some(E::NOENT.into()), "{missing}");
    let long = VfioUser::connect(&dir.path().join("x".repeat(200)), TIMEOUT).unwrap_err();
    assert_eq!(long.errno(), Some(E::NAMETOOLONG.into()), "{long}");

    // Accepts nobody: the first ones wait for a version, the later ones for a place in the queue.
    let listener = UnixListener::bind(&path).unwrap();
    let silent = Error::Gone(Gone::Silent { timeout: TIMEOUT });
    assert_eq!(VfioUser::connect(&path, TIMEOUT).unwrap_err(), silent);
    let queue: Vec<_> = (0..).map_while(|_| connect_at_once(&path)).collect();
    assert!(queue.len() > 1);
    let start = Instant::now();
    assert_eq!(VfioUser::connect(&path, TIMEOUT).unwrap_err(), silent);
    assert!(start.elapsed() < 4 * TIMEOUT, "{:?}", start.elapsed());
    drop(listener);
    let dead = VfioUser::connect(&path, TIMEOUT).unwrap_err();
    assert_eq!(dead.errno(), Some(E::CONNREFUSED.into()), "{dead}");
}

fn connect_at_once(path: &std::path::Path) -> Option<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let stream = SocketType::STREAM;
    let fd = rustix::net::socket_with(AddressFamily::UNIX, stream, flags, None).unwrap();
    rustix::net::connect(&fd, &SocketAddrUnix::new(path).unwrap()).ok().map(|()| fd)
}

#[test]
fn a_version_that_is_not_ours_is_refused() {
    let (client, _) = start(|server| server.greet(1, 0, ""));
    let error = client.unwrap_err();
    assert_eq!(error.to_string(), "vfio-user server: server speaks version 1.0, asked was 0.1");
    let none = r#"{"capabilities":{"max_data_xfer_size":0}}"#;
    for capabilities in ["{", "[1", none] {
        let (client, _) = start(move |server| server.greet(0, 1, capabilities));
        let error = client.unwrap_err();
        assert!(matches!(error, Error::Protocol(ProtocolError::Capabilities { .. })), "{error}");
    }
}

#[test]
fn a_server_s_own_requests_are_refused_and_do_not_disturb() {
    let (client, server) = serve(|server| {
        let asked = server.next().unwrap();
        // DMA_READ, and a DMA_WRITE that wants no reply.
        server.send(&message(77, 11, 0, 0, &[0; 16]));
        server.send(&message(78, 12, 16, 0, &[0; 5000]));
        let info = [16_u32, 2, 10, 6].map(u32::to_le_bytes).concat();
        server.send(&asked.reply(&info));
        let refused = server.next().unwrap();
        assert_eq!((refused.id, refused.command, refused.flags), (77, 11, ERROR));
        assert_eq!(refused.error, E::OPNOTSUPP.raw_os_error() as u32);
        assert_eq!(server.next().unwrap().command, 13, "there is no reply to the second one");
    });
    let client = client.unwrap();
    assert_eq!(client.device_info().unwrap().num_regions, 10);
    assert!(client.reset().is_err());
    server.join().unwrap();
}

#[test]
fn a_server_that_only_asks_is_hung_up_on() {
    let error = device_info(|_| message(1, 11, 16, 0, &[0; 16]).repeat(64));
    assert_eq!(error, Error::Protocol(ProtocolError::Chatter { requests: 64 }));
}

/// Whether the other end of a pipe is closed everywhere.
fn is_closed(mut reader: std::io::PipeReader) -> bool {
    reader.read(&mut [0]).unwrap() == 0
}

#[test]
fn file_descriptors_that_are_too_many_are_closed() {
    // With an answer that has none, and with one that has more than are taken.
    for (count, most) in [(1, 0), (9, 8), (60, 8)] {
        let (reader, writer) = std::io::pipe().unwrap();
        let (client, server) = serve(move |server| {
            let asked = server.next().unwrap();
            let fds = vec![std::os::fd::AsFd::as_fd(&writer); count];
            let info = [16_u32, 2, 10, 6].map(u32::to_le_bytes).concat();
            server.send_with(&asked.reply(&info), &fds);
        });
        let client = client.unwrap();
        let error = client.device_info().unwrap_err();
        assert_eq!(error, Error::Protocol(ProtocolError::Fds { most }), "{count}");
        server.join().unwrap();
        assert!(is_closed(reader), "{count}");
    }
}

#[test]
fn surplus_files_of_a_region_are_closed() {
    let (reader, writer) = std::io::pipe().unwrap();
    let (client, server) = serve(move |server| {
        let sealed = memfd(8192, SealFlags::SHRINK);
        answer_region(server, &region(8192, 0), &[sealed, writer.into()]);
    });
    let client = client.unwrap();
    assert!(client.region_info(RegionIndex(9)).unwrap().flags.contains(RegionFlags::MMAP));
    server.join().unwrap();
    assert!(is_closed(reader));
}

/// What becomes of a region of 64 KiB from page 2 of `file` on, and of a mapping of it.
fn mapping_of(file: Option<OwnedFd>) -> (RegionFlags, Result<(), Error>) {
    let (client, server) = serve(|server| {
        let files: Vec<_> = file.into_iter().collect();
        let mut answer = region(64 << 10, 8192);
        // Mappable from its start on.
        answer[48..56].copy_from_slice(&0_u64.to_le_bytes());
        for _ in 0..2 {
            answer_region(server, &answer, &files);
        }
        // With a mapping in the client's hands.
        for file in &files {
            let _ = ftruncate(file, 0);
        }
    });
    let client = client.unwrap();
    let info = client.region_info(RegionIndex(9)).unwrap();
    let mapping = client.map(&info, 0, 4096);
    server.join().unwrap();
    let flags = info.flags;
    (flags, mapping.map(|mapping| assert!(mapping.copy_out(0, &mut [1; 4096]))))
}

#[test]
fn only_a_file_that_can_not_shrink_is_mapped() {
    let end = (64 << 10) + 8192;
    let (flags, mapped) = mapping_of(Some(memfd(end, SealFlags::SHRINK)));
    assert!(flags.contains(RegionFlags::MMAP));
    mapped.unwrap();

    let plain = tempfile::tempfile().unwrap();
    plain.set_len(end).unwrap();
    for (file, errno) in [
        (Some(memfd(end, SealFlags::empty())), E::PERM),
        (Some(memfd(end, SealFlags::GROW)), E::PERM),
        (Some(plain.into()), E::PERM),
        (None, E::OPNOTSUPP),
    ] {
        let (flags, mapped) = mapping_of(file);
        assert!(!flags.contains(RegionFlags::MMAP));
        // Without the flag nothing is mappable, so it is asked with the flags as they came.
        assert_eq!(mapped.unwrap_err().errno(), Some(errno.into()));
    }
}

#[test]
fn a_file_that_is_too_short_is_not_mapped() {
    let end = (64 << 10) + 8192;
    let (flags, mapped) = mapping_of(Some(memfd(end - 4096, SealFlags::SHRINK)));
    assert!(!flags.contains(RegionFlags::MMAP));
    mapped.expect("the first page is in the file");
    let (_, mapped) = mapping_of(Some(memfd(8192 + 4095, SealFlags::SHRINK)));
    assert_eq!(mapped.unwrap_err().errno(), Some(E::NXIO.into()));
}

#[test]
fn a_region_that_lies_is_an_error_of_its_own() {
    let lies: [(usize, u64); 4] = [(48, 60 << 10), (16, u64::MAX), (8, 8), (40, 1 << 16)];
    for (at, value) in lies {
        let (client, server) = serve(move |server| {
            let mut answer = region(64 << 10, 0);
            answer[at..at + 8].copy_from_slice(&value.to_le_bytes());
            answer_region(server, &answer, &[]);
            while let Some(asked) = server.next() {
                server.send(&asked.reply(&[]));
            }
        });
        let client = client.unwrap();
        let error = client.region_info(RegionIndex(9)).unwrap_err();
        assert!(matches!(error, Error::Region { .. }), "{at}: {error}");
        client.reset().expect("the connection is as it was");
        drop(client);
        server.join().unwrap();
    }
}

#[test]
fn a_region_of_giant_size_is_not_asked_for() {
    let (client, server) = serve(|server| {
        let asked = server.next().unwrap();
        let mut answer = region(64 << 10, 0);
        answer[..4].copy_from_slice(&u32::MAX.to_le_bytes());
        server.send(&asked.reply(&answer[..32]));
        assert!(server.next().is_none());
    });
    let client = client.unwrap();
    let error = client.region_info(RegionIndex(9)).unwrap_err();
    assert!(matches!(error, Error::Region { .. }), "{error}");
    drop(client);
    server.join().unwrap();
}

#[test]
fn interrupts_are_told_apart_and_set() {
    let (client, server) = serve(|server| {
        let asked = server.next().unwrap();
        assert_eq!((asked.command, asked.word(8)), (7, 5));
        server.send(&asked.reply(&[16_u32, 1, 5, 1].map(u32::to_le_bytes).concat()));
        let asked = server.next().unwrap();
        // DATA_EVENTFD | ACTION_TRIGGER; index, start, count.
        assert_eq!([0, 4, 8, 12, 16].map(|at| asked.word(at)), [20, 0x24, 5, 0, 1]);
        server.send(&asked.reply(&[]));
        let asked = server.next().unwrap();
        assert_eq!([0, 4, 8, 12, 16].map(|at| asked.word(at)), [20, 0x21, 5, 0, 0]);
        server.send(&asked.reply(&[]));
        let asked = server.next().unwrap();
        server.send(&asked.reply(&[16_u32, 1, 4, 1].map(u32::to_le_bytes).concat()));
    });
    let client = client.unwrap();
    let irq = client.irq_info(IrqIndex(5)).unwrap();
    assert_eq!((irq.index.0, irq.flags, irq.count), (5, 1, 1));
    let eventfd = memfd(0, SealFlags::empty());
    client.set_eventfd(IrqIndex(5), Some(std::os::fd::AsFd::as_fd(&eventfd))).unwrap();
    client.set_eventfd(IrqIndex(5), None).unwrap();
    let other = Error::Protocol(ProtocolError::OtherIrq { asked: 5, got: 4 });
    assert_eq!(client.irq_info(IrqIndex(5)), Err(other));
    server.join().unwrap();
}

/// Asks a server whose whole side of the conversation is `bytes`, all that there is to ask.
fn ask_all(bytes: Vec<u8>) {
    let (client, server) = UnixStream::pair().unwrap();
    let talk = thread::spawn(move || {
        let mut server = Server(server);
        server.send(&bytes);
        let _ = server.0.shutdown(std::net::Shutdown::Write);
        while server.next().is_some() {}
    });
    if let Ok(client) = VfioUser::new(client, Duration::from_secs(60)) {
        let _ = client.device_info();
        if let Ok(info) = client.region_info(RegionIndex(9)) {
            let _ = client.map(&info, 0, 4096);
        }
        let _ = client.read(&known(4096), 0, &mut [0; 8]);
        let _ = client.write(&known(4096), 0, &[0; 4]);
        let _ = client.irq_info(IrqIndex(0));
        let _ = client.set_eventfd(IrqIndex(0), None);
        let _ = client.reset();
    }
    talk.join().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_conversation_ends(
        messages in vec((0..16_u16, 0..64_u32, vec(any::<u8>(), 0..80), 0..20_u8), 0..12),
    ) {
        let mut bytes = message(0, 1, REPLY, 0, b"\0\0\x01\0{}\0");
        for (at, (command, flags, payload, lie)) in messages.into_iter().enumerate() {
            let start = bytes.len();
            // Mostly the right command with the right flags, so that it is not over at once.
            let command = if lie < 15 { [4, 5, 5, 9, 10, 7, 8, 13][at % 8] } else { command };
            let flags = if lie < 17 { REPLY } else { flags };
            bytes.extend(message(at as u16 + 1, command, flags, 0, &payload));
            if lie == 19 {
                bytes[start + 4] ^= 0xff;
            }
        }
        ask_all(bytes);
    }
}
