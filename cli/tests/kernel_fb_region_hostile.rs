// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whoever has the fd of `contrib/kernel/vfbdemo` does what it likes: the kernel is not upset, and
//! the page stays what the specification says. The kernel runs with `oops=panic`.
#![allow(unsafe_code, reason = "calls that no careful program would make")]

mod support;

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use support::vfbdemo::{COMMIT_ALL, PRIMARY, Register, SLOTS, Vfbdemo, entry, load_vfbdemo};
use support::{Mdev, StopOnDrop, wait_for};
use vfio_display::WritableMapping;
use vfio_display::device::{RegionDevice as _, RegionIndex, Vfio};
use vfio_display::fb_region::layout::{self, damage};
use vfio_display::fb_region::{Op, Page, Status};
use vfio_display::testing::rng::Rng;

/// Where the driver puts a region in its file: index << 40, as vfio-pci does.
const REGION_SHIFT: u32 = 40;
const REGIONS: u64 = 10;

/// In the order that leaves the device closed before it is removed.
fn device() -> (Mdev, Vfbdemo) {
    load_vfbdemo();
    let mdev = Mdev::create("vfbdemo-xga");
    let vfb = Vfbdemo::open(&mdev);
    (mdev, vfb)
}

fn outcome(result: isize) -> Result<usize, i32> {
    let errno = || io::Error::last_os_error().raw_os_error().unwrap_or_default();
    usize::try_from(result).map_err(|_| errno())
}

fn pread(fd: RawFd, buffer: &mut [u8], at: u64) -> Result<usize, i32> {
    // SAFETY: the buffer has as many bytes as are asked for.
    outcome(unsafe { libc::pread(fd, buffer.as_mut_ptr().cast(), buffer.len(), at as i64) })
}

fn pwrite(fd: RawFd, data: &[u8], at: u64) -> Result<usize, i32> {
    // SAFETY: the data has as many bytes as are written.
    outcome(unsafe { libc::pwrite(fd, data.as_ptr().cast(), data.len(), at as i64) })
}

/// An ioctl of VFIO; `argument` is longer than any answer of this driver.
fn ioctl(fd: RawFd, number: u64, argument: &mut [u8; 4096]) -> Result<usize, i32> {
    let request = 0x3b64 + number;
    // SAFETY: the driver writes no more than `argsz` of an answer of some 100 bytes, and the core
    // no more than the few bytes of its own structures.
    outcome(unsafe { libc::ioctl(fd, request, argument.as_mut_ptr()) } as isize)
}

/// Numbers that are likely to be at an edge of something.
fn odd(rng: &mut Rng) -> u64 {
    let bit = 1_u64 << rng.below(64);
    match rng.below(6) {
        0 => rng.below(0x100),
        1 => rng.next(),
        2 => bit.wrapping_sub(rng.below(9)),
        3 => bit.wrapping_add(rng.below(9)),
        4 => rng.below(1 << 24),
        _ => u64::from(rng.next() as u32),
    }
}

/// A place in the device's file, mostly in a region or close to its end.
fn place(vfb: &Vfbdemo, rng: &mut Rng) -> u64 {
    let index = rng.below(REGIONS + 2);
    let size = vfb.device.region_info(RegionIndex(index as u32)).map_or(0x1000, |info| info.size);
    let at = match rng.below(4) {
        0 => rng.below(0x100),
        1 => rng.below(0x1100),
        2 => (size + 8).saturating_sub(rng.below(32)),
        _ => odd(rng),
    };
    (index << REGION_SHIFT).wrapping_add(at) & i64::MAX as u64
}

fn length(rng: &mut Rng) -> usize {
    [1, 2, 3, 4, 4, 4, 5, 7, 8, 8, 8, 12, 16, 31, 256, 4095, 4096, 4097, 70_000]
        [rng.below(19) as usize]
}

