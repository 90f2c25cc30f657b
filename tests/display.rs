// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A display polled for a sink: damage, states, the cursor, errors.

use std::time::{Duration, Instant};

use vfio_display::device::{GfxDevice as _, PlaneKind, PlaneType};
use vfio_display::edid::Edid;
use vfio_display::error::Errno;
use vfio_display::format::{Fourcc, PixelFormat};
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::sink::Takes;
use vfio_display::testing::card::Card;
use vfio_display::testing::{Faulty, Mock, Mode, Op, Personality, Recorder};
use vfio_display::uapi::PlaneInfo;
use vfio_display::{Display, Poll, PollError};

// Whole pages of rows, because the mock of NVIDIA's driver is black in any other mode.
const SIZE: Size = Size::new(320, 256);
const DRAWS_CURSOR: Takes = Takes { cursor: true, idle: false, dmabuf: false };

/// A display with its sink and a clock that the test owns.
struct Watched {
    mock: Mock,
    display: Display<Mock>,
    sink: Recorder,
    now: Instant,
}

impl Watched {
    fn new(personality: Personality) -> Self {
        let mock = Mock::new(personality, SIZE).unwrap();
        mock.show_card(0).unwrap();
        let mut display = Display::new(mock.clone()).unwrap();
        let now = Instant::now();
        display.watch(now);
        Self { mock, display, sink: Recorder::new(), now }
    }

    /// Lets time pass until the next look, and makes it.
    fn poll(&mut self) -> Result<Poll, PollError> {
        self.now = self.display.poll_at().expect("somebody watches");
        let result = self.display.poll(self.now, &mut self.sink);
        if let Some(at) = self.display.poll_at() {
            assert!(at > self.now, "the next look is later than now");
        }
        result
    }

    fn assert_shows(&self, picture: &[u32]) {
        let shown = self.sink.picture().pixels().iter().map(|pixel| pixel & 0xff_ffff);
        assert!(shown.eq(picture.iter().copied()), "another picture is shown");
    }
}

#[test]
fn the_first_frame_is_whole_and_no_change_is_no_frame() {
    for personality in Personality::ALL.into_iter().filter(|p| p.cpu_readable()) {
        let mut watched = Watched::new(personality);
        while watched.sink.frames.is_empty() {
            watched.poll().unwrap();
        }
        assert!(watched.sink.frames[0].whole, "{personality}");
        // mdpy has one mode.
        let size = watched.mock.screen_size().unwrap();
        watched.assert_shows(&Card::new(size, 0).picture());
        for _ in 0..10 {
            assert_eq!(watched.poll().unwrap(), Poll::Same, "{personality}");
        }
        assert_eq!(watched.sink.frames.len(), 1, "{personality}");
    }
}

#[test]
fn damage_is_few_tight_rectangles() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    let mut picture = Card::new(SIZE, 0).picture();
    // A letter of 8 by 16 pixels that lies across four tiles.
    for y in 24..40 {
        for x in 60..68 {
            picture[y * SIZE.width as usize + x] ^= 0xff_ffff;
        }
    }
    watched.mock.draw(&picture).unwrap();
    watched.poll().unwrap();
    watched.assert_shows(&picture);
    let damage = &watched.sink.frames[1].damage;
    assert_eq!(damage, &[Rect { x: 48, y: 16, width: 32, height: 32 }]);
}

#[test]
fn every_frame_of_a_moving_picture_arrives() {
    let mut watched = Watched::new(Personality::WellBehaved);
    for n in 0..100 {
        watched.mock.show_card(n).unwrap();
        watched.poll().unwrap();
        watched.assert_shows(&Card::new(SIZE, n).picture());
    }
    let frames = &watched.sink.frames;
    assert!(frames[0].whole && frames[1..].iter().all(|frame| !frame.whole));
}

#[test]
fn a_change_of_mode_or_format_is_a_whole_frame_of_a_new_generation() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.poll().unwrap();
    let other = Size::new(640, 100);
    for (n, mode) in [
        Mode::new(other),
        Mode::new(other).format(PixelFormat::Abgr8888),
        Mode::new(other).format(PixelFormat::Abgr8888).padding(64),
        Mode::new(SIZE),
    ]
    .into_iter()
    .enumerate()
    {
        watched.mock.set_mode(mode).unwrap();
        watched.mock.show_card(0).unwrap();
        watched.poll().unwrap();
        let frame = watched.sink.frames.last().unwrap();
        assert_eq!((frame.whole, frame.generation), (true, n as u64 + 2));
    }
    watched.assert_shows(&Card::new(SIZE, 0).picture());
}

#[test]
fn a_page_flip_damages_what_differs() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.poll().unwrap();
    watched.mock.flip_to(1).unwrap();
    watched.mock.show_card(1).unwrap();
    watched.poll().unwrap();
    watched.assert_shows(&Card::new(SIZE, 1).picture());
    let frame = watched.sink.frames.last().unwrap();
    assert_eq!((frame.whole, frame.generation), (false, 1));
}

