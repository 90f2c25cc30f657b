// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The crate `qemu-display`, which qemu-rdp and others are made of: every method that it knows is
//! accepted, every property there.
//!
//! Not started without being asked for: its program, clients/qemu-display, is no member of the
//! workspace, and `cargo xtask test` builds it.

mod common;

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use common::{Bus, Desk, Random};
use vfio_display::geometry::Size;
use vfio_display_dbus::Limits;

#[test]
#[ignore = "needs a client on qemu-display: cargo xtask test builds it"]
fn every_method_is_accepted() {
    let (bus, mut desk) = (Bus::start(), Desk::new(Size::new(640, 480), Limits::default()));
    desk.server.join_bus(Some(&bus.address)).unwrap();
    desk.fill(&mut Random(9));
    let program = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let program = program.with_file_name("peers/bin/qemu-display-client");
    let client = Command::new(&program)
        .arg(&bus.address)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let ended = AtomicBool::new(false);
    let output = thread::scope(|scope| {
        let output = scope.spawn(|| {
            let output = client.wait_with_output().unwrap();
            ended.store(true, Ordering::Release);
            output
        });
        while !ended.load(Ordering::Acquire) {
            desk.look();
            thread::sleep(Duration::from_millis(5));
        }
        output.join().unwrap()
    });
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    let (calls, told): (Vec<_>, Vec<_>) = said
        .lines()
        // It asks for "Uuid", which no QEMU has either.
        .filter(|line| !line.starts_with("UUID Err(FDO(UnknownProperty"))
        .partition(|line| line.contains("Ok(") && !line.starts_with("ScanoutMap"));
    assert_eq!(calls.len(), 30, "{said}");
    // It says that it maps a moment before it does, so pixels may come first.
    let told: Vec<_> = told.into_iter().filter(|line| !line.starts_with("Scanout ")).collect();
    assert_eq!(told, ["ScanoutMap 640x480 Ok(1228800)", "UpdateMap 0 0 640 480"], "{said}");
    assert!(!desk.heard.take_events().is_empty());
}