/// One thing that somebody might do.
fn disturb(vfb: &Vfbdemo, rng: &mut Rng) {
    let fd = vfb.device.as_fd().as_raw_fd();
    match rng.below(100) {
        0..20 => {
            let mut buffer = vec![0; length(rng)];
            let _ = pread(fd, &mut buffer, place(vfb, rng));
        }
        20..40 => {
            let data: Vec<u8> = (0..length(rng)).map(|_| rng.next() as u8).collect();
            let _ = pwrite(fd, &data, place(vfb, rng));
        }
        40..60 => {
            let raw = if rng.percent(30) {
                rng.next()
            } else {
                let op = 1 + rng.below(2);
                let plane = if op == 1 { rng.below(3) } else { 0 };
                rng.below(4) | op << 32 | plane << 40 | rng.below(3) << 48
            };
            vfb.raw_command(raw);
        }
        60..65 => vfb.demand(odd(rng) as u32),
        65..85 => {
            // Every register, also those that there are not.
            let at = (2 << REGION_SHIFT) + 4 * rng.below(0x28);
            // No longer than a moment, or there is nothing but captures that wait.
            let value = if at & 0xff == Register::Delay as u64 { rng.below(4) } else { odd(rng) };
            let _ = pwrite(fd, &(value as u32).to_le_bytes(), at);
        }
        85..88 => {
            vfb.set(Register::Enable, 3);
            vfb.set(Register::Width, 1 + rng.below(1024) as u32);
            vfb.set(Register::Height, 1 + rng.below(768) as u32);
            vfb.set(Register::Commit, rng.next() as u32);
        }
        88..94 => {
            let mut argument = [0; 4096];
            argument.iter_mut().for_each(|byte| *byte = rng.next() as u8);
            let argsz = if rng.percent(70) { 4 * rng.below(40) } else { odd(rng) } as u32;
            argument[..4].copy_from_slice(&argsz.to_le_bytes());
            argument[4..8].copy_from_slice(&(rng.below(64) as u32).to_le_bytes());
            argument[8..12].copy_from_slice(&(rng.below(12) as u32).to_le_bytes());
            // Of an interrupt: the first, how many, and an fd that may be an eventfd.
            argument[12..16].copy_from_slice(&(rng.below(2) as u32).to_le_bytes());
            argument[16..20].copy_from_slice(&(rng.below(3) as u32).to_le_bytes());
            let wake = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            let other = rng.below(12) as i32 - 2;
            let fd_number = if rng.percent(50) { wake.as_raw_fd() } else { other };
            argument[20..24].copy_from_slice(&fd_number.to_le_bytes());
            if rng.percent(30) {
                // DATA_EVENTFD and ACTION_TRIGGER of the interrupt that there is.
                for (at, right) in [(4, 36_u32), (8, 5), (12, 0), (16, 1)] {
                    argument[at..at + 4].copy_from_slice(&right.to_le_bytes());
                }
            }
            // The reset is for `reset`; what is past 20 may be the core's.
            let _ = ioctl(
                fd,
                [7, 8, 8, 9, 10, 10, 12, 13, 14, 15, 16][rng.below(11) as usize],
                &mut argument,
            );
        }
        94..98 => {
            let at = place(vfb, rng) & !0xfff;
            let most = if rng.percent(80) { 0x4000 } else { 1 << 23 };
            let len = 1 + rng.below(most) as usize;
            if let Ok(mut mapping) = WritableMapping::new(vfb.device.as_fd(), at, len) {
                assert_eq!(at >> REGION_SHIFT, 0, "only BAR 0 can be mapped to be written");
                assert!(mapping.copy_in(len - 1, &[7]));
            } else if let Ok(mapping) = vfio_display::Mapping::new(vfb.device.as_fd(), at, len) {
                assert_eq!(at >> REGION_SHIFT, 9, "else the slots to be read");
                assert!(at & 0xfff_ffff >= 0x1000, "and never the page");
                assert!(mapping.copy_out(len - 1, &mut [0]));
            }
        }
        98 => {
            let to = rng.below(2) as *mut libc::c_void;
            // SAFETY: the kernel checks an address, and there is no memory at this one.
            let _ = outcome(unsafe { libc::pread(fd, to, 64, place(vfb, rng) as i64) });
            // SAFETY: as above.
            let _ = outcome(unsafe { libc::pwrite(fd, to, 8, (9 << REGION_SHIFT) + 0x80) });
        }
        _ => Vfio::new(vfb.device.as_fd()).reset().expect("it can be reset"),
    }
}

