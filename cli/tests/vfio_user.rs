// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device in a process of its own, over a real socket: this crate's client and the `vfio_user`
//! crate's, and a QEMU that knows neither.

mod support;

use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::Signal;
use serde_json::{Value, json};
use support::{MockDevice, Qemu, Serve, Viewer, assert_same, shot, stderr, vfio_display, wait_for};
use vfio_display::device::{IrqIndex, RegionDevice as _, RegionIndex};
use vfio_display::error::{Error, Gone};
use vfio_display::geometry::Size;
use vfio_display::region::{Capability, RegionFlags, RegionInfo};
use vfio_display::testing::Recorder;
use vfio_display::testing::card::Card;
use vfio_display::testing::rows;
use vfio_display::vfio_user::VfioUser;
use vfio_display::{Display, Mapping, Picture, Poll};

const SIZE: Size = Size::new(320, 200);
const STILL: [&str; 4] = ["--size", "320x200", "--scene", "still"];
const WAKE: IrqIndex = IrqIndex(5);

/// Registers and offsets of `docs/framebuffer-region.md`.
const SLOTS_OFFSET: u64 = 0x018;
const FRAME: u64 = 0x050;
const COMMAND: u64 = 0x080;
const DEMAND: u64 = 0x088;
const SLOT_REQUEST: u64 = 0x10;
const DONE: u32 = 2;
const BYTES: usize = SIZE.width as usize * SIZE.height as usize * 4;

fn region(client: &VfioUser, index: u32) -> RegionInfo {
    client.region_info(RegionIndex(index)).expect("there is such a region")
}

fn read<const N: usize>(client: &VfioUser, region: &RegionInfo, at: u64) -> [u8; N] {
    let mut bytes = [0; N];
    client.read(region, at, &mut bytes).expect("it can be read");
    bytes
}

fn word(client: &VfioUser, region: &RegionInfo, at: u64) -> u32 {
    u32::from_le_bytes(read(client, region, at))
}

/// The newest frame.
fn frame(client: &VfioUser) -> u64 {
    u64::from_le_bytes(read(client, &region(client, 9), FRAME))
}

/// The command that captures the screen into slot 0.
fn capture(request: u32) -> [u8; 8] {
    (u64::from(request) | 1 << 32).to_le_bytes()
}

/// The first picture of the card, as bytes of XRGB8888.
fn card() -> Vec<u8> {
    Card::new(SIZE, 0).picture().iter().flat_map(|pixel| pixel.to_le_bytes()).collect()
}

/// Whether `eventfd` was signalled within `limit`.
fn signalled(eventfd: &OwnedFd, limit: Duration) -> bool {
    let limit = Timespec::try_from(limit).expect("a short time");
    let came = poll(&mut [PollFd::new(eventfd, PollFlags::IN)], Some(&limit)) == Ok(1);
    came && rustix::io::read(eventfd, &mut [0; 8]).is_ok()
}

#[test]
fn the_device_says_what_it_is() {
    let device = MockDevice::start(&STILL);
    let client = device.client();
    let info = client.device_info().unwrap();
    assert_eq!((info.flags, info.num_regions, info.num_irqs), (3, 10, 6));

    let config = region(&client, 7);
    assert_eq!(word(&client, &config, 0), 0xd15d_1234);
    let [at, ..] = read::<4>(&client, &config, 0x34);
    let capability: [u8; 12] = read(&client, &config, at.into());
    assert_eq!(&capability, b"\x09\0\x10\x01VFBR\x09\0\0\0");

    assert_eq!(&read::<4>(&client, &region(&client, 2), 0), b"VFMD");
    for index in [1, 3, 4, 5, 6, 8] {
        assert_eq!(region(&client, index).size, 0, "{index}");
    }
    let none = client.region_info(RegionIndex(10)).unwrap_err();
    assert_eq!(none.errno(), Some(rustix::io::Errno::INVAL.into()));

    let fb = region(&client, 9);
    assert!(fb.flags.contains(RegionFlags::READ | RegionFlags::WRITE | RegionFlags::MMAP));
    let areas = std::iter::once(4096..fb.size).collect();
    assert_eq!(fb.capabilities, [Capability::SparseMmap(areas)]);
    assert_eq!(read(&client, &fb, 0), *b"VFBR\x01\0\0\0");
    let page = client.map(&fb, 0, 4096).unwrap_err();
    assert!(matches!(page, Error::OutsideRegion { .. }), "{page}");

    assert_eq!(client.irq_info(WAKE).unwrap().count, 1);
    assert_eq!(client.irq_info(IrqIndex(0)).unwrap().count, 0);
}

