// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The display and the command on the framebuffer region of a kernel driver, through /dev/vfio:
//! whole frames, exact damage, cost that follows change.

#[allow(dead_code, unreachable_pub, reason = "the library's tests use more of it")]
#[path = "../../tests/metered/mod.rs"]
mod metered;
mod support;

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use metered::Metered;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use support::vfbdemo::{COMMIT_ALL, Register, Vfbdemo, load_vfbdemo};
use support::{Mdev, Serve, StopOnDrop, Viewer, assert_same, shot, stderr, vfio_display};
use vfio_display::device::{GfxDevice, PlaneKind};
use vfio_display::fb_region::Page;
use vfio_display::geometry::{Rect, Size};
use vfio_display::sink::Takes;
use vfio_display::testing::card::Card;
use vfio_display::testing::{Faulty, Op, Recorder, rows};
use vfio_display::{Display, Look, Poll, WritableMapping};

const VGA: Size = Size::new(640, 480);
/// A frame for each commit, where the display asks for 60 a second.
const ALWAYS: u32 = u32::MAX;

/// In the order that leaves the device closed before it is removed.
fn device(kind: &str) -> (Mdev, Vfbdemo) {
    load_vfbdemo();
    let mdev = Mdev::create(kind);
    let vfb = Vfbdemo::open(&mdev);
    (mdev, vfb)
}

/// Draws `pixels` into `rect` of a screen of `width` pixels a row.
fn draw(memory: &mut WritableMapping, width: u32, rect: Rect, pixels: &[u32]) {
    for (row, y) in pixels.chunks_exact(rect.width as usize).zip(rect.y..) {
        let bytes: Vec<u8> = row.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        assert!(memory.copy_in((y * width + rect.x) as usize * 4, &bytes));
    }
}

fn show_card(vfb: &Vfbdemo, memory: &mut WritableMapping, size: Size, n: u64) -> Vec<u32> {
    let picture = Card::new(size, n).picture();
    vfb.set(Register::Draw, 1);
    draw(memory, size.width, size.rect(), &picture);
    vfb.set(Register::Commit, COMMIT_ALL);
    picture
}

/// A display that somebody watches, whose time is as fast as it is looked at.
struct Watched<D: GfxDevice> {
    display: Display<D>,
    sink: Recorder,
    now: Instant,
}

impl<D: GfxDevice> Watched<D> {
    fn new(mut display: Display<D>) -> Self {
        let now = Instant::now();
        display.watch(now);
        Self {
            display,
            sink: Recorder::new().taking(Takes { cursor: true, ..Takes::default() }),
            now,
        }
    }

    fn poll(&mut self) -> Poll {
        self.now = self.display.poll_at().expect("somebody watches");
        self.display.poll(self.now, &mut self.sink).expect("the region is right")
    }

    /// An eventfd that tells of frames.
    fn wake(&self) -> OwnedFd {
        let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let wake = wake.expect("an eventfd");
        assert!(self.display.set_wake(Some(wake.as_fd())).expect("it takes an eventfd"));
        wake
    }
}

/// Waits until the device signals the eventfd.
fn wait(wake: &OwnedFd) {
    let limit = Timespec { tv_sec: 5, tv_nsec: 0 };
    let woken = poll(&mut [PollFd::new(wake, PollFlags::IN)], Some(&limit));
    assert_eq!(woken, Ok(1), "the eventfd wakes");
    rustix::io::read(wake, &mut [0; 8]).expect("it was signalled");
}

/// A guest that draws frame after frame as fast as it can, until it is stopped.
fn draw_frames(vfb: &Vfbdemo, size: Size, stop: &AtomicBool) {
    let mut memory = vfb.memory();
    let mut row = vec![0; size.width as usize];
    for n in 1.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        vfb.set(Register::Draw, 1);
        for y in 0..size.height {
            rows::row(n, y, &mut row);
            draw(&mut memory, size.width, Rect { x: 0, y, width: size.width, height: 1 }, &row);
        }
        vfb.set(Register::Commit, COMMIT_ALL);
    }
}