/// The page is right by itself, and after `before`.
fn check(vfb: &Vfbdemo, before: &Page) -> Page {
    // `Page::new` checks the identity and where the tables and slots are.
    let page = Page::new(vfb.page(), vfb.region.size).expect("a page that makes sense");
    let bytes = page.bytes();
    assert_eq!(bytes[..layout::IDENTITY_LEN], before.bytes()[..layout::IDENTITY_LEN]);
    for counter in [layout::SEQUENCE, layout::GENERATION, layout::FRAME, layout::DAMAGE_HEAD] {
        let (was, is) = (counter.get(before.bytes()), counter.get(bytes));
        assert!(is >= was, "{counter:?} went back from {was} to {is}");
    }
    assert!(page.sequence().is_multiple_of(2), "a whole state");
    assert!(layout::DAMAGE_FLOOR.get(bytes) <= page.frame());
    assert_eq!(layout::COMMAND.get(bytes), 0);
    for reserved in [0x2c..0x40, 0x70..0x80, 0x8c..0x100] {
        assert!(bytes[reserved.clone()].iter().all(|byte| *byte == 0), "{reserved:x?}");
    }
    for plane in page.planes().filter(|plane| plane.visible) {
        let live = plane.live.expect("BAR 0 is live");
        assert!(plane.frame <= page.frame() && plane.size.width.min(plane.size.height) > 0);
        assert!(u64::from(live.stride) >= u64::from(plane.size.width) * 2);
        assert!(live.offset + live.len <= 4 << 20 && live.region == 0, "{live:?}");
    }
    for slot in page.slots() {
        let status = Status::from_raw(slot.status).expect("a status of the table");
        assert_eq!(slot.request == 0, status == Status::Free, "{slot:?}");
        if status == Status::Done {
            assert!(slot.frame <= page.frame() && slot.generation <= page.generation());
            assert!(u64::from(slot.stride) * u64::from(slot.size.height) <= slot.len, "{slot:?}");
        }
    }
    let head = layout::DAMAGE_HEAD.get(bytes);
    let records = u64::from(layout::DAMAGES.1.get(bytes)).min(head);
    for k in head - records..head {
        let record = entry(bytes, layout::DAMAGES, k);
        let [x, y, width, height] =
            [damage::X, damage::Y, damage::WIDTH, damage::HEIGHT].map(|field| field.get(record));
        assert!(damage::FRAME.get(record) <= page.frame() && damage::PLANE.get(record) < 2);
        assert!(x + width <= 16384 && y + height <= 16384 && width.min(height) > 0);
    }
    page
}

fn first_page(vfb: &Vfbdemo) -> Page {
    Page::new(vfb.page(), vfb.region.size).expect("a page that makes sense")
}

