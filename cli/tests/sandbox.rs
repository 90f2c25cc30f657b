// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What `vfio-display serve` can't do any more once it serves.
#![cfg_attr(not(debug_assertions), allow(dead_code, reason = "only builds for tests try it"))]

mod support;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::time::Duration;

use support::{ANY_PORT, MockDevice, Serve, serve, stderr, wait_for};

const MOCK: &str = "mock:320x256";
const SIGSYS: i32 = 31;
/// A user and a group that nobody has.
const USER: u32 = 47_110;
const GROUP: u32 = 47_111;

/// How a try of something forbidden ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ended {
    /// By this signal.
    Killed(Option<i32>),
    /// With this answer; the command would have gone on.
    Said(String),
}

/// Has the command try `what` once it is confined. Only a build for tests does.
fn attempt(dev: &str, args: &[&str], what: &str) -> Ended {
    let mut command = serve(dev, &[&ANY_PORT, args].concat());
    // Where there is a panic, a backtrace would be looked for in files.
    command
        .env("VFIO_DISPLAY_TEST_FORBIDDEN", what)
        .env("RUST_BACKTRACE", "1")
        .stdout(Stdio::null());
    let mut child = command.spawn().expect("the command runs");
    let prefix = format!("{what}: ");
    let mut told = String::new();
    for line in BufReader::new(child.stderr.take().expect("a pipe")).lines() {
        let line = line.expect("UTF-8");
        if let Some(answer) = line.strip_prefix(&prefix) {
            child.kill().expect("it runs");
            child.wait().expect("it was killed");
            return Ended::Said(answer.to_owned());
        }
        told += &line;
    }
    let status = child.wait().expect("a child of ours");
    assert_eq!(told, "", "{status}");
    Ended::Killed(status.signal())
}

fn said(what: &str) -> Ended {
    Ended::Said(what.to_owned())
}

/// Whether this machine's kernel has landlock, and has it on.
fn has_landlock() -> bool {
    let mut command = serve(MOCK, &[&ANY_PORT[..], &["--verbose"]].concat());
    let mut child = command.stdout(Stdio::null()).spawn().expect("the command runs");
    let lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let told = lines.map(|line| line.expect("UTF-8")).find(|line| line.contains("files: "));
    child.kill().expect("it runs");
    child.wait().expect("it was killed");
    let told = told.expect("it says how far files are confined");
    let has = told.contains("files: confined by landlock");
    assert!(has || told.contains("has no landlock"), "{told}");
    has
}

#[cfg(debug_assertions)]
#[test]
fn what_it_has_no_use_for_kills_it() {
    let device = MockDevice::start(&["--size", "320x200"]);
    let killed = Ended::Killed(Some(SIGSYS));
    for what in ["read:/etc/passwd", "create:/tmp/none", "ioctl", "exec:/bin/true"] {
        assert_eq!(attempt(&device.dev(), &[], what), killed, "{what}");
    }
    // A panic is told and no more than that, whatever the environment asks for.
    let panicked = attempt(&device.dev(), &[], "panic");
    assert!(matches!(&panicked, Ended::Said(no) if no.contains("it was caught")), "{panicked:?}");
    // It is the filter that does it.
    let free = |what| attempt(&device.dev(), &["--no-sandbox"], what);
    assert_eq!(free("read:/etc/passwd"), said("Ok(())"));
    assert!(matches!(free("ioctl"), Ended::Said(_)));
    assert_eq!(free("exec:/bin/true"), Ended::Killed(None));
}

#[cfg(debug_assertions)]
#[test]
fn a_recording_makes_its_own_files_and_reads_none() {
    let device = MockDevice::start(&["--size", "320x200"]);
    let (ours, others) = [(); 2].map(|()| tempfile::tempdir().expect("a directory")).into();
    let path = ours.path().join("a.raw");
    let record = ["--record", path.to_str().expect("UTF-8")];
    let attempt = |what: &str| attempt(&device.dev(), &record, what);
    assert_eq!(attempt("read:/etc/passwd"), Ended::Killed(Some(SIGSYS)));
    assert_eq!(attempt(&format!("create:{}", path.display())), said("Ok(())"));
    if has_landlock() {
        let other = others.path().join("b.raw");
        let answer = attempt(&format!("create:{}", other.display()));
        assert!(
            matches!(&answer, Ended::Said(no) if no.contains("PermissionDenied")),
            "{answer:?}"
        );
        assert!(!other.exists());
    } else {
        eprintln!("no landlock: files elsewhere are not refused");
    }
}

