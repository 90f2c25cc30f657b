// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Monitors for the kernel's own mbochs.
#![cfg(feature = "host")]

use std::fs;
use std::time::{Duration, Instant};

use vfio_display::device::{RegionDevice, RegionIndex};
use vfio_display::edid::{Edid, EdidPort, Encoded, LinkState, Progress};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};
use vfio_display::region;

/// BAR 2 of mbochs, where its guest reads the EDID from the start on.
const MMIO: RegionIndex = RegionIndex(2);

/// A mediated device, removed when its test ends.
struct Mdev(String);

impl Mdev {
    fn create(kind: &str, last: u32) -> Self {
        let uuid = format!("a297db4a-f4c2-11e6-90f7-{last:012x}");
        let types = "/sys/class/mdev_bus/mbochs/mdev_supported_types";
        fs::write(format!("{types}/{kind}/create"), &uuid).unwrap();
        Self(uuid)
    }
}

impl Drop for Mdev {
    fn drop(&mut self) {
        let _ = fs::write(format!("/sys/bus/mdev/devices/{}/remove", self.0), "1");
    }
}

/// Plugs a monitor in, in real time.
fn plug_in(port: &mut EdidPort, device: &dyn RegionDevice, edid: Edid) -> Encoded {
    port.begin(Instant::now(), edid);
    loop {
        let at = port.poll_at().expect("a request ends");
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if let Progress::Plugged(encoded) = port.poll(Instant::now(), device).unwrap() {
            return encoded;
        }
    }
}

/// So many bytes of a region, read in words.
fn words(device: &dyn RegionDevice, index: RegionIndex, offset: u64, len: usize) -> Vec<u8> {
    let region = device.region_info(index).unwrap();
    let mut bytes = vec![0; len];
    for (at, word) in (offset..).step_by(4).zip(bytes.chunks_exact_mut(4)) {
        device.read(&region, at, word).unwrap();
    }
    bytes
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn what_is_plugged_in_is_what_the_device_holds_and_the_guest_sees() {
    for (number, (kind, most)) in [
        ("mbochs-small", Some(Size::new(800, 600))),
        ("mbochs-medium", Some(Size::new(1920, 1440))),
        ("mbochs-large", None),
    ]
    .into_iter()
    .enumerate()
    {
        let mdev = Mdev::create(kind, number as u32 + 1);
        let device = Host::new().open(&mdev.0.parse().unwrap(), OnConflict::Refuse).unwrap();
        let mut port = EdidPort::find(&device).unwrap().expect("mbochs has an EDID region");
        let registers = port.registers(&device).unwrap();
        assert_eq!((registers.blob_offset, registers.max_size), (2048, 1024), "{kind}");
        assert_eq!((registers.size, registers.link), (0, LinkState::Unset), "{kind}");
        assert_eq!(
            registers.max_width.zip(registers.max_height),
            most.map(|s| (s.width, s.height))
        );

        let regions = region::all(&device).unwrap();
        let edid_region = regions.iter().find(|region| region.is_edid()).unwrap().index;
        for (size, fits) in [
            (Size::new(640, 480), true),
            (Size::new(1920, 1080), kind != "mbochs-small"),
            (Size::new(5120, 2880), kind == "mbochs-large"),
            (Size::new(800, 600), true),
        ] {
            let encoded = plug_in(&mut port, &device, Edid::for_mode(size));
            assert_eq!(encoded.size == size, fits, "{kind}: {:?}", encoded.notes);
            assert_eq!(encoded.notes.is_empty(), fits, "{kind}: {:?}", encoded.notes);
            let registers = port.registers(&device).unwrap();
            assert_eq!(registers.link, LinkState::Up, "{kind}");
            assert_eq!(registers.size as usize, encoded.bytes.len(), "{kind}");
            let len = encoded.bytes.len();
            assert_eq!(words(&device, edid_region, 2048, len), encoded.bytes, "{kind} at {size}");
            assert_eq!(words(&device, MMIO, 0, len), encoded.bytes, "{kind} at {size}");
        }
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn in_the_pause_the_guest_sees_no_monitor() {
    let mdev = Mdev::create("mbochs-medium", 4);
    let device = Host::new().open(&mdev.0.parse().unwrap(), OnConflict::Refuse).unwrap();
    let mut port = EdidPort::find(&device).unwrap().unwrap();
    plug_in(&mut port, &device, Edid::for_mode(Size::new(800, 600)));
    assert_eq!(words(&device, MMIO, 0, 4), [0, 0xff, 0xff, 0xff]);

    let begun = Instant::now();
    port.begin(begun, Edid::for_mode(Size::new(1024, 768)));
    let begun = port.poll_at().unwrap();
    assert_eq!(port.poll(begun, &device), Ok(Progress::Busy));
    assert_eq!(port.registers(&device).unwrap().link, LinkState::Down);
    assert_ne!(words(&device, MMIO, 0, 4), [0, 0xff, 0xff, 0xff]);
    assert_eq!(port.poll_at(), Some(begun + Duration::from_millis(100)));

    port.settle(&device).unwrap();
    assert_eq!(words(&device, MMIO, 0, 4), [0, 0xff, 0xff, 0xff]);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn mdpy_takes_no_monitor() {
    let uuid = "a297db4a-f4c2-11e6-90f7-000000000005";
    let types = "/sys/class/mdev_bus/mdpy/mdev_supported_types";
    fs::write(format!("{types}/mdpy-vga/create"), uuid).unwrap();
    let _mdev = Mdev(uuid.into());
    let device = Host::new().open(&uuid.parse().unwrap(), OnConflict::Refuse).unwrap();
    assert!(EdidPort::find(&device).unwrap().is_none());
}
