// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` on mocks: where it listens, what viewers see and do, how it ends.

mod support;

use std::net::TcpListener;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use support::{ANY_PORT, Serve, Viewer, assert_same, serve, stderr, wait_for};
use vfio_display::geometry::Size;
use vfio_display::testing::card::Card;

const SIZE: Size = Size::new(320, 256);
const DEV: &str = "mock:320x256";

/// The colour of what the mock's guest draws of its input.
const INK: u32 = 0xffff_b020;

/// How much of it there is where the guest writes what it was sent last: above the card's own.
fn ink(viewer: &Viewer) -> usize {
    viewer.pixels[..320 * 24].iter().filter(|pixel| **pixel == INK).count()
}

/// Which frame of the card it is, `after` or a later one. A guest that draws while it is looked at
/// may be caught between two, which is none.
fn frame(size: Size, pixels: &[u32], after: u64) -> Option<u64> {
    if pixels.len() as u64 != size.area() {
        return None;
    }
    // Frames are told apart by a row of the frame number before all else is compared.
    let number = Card::new(size, 0).moving()[1];
    let y = number.y + number.height / 2;
    let row = &pixels[(y * size.width) as usize..][..size.width as usize];
    let mut expected = vec![0; row.len()];
    let same = |a: &[u32], b: &[u32]| a.iter().zip(b).all(|(a, b)| (a ^ b) & 0xff_ffff == 0);
    (after..after + 1200).find(|n| {
        let card = Card::new(size, *n);
        card.row(y, &mut expected);
        same(&expected, row) && same(&card.picture(), pixels)
    })
}

/// Waits for a picture that is one of the card's, in every pixel; answers with its number.
fn until_exact(viewer: &mut Viewer, size: Size, after: u64) -> u64 {
    let mut found = None;
    viewer.until("an exact picture", |viewer| {
        found = (viewer.size == size).then(|| frame(size, &viewer.pixels, after)).flatten();
        found.is_some()
    });
    found.expect("waited for")
}

#[test]
fn a_viewer_sees_each_pixel_as_it_moves() {
    let serve = Serve::at_any_port(DEV, &[]);
    assert!(serve.address.starts_with("vnc://127.0.0.1:"), "{}", serve.address);
    assert!(!serve.address.ends_with(":0"), "{}", serve.address);
    let mut viewer = serve.viewer();
    assert_eq!((viewer.size, viewer.name.as_str()), (SIZE, "mock:well-behaved:320x256"));
    let mut last = until_exact(&mut viewer, SIZE, 0);
    for _ in 0..5 {
        last = until_exact(&mut viewer, SIZE, last + 1);
    }
    serve.stop();
}

#[test]
fn every_mock_that_can_be_read_is_served() {
    for dev in ["mock:region:320x256", "mock:mdpy:320x256", "mock:mbochs-rw:320x256"] {
        let serve = Serve::at_any_port(dev, &[]);
        until_exact(&mut serve.viewer(), SIZE, 0);
        serve.stop();
    }
}

#[test]
fn the_guest_takes_the_size_that_a_viewer_asks_for() {
    let serve = Serve::at_any_port(DEV, &["--resize"]);
    let mut viewer = serve.viewer();
    until_exact(&mut viewer, SIZE, 0);
    for size in [Size::new(640, 400), Size::new(304, 200)] {
        viewer.set_desktop_size(size);
        until_exact(&mut viewer, size, 0);
        // One that comes later sees the same.
        until_exact(&mut serve.viewer(), size, 0);
    }
    serve.stop();
}

#[test]
fn a_size_is_not_taken_unless_that_was_allowed() {
    let serve = Serve::at_any_port(DEV, &[]);
    let mut viewer = serve.viewer();
    viewer.until("a picture", |viewer| viewer.updates > 0);
    viewer.set_desktop_size(Size::new(640, 400));
    viewer.until("an answer", |viewer| !viewer.answers.is_empty());
    assert_eq!((viewer.answers.as_slice(), viewer.size), (&[1][..], SIZE), "prohibited");
    serve.stop();
}

#[test]
fn a_key_and_the_pointer_are_seen_on_the_screen() {
    let serve = Serve::at_any_port(DEV, &[]);
    let mut viewer = serve.viewer();
    until_exact(&mut viewer, SIZE, 0);
    assert_eq!(ink(&viewer), 0);
    viewer.key(0x61, true);
    viewer.until("KEY 30 DOWN", |viewer| ink(viewer) > 50);
    let down = ink(&viewer);
    viewer.key(0x61, false);
    viewer.until("KEY 30 UP", |viewer| (30..down).contains(&ink(viewer)));
    viewer.pointer(40, 130);
    viewer.until("the cross", |viewer| viewer.pixels[130 * 320 + 40] == INK);
    serve.stop();
}

