// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A display out of a framebuffer region: exact, whole, at a cost that follows change.

mod metered;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metered::Metered;
use vfio_display::Look;
use vfio_display::device::RegionDevice as _;
use vfio_display::fb_region::{Page, layout};
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::sink::Takes;
use vfio_display::testing::card::Card;
use vfio_display::testing::rng::Rng;
use vfio_display::testing::{FB_REGION, FbMock, FbOptions, Recorder, rows};
use vfio_display::{Display, Error, Poll};

const XGA: Size = Size::new(1024, 768);

/// A way that the region is offered.
fn ways() -> [FbOptions; 3] {
    let by_the_book = FbOptions::new(XGA);
    [
        by_the_book,
        FbOptions { typed: false, ..by_the_book },
        FbOptions { mappable: false, typed: false, wake: false, ..by_the_book },
    ]
}

/// The guest draws `pixels`, `0x00RRGGBB`, into `rect` of its screen.
fn draw(guest: &FbMock, rect: Rect, pixels: &[u32]) {
    let width = guest.screen_size().expect("the screen is on").width;
    let mut memory = guest.memory().expect("it maps");
    for (row, y) in pixels.chunks_exact(rect.width as usize).zip(rect.y..) {
        let bytes: Vec<u8> = row.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        assert!(memory.copy_in((y * width + rect.x) as usize * 4, &bytes));
    }
}

fn show_card(guest: &FbMock, n: u64) {
    let size = guest.native_size();
    guest.begin();
    if guest.screen_size().is_none() {
        guest.set_mode(Some(size)).unwrap();
    }
    draw(guest, size.rect(), &Card::new(size, n).picture());
    guest.commit(&[size.rect()]);
}

fn opaque(pixels: &[u32]) -> Vec<u32> {
    pixels.iter().map(|pixel| pixel | 0xff00_0000).collect()
}

#[test]
fn a_look_is_exact_however_the_region_is_offered() {
    for options in ways() {
        let guest = FbMock::new(options).unwrap();
        let mut display = Display::new(guest.clone()).unwrap();
        assert_eq!(display.kind(), None, "no plane query");
        assert_eq!(display.look().unwrap(), Look::Off);
        for n in [0, 7] {
            show_card(&guest, n);
            let Look::Live(plane, picture) = display.look().unwrap() else { panic!("it is on") };
            assert_eq!((plane.size, plane.stride), (XGA, 4096));
            assert!(picture.pixels() == opaque(&Card::new(XGA, n).picture()), "{options:?}, {n}");
        }
        guest.set_mode(None).unwrap();
        assert_eq!(display.look().unwrap(), Look::Off);
        assert_eq!(guest.demand(), 0, "nobody watches");
    }
}

/// A display that is watched, a recorder of what it shows, and time that only tests move.
struct Watched {
    display: Display<Metered<FbMock>>,
    sink: Recorder,
    now: Instant,
}

impl Watched {
    fn new(guest: &FbMock) -> Self {
        let mut display = Display::new(Metered::new(guest.clone())).unwrap();
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
        self.display.poll(self.now, &mut self.sink).unwrap()
    }
}

#[test]
fn nothing_new_is_eight_bytes_and_a_typed_letter_a_page() {
    let size = Size::new(3840, 2160);
    let guest = FbMock::new(FbOptions { mappable: false, ..FbOptions::new(size) }).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    assert_eq!(watched.poll(), Poll::Shown(size));
    watched.display.device().take_bytes();
    assert_eq!(watched.poll(), Poll::Same);
    assert_eq!(watched.display.device().take_bytes(), 8);

    let frame = size.area() * 4;
    let mut most = 0;
    for letter in 0..50 {
        let rect = Rect { x: 100 + 12 * letter, y: 333, width: 12, height: 24 };
        guest.begin();
        draw(&guest, rect, &vec![0x00ff_ffff; 12 * 24]);
        guest.commit(&[rect]);
        assert_eq!(watched.poll(), Poll::Shown(size));
        most = most.max(watched.display.device().take_bytes());
    }
    println!("{most} bytes a letter, {:.3} % of {frame}", most as f64 * 100.0 / frame as f64);
    assert!(most * 100 <= frame, "{most} bytes of {frame}");
}

