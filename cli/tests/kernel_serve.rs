// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` of a real guest, in a VMM that nobody changed: Debian's QEMU on mbochs.

mod support;

use std::time::{Duration, Instant};

use support::{Framebuffer, Guest, Mdev, Serve, Viewer, load_mbochs};
use vfio_display::geometry::Size;

/// bochs-drm reads the EDID when it binds, and then only.
const BIND_AGAIN: &str = "
cd /sys/bus/pci/drivers/bochs-drm
for device in 0000:*; do echo $device >unbind; echo $device >bind; done
until [ -e /dev/fb0 ]; do sleep 0.1; done
head -n 1 /sys/class/drm/card0-Virtual-1/modes
";

/// The pixels that the guest read from its own /dev/fb0.
fn pixels(fb: &Framebuffer) -> (Size, Vec<u32>) {
    assert_eq!(fb.bits_per_pixel, 32);
    let row = |row: &[u8]| -> Vec<u32> {
        let pixel = |p: &[u8]| 0xff00_0000 | u32::from_le_bytes([p[0], p[1], p[2], 0]);
        row[..fb.width * 4].chunks_exact(4).map(pixel).collect()
    };
    let size = Size::new(fb.width as u32, fb.height as u32);
    (size, fb.bytes.chunks_exact(fb.stride).take(fb.height).flat_map(row).collect())
}

/// Waits until a viewer has what the guest has, in every pixel.
fn until_same(viewer: &mut Viewer, fb: &Framebuffer) {
    let (size, expected) = pixels(fb);
    assert!(expected.iter().any(|&pixel| pixel != 0xff00_0000), "a black screen proves nothing");
    viewer.until("the guest's picture", |viewer| viewer.size == size && viewer.pixels == expected);
}

/// Kills the VMM under a command; it has a second to say so.
fn assert_goes_with(serve: &mut Serve, kill: impl FnOnce()) {
    let start = Instant::now();
    kill();
    let (status, stderr) = serve.ended();
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(10), "{stderr}");
    assert!(stderr.contains("has exited"), "{stderr}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_viewer_has_the_guests_console_and_chooses_its_size() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-large");
    let mut guest = Guest::start(&mdev, &[]);
    let mut serve = Serve::at_any_port(&format!("pid:{}", guest.pid()), &["--resize"]);
    let mut viewer = serve.viewer();
    until_same(&mut viewer, &guest.fb(1));

    guest.go(2, "echo the console has changed >/dev/tty1");
    assert_ne!(guest.fb(1), guest.fb(2));
    until_same(&mut viewer, &guest.fb(2));

    // Whole pages: the kernel maps no dma-buf of mbochs that ends amid one.
    let sizes = [Size::new(1280, 1024), Size::new(800, 640), Size::new(1920, 1200)];
    for (n, size) in (3..).zip(sizes) {
        viewer.set_desktop_size(size);
        // Until the guest's driver binds again, there is nothing more to wait for than the time
        // that a request and a change of the monitor take.
        std::thread::sleep(Duration::from_secs(2));
        assert_eq!(guest.go(n, BIND_AGAIN), format!("{}x{}\n", size.width, size.height));
        let fb = guest.fb(n);
        assert_eq!((fb.width, fb.height), (size.width as usize, size.height as usize));
        until_same(&mut viewer, &fb);
        // One that comes now sees the same.
        until_same(&mut serve.viewer(), &fb);
    }
    assert_goes_with(&mut serve, || guest.kill());
}

/// Nobody watches, so it does not look at the device; it still sees its VMM go.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn it_goes_with_a_vmm_that_nobody_watches() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    let (mut vmm, dev) = support::vmm_without_guest(&mdev);
    let mut serve = Serve::at_any_port(&dev, &[]);
    let mut viewer = serve.viewer();
    // No signal: a few letters on one colour, in a size of the server's own.
    viewer.until("no signal", |viewer| {
        let letters = viewer.pixels.iter().filter(|pixel| **pixel != viewer.pixels[0]).count();
        viewer.size == Size::new(640, 480) && (500..60_000).contains(&letters)
    });
    drop(viewer);
    std::thread::sleep(Duration::from_millis(300));
    assert_goes_with(&mut serve, || vmm.kill());
}