#[test]
fn who_may_only_look_changes_nothing() {
    let serve = Serve::at_any_port(DEV, &["--view-only", "--resize"]);
    let mut viewer = serve.viewer();
    viewer.key(0x61, true);
    viewer.pointer(40, 130);
    viewer.set_desktop_size(Size::new(640, 400));
    viewer.until("half a second of frames", |viewer| viewer.updates > 30);
    assert_eq!((ink(&viewer), viewer.size), (0, SIZE));
    serve.stop();
}

#[test]
fn looks_come_as_often_as_was_asked_for() {
    let serve = Serve::at_any_port(DEV, &["--fps", "5"]);
    let mut viewer = serve.viewer();
    viewer.until("the first", |viewer| viewer.updates > 0);
    let start = Instant::now();
    viewer.until("ten more", |viewer| viewer.updates > 10);
    // Never sooner; later only as far as the machine is slow.
    assert!(start.elapsed() > Duration::from_millis(1700), "{:?}", start.elapsed());
    serve.stop();
}

#[test]
fn a_port_that_is_taken_is_passed_over_unless_it_was_asked_for() {
    // If it fails, somebody else has it.
    let taken = TcpListener::bind("127.0.0.1:5900");
    let mut one = Serve::start(DEV, &[]);
    assert!(one.line().starts_with("http://127.0.0.1:"), "a page beside it");
    let port: u16 = one.address.rsplit(':').next().and_then(|p| p.parse().ok()).expect("a port");
    assert!((5901..6000).contains(&port), "{}", one.address);
    until_exact(&mut one.viewer(), SIZE, 0);

    let named = format!("127.0.0.1:{port}");
    let output = serve(DEV, &["--vnc", &named]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains(&named), "{}", stderr(&output));
    assert!(stderr(&output).to_lowercase().contains("in use"), "{}", stderr(&output));
    one.stop();
    drop(taken);
}

#[test]
fn what_can_not_be_served_is_said_with_its_status() {
    let socket = |path: &str| format!("unix:{path}");
    for (dev, vnc, status, told) in [
        (DEV, "0.0.0.0:5900".to_owned(), 2, "--allow-remote"),
        (DEV, "192.0.2.1:5900".to_owned(), 2, "from other machines"),
        (DEV, "localhost".to_owned(), 2, "IP:PORT"),
        (DEV, socket("/no/such/dir/s"), 3, "/no/such/dir/s"),
        (DEV, socket("/dev/null"), 5, "/dev/null"),
        ("mock:vfio-pci", "127.0.0.1:0".to_owned(), 6, "ENOTTY"),
        ("pid:4194304", "127.0.0.1:0".to_owned(), 3, "no process 4194304"),
    ] {
        let output = serve(dev, &["--vnc", &vnc]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(status), "{vnc}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{vnc}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{vnc}");
    }
}

#[test]
fn a_socket_file_is_its_owners_and_goes_with_the_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("vm1.sock");
    let address = format!("unix:{}", path.display());
    for signal in [Signal::INT, Signal::TERM] {
        let mut serve = Serve::start(DEV, &["--vnc", &address]);
        assert_eq!(serve.address, address);
        let meta = path.metadata().expect("a file");
        assert!(meta.file_type().is_socket());
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777, 0o600);
        // It ends under a viewer's hands.
        let mut viewer = serve.viewer();
        viewer.until("a picture", |viewer| viewer.updates > 0);
        serve.signal(signal);
        let (status, stderr) = serve.ended();
        assert!(status.success() && stderr.is_empty(), "{signal:?}: {status}: {stderr}");
        assert!(!path.exists(), "{signal:?}");
    }
}

#[test]
fn json_tells_the_address_and_the_error() {
    let serving = Serve::at_any_port(DEV, &["--json"]);
    let told: Value = serde_json::from_str(&serving.address).expect("JSON");
    assert_eq!(told["device"], "mock:well-behaved:320x256");
    let vnc = told["vnc"].as_str().expect("an address");
    Viewer::connect(vnc).expect("it serves there");
    serving.stop();
    let output = serve(DEV, &["--vnc", "0.0.0.0:1", "--json"]).output().expect("it runs");
    let told: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!((&told["kind"], &told["status"]), (&"usage".into(), &2.into()));
}

/// The pictures of a recording.
fn recorded(path: &Path, size: Size) -> Vec<Vec<u32>> {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let picture = size.area() as usize * 4;
    assert!(
        !bytes.is_empty() && bytes.len().is_multiple_of(picture),
        "{} bytes of {size}",
        bytes.len()
    );
    let pixel = |p: &[u8]| 0xff00_0000 | u32::from_le_bytes([p[0], p[1], p[2], 0]);
    bytes.chunks_exact(picture).map(|p| p.chunks_exact(4).map(pixel).collect()).collect()
}

