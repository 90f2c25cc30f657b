// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve --all` beside VMMs that nobody changed, on mbochs.

mod support;

use std::process::Command;
use std::thread;
use std::time::Duration;

use support::{All, Guest, Mdev, Vmm, load_mbochs, vmm_without_guest};
use vfio_display::host::{Host, OnConflict};

/// Nothing but events: no look for VMMs that nothing asked for.
const EVENTS: [&str; 2] = ["--rescan", "0"];

/// Longer than looks go on after an event, so that what is seen then was told of.
const QUIET: Duration = Duration::from_secs(13);

/// A user that is nobody, and what lets it look into processes: as in contrib/systemd.
const NOBODY: u32 = 65534;
const CAPABILITIES: &str = "+sys_ptrace,+dac_read_search";

/// Ends it; what it may have said is what is wrong with mbochs.
fn end(mut all: All) {
    let (status, stderr) = all.stop();
    let fine = stderr.lines().all(|line| line.contains("gives a picture's memory back"));
    assert!(status.success() && fine, "{status}: {stderr}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_guest_appears_and_goes_when_it_is_killed() {
    load_mbochs(true);
    let mut all = All::start(&EVENTS);
    let base = all.at_rest();
    for _ in 0..2 {
        // The second time under the same name: its UUID's.
        let mdev = Mdev::create("mbochs-medium");
        let mut guest = Guest::start(&mdev, &[]);
        all.until("the guest's display", |all| all.displays.contains_key(&mdev.uuid));
        let event = all.told.last().expect("an event");
        assert_eq!(event["device"], format!("pid:{}/0", guest.pid()));
        let (size, expected) = guest.fb(1).pixels();
        assert!(expected.iter().any(|&pixel| pixel != 0xff00_0000), "a black screen");
        let mut viewer = all.viewer(&mdev.uuid);
        viewer.until("the guest's picture", |viewer| {
            viewer.size == size && viewer.pixels == expected
        });
        // A second VMM, without a picture, beside it.
        let other = Mdev::create("mbochs-small");
        let (mut vmm, _) = vmm_without_guest(&other);
        all.until("the other", |all| all.displays.contains_key(&other.uuid));
        guest.kill();
        all.until("the guest's end", |all| !all.displays.contains_key(&mdev.uuid));
        // A look may find its files closed before it has exited.
        let why = all.why_gone(&mdev.uuid);
        let closed = format!("process {} has closed it", guest.pid());
        assert!(why.contains("has exited") || why == closed, "{why}");
        assert!(all.displays.contains_key(&other.uuid));
        vmm.kill();
        all.until("the other's end", |all| all.displays.is_empty());
        // Nobody has the devices any more.
        mdev.remove().expect("it is free");
        other.remove().expect("it is free");
    }
    all.until_holds(base);
    end(all);
}

/// A process that closes its device and lives on: this one.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_device_appears_and_goes_when_its_vmm_lets_go() {
    load_mbochs(true);
    let mut all = All::start(&EVENTS);
    let mdev = Mdev::create("mbochs-small");
    let name = mdev.uuid.parse().expect("a UUID");
    for pause in [QUIET, Duration::ZERO, Duration::ZERO] {
        thread::sleep(pause);
        let device = Host::new().open(&name, OnConflict::Refuse).expect("it opens");
        all.until("the display", |all| all.displays.contains_key(&mdev.uuid));
        thread::sleep(pause);
        drop(device);
        all.until("its end", |all| all.displays.is_empty());
        let closed = format!("process {} has closed it", std::process::id());
        assert_eq!(all.why_gone(&mdev.uuid), closed);
    }
    mdev.remove().expect("it is free");
}

/// As libvirt starts them: the device file that it opens is not the one that is watched.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_vmm_with_a_dev_of_its_own_appears_by_looking() {
    const OWN_DEV: &str = "d=$(mktemp -d) && mount -t tmpfs none $d && cp -a /dev/vfio/. $d && \
        mount --bind $d /dev/vfio && exec \"$@\"";
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-small");
    // As long as a new group's file asks for looks, it would be found by those.
    let mut all = All::start(&["--rescan", "1"]);
    let base = all.at_rest();
    let mut vmm = Vmm::start(
        Command::new("unshare")
            .args(["-m", "sh", "-c", OWN_DEV, "sh", "qemu-system-x86_64", "-M", "pc"])
            .args(["-accel", "kvm", "-m", "64", "-S", "-display", "none", "-vga", "none"])
            .args(["-net", "none", "-nodefaults", "-device"])
            .arg(format!("vfio-pci,sysfsdev={}", mdev.path.display())),
    );
    all.until("the display", |all| all.displays.contains_key(&mdev.uuid));
    vmm.kill();
    all.until("its end", |all| all.displays.is_empty());
    all.until_holds(base);
}

/// What the unit in contrib/systemd gives the service is enough.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_display_appears_with_two_capabilities_and_no_root() {
    load_mbochs(true);
    let user = NOBODY.to_string();
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--no-new-privs"]);
    setpriv.args(["--bounding-set", &format!("-all,{CAPABILITIES}")]);
    setpriv.args(["--inh-caps", &format!("-all,{CAPABILITIES}")]);
    setpriv.args(["--ambient-caps", &format!("-all,{CAPABILITIES}")]);
    let mut all = All::start_by(setpriv, NOBODY, &EVENTS);
    let mdev = Mdev::create("mbochs-medium");
    let guest = Guest::start(&mdev, &[]);
    all.until("the display", |all| all.displays.contains_key(&mdev.uuid));
    let (size, expected) = guest.fb(1).pixels();
    let mut viewer = all.viewer(&mdev.uuid);
    viewer.until("the guest's picture", |viewer| viewer.size == size && viewer.pixels == expected);
    drop(guest);
    all.until("its end", |all| all.displays.is_empty());
    end(all);
}
