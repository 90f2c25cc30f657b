// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The server as displays and embedders meet it.

mod common;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use common::format::XRGB;
use common::server::{Desk, fds, memory, short, threads, until};
use common::viewer::{CURSOR, DESKTOP_SIZE, ZRLE};
use common::{Kind, Random, Viewer, change, draw};
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::input::{BTN_LEFT, Event};
use vfio_display::sink::Sink;
use vfio_display::{Cursor, Picture};
use vfio_display_vnc::{Limits, ListenError};

/// Fds are counted by process, so those who count run alone.
static ALONE: Mutex<()> = Mutex::new(());

const SIZE: Size = Size::new(320, 200);

fn wrong<S>(viewer: &Viewer<S>, picture: &Picture) -> usize {
    let want = picture.pixels().iter().map(|p| p & 0xff_ffff);
    assert_eq!(viewer.pixels.len(), picture.pixels().len());
    want.zip(&viewer.pixels).filter(|(a, b)| a != *b).count()
}

#[test]
fn nobody_looks_so_nothing_is_copied_and_then_all_of_it() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    assert!(desk.server.takes().idle);
    draw(&mut desk.picture, SIZE.rect(), Kind::Many, &mut Random(1));
    desk.show_whole();
    // It was let go by: a viewer that comes now sees the guest's size, and its picture, once the
    // display has looked again.
    let mut viewer = desk.viewer(&[ZRLE]);
    assert_eq!(viewer.size, (320, 200));
    assert_eq!(wrong(&viewer, &desk.picture), 0);
    let takes = desk.server.takes();
    assert!(!takes.idle && !takes.cursor, "this one draws no pointer");
    assert_eq!(*desk.heard.viewers.lock().unwrap(), [1]);
    for _ in 0..20 {
        let rect = change(&mut desk.picture, &mut Random(2));
        desk.show(&[rect]);
        viewer.request(true).unwrap();
        viewer.update().unwrap();
        assert_eq!(wrong(&viewer, &desk.picture), 0);
    }
    drop(viewer);
    until("idle", || desk.server.takes().idle);
    assert_eq!(*desk.heard.viewers.lock().unwrap(), [1, 0]);
}

/// How often the server's thread went to sleep.
fn sleeps() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let status = tasks.map(|task| std::fs::read_to_string(task.path().join("status")));
    let ours = status.flatten().find(|status| status.starts_with("Name:\tvnc\n")).unwrap();
    let line = ours.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn nothing_wakes_the_server_without_a_reason() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    desk.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    for somebody in [false, true] {
        let _viewer = somebody.then(|| desk.viewer(&[ZRLE]));
        std::thread::sleep(Duration::from_millis(100));
        let before = sleeps();
        std::thread::sleep(Duration::from_millis(400));
        assert_eq!(sleeps(), before, "a viewer: {somebody}");
    }
}

#[test]
fn a_mode_that_was_set_while_nobody_looked() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    drop(desk.viewer(&[ZRLE]));
    until("gone", || desk.server.viewers() == 0);
    // A look, and then the display is parked: it is not asked and brings no frame.
    assert!(desk.server.takes().idle);
    desk.picture = Picture::new(Size::new(64, 32));
    let stream = desk.stream();
    let viewer = std::thread::spawn(|| Viewer::connect(stream).unwrap());
    until("here", || desk.server.viewers() == 1);
    std::thread::sleep(Duration::from_millis(50));
    desk.show_whole();
    assert_eq!(viewer.join().unwrap().size, (64, 32), "not what it was before");
}

#[test]
fn no_signal_where_there_is_none() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, short());
    let stream = desk.stream();
    let mut viewer = Viewer::connect(stream).unwrap();
    assert_eq!(viewer.size, (640, 480));
    viewer.set_encodings(&[ZRLE, DESKTOP_SIZE]).unwrap();
    viewer.request(false).unwrap();
    viewer.update().unwrap();
    let first = viewer.pixels[0];
    let letters = viewer.pixels.iter().filter(|p| **p != first).count();
    assert!(letters > 500 && letters < 60_000, "{letters}");
    desk.show_whole();
    viewer.request(true).unwrap();
    viewer.update().unwrap();
    assert_eq!((viewer.size, wrong(&viewer, &desk.picture)), ((320, 200), 0));
    desk.server.blank().unwrap();
    viewer.request(true).unwrap();
    viewer.update().unwrap();
    assert_eq!((viewer.size, viewer.pixels[0]), ((320, 200), first));
}

