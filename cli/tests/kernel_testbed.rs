// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The testbed itself: what every other test in it takes for granted.

mod support;

use std::fs;
use std::path::Path;

use support::{Guest, Mdev, kernel, load_mbochs};

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_kernel_is_the_one_named() {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is mounted");
    assert!(release.starts_with(&format!("{}.", kernel())), "{release}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn vfio_and_kvm_are_there() {
    for device in ["/dev/vfio/vfio", "/dev/kvm"] {
        fs::File::options()
            .read(true)
            .write(true)
            .open(device)
            .unwrap_or_else(|error| panic!("{device}: {error}"));
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn every_mdev_type_can_be_created_and_removed() {
    for kind in ["mdpy-vga", "mdpy-xga", "mdpy-hd", "mbochs-small", "mbochs-medium", "mbochs-large"]
    {
        let mdev = Mdev::create(kind);
        let group = fs::read_link(mdev.path.join("iommu_group")).expect(kind);
        let group = group.file_name().expect("a link to a group");
        assert!(Path::new("/dev/vfio").join(group).exists(), "{kind}");
        let path = mdev.path.clone();
        drop(mdev);
        assert!(!path.exists(), "{kind}");
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn mbochs_can_be_exchanged() {
    for read_write in [true, false] {
        load_mbochs(read_write);
        drop(Mdev::create("mbochs-small"));
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_guest_draws_what_it_is_told() {
    let mdev = Mdev::create("mbochs-medium");
    let mut guest = Guest::start(&mdev, &[]);
    let first = guest.fb(1);
    assert_eq!((first.width, first.height), (1024, 768));
    assert_eq!(first.bits_per_pixel, 32);
    assert_eq!(first.bytes.len(), first.stride * first.height);
    assert!(first.bytes.iter().any(|&byte| byte != 0), "a black screen");

    let printed = guest.go(2, "echo to the screen >/dev/tty1; echo to the test");
    assert_eq!(printed, "to the test\n");
    let second = guest.fb(2);
    assert_ne!(first.bytes, second.bytes, "the text is not on the screen");
    guest.stop();
}