/// A mock opens its own dma-bufs, so that files are left to landlock.
#[cfg(debug_assertions)]
#[test]
fn a_mock_opens_nothing_but_its_own() {
    assert_eq!(attempt(MOCK, &[], "ioctl"), Ended::Killed(Some(SIGSYS)));
    assert_eq!(attempt(MOCK, &[], "exec:/bin/true"), Ended::Killed(Some(SIGSYS)));
    if has_landlock() {
        for what in ["read:/etc/passwd", "create:/tmp/none"] {
            let answer = attempt(MOCK, &[], what);
            let refused = matches!(&answer, Ended::Said(no) if no.contains("PermissionDenied"));
            assert!(refused, "{what}: {answer:?}");
        }
    } else {
        eprintln!("no landlock: files are not refused");
    }
}

/// A D-Bus client asks for the machine's id in good faith, and zbus looks for it in files.
#[cfg(debug_assertions)]
#[test]
fn a_d_bus_client_does_not_end_it_by_asking() {
    let device = MockDevice::start(&["--size", "320x200"]);
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("display");
    let p2p = ["--dbus-p2p", path.to_str().expect("UTF-8")];
    let answer = attempt(&device.dev(), &p2p, "read:/etc/passwd");
    assert!(matches!(&answer, Ended::Said(no) if no.contains("PermissionDenied")), "{answer:?}");
    for what in ["create:/tmp/none", "ioctl", "exec:/bin/true"] {
        assert_eq!(attempt(&device.dev(), &p2p, what), Ended::Killed(Some(SIGSYS)), "{what}");
    }
}

/// A field of each thread's status.
fn of_threads(serve: &Serve, field: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{}/task", serve.pid())).expect("it runs");
    let statuses =
        tasks.map(|task| fs::read_to_string(task.expect("it runs").path().join("status")));
    let value = |status: std::io::Result<String>| {
        let status = status.expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let words = line.unwrap_or_else(|| panic!("no {field}: {status}")).split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    statuses.map(value).collect()
}

#[test]
fn every_thread_is_confined() {
    let dir = tempfile::tempdir().expect("a directory");
    let raw = dir.path().join("a.raw");
    let p2p = dir.path().join("display");
    let [raw, p2p] = [&raw, &p2p].map(|path| path.to_str().expect("UTF-8"));
    for (args, seccomp, privileges) in [(&[][..], "2", "1"), (&["--no-sandbox"], "0", "0")] {
        let args = [args, &["--dbus-p2p", p2p, "--record", raw]].concat();
        let serve = Serve::at_any_port(MOCK, &args);
        let threads = of_threads(&serve, "Seccomp");
        assert!(threads.len() >= 5, "the loop, guest, recorder and two servers: {threads:?}");
        assert!(threads.iter().all(|mode| mode == seccomp), "{args:?}: {threads:?}");
        let threads = of_threads(&serve, "NoNewPrivs");
        assert!(threads.iter().all(|set| set == privileges), "{args:?}: {threads:?}");
        drop(serve);
    }
}

#[test]
fn another_user_serves_and_cleans_up() {
    let user = format!("{USER}:{GROUP}");
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("vm1.sock");
    let address = format!("unix:{}", path.display());
    let raw = dir.path().join("a.raw");
    let args = ["--vnc", &address, "--user", &user, "--record", raw.to_str().expect("UTF-8")];
    if !rustix::process::geteuid().is_root() {
        let output = serve(MOCK, &args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
        assert!(stderr(&output).contains("--user is for root"), "{}", stderr(&output));
        return;
    }
    chown(dir.path(), Some(USER), Some(GROUP)).expect("root gives directories away");
    let serve = Serve::start(MOCK, &args);
    serve.viewer().until("a picture", |viewer| viewer.updates > 1);
    let (uid, gid) = ([USER; 4], [GROUP; 4]);
    for (field, ids) in [("Uid", &uid[..]), ("Gid", &gid), ("Groups", &gid[..1])] {
        let ids = ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
        let threads = of_threads(&serve, field);
        assert!(threads.iter().all(|is| *is == ids), "{field}: {threads:?}");
    }
    for field in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert!(of_threads(&serve, field).iter().all(|set| set.trim_matches('0').is_empty()));
    }
    for field in ["Seccomp", "NoNewPrivs"] {
        assert!(of_threads(&serve, field).iter().all(|set| set != "0"), "{field}");
    }
    for file in [&path, &raw] {
        let meta = wait_for("a file", Duration::from_secs(5), || file.metadata().ok());
        assert_eq!((meta.uid(), meta.gid()), (USER, GROUP), "{}", file.display());
    }
    serve.stop();
    assert!(!path.exists());
}

#[test]
fn a_user_that_can_not_be_is_refused() {
    for (user, told) in [("root", "root is what"), ("no-such-user", "there is no user")] {
        let output = serve(MOCK, &["--user", user]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
    }
}