/// After all of that it works as it did.
fn still_works(vfb: &Vfbdemo) {
    Vfio::new(vfb.device.as_fd()).reset().expect("it can be reset");
    assert_eq!([vfb.slot(0), vfb.slot(1)], [(0, Status::Free); 2]);
    vfb.demand(u32::MAX);
    vfb.set(Register::Commit, COMMIT_ALL);
    vfb.command(99, Op::Capture(PRIMARY), 0);
    assert_eq!(vfb.slot(0), (99, Status::Done));
    let pixels = vfb.slot_pixels(0);
    assert_eq!((pixels.len(), pixels[0] & 0xff), (1024 * 768, 0xe0), "the grey of a reset");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn whatever_is_written_and_asked_the_page_stays_right() {
    let (_mdev, vfb) = device();
    for seed in 0..4 {
        let mut rng = Rng::new(seed);
        let mut page = first_page(&vfb);
        for op in 0..1000 {
            disturb(&vfb, &mut rng);
            if op % 8 == 0 {
                page = check(&vfb, &page);
            }
        }
        still_works(&vfb);
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_write_that_is_not_one_register_changes_nothing() {
    let (_mdev, vfb) = device();
    let fd = vfb.device.as_fd().as_raw_fd();
    let base = 9 << REGION_SHIFT;
    let before = vfb.page();
    let ends = [0x1000, 0x1004, vfb.region.size - 4, vfb.region.size, u64::from(u32::MAX)];
    for at in (0..0x98).chain((0x98..0x1000).step_by(61)).chain(ends) {
        for len in [1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 4096] {
            if (at, len) == (0x80, 8) || (at, len) == (0x88, 4) {
                continue;
            }
            let written = pwrite(fd, &vec![0xff; len], base + at);
            assert_eq!(written, Err(libc::EINVAL), "{len} bytes at {at:#x}");
        }
    }
    assert!(vfb.page() == before, "nothing changed");
    for (at, len) in [(vfb.region.size - 3, 4), (vfb.region.size, 1), (0, 1 << 24)] {
        assert_eq!(pread(fd, &mut vec![0; len], base + at), Err(libc::EINVAL), "{len} at {at:#x}");
    }
    // One that runs out of the page ends with it.
    assert_eq!(pread(fd, &mut [0; 64], base + 0xff0), Ok(16));
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_consumer_can_t_write_into_a_slot() {
    let (_mdev, vfb) = device();
    let fd = vfb.device.as_fd().as_raw_fd();
    let at = (9 << REGION_SHIFT) + 0x1000;
    assert!(WritableMapping::new(vfb.device.as_fd(), at as u64, 4096).is_err());
    // SAFETY: mappings of a file at a place that the kernel chooses; what is ours is given back, and
    // nobody has a reference into it.
    let (mapped, protected, given_back, copied) = unsafe {
        let map = |how| libc::mmap(ptr::null_mut(), 4096, libc::PROT_READ, how, fd, at);
        let mapped = map(libc::MAP_SHARED);
        let protected = libc::mprotect(mapped, 4096, libc::PROT_READ | libc::PROT_WRITE);
        let protected = outcome(protected as isize);
        let given_back = libc::munmap(mapped, 4096);
        let copied = map(libc::MAP_PRIVATE);
        libc::munmap(copied, 4096);
        (mapped, protected, given_back, copied)
    };
    assert_ne!(mapped, libc::MAP_FAILED);
    assert_eq!((protected, given_back), (Err(libc::EACCES), 0));
    assert_eq!(copied, libc::MAP_FAILED, "a private copy is none of the device's memory");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn threads_that_disturb_each_other_do_no_harm() {
    let (_mdev, vfb) = device();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        for seed in 100..104 {
            let (vfb, stop) = (&vfb, &stop);
            scope.spawn(move || {
                let mut rng = Rng::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    disturb(vfb, &mut rng);
                }
            });
        }
        let mut page = first_page(&vfb);
        let start = Instant::now();
        let mut looks = 0;
        while start.elapsed() < Duration::from_secs(3) {
            page = check(&vfb, &page);
            looks += 1;
        }
        println!("{looks} looks, {} changes of the page", page.sequence() / 2);
    });
    still_works(&vfb);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_device_that_is_closed_during_a_capture_is_as_new() {
    load_vfbdemo();
    let mdev = Mdev::create("vfbdemo-xga");
    let mut page = None;
    for delay in (0..20).map(|n| n % 5) {
        let vfb = Vfbdemo::open(&mdev);
        let before = page.take().unwrap_or_else(|| first_page(&vfb));
        assert_eq!(layout::DEMAND.get(&*vfb.page()), 0);
        assert_eq!([vfb.slot(0), vfb.slot(1)], [(0, Status::Free); 2]);
        vfb.demand(60_000);
        vfb.set(Register::Draw, 1);
        vfb.set(Register::Delay, 1 + 3 * delay);
        for slot in 0..SLOTS {
            vfb.command(7, Op::Capture(PRIMARY), slot);
        }
        assert_eq!(vfb.slot(1), (7, Status::Pending));
        page = Some(check(&vfb, &before));
        thread::sleep(Duration::from_millis(u64::from(delay)));
    }
    // The next one does not have to wait for a guest that is gone.
    let vfb = Vfbdemo::open(&mdev);
    vfb.set(Register::Delay, 0);
    vfb.set(Register::Commit, COMMIT_ALL);
    vfb.command(8, Op::Capture(PRIMARY), 0);
    assert_eq!(vfb.slot(0), (8, Status::Done));
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn memory_is_counted_and_comes_back() {
    load_vfbdemo();
    let available = || {
        let types = "/sys/class/mdev_bus/vfbdemo/mdev_supported_types/vfbdemo-4k";
        let text = std::fs::read_to_string(format!("{types}/available_instances"));
        text.expect("the type is there").trim().parse::<u32>().expect("a number")
    };
    let all = available();
    assert_eq!(all, 1, "of 200 MB");
    let device = Mdev::create("vfbdemo-4k");
    assert_eq!(available(), 0);
    let create = "/sys/class/mdev_bus/vfbdemo/mdev_supported_types/vfbdemo-4k/create";
    let one_more = std::fs::write(create, "6d2b2c3e-0000-4000-8000-000000000001");
    assert_eq!(one_more.expect_err("there is no room").raw_os_error(), Some(libc::ENOSPC));
    drop(device);
    wait_for("the memory", Duration::from_secs(5), || (available() == all).then_some(()));
}