#[test]
fn input_reaches_the_back_channel_and_is_let_go() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    let mut viewer = desk.viewer(&[ZRLE]);
    viewer.send(&[4, 1, 0, 0, 0, 0, 0, 0x61]).unwrap();
    viewer.send(&[5, 1, 0, 10, 0, 20]).unwrap();
    viewer.send(&[251, 0, 4, 0, 3, 0, 0, 0]).unwrap();
    drop(viewer);
    until("gone", || desk.server.viewers() == 0);
    let key = |down| Event::Key { code: 30, down };
    let left = |down| Event::Button { code: BTN_LEFT, down };
    let pointer = Event::Pointer { at: Point::new(10, 20), screen: SIZE };
    let events = desk.heard.events.lock().unwrap();
    assert_eq!(*events, [key(true), pointer, left(true), key(false), left(false)]);
    assert_eq!(*desk.heard.sizes.lock().unwrap(), [Size::new(1024, 768)]);
}

#[test]
fn the_pointer_is_drawn_by_all_or_by_the_display() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    let mut draws = desk.viewer(&[ZRLE, CURSOR]);
    assert!(desk.server.takes().cursor);
    let mut shape = Picture::new(Size::new(3, 2));
    shape.rows_mut().for_each(|row| row.fill(0xffff_ffff));
    let (hotspot, position) = (Point::new(1, 1), Point::new(5, 5));
    let cursor = Cursor { shape: &shape, hotspot, position, shape_changed: true };
    desk.server.cursor(Some(&cursor)).unwrap();
    draws.request(true).unwrap();
    draws.read().unwrap();
    let (width, height, x, y, _) = draws.cursor.clone().unwrap();
    // The first thing a viewer hears is that there is none; the shape comes then.
    if (width, height) == (0, 0) {
        draws.request(true).unwrap();
        draws.read().unwrap();
    } else {
        assert_eq!((width, height, x, y), (3, 2, 1, 1));
    }
    assert_eq!(draws.cursor.as_ref().unwrap().0, 3);
    let does_not = desk.viewer(&[ZRLE]);
    assert!(!desk.server.takes().cursor);
    draws.request(false).unwrap();
    draws.update().unwrap();
    assert_eq!(draws.cursor.as_ref().unwrap().0, 0, "it is in the picture now");
    drop(does_not);
    until("all draw", || desk.server.takes().cursor);
}

#[test]
fn listens_where_only_this_machine_or_user_can_connect() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let desk = Desk::new(SIZE, short());
    for open in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let result = desk.server.listen_tcp(open.parse().unwrap());
        assert!(matches!(result, Err(ListenError::NotLoopback(_))), "{open}");
    }
    let at = desk.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    Viewer::connect(std::net::TcpStream::connect(at).unwrap()).unwrap();
    assert!(matches!(desk.server.listen_tcp(at), Err(ListenError::Io { .. })), "taken");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vnc");
    desk.server.listen_unix(&path).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    Viewer::connect(UnixStream::connect(&path).unwrap()).unwrap();
    assert!(desk.server.listen_unix(&path).is_err(), "somebody listens");
    drop(desk);
    assert!(!path.exists());

    // A dead server's file is replaced, any other is left alone.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let desk = Desk::new(SIZE, short());
    desk.server.listen_unix(&path).unwrap();
    Viewer::connect(UnixStream::connect(&path).unwrap()).unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "kept").unwrap();
    assert!(desk.server.listen_unix(&file).is_err());
    assert_eq!(std::fs::read(&file).unwrap(), b"kept");
}

#[test]
fn one_of_twenty_stalls_and_the_others_keep_their_rate() {
    const FRAMES: u32 = 120;
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(Size::new(640, 400), Limits::default());
    let mut viewers: Vec<_> = (0..19).map(|_| desk.viewer(&[ZRLE])).collect();
    let mut stalled = desk.viewer(&[0]);
    // It asks for more than its socket takes, and reads none of it.
    (0..4).for_each(|_| stalled.request(false).unwrap());
    let mut random = Random(3);
    let mut slowest = Duration::ZERO;
    let done = std::sync::atomic::AtomicBool::new(false);
    let counts: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = viewers
            .iter_mut()
            .map(|viewer| {
                let done = &done;
                scope.spawn(move || {
                    viewer.stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
                    let mut count = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        viewer.request(true).unwrap();
                        match viewer.read() {
                            Ok(_) => count += 1,
                            Err(_) => break,
                        }
                    }
                    count
                })
            })
            .collect();
        for _ in 0..FRAMES {
            let rect = Rect { x: random.below(600), y: random.below(380), width: 24, height: 16 };
            draw(&mut desk.picture, rect, Kind::Text, &mut random);
            let start = Instant::now();
            desk.show(&[rect]);
            slowest = slowest.max(start.elapsed());
            std::thread::sleep(Duration::from_millis(16));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    // A frame may be merged into the next where the machine is busy; not most of them.
    assert!(counts.iter().all(|count| *count > FRAMES / 2), "{counts:?}");
    assert!(slowest < Duration::from_millis(100), "a frame took {slowest:?}");
    // Late, it sees the latest all the same.
    stalled.request(true).unwrap();
    for _ in 0..8 {
        if wrong(&stalled, &desk.picture) == 0 {
            break;
        }
        stalled.read().unwrap();
        stalled.request(false).unwrap();
    }
    assert_eq!(wrong(&stalled, &desk.picture), 0);
}

