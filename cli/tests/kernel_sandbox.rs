// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` after it has given up what it could, on the kernel's own drivers.

mod support;

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use support::{Mdev, Serve, load_mbochs, serve, stderr, vmm_without_guest};
use vfio_display::geometry::Size;

const USER: &str = "47110:47111";

/// A line of the status of a running command.
fn status(serve: &Serve, field: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", serve.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field)).expect("there is such a field");
    line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

/// mdpy shows its picture from the start; to borrow it took root, and to show it takes nobody.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn confined_to_another_user_it_shows_what_root_borrowed() {
    let mdev = Mdev::create("mdpy-vga");
    let (mut vmm, dev) = vmm_without_guest(&mdev);
    let mut serve = Serve::at_any_port(&dev, &["--user", USER]);
    let mut viewer = serve.viewer();
    viewer.until("mdpy's screen", |viewer| viewer.size == Size::new(640, 480));
    assert_eq!(status(&serve, "Uid"), ["47110"; 4].join(" "));
    assert_eq!(status(&serve, "Gid"), ["47111"; 4].join(" "));
    assert_eq!(
        (status(&serve, "Seccomp:"), status(&serve, "NoNewPrivs")),
        ("2".into(), "1".into())
    );
    vmm.kill();
    let (status, told) = serve.ended();
    assert_eq!(status.code(), Some(10), "{told}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn confined_it_still_looks_for_a_vmm_that_went() {
    let mdev = Mdev::create("mdpy-vga");
    let (mut vmm, dev) = vmm_without_guest(&mdev);
    let mut serve = Serve::at_any_port(&dev, &["--reattach"]);
    serve.viewer().until("mdpy's screen", |viewer| viewer.size == Size::new(640, 480));
    vmm.kill();
    // It looks four times a second.
    std::thread::sleep(Duration::from_secs(2));
    serve.signal(Signal::INT);
    let (status, told) = serve.ended();
    assert!(status.success(), "{status}: {told}");
    assert!(told.contains("waiting for it to come back"), "{told}");
}

/// Who else holds dma-bufs of mbochs only root finds out, and mbochs must not be asked without.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn confined_users_do_not_get_a_driver_that_breaks() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    for args in [&["--user", USER][..], &["--user", USER, "--reattach", "--force"]] {
        let output = serve(&mdev.uuid, args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains("--user can't be"), "{}", stderr(&output));
    }
}
