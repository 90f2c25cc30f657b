// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve --all`: displays of real processes, which come, stand still, and die.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::{All, MockDevice, Viewer, assert_same, serve_all, stderr};
use vfio_display::geometry::Size;
use vfio_display::testing::card::Card;
use vfio_display::testing::rng::Rng;

const SIZE: Size = Size::new(160, 128);
/// A device whose picture never changes.
const STILL: [&str; 4] = ["--size", "160x128", "--scene", "still"];
/// One that moves.
const MOVING: [&str; 4] = ["--size", "160x128", "--scene", "rows"];

fn assert_card(viewer: &mut Viewer) {
    let card = Card::new(SIZE, 0).picture();
    viewer.until("the card", |viewer| viewer.size == SIZE && viewer.pixels == opaque(&card));
}

fn opaque(pixels: &[u32]) -> Vec<u32> {
    pixels.iter().map(|pixel| pixel | 0xff00_0000).collect()
}

/// How often the threads of a process have gone to sleep or been put off the processor.
fn switches(pid: u32) -> BTreeMap<String, u64> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    let count = |status: &str| {
        let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
        counts.map(|(_, count)| count.trim().parse::<u64>().expect("a count")).sum()
    };
    let each = tasks.flatten().map(|task| {
        let status = fs::read_to_string(task.path().join("status")).expect("it runs");
        (task.file_name().to_string_lossy().into_owned(), count(&status))
    });
    each.collect()
}

/// Processor time of a process, in ticks of 10 ms, and its memory in KiB.
fn spent(pid: u32) -> (u64, u64) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let fields: Vec<_> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
    let number = |at: usize| fields[at].parse::<u64>().expect("a number");
    (number(11) + number(12), number(21) * 4)
}

#[test]
fn fifty_displays_cost_nothing_while_nobody_watches_and_leave_nothing() {
    const TIME: Duration = Duration::from_secs(3);
    let mut all = All::start(&["--rescan", "0"]);
    let base = all.at_rest();
    let name = |n: usize| format!("vm{n:02}");
    let mut devices: Vec<_> =
        (0..50).map(|n| MockDevice::at(all.device(&name(n)), &STILL)).collect();
    all.until("fifty displays", |all| all.displays.len() == 50);
    let idle = all.at_rest();
    let (_, unseen) = spent(all.pid());
    assert_eq!(idle.threads, base.threads + 100, "two for each, and one process");
    assert_eq!(idle.sockets, 50);
    for n in 0..50 {
        let path = all.dir().join(format!("{}.vnc", name(n)));
        assert_eq!(all.displays[&name(n)], format!("unix:{}", path.display()));
        assert_eq!(fs::metadata(&path).expect("a socket").permissions().mode() & 0o777, 0o600);
        let mut greeting = [0; 12];
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.read_exact(&mut greeting).expect("a greeting");
        assert_eq!(&greeting, b"RFB 003.008\n");
    }
    // Fifty viewers at a time, each of its own display.
    let mut viewers: Vec<_> = (0..50).map(|n| all.viewer(&name(n))).collect();
    viewers.iter_mut().for_each(assert_card);
    drop(viewers);
    all.until_holds(idle);
    thread::sleep(Duration::from_millis(500));

    let (before, (ticks, memory)) = (switches(all.pid()), spent(all.pid()));
    thread::sleep(TIME);
    let (after, (later, _)) = (switches(all.pid()), spent(all.pid()));
    let (ms, fds) = ((later - ticks) * 10, idle.fds - base.fds);
    println!("50 idle displays: {ms} ms of processor time in {TIME:?}, {fds} fds, {unseen} KiB");
    println!("{memory} KiB after each was watched");
    assert_eq!(before, after, "somebody woke up in {TIME:?}");

    devices.iter_mut().for_each(MockDevice::kill);
    all.until("the end of all", |all| all.displays.is_empty());
    all.until_holds(base);
    let (status, stderr) = all.stop();
    assert!(status.success() && stderr.is_empty(), "{status}: {stderr}");
}