#[test]
fn what_was_drawn_is_shown_and_damage_is_what_differs() {
    for options in ways() {
        let guest = FbMock::new(options).unwrap();
        show_card(&guest, 0);
        let mut watched = Watched::new(&guest);
        watched.poll();
        let mut expected = opaque(&Card::new(XGA, 0).picture());
        let mut rng = Rng::new(0x2545_f491_4f6c_dd1d);
        let mut random = |below: u32| rng.below(below.into()) as u32;
        for round in 0..300 {
            guest.begin();
            let mut damage = Vec::new();
            for _ in 0..random(4) {
                let (x, y) = (random(XGA.width), random(XGA.height));
                let width = 1 + random((XGA.width - x).min(200));
                let height = 1 + random((XGA.height - y).min(60));
                let rect = Rect { x, y, width, height };
                let pixels: Vec<u32> =
                    (0..rect.width * rect.height).map(|_| random(1 << 24)).collect();
                draw(&guest, rect, &pixels);
                for (row, y) in pixels.chunks_exact(width as usize).zip(y..) {
                    expected[(y * XGA.width + x) as usize..][..width as usize]
                        .copy_from_slice(&opaque(row));
                }
                damage.push(rect);
            }
            guest.commit(&damage);
            // Some rounds pass without a look: damage adds up, and the ring runs over.
            if random(3) > 0 || round == 299 {
                watched.poll();
                assert!(watched.sink.picture().pixels() == expected, "{options:?}, {round}");
            }
        }
    }
}

#[test]
fn damage_since_a_frame_covers_what_differs_and_little_more() {
    const ROUNDS: usize = 200;
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    let region = guest.region_info(FB_REGION).unwrap();
    guest.write(&region, layout::DEMAND.offset as u64, &60_000_u32.to_le_bytes()).unwrap();
    guest.set_mode(Some(XGA)).unwrap();
    let mut rng = Rng::new(0x1234_5678_9abc_def1);
    let mut random = |below: u32| rng.below(below.into()) as u32;
    // Each frame's number and picture; the newest last.
    let mut screen = vec![0_u32; XGA.area() as usize];
    let mut frames = vec![(Page::read(&guest, &region).unwrap().frame(), screen.clone())];
    let (mut told, mut changed, mut too_long_ago) = (0_u64, 0_u64, 0);
    for round in 0..ROUNDS {
        guest.begin();
        let mut damage = Vec::new();
        for _ in 0..1 + random(3) {
            // A letter, a window, a line.
            let (width, height) = [(9, 16), (300, 200), (XGA.width, 1)][random(3) as usize];
            let x = random(XGA.width - width + 1);
            let rect = Rect { x, y: random(XGA.height - height), width, height };
            let pixels: Vec<u32> = (0..width * height).map(|_| 1 + random(0xff_fffe)).collect();
            draw(&guest, rect, &pixels);
            for (row, y) in pixels.chunks_exact(width as usize).zip(rect.y..) {
                screen[(y * XGA.width + x) as usize..][..width as usize].copy_from_slice(row);
            }
            damage.push(rect);
        }
        guest.commit(&damage);
        let page = Page::read(&guest, &region).unwrap();
        frames.push((page.frame(), screen.clone()));
        let (since, before) = &frames[frames.len() - 1 - random(1 + round.min(59) as u32) as usize];
        let Some(rects) = page.damage(0, *since, page.frame()) else {
            too_long_ago += 1;
            continue;
        };
        let mut covered = vec![false; screen.len()];
        for rect in rects {
            for y in rect.y..rect.y + rect.height {
                covered[(y * XGA.width + rect.x) as usize..][..rect.width as usize].fill(true);
            }
        }
        let differs = screen.iter().zip(before).zip(&covered);
        for (at, ((now, before), covered)) in differs.enumerate() {
            assert!(now == before || *covered, "round {round}, since {since}: pixel {at}");
            changed += u64::from(now != before);
            told += u64::from(*covered);
        }
        frames.drain(..frames.len().saturating_sub(60));
    }
    println!("{told} pixels told, {changed} changed, {too_long_ago} times too long ago");
    assert!(told * 2 <= changed * 3, "{told} of {changed}");
    assert!((1..ROUNDS / 2).contains(&too_long_ago), "{too_long_ago}: the ring runs over at times");
}