#[test]
fn a_capture_is_the_picture_mapped_and_read() {
    let device = MockDevice::start(&STILL);
    let client = device.client();
    let fb = region(&client, 9);
    let slots = u64::from(word(&client, &fb, SLOTS_OFFSET));
    let offset = u64::from_le_bytes(read(&client, &fb, slots));
    client.write(&fb, COMMAND, &capture(77)).unwrap();
    wait_for("the capture", Duration::from_secs(10), || {
        let slot: [u8; 8] = read(&client, &fb, slots + SLOT_REQUEST);
        (slot == [77, 0, 0, 0, DONE as u8, 0, 0, 0]).then_some(())
    });

    let mapping = client.map(&fb, offset, BYTES as u64).unwrap();
    let mut mapped = vec![0; BYTES];
    assert!(mapping.copy_out(0, &mut mapped));
    assert!(mapped == card(), "what is mapped");
    let mut by_message = vec![0; BYTES];
    client.read(&fb, offset, &mut by_message).unwrap();
    assert!(by_message == card(), "what is read");

    // The picture as it is drawn.
    let bar0 = region(&client, 0);
    let live = client.map(&bar0, 0, BYTES as u64).unwrap();
    assert!(live.copy_out(0, &mut mapped));
    assert!(mapped == card(), "what is live");
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let device = MockDevice::start(&STILL);
    let client = device.client();
    let fb = region(&client, 9);
    let before: [u8; 4096] = read(&client, &fb, 0);
    for (at, len) in [(0, 4), (COMMAND, 4), (COMMAND + 4, 8), (DEMAND, 8), (4096, 4)] {
        client.write(&fb, at, &vec![0xff; len]).unwrap_err();
    }
    client.write(&region(&client, 2), 0, &[0; 4]).unwrap_err();
    client.set_eventfd(IrqIndex(0), Some(client_eventfd().as_fd())).unwrap_err();
    client.set_eventfd(IrqIndex(9), None).unwrap_err();
    assert!(read::<4096>(&client, &fb, 0) == before);
}

fn client_eventfd() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd")
}

#[test]
fn it_draws_for_those_who_watch_and_wakes_them() {
    let device = MockDevice::start(&["--size", "320x200", "--fps", "100"]);
    let client = device.client();
    let fb = region(&client, 9);
    let wake = client_eventfd();
    client.set_eventfd(WAKE, Some(wake.as_fd())).unwrap();
    let stood = frame(&client);
    assert!(!signalled(&wake, Duration::from_millis(300)));
    assert_eq!(frame(&client), stood, "nobody watches");

    client.write(&fb, DEMAND, &50_000_u32.to_le_bytes()).unwrap();
    let start = Instant::now();
    for _ in 0..10 {
        assert!(signalled(&wake, Duration::from_secs(10)));
    }
    assert!(start.elapsed() > Duration::from_millis(100), "{:?}", start.elapsed());
    client.write(&fb, DEMAND, &[0; 4]).unwrap();
    // One may be on its way.
    signalled(&wake, Duration::from_millis(100));
    let before = stood;
    let stood = frame(&client);
    assert!(stood >= before + 10);
    assert!(!signalled(&wake, Duration::from_millis(300)));
    assert_eq!(frame(&client), stood, "nobody watches any more");

    // One that is let go of without a word is as one that said so.
    client.write(&fb, DEMAND, &50_000_u32.to_le_bytes()).unwrap();
    assert!(signalled(&wake, Duration::from_secs(10)));
    drop(client);
    let client = device.client();
    let stood = frame(&client);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(frame(&client), stood);
}

#[test]
fn a_device_that_was_killed_can_be_had_again() {
    let mut device = MockDevice::start(&STILL);
    let client = device.client();
    device.kill();
    assert_eq!(client.device_info().unwrap_err(), Error::Gone(Gone::Closed));
    let nobody = vfio_display(&["probe", &device.dev()]);
    assert_eq!(nobody.status.code(), Some(3), "{}", stderr(&nobody));

    device.restart(&STILL);
    assert_eq!(device.client().device_info().unwrap().num_regions, 10);
    assert_eq!(client.device_info().unwrap_err(), Error::Gone(Gone::Closed));
}