/// VMs start and die as it happens, some at once with others, some while somebody watches.
#[test]
fn what_starts_and_dies_at_random_is_served_while_it_lives_and_leaves_nothing() {
    const ROUNDS: usize = 60;
    let mut all = All::start(&["--rescan", "0"]);
    let base = all.at_rest();
    let mut rng = Rng::new(7);
    let mut alive: BTreeMap<String, MockDevice> = BTreeMap::new();
    let mut viewers = Vec::new();
    for _ in 0..ROUNDS {
        for _ in 0..=rng.below(3) {
            let name = format!("vm{}", rng.below(16));
            match alive.remove(&name) {
                Some(mut device) if rng.percent(60) => device.kill(),
                Some(mut device) => assert!(device.stop().success()),
                None => {
                    let device = MockDevice::at(all.device(&name), &MOVING);
                    alive.insert(name, device);
                }
            }
        }
        all.take_events();
        viewers.truncate(4);
        if let Some(name) = all.displays.keys().nth(rng.below(16) as usize) {
            // It may be gone by now.
            viewers.extend(Viewer::connect(&all.displays[name]));
        }
        thread::sleep(Duration::from_millis(rng.below(60)));
    }
    let expected: BTreeSet<_> = alive.keys().cloned().collect();
    let served = |all: &All| all.displays.keys().cloned().collect::<BTreeSet<_>>();
    all.until("those that are alive", |all| served(all) == expected);
    let appeared = all.told.iter().filter(|event| event["event"] == "appeared").count();
    println!("{appeared} appeared, {} of them are there", expected.len());
    assert!(appeared > ROUNDS / 3 && !expected.is_empty());
    for name in &expected {
        let mut viewer = all.viewer(name);
        viewer.until("frames", |viewer| viewer.size == SIZE && viewer.updates > 2);
    }
    drop((viewers, alive));
    all.until("the end of all", |all| all.displays.is_empty());
    all.until_holds(base);
    let (status, stderr) = all.stop();
    // Who dies while it is opened is told.
    let fine = stderr.lines().all(|line| line.starts_with(" WARN vm"));
    assert!(status.success() && fine, "{status}: {stderr}");
}

/// Sockets of no good, and one good device among them.
#[test]
fn who_is_silent_or_talks_nonsense_holds_up_nobody_and_is_told_once() {
    let mut all = All::start(&["--rescan", "0"]);
    let devices = all.device("x").parent().expect("a directory").to_owned();
    // A thousand files that are no sockets, and sockets that nobody listens at any more.
    (0..1000).for_each(|n| fs::write(devices.join(format!("f{n}.sock")), "").expect("a file"));
    (0..20).for_each(|n| drop(UnixListener::bind(all.device(&format!("dead{n}")))));
    let tries = Arc::new(AtomicUsize::new(0));
    for (name, says) in [("silent", ""), ("nonsense", "\x7f\0\x01\0\x10\0\0\0\x03\0\0\0\0\0\0\0")] {
        let listener = UnixListener::bind(all.device(name)).expect("a socket");
        let tries = Arc::clone(&tries);
        thread::spawn(move || {
            // They stay open.
            let mut streams = Vec::new();
            for mut stream in listener.incoming().flatten() {
                tries.fetch_add(1, Ordering::Relaxed);
                let _ = stream.write_all(says.as_bytes());
                streams.push(stream);
            }
        });
    }
    let start = Instant::now();
    let mut good = MockDevice::at(all.device("good"), &MOVING);
    all.until("the good one", |all| all.displays.contains_key("good"));
    println!("served after {:?}", start.elapsed());
    let mut viewer = all.viewer("good");
    // Longer than it takes until the silent one is given up.
    while start.elapsed() < Duration::from_secs(8) {
        let before = viewer.updates;
        viewer.until("frames", |viewer| viewer.updates > before);
    }
    assert_eq!(all.displays.len(), 1);
    let tries = tries.load(Ordering::Relaxed);
    assert!((2..=8).contains(&tries), "{tries} tries in {:?}", start.elapsed());
    drop(viewer);
    good.kill();
    all.until("its end", |all| all.displays.is_empty());
    let (status, stderr) = all.stop();
    assert!(status.success(), "{status}: {stderr}");
    let told = |name: &str| stderr.lines().filter(|line| line.contains(name)).count();
    assert_eq!((told("silent: "), told("nonsense: "), told("dead")), (1, 1, 0), "{stderr}");
}

/// A device process that is stopped amid a look answers nothing until it is given up.
#[test]
fn a_device_that_stops_answering_delays_no_other() {
    let mut all = All::start(&["--rescan", "0"]);
    let frozen = MockDevice::at(all.device("frozen"), &MOVING);
    let _lively = MockDevice::at(all.device("lively"), &MOVING);
    all.until("both", |all| all.displays.len() == 2);
    let mut other = all.viewer("frozen");
    other.until("frames", |viewer| viewer.updates > 2);
    let mut viewer = all.viewer("lively");
    viewer.until("frames", |viewer| viewer.updates > 2);
    frozen.signal(Signal::STOP);
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    while start.elapsed() < Duration::from_secs(4) {
        let (at, before) = (Instant::now(), viewer.updates);
        viewer.until("a frame", |viewer| viewer.updates > before);
        longest = longest.max(at.elapsed());
    }
    println!("longest pause {longest:?}");
    // In one thread it would have been the five seconds that a server has to answer.
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    all.until("the frozen one's end", |all| !all.displays.contains_key("frozen"));
    frozen.signal(Signal::CONT);
    all.until("its return", |all| all.displays.contains_key("frozen"));
    all.viewer("frozen").until("frames", |viewer| viewer.updates > 2);
}

