// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Nobody watches, so nothing is done: seen from outside, by strace and by the kernel's counts.

mod support;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use support::{ANY_PORT, MockDevice, Serve};

const TIME: Duration = Duration::from_secs(10);

/// The system calls of one thread in so many seconds: a line for each kind.
fn calls(thread: u32, time: Duration) -> Vec<String> {
    let dir = tempfile::tempdir().expect("a directory");
    let counts = dir.path().join("counts");
    let status = Command::new("timeout")
        .args(["--signal=INT", &time.as_secs().to_string(), "strace", "-q", "-c", "-o"])
        .arg(&counts)
        .args(["-p", &thread.to_string()])
        .status()
        .expect("strace is installed");
    assert!([Some(124), Some(130), Some(0)].contains(&status.code()), "{status}");
    let counts = fs::read_to_string(counts).expect("strace wrote it");
    let is_count = |line: &&str| {
        line.split_whitespace().next().is_some_and(|word| word.parse::<f64>().is_ok())
            && !line.trim_end().ends_with("total")
    };
    counts.lines().filter(is_count).map(str::to_owned).collect()
}

/// How often a thread has gone to sleep or been put off the processor.
fn switches(process: u32, thread: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/task/{thread}/status"));
    let status = status.expect("it runs");
    let counts = status.lines().filter_map(|line| line.split_once("voluntary_ctxt_switches:"));
    counts.map(|(_, count)| count.trim().parse::<u64>().expect("a count")).sum()
}

#[test]
#[ignore = "needs strace: cargo xtask test"]
fn nobody_watches_so_nothing_is_done() {
    let serve = Serve::at_any_port("mock:320x256", &[]);
    // The guest's thread is the mock's: it draws, as a guest does. These two are ours.
    let threads = [serve.pid(), serve.thread("vnc")];
    let mut viewer = serve.viewer();
    viewer.until("a picture", |viewer| viewer.updates > 0);
    // Watched, it looks 60 times a second: what follows can be seen this way.
    let busy = thread::spawn(move || calls(threads[0], Duration::from_secs(2)));
    while !busy.is_finished() {
        viewer.read(Duration::from_millis(100)).expect("it serves");
    }
    let busy = busy.join().expect("strace ran").join("\n");
    assert!(busy.contains("poll"), "{busy}");
    drop(viewer);
    thread::sleep(Duration::from_millis(500));

    let before = threads.map(|thread| switches(serve.pid(), thread));
    thread::sleep(TIME);
    let after = threads.map(|thread| switches(serve.pid(), thread));
    assert_eq!(before, after, "nobody woke up in {TIME:?}");
    for thread in threads {
        let calls = calls(thread, TIME);
        assert!(calls.is_empty(), "{}", calls.join("\n"));
    }
    serve.stop();
}

/// A process that is killed says no more by what.
#[cfg(debug_assertions)]
#[test]
#[ignore = "needs strace: cargo xtask test"]
fn the_call_that_is_forbidden_is_the_one_that_kills() {
    let device = MockDevice::start(&["--size", "320x200"]);
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("log");
    for (what, call) in [
        ("read:/etc/passwd", "openat(AT_FDCWD, \"/etc/passwd\", O_RDONLY"),
        ("ioctl", "ioctl(0, FIONREAD"),
        ("exec:/bin/true", "execve(\"/bin/true\""),
    ] {
        let status = Command::new("strace")
            .args(["-f", "-o", log.to_str().expect("UTF-8"), env!("CARGO_BIN_EXE_vfio-display")])
            .args(["serve", &device.dev()])
            .args(ANY_PORT)
            .env("VFIO_DISPLAY_TEST_FORBIDDEN", what)
            .status()
            .expect("strace is installed");
        assert!(!status.success(), "{what}: {status}");
        let log = fs::read_to_string(&log).expect("strace wrote it");
        // Other threads may be in calls as well. Of the one that made this, there is only the end.
        let mut lines = log.lines().skip_while(|line| !line.contains(call));
        let made = lines.next().unwrap_or_else(|| panic!("{what}: {log}"));
        let (id, _) = made.split_once(' ').expect("a thread's id");
        let ends = ["+++ killed by SIGSYS", "--- SIGSYS", "resumed>"];
        let mut rest = lines.filter(|line| line.split_once(' ').is_some_and(|(of, _)| of == id));
        assert!(rest.all(|line| ends.iter().any(|end| line.contains(end))), "{what}: {log}");
        assert!(log.contains("+++ killed by SIGSYS"), "{what}: {log}");
    }
}