/// Looks at `frames` different frames, or as many as there are in `time`, of a guest that draws as
/// fast as it can. Each has to be whole. Then looks at the plain plane, which has to tear.
fn look_at_frames(vfb: &Vfbdemo, size: Size, frames: u32, time: Duration) -> u32 {
    vfb.mode(size);
    // What memory has before the guest's first frame is none.
    vfb.demand(ALWAYS);
    let before = vfb.get(Register::Frames);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| draw_frames(vfb, size, &stop));
        while vfb.get(Register::Frames) == before {
            thread::yield_now();
        }
        let mut watched = Watched::new(Display::new(&vfb.device).expect("it has the region"));
        let wake = watched.wake();
        let (mut shown, mut last, start) = (0, 0, Instant::now());
        while shown < frames && start.elapsed() < time {
            if watched.poll() != Poll::Shown(size) {
                wait(&wake);
                continue;
            }
            vfb.demand(ALWAYS);
            let frame = rows::frame_of(watched.sink.picture()).expect("a whole frame");
            assert!(frame > last, "frame {frame} after {last}");
            (shown, last) = (shown + 1, frame);
        }
        println!("{size}: {shown} frames, all whole, of {last} in {:.1?}", start.elapsed());
        watched.display.park();

        let mut plain = Display::with_kind(&vfb.device, PlaneKind::Region);
        let torn = (0..1000).find(|_| match plain.look().expect("the plane is there") {
            Look::Live(_, picture) => rows::frame_of(picture).is_err(),
            other => panic!("{other:?}"),
        });
        println!("{size}: look {:?} at the plain plane is torn", torn.map(|n| n + 1));
        assert!(torn.is_some(), "the plain plane does not tear");
        shown
    })
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_thousand_frames_are_whole_and_the_plain_plane_tears() {
    let (_mdev, vfb) = device("vfbdemo-xga");
    let shown = look_at_frames(&vfb, Size::new(160, 120), 1000, Duration::from_secs(30));
    assert_eq!(shown, 1000);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn frames_of_1080_rows_are_whole_and_the_plain_plane_tears() {
    let (_mdev, vfb) = device("vfbdemo-hd");
    let shown = look_at_frames(&vfb, Size::new(1920, 1080), 1000, Duration::from_secs(3));
    assert!(shown > 0);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn damage_covers_every_change_and_little_more() {
    let (_mdev, vfb) = device("vfbdemo-xga");
    let mut memory = vfb.memory();
    vfb.mode(VGA);
    let mut expected = show_card(&vfb, &mut memory, VGA, 0);
    let mut watched = Watched::new(Display::new(&vfb.device).expect("it has the region"));
    watched.poll();
    vfb.demand(ALWAYS);
    let page = || Page::new(vfb.page(), vfb.region.size).expect("the page is right");
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |below: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u32 % below
    };
    let (mut told_area, mut changed_area, mut known) = (0_u64, 0_u64, 0);
    let mut since = page().frame();
    let mut before = expected.clone();
    for round in 0..150 {
        vfb.set(Register::Draw, 1);
        for _ in 0..random(4) {
            let (x, y) = (random(VGA.width), random(VGA.height));
            let width = 1 + random((VGA.width - x).min(200));
            let height = 1 + random((VGA.height - y).min(60));
            let rect = Rect { x, y, width, height };
            let pixels: Vec<u32> = (0..width * height).map(|_| random(1 << 24)).collect();
            draw(&mut memory, VGA.width, rect, &pixels);
            for (row, y) in pixels.chunks_exact(width as usize).zip(y..) {
                expected[(y * VGA.width + x) as usize..][..width as usize].copy_from_slice(row);
            }
            vfb.damage(rect);
        }
        vfb.set(Register::Commit, 0);
        // Some rounds pass without a look: damage adds up.
        if random(3) == 0 && round != 149 {
            continue;
        }
        watched.poll();
        assert_same(VGA, &expected, watched.sink.picture().pixels());
        let page = page();
        let rects = page.damage(0, since, page.frame());
        let rects: Vec<Rect> = rects.expect("it is not too long ago").collect();
        known += 1;
        let mut told = vec![false; expected.len()];
        for rect in &rects {
            for y in rect.y..rect.y + rect.height {
                told[(y * VGA.width + rect.x) as usize..][..rect.width as usize].fill(true);
            }
        }
        let differs = before.iter().zip(&expected).map(|(before, now)| before != now);
        for (told, differs) in told.iter().zip(differs) {
            assert!(*told || !differs, "round {round}: a change that was not told");
            changed_area += u64::from(differs);
        }
        told_area +=
            rects.iter().map(|rect| u64::from(rect.width) * u64::from(rect.height)).sum::<u64>();
        before.copy_from_slice(&expected);
        since = page.frame();
    }
    let times = told_area as f64 / changed_area as f64;
    println!("{known} looks, damage {times:.3} times what changed");
    assert!(times <= 1.5, "{times}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_typed_letter_at_4k_is_a_page_and_its_pixels() {
    let size = Size::new(3840, 2160);
    let (_mdev, vfb) = device("vfbdemo-4k");
    let mut memory = vfb.memory();
    // Without maps every byte is read, so that it can be counted.
    let device = Metered::new(Faulty::new(&vfb.device, 1).refuse(100).only(&[Op::Map]));
    let mut watched = Watched::new(Display::new(device).expect("it has the region"));
    assert_eq!(watched.poll(), Poll::Shown(size));
    vfb.demand(ALWAYS);
    assert!(watched.display.device().take_bytes() >= size.area() * 4);
    assert_eq!(watched.poll(), Poll::Same);
    assert_eq!(watched.display.device().take_bytes(), 8);
    let frame = size.area() * 4;
    let copied = vfb.get(Register::Copied);
    let mut most = 0;
    for letter in 0..30 {
        let rect = Rect { x: 100 + 12 * letter, y: 333, width: 12, height: 24 };
        vfb.set(Register::Draw, 1);
        draw(&mut memory, size.width, rect, &vec![0x00ff_ffff; 12 * 24]);
        vfb.damage(rect);
        vfb.set(Register::Commit, 0);
        assert_eq!(watched.poll(), Poll::Shown(size));
        let bytes = watched.display.device().take_bytes();
        most = most.max(bytes);
    }
    println!("{most} bytes a letter, {:.3} % of {frame}", most as f64 * 100.0 / frame as f64);
    println!("{} KiB were copied in the kernel", vfb.get(Register::Copied) - copied);
    assert!(most * 100 <= frame, "{most} bytes of {frame}");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn parked_it_does_no_work_and_an_eventfd_wakes_sooner_than_60_hz() {
    let (_mdev, vfb) = device("vfbdemo-xga");
    let mut memory = vfb.memory();
    vfb.mode(VGA);
    show_card(&vfb, &mut memory, VGA, 0);
    let mut watched = Watched::new(Display::new(&vfb.device).expect("it has the region"));
    watched.poll();
    watched.display.park();
    let work = || [Register::Frames, Register::Captures, Register::Copied].map(|r| vfb.get(r));
    let before = work();
    let mut last = Vec::new();
    for n in 1..20 {
        last = show_card(&vfb, &mut memory, VGA, n);
    }
    assert_eq!(work(), before, "no frame, no copy");
    watched.display.watch(watched.now);
    watched.poll();
    assert_same(VGA, &last, watched.sink.picture().pixels());

    let wake = watched.wake();
    vfb.demand(ALWAYS);
    let (start, published) = (Instant::now(), AtomicU64::new(0));
    let mut latencies = Vec::new();
    thread::scope(|scope| {
        let (vfb, published) = (&vfb, &published);
        for n in 0..30_u32 {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(5));
                draw(&mut vfb.memory(), VGA.width, Rect { x: n, y: 3, width: 1, height: 1 }, &[n]);
                vfb.damage(Rect { x: n, y: 3, width: 1, height: 1 });
                published.store(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
                vfb.set(Register::Commit, 0);
            });
            loop {
                wait(&wake);
                watched.display.wake(watched.now);
                // A capture signals as well; its wake finds nothing new.
                if watched.poll() == Poll::Shown(VGA) {
                    break;
                }
            }
            let from = Duration::from_nanos(published.load(Ordering::SeqCst));
            latencies.push(start.elapsed() - from);
        }
    });
    latencies.sort();
    let median = latencies[latencies.len() / 2];
    println!("from commit to frame: {median:?} of {latencies:?}; polling at 60 Hz adds 8.3 ms");
    assert!(median < Duration::from_millis(500), "{median:?}");
}

fn shows(viewer: &Viewer, picture: &[u32]) -> bool {
    let same = |(a, b): (&u32, &u32)| (a ^ b) & 0xff_ffff == 0;
    viewer.pixels.len() == picture.len() && viewer.pixels.iter().zip(picture).all(same)
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_command_shows_it_as_any_other() {
    let (mdev, vfb) = device("vfbdemo-xga");
    let picture = show_card(&vfb, &mut vfb.memory(), Size::new(1024, 768), 9);
    // Nobody has it open: what was committed last is there.
    drop(vfb);
    let (size, pixels) = shot(&mdev.uuid);
    assert_same(size, &picture, &pixels);
    let probe = vfio_display(&["probe", &mdev.uuid]);
    let told = String::from_utf8_lossy(&probe.stdout).into_owned();
    assert!(
        probe.status.success() && told.contains("framebuffer region"),
        "{told}{}",
        stderr(&probe)
    );

    let serve = Serve::at_any_port(&mdev.uuid, &[]);
    let mut viewer = serve.viewer();
    viewer.until("the picture", |viewer| shows(viewer, &picture));
    drop(viewer);
    serve.stop();

    // Borrowed from a VMM, which is this test, while its guest draws.
    let vfb = Vfbdemo::open(&mdev);
    let mut memory = vfb.memory();
    let ourselves = format!("pid:{}", std::process::id());
    let serve = Serve::at_any_port(&ourselves, &[]);
    let mut viewer = serve.viewer();
    let captures = vfb.get(Register::Captures);
    for n in 10..12 {
        let picture = show_card(&vfb, &mut memory, size, n);
        viewer.until("the next picture", |viewer| shows(viewer, &picture));
    }
    assert!(vfb.get(Register::Captures) >= captures + 2, "by captures, and by no plane query");
    drop(viewer);
    serve.stop();
}
