// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The screen of a guest that draws, in a VMM that nobody changed: Debian's QEMU on mbochs.

mod support;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Guest, Mdev, assert_same, load_mbochs, shot, stderr, vfio_display};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};
use vfio_display::{Display, Look};

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_picture_is_what_the_guest_has_and_goes_with_the_vmm() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    let mut guest = Guest::start(&mdev, &[]);
    let dev = format!("pid:{}", guest.pid());

    let (size, first) = guest.fb(1).pixels();
    assert_eq!(size, Size::new(1024, 768));
    assert!(first.iter().any(|&pixel| pixel != 0xff00_0000), "a black screen proves nothing");
    let (shown, picture) = shot(&dev);
    assert_eq!(shown, size);
    assert_same(size, &first, &picture);

    guest.go(2, "echo the console has changed >/dev/tty1");
    let (_, second) = guest.fb(2).pixels();
    assert_ne!(first, second, "the console changed");
    assert_same(size, &second, &shot(&dev).1);

    // `list` finds it by itself.
    let list = vfio_display(&["list", "--json"]);
    assert!(list.status.success(), "{}", stderr(&list));
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("JSON");
    let displays = &list["vmms"][0]["displays"];
    assert_eq!(displays[0]["device"], format!("{dev}/0"), "{list}");
    assert_eq!(displays[0]["kinds"][0], "dma-buf");

    // Several looks a frame, until the VMM is killed in the middle of them.
    let borrowed = Host::new().borrow(guest.pid(), None, OnConflict::Refuse).expect("borrowed");
    let mut display = Display::new(borrowed).expect("a display");
    for _ in 0..20 {
        assert!(matches!(display.look(), Ok(Look::Live(..))));
    }
    guest.kill();
    let killed = Instant::now();
    let gone = loop {
        match display.look() {
            Ok(Look::Gone(error)) => break error,
            Ok(_) => assert!(killed.elapsed() < Duration::from_secs(1), "not gone in a second"),
            Err(error) => panic!("{error}"),
        }
    };
    assert!(gone.is_gone() && killed.elapsed() < Duration::from_secs(1), "{gone}");
    // With the last handle the device is free again.
    drop(display);
    let name = mdev.uuid.parse().expect("a UUID");
    Host::new().open(&name, OnConflict::Refuse).expect("nobody holds the device");
}

/// The command waits for a display that is off when its VMM dies.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_vmm_that_dies_ends_the_wait_with_a_status_of_its_own() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    let (mut vmm, dev) = support::vmm_without_guest(&mdev);
    let command = Command::new(env!("CARGO_BIN_EXE_vfio-display"))
        .args(["shot", &dev, "-o", "/tmp/gone.png", "--wait", "60"])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    std::thread::sleep(Duration::from_millis(500));
    vmm.kill();
    let killed = Instant::now();
    let output = command.wait_with_output().expect("the command ends");
    assert!(killed.elapsed() < Duration::from_secs(1), "{:?}", killed.elapsed());
    assert_eq!(output.status.code(), Some(10), "{}", stderr(&output));
    assert!(stderr(&output).contains("has exited"), "{}", stderr(&output));
}