#[test]
fn off_is_told_once_and_what_comes_back_is_whole() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    watched.mock.off();
    for _ in 0..3 {
        assert_eq!(watched.poll().unwrap(), Poll::Off);
    }
    assert_eq!(watched.sink.blanks, 1);
    assert_eq!(watched.display.picture(), None);
    watched.mock.show_card(0).unwrap();
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
    assert!(watched.sink.frames[1].whole);
}

#[test]
fn what_passes_is_held_and_never_looks_off() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.poll().unwrap();
    let enomem = Errno::from_raw(12);
    watched.mock.fail_next(Op::QueryPlane, 3, enomem);
    let mut waits = Vec::new();
    for _ in 0..3 {
        let before = watched.now;
        assert!(matches!(watched.poll().unwrap(), Poll::Held(_)));
        waits.push(watched.now - before);
        assert!(watched.display.picture().is_some());
    }
    assert!(waits[2] > waits[1], "it backs off: {waits:?}");
    assert_eq!(watched.poll().unwrap(), Poll::Same);
    assert_eq!((watched.sink.blanks, watched.sink.frames.len()), (0, 1));
}

#[test]
fn a_sink_that_refuses_loses_no_damage() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    for n in 1..4 {
        watched.mock.show_card(n).unwrap();
        watched.sink.refuse = 1;
        assert!(matches!(watched.poll(), Err(PollError::Sink(_))));
    }
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
    watched.assert_shows(&Card::new(SIZE, 3).picture());
    // Off is repeated as well.
    watched.mock.off();
    watched.sink.refuse = 1;
    assert!(matches!(watched.poll(), Err(PollError::Sink(_))));
    assert_eq!(watched.poll().unwrap(), Poll::Off);
    assert_eq!(watched.sink.blanks, 1);
}

#[test]
fn what_cannot_be_shown_is_named_with_its_numbers() {
    let plane = |change: fn(&mut PlaneInfo)| {
        let mock = Mock::new(Personality::Region, SIZE).unwrap();
        let mut info = mock.query_plane(PlaneType::Primary, PlaneKind::Region).unwrap();
        change(&mut info);
        mock.script_plane(info);
        Display::new(mock).unwrap().look().unwrap_err().to_string()
    };
    for (told, expected) in [
        (
            plane(|info| info.drm_format = Fourcc::new(b"C8  ").raw()),
            "format C8   (0x20203843, 8-bit palette, whose colours the device does not tell) \
             is not read",
        ),
        (plane(|info| info.drm_format = 0x0102_0304), "format 0x01020304 (0x01020304) is not read"),
        (
            plane(|info| info.drm_format_mod = 0x0100_0000_0000_0002),
            "layout I915_Y_TILED (modifier 0x0100000000000002) of format XR24 is not linear and \
             not read",
        ),
        (
            plane(|info| info.stride = 1276),
            "plane: stride of 1276 bytes is less than a row of 320 pixels in XR24, 1280",
        ),
        (
            plane(|info| info.size = 4096),
            "plane: 327680 bytes of 320x256 at stride 1280 do not fit the plane's 4096 bytes",
        ),
        (
            plane(|info| (info.stride, info.size) = (1 << 20, 256 << 20)),
            "region 10: 267388160 bytes at 0x0 do not fit its 67108864 bytes",
        ),
    ] {
        assert_eq!(told, expected);
    }
}

#[test]
fn gone_is_the_end() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    watched.mock.unplug();
    assert!(matches!(watched.poll().unwrap(), Poll::Gone(_)));
    assert_eq!(watched.display.poll_at(), None);
}

#[test]
fn a_cursor_is_told_apart_or_drawn() {
    let arrow = Size::new(32, 32);
    let shape: Vec<u32> = (0..32 * 32).map(|n| if n % 3 == 0 { 0xff12_3456 } else { 0 }).collect();
    let card = Card::new(SIZE, 0).picture();

    let mut apart = Watched::new(Personality::WellBehaved);
    apart.sink = Recorder::new().taking(DRAWS_CURSOR);
    apart.mock.set_cursor(arrow, &shape).unwrap();
    apart.mock.set_hotspot(Some(Point::new(3, 4)));
    apart.mock.move_cursor(Point::new(-8, 10));
    apart.poll().unwrap();
    apart.assert_shows(&card);
    let cursor = apart.sink.cursor.clone().unwrap();
    assert_eq!((cursor.position, cursor.hotspot), (Point::new(-8, 10), Point::new(3, 4)));
    assert_eq!(cursor.shape.pixels(), shape);
    assert_eq!(apart.poll().unwrap(), Poll::Same);
    apart.mock.hide_cursor();
    apart.poll().unwrap();
    assert_eq!(apart.sink.cursor, None);
    assert_eq!(apart.sink.frames.len(), 1, "moving the cursor is no frame");

    let mut drawn = Watched::new(Personality::WellBehaved);
    drawn.mock.set_cursor(arrow, &shape).unwrap();
    let mut blended = card.clone();
    for (x, y) in (0..32).flat_map(|y| (8..32).map(move |x| (x, y))) {
        let pixel = shape[y * 32 + x];
        if pixel != 0 {
            blended[(y + 10) * SIZE.width as usize + x - 8] = pixel & 0xff_ffff;
        }
    }
    drawn.mock.move_cursor(Point::new(-8, 10));
    drawn.poll().unwrap();
    drawn.assert_shows(&blended);
    drawn.mock.hide_cursor();
    drawn.poll().unwrap();
    drawn.assert_shows(&card);
    assert!(!drawn.sink.frames[1].whole);
    assert_eq!(drawn.poll().unwrap(), Poll::Same);
}

