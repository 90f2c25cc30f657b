// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The framebuffer region of a kernel driver, `contrib/kernel/vfbdemo`, through /dev/vfio: what the
//! specification says of a producer.

mod support;

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use support::vfbdemo::{
    COMMIT_ALL, COMMIT_CURSOR, CURSOR, CURSOR_ON, PRIMARY, PRIMARY_ON, Register, SLOTS, Vfbdemo,
    entry, load_vfbdemo, slot_entry,
};
use support::{Mdev, assert_same, wait_for};
use vfio_display::WritableMapping;
use vfio_display::device::{IrqIndex, RegionDevice as _, Vfio};
use vfio_display::fb_region::layout::{self, damage, plane, slot};
use vfio_display::fb_region::{Op, Status};
use vfio_display::geometry::{Rect, Size};
use vfio_display::testing::card::Card;

const XGA: Size = Size::new(1024, 768);
/// As often as it can.
const ALWAYS: u32 = u32::MAX;

/// In the order that leaves the device closed before it is removed.
fn device() -> (Mdev, Vfbdemo) {
    load_vfbdemo();
    let mdev = Mdev::create("vfbdemo-xga");
    let vfb = Vfbdemo::open(&mdev);
    (mdev, vfb)
}

const fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
    Rect { x, y, width, height }
}

fn draw(memory: &mut WritableMapping, picture: &[u32]) {
    let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    assert!(memory.copy_in(0, &bytes));
}

/// A rectangle of one colour, as a guest draws it and says so.
fn fill(vfb: &Vfbdemo, memory: &mut WritableMapping, rect: Rect, colour: u32) {
    let row = colour.to_le_bytes().repeat(rect.width as usize);
    for y in 0..rect.height as usize {
        let at = (rect.y as usize + y) * XGA.width as usize + rect.x as usize;
        assert!(memory.copy_in(at * 4, &row));
    }
    vfb.damage(rect);
}

