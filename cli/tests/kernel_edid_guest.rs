// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a real guest makes of a monitor: Linux reads the EDID, lists the mode and sets it.

mod support;

use std::time::Instant;

use support::{Guest, Mdev};
use vfio_display::device::RegionDevice;
use vfio_display::edid::{Edid, EdidPort, Progress};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};

/// bochs-drm reads the EDID when it binds, and then only.
const BIND_AGAIN: &str = "
cd /sys/bus/pci/drivers/bochs-drm
for device in 0000:*; do echo $device >unbind; echo $device >bind; done
until [ -e /dev/fb0 ]; do sleep 0.1; done
wc -c </sys/class/drm/card0-Virtual-1/edid
head -n 1 /sys/class/drm/card0-Virtual-1/modes
dmesg | grep -i 'edid.*\\(invalid\\|checksum\\|corrupt\\|remainder\\)'
";

fn plug_in(port: &mut EdidPort, device: &dyn RegionDevice, edid: Edid) {
    port.begin(Instant::now(), edid);
    while let Some(at) = port.poll_at() {
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if let Progress::Plugged(encoded) = port.poll(Instant::now(), device).expect("no fault") {
            assert_eq!(encoded.notes, []);
        }
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_guest_sets_the_mode_that_its_monitor_prefers() {
    let mdev = Mdev::create("mbochs-large");
    let mut guest = Guest::start(&mdev, &[]);
    let target = format!("pid:{}", guest.pid()).parse().expect("a target");
    let device = Host::new().reach(&target, OnConflict::Refuse).expect("QEMU lends its device");
    let mut port = EdidPort::find(&device).expect("mbochs answers").expect("it has the region");
    // The last two are beyond the base block, in DisplayID alone. Each takes less than half of
    // the 64 MiB of video memory, or bochs-drm drops it from the list.
    let modes = [
        (1366, 768, 256),
        (600, 1022, 256),
        (3840, 2160, 256),
        (5120, 1440, 384),
        (1440, 5120, 384),
    ];
    for (n, (width, height, bytes)) in (2..).zip(modes) {
        plug_in(&mut port, &device, Edid::for_mode(Size::new(width, height)));
        let said = guest.go(n, BIND_AGAIN);
        assert_eq!(said, format!("{bytes}\n{width}x{height}\n"));
        let screen = guest.fb(n);
        assert_eq!((screen.width, screen.height), (width as usize, height as usize));
    }
    guest.stop();
}