/// All that does not move is the card's in every picture, and the frames that were caught whole
/// come in their order. Answers with how many those are.
fn check_recording(size: Size, pictures: &[Vec<u32>]) -> usize {
    let card = Card::new(size, 0).picture();
    let moving: Vec<_> = Card::new(size, 0).moving().iter().map(|r| r.y..r.y + r.height).collect();
    let (mut last, mut whole) = (0, 0);
    for picture in pictures {
        for (y, row) in (0..).zip(picture.chunks_exact(size.width as usize)) {
            if !moving.iter().any(|rows| rows.contains(&y)) {
                let from = (y * size.width) as usize;
                assert_same(Size::new(size.width, 1), &card[from..from + row.len()], row);
            }
        }
        if let Some(n) = frame(size, picture, last) {
            (last, whole) = (n, whole + 1);
        }
    }
    whole
}

#[test]
fn a_recording_is_whole_pictures_and_a_file_for_each_size() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("screen.raw");
    let name = path.to_str().expect("UTF-8");
    let serve = Serve::at_any_port(DEV, &["--resize", "--fps", "20", "--record", name]);
    let start = Instant::now();
    // Nobody has to look for that.
    wait_for("two seconds", Duration::from_secs(10), || {
        path.metadata().is_ok_and(|meta| meta.len() > SIZE.area() * 4 * 40).then_some(())
    });
    // A viewer that joins sees it all the same, also what was there before it came.
    let mut viewer = serve.viewer();
    until_exact(&mut viewer, SIZE, 0);
    let other = Size::new(304, 200);
    viewer.set_desktop_size(other);
    until_exact(&mut viewer, other, 0);
    let next = dir.path().join("screen-2.raw");
    wait_for("the next file", Duration::from_secs(10), || {
        next.metadata().is_ok_and(|meta| meta.len() > other.area() * 4 * 20).then_some(())
    });
    // Keys make for more looks, not for more pictures.
    (0..200).for_each(|_| viewer.key(0xffe1, true));
    let lasted = start.elapsed();
    serve.stop();
    let (first, second) = (recorded(&path, SIZE), recorded(&next, other));
    let pictures = (first.len() + second.len()) as f64;
    let due = lasted.as_secs_f64() * 20.0;
    assert!((pictures - due).abs() < 20.0, "{pictures} pictures in {lasted:?}");
    assert!(check_recording(SIZE, &first) >= first.len() / 2, "most are caught whole");
    assert_eq!(std::fs::read_dir(&dir).expect("a directory").count(), 2);
}

#[test]
fn a_recording_into_a_pipe_that_is_closed_is_an_error() {
    let mut command = serve(DEV, &[&ANY_PORT[..], &["--record", "-"]].concat());
    let mut child = command.spawn().expect("it runs");
    let mut picture = vec![0; SIZE.area() as usize * 4];
    let mut pipe = child.stdout.take().expect("a pipe");
    std::io::Read::read_exact(&mut pipe, &mut picture).expect("a picture");
    drop(pipe);
    let status = wait_for("its end", Duration::from_secs(10), || child.try_wait().expect("ours"));
    let output = child.wait_with_output().expect("it has ended");
    let told = stderr(&output);
    assert_eq!(status.code(), Some(11), "{told}");
    // The address is there too, since standard output was the recording's.
    assert!(told.contains("vnc://127.0.0.1:"), "{told}");
    assert!(told.contains("the recording can't be written: Broken pipe"), "{told}");
    let wrong = serve(DEV, &["--record", "/no/such/dir/a.raw"]).output().expect("it runs");
    assert_eq!(wrong.status.code(), Some(11), "{}", stderr(&wrong));
}

#[test]
fn a_reader_that_has_stopped_does_not_keep_it_alive() {
    let mut command = serve("mock:1024x768", &[&ANY_PORT[..], &["--record", "-"]].concat());
    let mut child = command.spawn().expect("it runs");
    // More than a pipe holds is under way by then.
    thread::sleep(Duration::from_millis(500));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::TERM).expect("it runs");
    let status = wait_for("its end", Duration::from_secs(10), || child.try_wait().expect("ours"));
    assert_eq!(status.code(), Some(0));
    drop(child.stdout.take());
}

/// The crate has this of its own; here it is about the whole command.
#[test]
fn nineteen_viewers_do_not_wait_for_the_twentieth() {
    let serve = Serve::at_any_port(DEV, &[]);
    let mut stalled = serve.viewer();
    stalled.ask_and_never_read(400);
    let viewers: Vec<_> = (0..19).map(|_| serve.viewer()).collect();
    let start = Instant::now();
    let threads = viewers.into_iter().map(|mut viewer| {
        thread::spawn(move || {
            viewer.until("sixty updates", |viewer| viewer.updates >= 60);
            until_exact(&mut viewer, SIZE, 0);
        })
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().for_each(|thread| thread.join().expect("each sees it move"));
    println!("60 updates for each of 19 in {:?}", start.elapsed());
    serve.stop();
}