fn capture(vfb: &Vfbdemo, request: u32, slot: u8) -> Vec<u32> {
    vfb.command(request, Op::Capture(PRIMARY), slot);
    assert_eq!(vfb.slot(slot), (request, Status::Done));
    vfb.slot_pixels(slot)
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_capture_is_the_last_frame_that_the_guest_ended() {
    let (_mdev, vfb) = device();
    let mut memory = vfb.memory();
    let pictures = [1, 2].map(|n| Card::new(XGA, n).picture());
    vfb.demand(ALWAYS);
    for (n, picture) in pictures.iter().enumerate() {
        vfb.set(Register::Draw, 1);
        draw(&mut memory, picture);
        vfb.set(Register::Commit, COMMIT_ALL);
        // What the guest draws before the next commit is in no capture.
        vfb.set(Register::Draw, 1);
        draw(&mut memory, &vec![0xff_00ff; picture.len()]);
        assert_same(XGA, picture, &capture(&vfb, n as u32 + 7, n as u8));
    }
    let page = vfb.page();
    let [first, second] = [0, 1].map(|n| slot::FRAME.get(slot_entry(&*page, n)));
    assert!(first < second && second == layout::FRAME.get(&*page), "{first} {second}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn damage_is_told_copied_and_counted_alone() {
    let (_mdev, vfb) = device();
    let mut memory = vfb.memory();
    vfb.demand(ALWAYS);
    vfb.set(Register::Commit, COMMIT_ALL);
    let mut expected = capture(&vfb, 1, 0);
    let copied = vfb.get(Register::Copied);
    let rects = [rect(5, 7, 11, 13), rect(1000, 760, 24, 8), rect(5, 7, 2, 2)];
    for (n, at) in rects.into_iter().enumerate() {
        let since = vfb.u64(layout::FRAME);
        let head = vfb.u64(layout::DAMAGE_HEAD);
        fill(&vfb, &mut memory, at, 0xff_0000 + n as u32);
        vfb.set(Register::Commit, 0);
        let page = vfb.page();
        assert_eq!(layout::FRAME.get(&*page), since + 1);
        assert!(layout::DAMAGE_FLOOR.get(&*page) <= since);
        assert_eq!(layout::DAMAGE_HEAD.get(&*page), head + 1);
        let record = entry(&*page, layout::DAMAGES, head);
        let told = [damage::X, damage::Y, damage::WIDTH, damage::HEIGHT].map(|f| f.get(record));
        assert_eq!(told, [at.x, at.y, at.width, at.height]);
        assert_eq!(damage::FRAME.get(record), since + 1);
        for y in at.y as usize..at.y as usize + at.height as usize {
            let row = y * XGA.width as usize + at.x as usize;
            expected[row..row + at.width as usize].fill(0xff_0000 + n as u32);
        }
        assert_same(XGA, &expected, &capture(&vfb, 2 + n as u32, 0));
    }
    // Into the shadow and into the slot, of 3072 KiB.
    let copied = vfb.get(Register::Copied) - copied;
    assert!(copied <= 4, "{copied} KiB were copied");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_floor_rises_when_records_are_written_over() {
    let (_mdev, vfb) = device();
    let mut memory = vfb.memory();
    vfb.demand(ALWAYS);
    vfb.set(Register::Commit, COMMIT_ALL);
    let records = u64::from(layout::DAMAGES.1.get(&*vfb.page()));
    capture(&vfb, 1, 0);
    let first = vfb.u64(layout::FRAME);
    for n in 0..3 * records {
        fill(&vfb, &mut memory, rect(n as u32, n as u32, 1, 1), 0xff);
        vfb.set(Register::Commit, 0);
        let page = vfb.page();
        let (frame, floor) = (layout::FRAME.get(&*page), layout::DAMAGE_FLOOR.get(&*page));
        assert_eq!(frame, first + n + 1);
        // Each frame whose records are all there is at the floor or above it.
        let head = layout::DAMAGE_HEAD.get(&*page);
        let oldest = (head - records.min(head)..head)
            .map(|k| damage::FRAME.get(entry(&*page, layout::DAMAGES, k)))
            .min();
        assert!(oldest.is_some_and(|oldest| floor + 1 >= oldest.min(first)), "{floor} {oldest:?}");
        assert!(floor >= frame.saturating_sub(records) || n < records, "{floor} of {frame}");
    }
    // A slot as old as that is copied whole, and right.
    let mut expected = vec![0; XGA.area() as usize * 4];
    assert!(memory_bytes(&vfb, &mut expected));
    let pixels: Vec<u8> = capture(&vfb, 2, 0).iter().flat_map(|p| p.to_le_bytes()).collect();
    assert!(pixels == expected);
}

/// BAR 0 as a plain consumer reads it.
fn memory_bytes(vfb: &Vfbdemo, out: &mut [u8]) -> bool {
    let bar = vfb.device.region_info(vfio_display::device::RegionIndex(0)).expect("BAR 0");
    vfb.device.read(&bar, 0, out).is_ok()
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn nobody_watches_and_nothing_is_done() {
    let (_mdev, vfb) = device();
    let counts = || [Register::Frames, Register::Captures, Register::Copied].map(|r| vfb.get(r));
    let before = (counts(), vfb.page());
    for _ in 0..100 {
        vfb.set(Register::Draw, 1);
        vfb.set(Register::Commit, COMMIT_ALL);
    }
    assert_eq!((counts(), vfb.page()), before, "no frame and no copy of 100");
    assert!(vfb.get(Register::Commits) >= 100);
    // One frame for all that was missed, of which nobody knows what changed.
    vfb.demand(60_000);
    assert_eq!(vfb.get(Register::Frames), before.0[0] + 1);
    let page = vfb.page();
    assert_eq!(layout::DAMAGE_FLOOR.get(&*page), layout::FRAME.get(&*page));
    vfb.demand(0);
    vfb.set(Register::Commit, COMMIT_ALL);
    assert_eq!(vfb.get(Register::Frames), before.0[0] + 1);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_capture_without_demand_is_of_now() {
    let (_mdev, vfb) = device();
    let mut memory = vfb.memory();
    let picture = Card::new(XGA, 5).picture();
    vfb.set(Register::Draw, 1);
    draw(&mut memory, &picture);
    vfb.set(Register::Commit, COMMIT_ALL);
    assert_same(XGA, &picture, &capture(&vfb, 1, 0));
    // A guest that never ends its frame holds nobody up for long.
    vfb.set(Register::Commit, COMMIT_ALL);
    vfb.set(Register::Draw, 1);
    draw(&mut memory, &vec![1; picture.len()]);
    let start = Instant::now();
    assert_same(XGA, &picture, &capture(&vfb, 2, 0));
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn frames_are_no_more_than_demand_asks_for() {
    let (_mdev, vfb) = device();
    vfb.demand(10_000);
    let (before, start) = (vfb.get(Register::Frames), Instant::now());
    while start.elapsed() < Duration::from_secs(1) {
        vfb.damage(rect(0, 0, 1, 1));
        vfb.set(Register::Commit, 0);
    }
    let (made, committed) = (vfb.get(Register::Frames) - before, vfb.get(Register::Commits));
    assert!((5..=13).contains(&made), "{made} of {committed} in {:?}", start.elapsed());
    // One that came too soon is shown though nobody commits any more.
    let too_soon = (0..100).find_map(|_| {
        let before = vfb.get(Register::Frames);
        vfb.damage(rect(0, 0, 1, 1));
        vfb.set(Register::Commit, 0);
        (vfb.get(Register::Frames) == before).then_some(before)
    });
    let before = too_soon.expect("most are too soon");
    wait_for("the frame that waits", Duration::from_secs(5), || {
        (vfb.get(Register::Frames) == before + 1).then_some(())
    });
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn every_command_has_the_status_of_the_table() {
    let (_mdev, vfb) = device();
    vfb.demand(ALWAYS);
    let refused = |raw: u64, request, status| {
        let before = vfb.u64(layout::SEQUENCE);
        vfb.raw_command(raw);
        assert_eq!(vfb.refused(), (request, status), "{raw:#x}");
        assert!(vfb.u64(layout::SEQUENCE) > before, "{raw:#x} is a change of the page");
    };
    refused(0, 0, Status::BadOp);
    refused(3 << 32 | 9, 9, Status::BadOp);
    refused(1 << 56 | 1 << 32 | 10, 10, Status::BadOp);
    refused(2 << 32 | 1 << 40 | 11, 11, Status::BadOp);
    refused(1 << 32, 0, Status::BadRequest);
    refused(2 << 32 | 12, 12, Status::BadRequest);
    refused(1 << 32 | u64::from(SLOTS) << 48 | 13, 13, Status::BadSlot);
    refused(2 << 32 | 0xff << 48 | 14, 14, Status::BadSlot);
    assert_eq!([vfb.slot(0), vfb.slot(1)], [(0, Status::Free); 2]);

    vfb.command(20, Op::Capture(2), 0);
    assert_eq!(vfb.slot(0), (20, Status::BadPlane));
    vfb.command(21, Op::Capture(CURSOR), 1);
    assert_eq!(vfb.slot(1), (21, Status::Hidden));

    vfb.set(Register::Delay, 5000);
    vfb.command(22, Op::Capture(PRIMARY), 0);
    assert_eq!(vfb.slot(0), (22, Status::Pending));
    vfb.command(23, Op::Capture(PRIMARY), 0);
    assert_eq!((vfb.slot(0), vfb.refused()), ((22, Status::Pending), (23, Status::Busy)));
    vfb.command(24, Op::Cancel, 0);
    assert_eq!((vfb.slot(0), vfb.refused()), ((22, Status::Pending), (24, Status::BadRequest)));
    vfb.command(22, Op::Cancel, 0);
    assert_eq!(vfb.slot(0), (22, Status::Cancelled));
    vfb.command(22, Op::Cancel, 0);
    assert_eq!(vfb.slot(0), (22, Status::Cancelled));

    vfb.set(Register::Delay, 50);
    vfb.command(25, Op::Capture(PRIMARY), 0);
    wait_for("the slow engine", Duration::from_secs(5), || {
        (vfb.slot(0) == (25, Status::Done)).then_some(())
    });
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_reset_frees_what_is_pending_and_nothing_goes_back() {
    let (_mdev, vfb) = device();
    vfb.demand(ALWAYS);
    vfb.set(Register::Commit, COMMIT_ALL);
    vfb.set(Register::Delay, 5000);
    vfb.command(1, Op::Capture(PRIMARY), 0);
    let before = vfb.page();
    Vfio::new(vfb.device.as_fd()).reset().expect("it can be reset");
    let after = vfb.page();
    assert_eq!([vfb.slot(0), vfb.slot(1)], [(0, Status::Free); 2]);
    assert_eq!(layout::DEMAND.get(&*after), 0);
    assert!(layout::SEQUENCE.get(&*after) > layout::SEQUENCE.get(&*before));
    assert!(layout::GENERATION.get(&*after) > layout::GENERATION.get(&*before));
    assert!(layout::FRAME.get(&*after) >= layout::FRAME.get(&*before));
    assert_eq!(layout::DAMAGE_FLOOR.get(&*after), layout::FRAME.get(&*after));
    // The device is at once ready for another.
    capture(&vfb, 2, 0);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn modes_and_cursors_are_told() {
    let (_mdev, vfb) = device();
    let mut memory = vfb.memory();
    vfb.demand(ALWAYS);
    let generation = vfb.u64(layout::GENERATION);
    let size = Size::new(640, 480);
    let picture = Card::new(size, 3).picture();
    draw(&mut memory, &picture);
    vfb.mode(size);
    vfb.set(Register::Commit, 0);
    assert_eq!(vfb.u64(layout::GENERATION), generation + 1);
    assert_same(size, &picture, &capture(&vfb, 1, 0));

    let shape: Vec<u32> = (0..24 * 32).map(|n| 0x8000_0000 + n).collect();
    let bytes: Vec<u8> = shape.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    assert!(memory.copy_in(vfb.get(Register::CursorAt) as usize, &bytes));
    vfb.set(Register::CursorWidth, 24);
    vfb.set(Register::CursorHeight, 32);
    vfb.set(Register::CursorX, (-5_i32).cast_unsigned());
    vfb.set(Register::Enable, PRIMARY_ON | CURSOR_ON);
    vfb.set(Register::Commit, COMMIT_CURSOR);
    vfb.command(2, Op::Capture(CURSOR), 1);
    assert_eq!((vfb.slot(1), vfb.slot_pixels(1)), ((2, Status::Done), shape));
    assert_eq!(vfb.u64(layout::GENERATION), generation + 1, "a cursor is no generation");

    // It moves: a frame of the plane and no record.
    let head = vfb.u64(layout::DAMAGE_HEAD);
    vfb.set(Register::CursorY, 99);
    vfb.set(Register::Commit, 0);
    let page = vfb.page();
    assert_eq!(layout::DAMAGE_HEAD.get(&*page), head);
    let cursor = entry(&*page, layout::PLANES, CURSOR.into());
    assert_eq!((plane::X.get(cursor), plane::Y.get(cursor)), (-5, 99));
    assert_eq!(plane::FRAME.get(cursor), layout::FRAME.get(&*page));
    assert!(plane::FRAME.get(entry(&*page, layout::PLANES, 0)) < layout::FRAME.get(&*page));

    vfb.set(Register::Enable, 0);
    vfb.set(Register::Commit, 0);
    vfb.command(3, Op::Capture(PRIMARY), 0);
    assert_eq!(vfb.slot(0), (3, Status::Hidden));
    // A mode that makes no sense is a screen that is off, whatever else it says.
    vfb.set(Register::Enable, PRIMARY_ON);
    vfb.set(Register::Height, u32::MAX);
    vfb.set(Register::Commit, COMMIT_ALL);
    vfb.command(4, Op::Capture(PRIMARY), 0);
    assert_eq!(vfb.slot(0), (4, Status::Hidden));
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn an_eventfd_wakes_for_frames_and_captures() {
    let (_mdev, vfb) = device();
    let wake = eventfd(0, EventfdFlags::NONBLOCK).expect("an eventfd");
    let index = IrqIndex(layout::WAKE_INDEX.get(&*vfb.page()));
    let woken = |timeout| {
        let timeout = Timespec { tv_sec: timeout, tv_nsec: 0 };
        poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&timeout)).expect("it polls");
        let mut count = [0; 8];
        let read = rustix::io::read(&wake, &mut count);
        read.map_or(0, |_| u64::from_ne_bytes(count))
    };
    vfb.device.set_eventfd(index, Some(wake.as_fd())).expect("it takes an eventfd");
    assert_eq!(woken(0), 0);
    vfb.set(Register::Commit, COMMIT_ALL);
    assert_eq!(woken(0), 0, "nobody has asked for frames");
    vfb.demand(ALWAYS);
    assert_eq!(woken(1), 1);
    vfb.set(Register::Commit, COMMIT_ALL);
    assert_eq!(woken(1), 1);
    vfb.set(Register::Delay, 20);
    vfb.command(1, Op::Capture(PRIMARY), 0);
    assert_eq!(woken(5), 1, "the end of a capture");
    assert_eq!(vfb.get(Register::Wakes), 3);

    vfb.device.set_eventfd(index, None).expect("it gives it back");
    vfb.set(Register::Commit, COMMIT_ALL);
    assert_eq!(woken(0), 0);
    for other in [0, 4, index.0 + 1, u32::MAX] {
        assert!(vfb.device.set_eventfd(IrqIndex(other), Some(wake.as_fd())).is_err(), "{other}");
    }
    let no_eventfd = std::fs::File::open("/dev/null").expect("a file");
    assert!(vfb.device.set_eventfd(index, Some(no_eventfd.as_fd())).is_err());
}
