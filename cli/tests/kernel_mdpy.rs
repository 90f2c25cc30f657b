// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command on the kernel's mdpy: a region plane.

mod support;

use std::time::Instant;

use support::{Mdev, assert_same, shot, stderr, vfio_display};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};
use vfio_display::testing::Recorder;
use vfio_display::testing::card::Card;
use vfio_display::testing::guest::map_bar;
use vfio_display::{Detection, Display};

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

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn every_change_is_found_through_the_mapping() {
    let mdev = Mdev::create("mdpy-hd");
    let name = mdev.uuid.parse().expect("a UUID");
    let device = Host::new().open(&name, OnConflict::Refuse).expect("mdpy opens");
    let mut bar = map_bar(&device, 0).expect("BAR 0 maps");
    let size = Size::new(1920, 1080);
    let mut expected = vec![0_u32; size.area() as usize];
    assert!(bar.copy_in(0, &vec![0; expected.len() * 4]));

    let mut display = Display::new(&device).expect("mdpy has a display");
    display.set_detection(Detection::Verified);
    let (mut now, mut sink) = (Instant::now(), Recorder::new());
    display.watch(now);
    // Runs of pixels at places without any order; what the recorder has is damage alone.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for round in 0..200 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let at = (state >> 33) as usize % (expected.len() - 64);
        let run = 1 + (state >> 20) as usize % 64;
        for (n, pixel) in expected[at..at + run].iter_mut().enumerate() {
            *pixel = (*pixel ^ (1 << (n % 24))).wrapping_add(round) & 0xff_ffff;
        }
        let bytes: Vec<u8> = expected[at..at + run].iter().flat_map(|p| p.to_le_bytes()).collect();
        assert!(bar.copy_in(at * 4, &bytes));
        now = display.poll_at().expect("somebody watches");
        display.poll(now, &mut sink).expect("mdpy answers");
        let shown = &sink.picture().pixels()[at..at + run];
        assert!(
            shown.iter().zip(&expected[at..at + run]).all(|(a, b)| a & 0xff_ffff == *b),
            "round {round}: {run} pixels from {at} on"
        );
    }
    assert_same(size, &expected, sink.picture().pixels());
}