#[test]
fn no_more_are_served_than_was_said_and_the_next_has_the_place_of_one_that_went() {
    let mut all = All::start(&["--rescan", "0", "--most", "2"]);
    let mut devices: Vec<_> =
        ["a", "b"].iter().map(|name| MockDevice::at(all.device(name), &STILL)).collect();
    all.until("two", |all| all.displays.len() == 2);
    let _third = MockDevice::at(all.device("c"), &STILL);
    thread::sleep(Duration::from_millis(500));
    all.take_events();
    assert_eq!(all.displays.len(), 2);
    let first = Vec::from_iter(all.displays.keys().cloned());
    assert_eq!(first, ["a", "b"]);
    devices[0].kill();
    all.until("the third", |all| all.displays.contains_key("c"));
    assert_card(&mut all.viewer("c"));
    let (status, stderr) = all.stop();
    assert!(status.success(), "{status}: {stderr}");
    assert!(stderr.contains("2 displays are served, which is --most"), "{stderr}");
}

#[test]
fn what_was_there_before_is_served_and_what_was_left_over_goes() {
    let all = All::start(&["--rescan", "0"]);
    let _device = MockDevice::at(all.device("there"), &STILL);
    let mut other = MockDevice::at(all.device("other"), &STILL);
    let mut all = all;
    all.until("both", |all| all.displays.len() == 2);
    // One process has the directory.
    let dir = all.dir().to_string_lossy().into_owned();
    let second = serve_all(&["--dir", &dir]).output().expect("it runs");
    assert_eq!(second.status.code(), Some(5), "{}", stderr(&second));
    assert!(stderr(&second).contains(&dir), "{}", stderr(&second));

    other.kill();
    let mut all = all.start_again(&["--rescan", "0"]);
    all.until("the one that is left", |all| all.displays.len() == 1);
    assert_eq!(fs::read_dir(all.dir()).expect("a directory").count(), 1);
    let mut viewer = all.viewer("there");
    assert_card(&mut viewer);
    let (size, pixels) = (viewer.size, viewer.pixels.clone());
    assert_same(size, &Card::new(SIZE, 0).picture(), &pixels);
    // It ends under a viewer's hands.
    let (status, told) = all.stop();
    assert!(status.success() && told.is_empty(), "{status}: {told}");
    assert_eq!(fs::read_dir(all.dir()).expect("a directory").count(), 0);
}

#[test]
fn lines_for_people_name_the_display_and_its_socket() {
    let dirs = tempfile::tempdir().expect("a directory");
    let [displays, devices] = ["displays", "devices"].map(|name| dirs.path().join(name));
    fs::create_dir(&devices).expect("a directory");
    let mut device = MockDevice::at(devices.join("odd name.sock"), &STILL);
    let args = ["--dir", displays.to_str().expect("UTF-8")];
    let mut command = serve_all(&args);
    command.arg("--vfio-user-dir").arg(&devices).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("it runs");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut lines = String::new();
    for n in 0..4 {
        if n == 3 {
            device.kill();
        }
        stdout.read_line(&mut lines).expect("a line");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    assert!(child.wait().expect("it ends").success());
    let link = lines.lines().nth(1).expect("a line").to_owned();
    assert!(link.starts_with("http://127.0.0.1:") && link.contains("/?token="), "{link}");
    let expected = format!(
        "{dir}\n{link}\n\
         appeared odd%20name unix:{dir}/odd%20name.vnc\n\
         gone odd%20name: the device is gone: its server closed the connection\n",
        dir = displays.display()
    );
    assert_eq!(lines, expected);
}

#[test]
fn one_display_and_all_of_them_exclude_each_other() {
    let dir = tempfile::tempdir().expect("a directory");
    let nowhere = dir.path().join("no/such").to_string_lossy().into_owned();
    for (args, status, told) in [
        (&["mock"][..], 2, "cannot be used with"),
        (&["--vnc", "127.0.0.1:0"], 2, "cannot be used with"),
        (&["--record", "a.raw"], 2, "cannot be used with"),
        (&["--dma-buf"], 2, "cannot be used with"),
        (&["--reattach"], 2, "cannot be used with"),
        (&["--dbus"], 2, "cannot be used with"),
        (&["--most", "0"], 2, "--most"),
        (&["--dir", &nowhere], 3, "no/such"),
        (&["--dir", "/dev/null"], 3, "/dev/null"),
    ] {
        let output = serve_all(args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
    let neither = support::vfio_display(&["serve"]);
    assert_eq!(neither.status.code(), Some(2), "{}", stderr(&neither));
    let without = support::vfio_display(&["serve", "mock", "--dir", "/tmp"]);
    assert_eq!(without.status.code(), Some(2), "{}", stderr(&without));
}
