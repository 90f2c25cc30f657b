// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a real `qemu -display dbus` says of itself, this says as well: every object, interface,
//! method, signature and property of a display.
//!
//! Not started without being asked for, since it needs packages: qemu-system-x86, qemu-system-gui,
//! dbus-daemon, python3-gi.

mod common;

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::sync::Arc;

use common::{Bus, client::python};
use vfio_display_dbus::{DbusServer, Options};

/// What of a QEMU is no display's, or not of this one: text to and from the guest's serial ports
/// and monitor, and a clipboard, which no VFIO device has.
const NOT_OURS: [&str; 2] = ["/org/qemu/Display1/Chardev_", "/org/qemu/Display1/Clipboard "];

fn said(bus: &Bus) -> BTreeSet<String> {
    let script = python(include_str!("clients/introspect.py")).arg(&bus.address).output().unwrap();
    assert!(script.status.success(), "{}", String::from_utf8_lossy(&script.stderr));
    let lines = String::from_utf8(script.stdout).unwrap();
    lines.lines().map(str::to_owned).collect()
}

fn said_by_qemu() -> BTreeSet<String> {
    let bus = Bus::start();
    let mut qemu = Command::new("qemu-system-x86_64")
        .args(["-M", "pc", "-accel", "tcg", "-m", "64", "-S", "-vga", "std", "-display"])
        .arg(format!("dbus,addr={}", bus.address))
        .stdin(Stdio::null())
        .spawn()
        .expect("qemu-system-x86_64 is installed");
    let said = said(&bus);
    qemu.kill().unwrap();
    qemu.wait().unwrap();
    said
}

#[test]
#[ignore = "needs QEMU and GDBus: cargo xtask test installs them"]
fn a_real_one_says_nothing_that_this_does_not() {
    let theirs = said_by_qemu();
    let (ours, _server) = {
        let (bus, server) = (Bus::start(), DbusServer::start(Options::default(), Arc::new(())));
        let server = server.unwrap();
        server.join_bus(Some(&bus.address)).unwrap();
        (said(&bus), (server, bus))
    };
    let ours_at = |line: &&String| !NOT_OURS.iter().any(|path| line.starts_with(path));
    let theirs: BTreeSet<&String> = theirs.iter().filter(ours_at).collect();
    // A comparison with too little proves nothing.
    let has = |text: &str| theirs.iter().any(|line| line.contains(text));
    assert!(theirs.len() > 60, "{theirs:#?}");
    assert!(has("Console method RegisterListener(h listener) -> ()"), "{theirs:#?}");
    assert!(has("Mouse method SetAbsPosition(u x, u y) -> ()"), "{theirs:#?}");
    assert!(has("VM managed ConsoleIDs"), "{theirs:#?}");
    let missing: Vec<_> = theirs.iter().filter(|line| !ours.contains(**line)).collect();
    assert!(missing.is_empty(), "{missing:#?}\nof\n{ours:#?}");
    // What there is beside is what later versions of QEMU have.
    let more: Vec<_> = ours
        .iter()
        .filter(|line| line.contains("org.qemu") && !theirs.contains(line))
        .map(|line| line.rsplit(' ').find(|word| *word != "r").unwrap_or_default())
        .collect();
    assert!(more.iter().all(|name| *name == "Interfaces"), "{more:?}");
}