#[test]
fn the_screen_that_mdpy_answers_for_a_cursor_is_no_cursor() {
    let mut watched = Watched::new(Personality::Mdpy);
    watched.sink = Recorder::new().taking(DRAWS_CURSOR);
    watched.poll().unwrap();
    assert_eq!(watched.sink.cursor, None);
}

#[test]
fn a_sink_that_changes_its_mind_gets_all_again() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.mock.set_cursor(Size::new(16, 16), &[0xffff_ffff; 256]).unwrap();
    watched.poll().unwrap();
    watched.sink = Recorder::new().taking(DRAWS_CURSOR);
    watched.poll().unwrap();
    watched.assert_shows(&Card::new(SIZE, 0).picture());
    assert!(watched.sink.frames[0].whole && watched.sink.cursor.is_some());
}

#[test]
fn an_idle_sink_costs_nothing_and_gets_all_when_it_is_not() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    let seen = watched.mock.calls(Op::QueryPlane);
    watched.sink = Recorder::new().taking(Takes { idle: true, ..Takes::default() });
    watched.mock.show_card(1).unwrap();
    assert_eq!(watched.poll().unwrap(), Poll::Same);
    assert_eq!((watched.sink.frames.len(), watched.mock.calls(Op::QueryPlane)), (0, seen));
    watched.sink = Recorder::new();
    watched.poll().unwrap();
    assert!(watched.sink.frames[0].whole);
    watched.assert_shows(&Card::new(SIZE, 1).picture());
}

#[test]
fn a_monitor_is_plugged_in_also_while_nobody_watches() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.display.park();
    let edid = Edid::for_mode(Size::new(1280, 720));
    assert!(watched.display.set_edid(watched.now, edid).unwrap());
    while let Some(at) = watched.display.poll_at() {
        assert!(at > watched.now);
        watched.now = at;
        watched.display.poll(at, &mut watched.sink).unwrap();
    }
    assert_eq!((watched.mock.link_state(), watched.mock.calls(Op::QueryPlane)), (1, 0));
    let monitor = watched.display.monitor().unwrap();
    assert_eq!(
        (monitor.size, Some(&monitor.bytes)),
        (Size::new(1280, 720), watched.mock.edid().as_ref())
    );

    let mut without = Watched::new(Personality::Mdpy);
    assert!(!without.display.set_edid(without.now, edid).unwrap());
}

#[test]
fn a_monitor_that_fails_does_not_stop_the_screen() {
    let mut watched = Watched::new(Personality::WellBehaved);
    watched.poll().unwrap();
    watched.display.set_edid(watched.now, Edid::for_mode(Size::new(1280, 720))).unwrap();
    watched.mock.fail_next(Op::Write, 3, Errno::from_raw(5));
    let mut told = 0;
    for n in 1..40 {
        watched.mock.show_card(n).unwrap();
        told += usize::from(watched.poll().is_err());
    }
    assert!(told > 0, "the errors are told");
    watched.poll().unwrap();
    watched.assert_shows(&Card::new(SIZE, 39).picture());
}

#[test]
fn nobody_watching_is_no_look() {
    let mut watched = Watched::new(Personality::Region);
    watched.poll().unwrap();
    watched.display.park();
    let before = watched.mock.calls(Op::QueryPlane);
    assert_eq!(watched.display.poll_at(), None);
    let later = watched.now + Duration::from_secs(3600);
    assert_eq!(watched.display.poll(later, &mut watched.sink).unwrap(), Poll::NotDue);
    watched.display.wake(later);
    assert_eq!((watched.display.poll_at(), watched.mock.calls(Op::QueryPlane)), (None, before));
}

#[test]
fn a_device_that_lies_and_fails_never_stops_the_display() {
    for seed in 0..40 {
        let mock = Mock::new(Personality::WellBehaved, SIZE).unwrap();
        let faulty = Faulty::new(mock.clone(), seed).refuse(20).corrupt(20);
        let Ok(mut display) = Display::new(&faulty) else { continue };
        let (mut now, mut sink) = (Instant::now(), Recorder::new());
        display.watch(now);
        for n in 0..60 {
            mock.show_card(n).unwrap();
            let _ = display.poll(now, &mut sink);
            match display.poll_at() {
                Some(at) => now = at,
                // An ENODEV out of nowhere is the end that it looks like.
                None => display.watch(now),
            }
        }
        let calls: u64 = Op::ALL.iter().map(|op| faulty.calls(*op)).sum();
        assert!(calls > 60, "seed {seed}: {calls} calls");
    }
}
