// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command on the kernel's mdpy: a region plane.

mod support;

use support::{Mdev, assert_same, shot, stderr, vfio_display};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};
use vfio_display::testing::card::Card;
use vfio_display::testing::guest::map_bar;

/// Draws through the BAR, as a guest does, and lets go of the device.
fn draw(mdev: &Mdev, picture: &[u32]) {
    let name = mdev.uuid.parse().expect("a UUID");
    let device = Host::new().open(&name, OnConflict::Refuse).expect("mdpy opens");
    let mut bar = map_bar(&device, 0).expect("BAR 0 maps");
    let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    assert!(bar.copy_in(0, &bytes));
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_picture_written_through_the_bar_comes_out_bit_for_bit() {
    for (kind, size) in [
        ("mdpy-vga", Size::new(640, 480)),
        ("mdpy-xga", Size::new(1024, 768)),
        ("mdpy-hd", Size::new(1920, 1080)),
    ] {
        let mdev = Mdev::create(kind);
        for n in [0, 41] {
            let picture = Card::new(size, n).picture();
            draw(&mdev, &picture);
            let (shown, pixels) = shot(&mdev.uuid);
            assert_eq!(shown, size, "{kind}");
            assert_same(size, &picture, &pixels);
        }
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn probe_names_the_quirks() {
    let mdev = Mdev::create("mdpy-xga");
    let output = vfio_display(&["probe", &mdev.uuid]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    for told in [
        "offers    region planes",
        "1024x768 XR24 LINEAR, stride 4096, 4194304 bytes in region 16",
        "region 16 is used, but GET_INFO reports num_regions 9",
        "cursor plane is answered with the primary plane",
        "the plane's size is 4194304 bytes, its rows take 3145728",
    ] {
        assert!(text.contains(told), "{told:?} is not in:\n{text}");
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_device_that_is_open_is_busy_and_says_who_has_it() {
    let mdev = Mdev::create("mdpy-vga");
    let name = mdev.uuid.parse().expect("a UUID");
    let device = Host::new().open(&name, OnConflict::Refuse).expect("mdpy opens");
    let output = vfio_display(&["shot", &mdev.uuid, "-o", "/tmp/busy.png"]);
    assert_eq!(output.status.code(), Some(5), "{}", stderr(&output));
    let pid = format!("pid:{}", std::process::id());
    assert!(stderr(&output).contains(&pid), "{}", stderr(&output));
    // And what it recommends works.
    assert_eq!(shot(&pid).0, Size::new(640, 480));
    drop(device);
}