#[test]
fn a_thousand_viewers_come_and_go_and_nothing_stays() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let (fds_before, threads_before) = (fds(), threads());
    {
        let mut desk = Desk::new(Size::new(64, 48), Limits::default());
        let mut random = Random(4);
        let mut stays = desk.viewer(&[ZRLE, DESKTOP_SIZE]);
        let mut here = Vec::new();
        let mut settled = 0;
        for round in 0..1000 {
            if round == 300 {
                settled = memory();
            }
            match random.below(4) {
                // Amid the handshake, after it, or amid an update.
                0 => here.push(desk.stream()),
                1 => {
                    let mut stream = desk.stream();
                    use std::io::Write;
                    stream
                        .write_all(&b"RFB 003.008\n\x01\x01"[..random.below(15) as usize])
                        .unwrap();
                    here.push(stream);
                }
                _ => {
                    let mut viewer = desk.viewer(&[[0, 7, ZRLE][random.below(3) as usize]]);
                    viewer.request(false).unwrap();
                    here.push(viewer.stream);
                }
            }
            while here.len() > random.below(8) as usize {
                here.swap_remove(random.below(here.len() as u32) as usize);
            }
            // Every change of mode is a new picture.
            desk.picture = Picture::new(Size::new(random.below(90) + 1, random.below(60) + 1));
            let whole = desk.picture.size().rect();
            draw(&mut desk.picture, whole, Kind::Many, &mut random);
            desk.show_whole();
            if round % 100 == 0 {
                assert!(fds() < fds_before + 60, "{} fds", fds());
                assert!(threads() == threads_before + 1, "{} threads", threads());
            }
        }
        drop(here);
        // A zlib stream of each that left would be some 200 MB.
        assert!(memory() < settled + 20_000, "{} KB more", memory() - settled);
        until("only one is left", || desk.server.viewers() == 1);
        stays.request(false).unwrap();
        while stays.size
            != (desk.picture.size().width as usize, desk.picture.size().height as usize)
            || wrong(&stays, &desk.picture) > 0
        {
            stays.read().unwrap();
            stays.request(true).unwrap();
        }
    }
    assert_eq!((fds(), threads()), (fds_before, threads_before));
}

#[test]
fn formats_of_viewers_do_not_meet() {
    let _alone = ALONE.lock().unwrap_or_else(|e| e.into_inner());
    let mut desk = Desk::new(SIZE, Limits::default());
    draw(&mut desk.picture, SIZE.rect(), Kind::Smooth, &mut Random(5));
    let mut one = desk.viewer(&[ZRLE]);
    let mut two = desk.viewer(&[7]);
    two.set_format(common::format::BGR233).unwrap();
    for _ in 0..5 {
        let rect = change(&mut desk.picture, &mut Random(6));
        desk.show(&[rect]);
        two.request(false).unwrap();
        two.update().unwrap();
        one.request(false).unwrap();
        one.update().unwrap();
        assert_eq!((one.format, wrong(&one, &desk.picture)), (XRGB, 0));
        let want = desk.picture.pixels().iter().map(|p| two.format.pack(*p));
        assert!(want.eq(two.pixels.iter().copied()));
    }
}

#[test]
fn a_handle_brings_viewers_and_outlives_the_server() {
    let mut desk = Desk::new(Size::new(200, 120), Limits::default());
    let handle = desk.server.handle();
    assert!(!handle.has_signal() && !handle.is_stopped());
    let (ours, theirs) = UnixStream::pair().unwrap();
    handle.serve(Box::new(theirs)).unwrap();
    let mut greeting = [0; 12];
    (&ours).read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"RFB 003.008\n");
    desk.show_whole();
    let _viewer = desk.viewer(&[ZRLE]);
    assert!(handle.has_signal());
    assert_eq!((handle.size(), handle.viewers()), (Size::new(200, 120), 1));
    desk.server.blank().unwrap();
    assert!(!handle.has_signal());

    drop(desk);
    assert!(handle.is_stopped());
    let (ours, theirs) = UnixStream::pair().unwrap();
    let refused = handle.serve(Box::new(theirs)).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotConnected);
    // And nothing keeps it open.
    assert_eq!((&ours).read(&mut [0]).unwrap(), 0);
}
