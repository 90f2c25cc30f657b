// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The unit in contrib/systemd, as systemd reads it: without a fault, with little to attack, and
//! with a filter that lets through what the command does.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use support::{All, MockDevice, stderr};

const UNIT: &str = include_str!("../../contrib/systemd/vfio-display.service");
const SYSUSERS: &str = include_str!("../../contrib/systemd/vfio-display.sysusers");

/// The most that `systemd-analyze security` may find, in tenths; a unit without any of this has 96.
const EXPOSURE: &str = "23";

/// Calls that only real devices and VMMs bring about.
const OF_DEVICES: [&str; 5] = ["pidfd_open", "pidfd_getfd", "kcmp", "ioctl", "mmap"];

fn analyze(args: &[&str], unit: &Path) -> Output {
    let mut command = Command::new("systemd-analyze");
    command.args(args).arg(unit).output().expect("systemd-analyze is installed")
}

/// The unit with the program that was built in place of one that is installed.
fn unit(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("vfio-display.service");
    let installed = "ExecStart=/usr/bin/vfio-display ";
    assert!(UNIT.contains(installed));
    let built = format!("ExecStart={} ", env!("CARGO_BIN_EXE_vfio-display"));
    fs::write(&path, UNIT.replace(installed, &built)).expect("a file");
    path
}

/// What the unit says under a name, a line each.
fn settings(name: &str) -> impl Iterator<Item = &'static str> {
    UNIT.lines().filter_map(move |line| line.strip_prefix(name)?.strip_prefix('='))
}

#[test]
#[ignore = "needs systemd: cargo xtask test"]
fn the_unit_is_one_and_leaves_little_to_attack() {
    let dir = tempfile::tempdir().expect("a directory");
    let unit = unit(dir.path());
    let output = analyze(&["verify", "--man=no"], &unit);
    let told = stderr(&output);
    // It speaks of other units of the host as well.
    let ours: Vec<_> = told.lines().filter(|line| line.contains("vfio-display")).collect();
    assert!(output.status.success() && ours.is_empty(), "{told}");

    let threshold = format!("--threshold={EXPOSURE}");
    let output = analyze(&["security", "--offline=true", "--no-pager", &threshold], &unit);
    let told = String::from_utf8_lossy(&output.stdout);
    let overall = told.lines().rfind(|line| line.contains("Overall exposure level"));
    println!("{}", overall.unwrap_or_default());
    assert!(output.status.success(), "{told}");

    // The user that it runs as is the one that is made.
    let user = settings("User").next().expect("a user");
    assert!(SYSUSERS.lines().any(|line| line.starts_with(&format!("u {user} "))), "{SYSUSERS}");
}

/// The calls in a set, with those of the sets in it.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return [name.to_owned()].into();
    }
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["syscall-filter", "--no-pager", name]).output().expect("it runs");
    assert!(output.status.success(), "{name}: {}", stderr(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    let members = text.lines().skip(1).map(str::trim);
    let members = members.filter(|line| !line.is_empty() && !line.starts_with('#'));
    members.flat_map(calls).collect()
}

/// The calls that the unit permits, by its lines from first to last.
fn permitted() -> BTreeSet<String> {
    let mut permitted = BTreeSet::new();
    for line in settings("SystemCallFilter") {
        let (deny, names) = line.strip_prefix('~').map_or((false, line), |names| (true, names));
        for call in names.split_whitespace().flat_map(calls) {
            if deny {
                permitted.remove(&call);
            } else {
                permitted.insert(call);
            }
        }
    }
    permitted
}

#[test]
#[ignore = "needs systemd and strace: cargo xtask test"]
fn the_filter_lets_through_what_the_command_does() {
    let permitted = permitted();
    let denied = |call: &&str| !permitted.contains(*call);
    assert_eq!(["ptrace", "mount", "init_module"].iter().filter(|c| denied(c)).count(), 3);

    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("calls");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&log);
    // The user is the test's own.
    let user = rustix::process::getuid().as_raw();
    let mut all = All::start_by(strace, user, &[]);
    let moving = ["--size", "160x128"];
    let mut device = MockDevice::at(all.device("a"), &moving);
    let _other = MockDevice::at(all.device("b"), &moving);
    all.until("both", |all| all.displays.len() == 2);
    let mut viewer = all.viewer("a");
    viewer.until("frames", |viewer| viewer.updates > 20);
    device.kill();
    all.until("an end", |all| all.displays.len() == 1);
    let (status, told) = all.stop_children();
    assert!(status.success(), "{status}: {told}");
    let log = fs::read_to_string(&log).expect("strace wrote it");
    let made: BTreeSet<_> = log.lines().filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert!(made.contains("inotify_add_watch") && made.contains("poll"), "{log}");
    // The first is before the filter is there; the rest of the table is no call.
    let no_calls = ["execve", "syscall", "total"];
    let made = made.into_iter().filter(|call| !no_calls.contains(call) && !call.starts_with('-'));
    let refused: Vec<_> = made.chain(OF_DEVICES).filter(denied).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