/// Ends a thread also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_frame_is_never_torn_and_the_guest_s_own_memory_is() {
    const FRAMES: u32 = 400;
    let size = Size::new(640, 480);
    let guest = FbMock::new(FbOptions::new(size)).unwrap();
    // What memory has before the first frame is none.
    guest.begin();
    guest.set_mode(Some(size)).unwrap();
    let drawing = guest.clone();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _stop = StopOnDrop(&stop);
        scope.spawn(|| {
            let mut memory = drawing.memory().unwrap();
            let mut row = vec![0; size.width as usize];
            for n in 1.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                drawing.begin();
                for y in 0..size.height {
                    rows::row(n, y, &mut row);
                    let bytes: Vec<u8> = row.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
                    assert!(memory.copy_in((y * size.width * 4) as usize, &bytes));
                }
                drawing.commit(&[size.rect()]);
            }
        });
        let mut watched = Watched::new(&guest);
        let (mut shown, mut last) = (0, 0);
        let until = Instant::now() + Duration::from_secs(60);
        while shown < FRAMES && Instant::now() < until {
            if watched.poll() != Poll::Shown(size) {
                continue;
            }
            let frame = rows::frame_of(watched.sink.picture()).expect("a whole frame");
            assert!(frame >= last, "frame {frame} after {last}");
            (shown, last) = (shown + 1, frame);
        }
        // What the guest draws into, copied without asking.
        let torn = (0..1000).find(|_| {
            let mut bytes = vec![0; size.area() as usize * 4];
            let memory = Metered::map_all(&guest);
            assert!(memory.copy_out(0, &mut bytes));
            let mut picture = vfio_display::Picture::new(size);
            for (pixels, row) in picture.rows_mut().zip(bytes.chunks_exact(size.width as usize * 4))
            {
                for (pixel, bytes) in pixels.iter_mut().zip(row.as_chunks().0) {
                    *pixel = u32::from_le_bytes(*bytes);
                }
            }
            rows::frame_of(&picture).is_err()
        });
        assert_eq!(shown, FRAMES, "in a minute");
        assert!(torn.is_some(), "a plain copy tears");
    });
}

#[test]
fn the_cursor_has_its_shape_its_place_and_its_hotspot() {
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    watched.poll();
    assert_eq!(watched.sink.cursor, None);

    let shape: Vec<u32> = (0..32 * 16).map(|n| 0xff00_0000 | (n * 77)).collect();
    guest.set_cursor(Size::new(32, 16), Some(Point::new(3, 4)), &shape).unwrap();
    guest.move_cursor(Point::new(-5, 700));
    watched.poll();
    let cursor = watched.sink.cursor.as_ref().expect("a cursor");
    assert_eq!((cursor.position, cursor.hotspot), (Point::new(-5, 700), Point::new(3, 4)));
    assert!(cursor.shape.pixels() == shape);

    let captures = guest.counts().captures;
    guest.move_cursor(Point::new(50, 60));
    watched.poll();
    assert_eq!(watched.sink.cursor.as_ref().expect("a cursor").position, Point::new(50, 60));
    assert!(guest.counts().captures - captures <= 1, "a move is no new shape");
    guest.hide_cursor();
    watched.poll();
    assert_eq!(watched.sink.cursor, None);
}