#[test]
fn its_socket_is_its_owner_s_and_goes_with_it() {
    let mut device = MockDevice::start(&STILL);
    let mode = std::fs::metadata(device.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = device.socket();
    let second = vfio_display(&["mock-device", "--socket", path.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(5), "{}", stderr(&second));
    assert!(device.stop().success());
    assert!(!path.exists());
}

#[test]
fn a_device_that_has_a_client_is_busy() {
    let device = MockDevice::start(&STILL);
    let _first = device.client();
    let second = vfio_display(&["probe", &device.dev()]);
    assert_eq!(second.status.code(), Some(5), "{}", stderr(&second));
    assert!(stderr(&second).contains("one client at a time"), "{}", stderr(&second));
}

/// The client that cloud-hypervisor has.
#[test]
fn the_vfio_user_crate_s_client_can_use_it() {
    let device = MockDevice::start(&STILL);
    let mut client = vfio_user::Client::new(&device.socket()).unwrap();
    let sizes: Vec<_> = (0..10).map(|index| client.region(index).unwrap().size).collect();
    let fb = sizes[9];
    assert_eq!(sizes[..9], [1 << 19, 0, 4096, 0, 0, 0, 0, 256, 0]);

    let mut bytes = [0; 8];
    client.region_read(9, 0, &mut bytes).unwrap();
    assert_eq!(bytes, *b"VFBR\x01\0\0\0");
    client.region_read(9, SLOTS_OFFSET, &mut bytes).unwrap();
    let slots = u64::from(u32::from_le_bytes(*bytes.first_chunk().unwrap()));
    client.region_read(9, slots, &mut bytes).unwrap();
    let offset = u64::from_le_bytes(bytes);

    assert_eq!(client.get_irq_info(WAKE.0).unwrap().count, 1);
    let wake = client_eventfd();
    // DATA_EVENTFD | ACTION_TRIGGER
    client.set_irqs(WAKE.0, 0x24, 0, 1, &[wake.as_raw_fd()]).unwrap();
    client.region_write(9, COMMAND, &capture(5)).unwrap();
    assert!(signalled(&wake, Duration::from_secs(10)));
    client.region_read(9, slots + SLOT_REQUEST, &mut bytes).unwrap();
    assert_eq!(bytes, [5, 0, 0, 0, DONE as u8, 0, 0, 0]);

    let region = client.region(9).unwrap();
    let [area] = region.sparse_areas[..] else { panic!("{region:?}") };
    assert_eq!((area.offset, area.size), (4096, fb - 4096));
    let file = region.file_offset.as_ref().expect("a file came with it");
    let fd: BorrowedFd<'_> = file.file().as_fd();
    let mapping = Mapping::new(fd, file.start() + offset, BYTES).unwrap();
    let mut mapped = vec![0; BYTES];
    assert!(mapping.copy_out(0, &mut mapped));
    assert!(mapped == card());

    client.reset().unwrap();
    client.region_read(9, slots + SLOT_REQUEST, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 8], "the slot is free");
    client.shutdown().unwrap();
}

/// The BARs of the device as firmware set them up; `None` until it has.
fn bars(qemu: &mut Qemu) -> Option<[u64; 2]> {
    let buses = qemu.ask("query-pci", &json!({}));
    let devices = buses[0]["devices"].as_array().expect("a list");
    let ours = |device: &&Value| device["id"]["device"] == 0xd15d;
    let device = devices.iter().find(ours).expect("QEMU has the device");
    assert_eq!(device["class_info"]["class"], 0x0380);
    let bar = |number: u32, size: u64| {
        let regions = device["regions"].as_array().expect("a list");
        let bar = regions.iter().find(|region| region["bar"] == number)?;
        assert_eq!((&bar["size"], &bar["type"]), (&json!(size), &json!("memory")));
        bar["address"].as_i64().filter(|address| *address > 0).map(i64::cast_unsigned)
    };
    Some([bar(0, 1 << 19)?, bar(2, 4096)?])
}

#[test]
#[ignore = "needs a QEMU with vfio-user: cargo xtask test unpacks one"]
fn an_unmodified_qemu_takes_it() {
    let device = MockDevice::start(&STILL);
    let socket = json!({ "type": "unix", "path": device.socket() });
    let mut qemu = Qemu::start(&json!({ "driver": "vfio-user-pci", "socket": socket }));
    let [picture, registers] = wait_for("the BARs", Duration::from_secs(60), || bars(&mut qemu));
    assert!(qemu.monitor("info qtree").contains("dev: vfio-user-pci"));
    let maps = qemu.monitor("info mtree -f");
    assert!(maps.contains("BAR 0 mmaps[0]"), "it maps BAR 0: {maps}");

    // A message to the device each, and the mapped picture.
    let signature = u32::from_le_bytes(*b"VFMD");
    assert_eq!(qemu.physical_words(registers, 3), [signature, SIZE.width, SIZE.height]);
    let row = 100 * SIZE.width as usize;
    let words = qemu.physical_words(picture + 4 * row as u64, SIZE.width as usize);
    assert!(words == Card::new(SIZE, 0).picture()[row..row + SIZE.width as usize]);
}

#[test]
fn a_shot_is_the_picture() {
    let mut device = MockDevice::start(&STILL);
    let (size, picture) = shot(&device.dev());
    assert_eq!(size, SIZE);
    assert_same(SIZE, &Card::new(SIZE, 0).picture(), &picture);

    let probe = vfio_display(&["probe", &device.dev(), "--json"]);
    assert!(probe.status.success(), "{}", stderr(&probe));
    let probe: Value = serde_json::from_slice(&probe.stdout).expect("JSON");
    assert_eq!(probe["framebuffer_region"]["region"], 9);
    assert_eq!(probe["framebuffer_region"]["planes"][0]["width"], SIZE.width);
    assert_eq!(probe["picture"]["readable"], true);

    device.kill();
    let gone = vfio_display(&["shot", &device.dev(), "-o", "-"]);
    assert_eq!(gone.status.code(), Some(3), "{}", stderr(&gone));
}

/// Waits for a whole picture of the scene `rows`, of another frame.
fn until_newer(viewer: &mut Viewer, than: Option<u32>) -> u32 {
    let mut found = None;
    viewer.until("a whole picture", |viewer| {
        let frame = viewer.pixels[0] & 0x00ff_ffff;
        let mut expected = vec![0; viewer.size.width as usize];
        let mut picture = (0..).zip(viewer.pixels.chunks_exact(expected.len()));
        let whole = picture.all(|(y, row)| {
            rows::row(frame, y, &mut expected);
            row.iter().zip(&expected).all(|(pixel, is)| pixel & 0x00ff_ffff == *is)
        });
        found = (whole && Some(frame) != than).then_some(frame);
        found.is_some()
    });
    found.expect("waited for")
}

#[test]
fn a_viewer_sees_whole_frames_and_outlives_the_device() {
    const ROWS: [&str; 4] = ["--size", "320x200", "--scene", "rows"];
    let mut device = MockDevice::start(&ROWS);
    let mut serve = Serve::at_any_port(&device.dev(), &["--reattach"]);
    let mut viewer = serve.viewer();
    let mut last = until_newer(&mut viewer, None);
    for _ in 0..5 {
        last = until_newer(&mut viewer, Some(last));
    }
    device.kill();
    device.restart(&ROWS);
    for _ in 0..5 {
        last = until_newer(&mut viewer, Some(last));
    }
    device.kill();
    serve.signal(Signal::INT);
    let (status, told) = serve.ended();
    assert!(status.success(), "{status}: {told}");
    assert!(told.contains("waiting for it to come back"), "{told}");
}

/// A thousand frames of full size, from a guest that draws as fast as it can.
#[test]
#[ignore = "takes a minute and the whole machine: cargo xtask test"]
fn no_frame_of_a_device_process_is_torn_and_its_memory_is() {
    const FRAMES: u32 = 1000;
    let size = Size::new(1920, 1080);
    let device = MockDevice::start(&["--size", "1920x1080", "--scene", "rows", "--fps", "0"]);
    let client = device.client();
    let start = Instant::now();
    let mut display = Display::new(&client).unwrap();
    display.set_rate(1000);
    display.watch(start);
    let mut sink = Recorder::new();
    let (mut shown, mut last) = (0, 0);
    while shown < FRAMES {
        assert!(start.elapsed() < Duration::from_secs(300), "{shown} frames");
        if display.poll(Instant::now(), &mut sink).unwrap() != Poll::Shown(size) {
            continue;
        }
        let frame = rows::frame_of(sink.picture()).expect("a whole frame");
        assert!(frame > last || shown == 0, "frame {frame} after {last}");
        (shown, last) = (shown + 1, frame);
    }
    println!("{FRAMES} whole frames of {size} in {:.1?}, of {last}", start.elapsed());

    // The same memory, copied without asking, while somebody watches.
    let bar0 = region(&client, 0);
    let bytes = size.area() * 4;
    let mapping = client.map(&bar0, 0, bytes).unwrap();
    let torn = (0..1000).find(|_| {
        let mut copy = vec![0; bytes as usize];
        assert!(mapping.copy_out(0, &mut copy));
        let mut picture = Picture::new(size);
        let rows = picture.rows_mut().zip(copy.chunks_exact(size.width as usize * 4));
        for (pixels, row) in rows {
            for (pixel, bytes) in pixels.iter_mut().zip(row.as_chunks().0) {
                *pixel = u32::from_le_bytes(*bytes);
            }
        }
        rows::frame_of(&picture).is_err()
    });
    assert!(torn.is_some(), "a plain copy tears");
}

#[test]
fn without_being_asked_to_wait_serve_ends_with_the_device() {
    let mut device = MockDevice::start(&["--size", "320x200"]);
    let mut serve = Serve::at_any_port(&device.dev(), &[]);
    let _viewer = serve.viewer();
    device.kill();
    let (status, told) = serve.ended();
    assert_eq!(status.code(), Some(10), "{told}");
    assert!(told.contains("its server closed the connection"), "{told}");
}