#[test]
fn nobody_watching_is_no_work_for_the_device() {
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    watched.poll();
    assert_eq!(guest.demand(), 60_000);
    watched.display.park();
    assert_eq!(guest.demand(), 0);
    let before = guest.counts();
    for n in 1..50 {
        show_card(&guest, n);
    }
    assert_eq!(guest.counts(), before, "no frame, no copy");
    watched.display.watch(watched.now);
    watched.poll();
    assert!(watched.sink.picture().pixels() == opaque(&Card::new(XGA, 49).picture()));
}

#[test]
fn an_eventfd_tells_of_frames() {
    use rustix::event::{EventfdFlags, eventfd};
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    watched.poll();
    let wake = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).unwrap();
    assert!(watched.display.set_wake(Some(std::os::fd::AsFd::as_fd(&wake))).unwrap());
    let fired = || rustix::io::read(&wake, &mut [0; 8]).is_ok();
    assert!(!fired());
    show_card(&guest, 1);
    assert!(fired());
    watched.poll();
    assert!(watched.display.set_wake(None).unwrap());
    fired();
    show_card(&guest, 2);
    assert!(!fired());

    let silent = FbMock::new(FbOptions { wake: false, ..FbOptions::new(XGA) }).unwrap();
    assert!(!Display::new(silent).unwrap().set_wake(None).unwrap());
}

#[test]
fn a_slow_capture_is_waited_for_and_one_that_never_ends_is_cancelled() {
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    watched.poll();
    guest.hold_captures(true);
    show_card(&guest, 1);
    assert_eq!(watched.poll(), Poll::Same, "the last picture stays");
    assert_eq!(watched.poll(), Poll::Same);
    guest.hold_captures(false);
    assert_eq!(watched.poll(), Poll::Shown(XGA));

    guest.hold_captures(true);
    show_card(&guest, 2);
    watched.poll();
    watched.now += Duration::from_secs(2);
    let held = watched.display.poll(watched.now, &mut watched.sink).unwrap();
    let Poll::Held(Error::FbRegion(error)) = held else { panic!("{held:?}") };
    assert!(error.to_string().ends_with("was not made in time, and was cancelled"), "{error}");
    assert!(watched.sink.picture().pixels() == opaque(&Card::new(XGA, 1).picture()));
    guest.hold_captures(false);
    watched.poll();
    assert!(watched.sink.picture().pixels() == opaque(&Card::new(XGA, 2).picture()));
}

#[test]
fn a_reset_starts_anew_and_a_first_frame_is_whole() {
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let mut watched = Watched::new(&guest);
    watched.poll();
    guest.hold_captures(true);
    show_card(&guest, 1);
    watched.poll();
    guest.reset();
    guest.hold_captures(false);
    assert_eq!(watched.poll(), Poll::Off);
    // The demand went with the reset; whoever resets the device says so.
    watched.display.reset();
    watched.poll();
    guest.set_mode(Some(Size::new(640, 480))).unwrap();
    assert_eq!(watched.poll(), Poll::Shown(Size::new(640, 480)));
    let last = watched.sink.frames.last().expect("a frame");
    assert_eq!(last.damage, [Size::new(640, 480).rect()]);
}

#[test]
fn two_consumers_do_not_get_each_other_s_pictures() {
    let guest = FbMock::new(FbOptions::new(XGA)).unwrap();
    show_card(&guest, 0);
    let (mut one, mut other) = (Watched::new(&guest), Watched::new(&guest));
    for n in 0..20 {
        show_card(&guest, n);
        for watched in [&mut one, &mut other] {
            watched.poll();
            assert!(watched.sink.picture().pixels() == opaque(&Card::new(XGA, n).picture()));
        }
    }
}
