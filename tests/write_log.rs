// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A display that is told what was written: it reads that and no more, and all where nobody knows.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use vfio_display::display::WriteLog;
use vfio_display::error::Errno;
use vfio_display::geometry::{Rect, Size};
use vfio_display::plane::Plane;
use vfio_display::sink::Takes;
use vfio_display::testing::card::Card;
use vfio_display::testing::{Mock, Mode, Op, Personality, Recorder};
use vfio_display::{Display, Poll};

/// More rows than turns of the rows that are read in any case.
const SIZE: Size = Size::new(64, 1024);

/// What the next poll is told; `None` is that nobody knows.
#[derive(Clone, Debug)]
struct Log(Arc<Mutex<Option<Vec<Rect>>>>);

impl WriteLog for Log {
    fn plane(&mut self, plane: &Plane, rects: &mut Vec<Rect>) -> bool {
        assert_eq!(plane.size.width % 64, 0, "the plane that is asked about");
        let told = self.0.lock().unwrap().replace(Vec::new());
        let knows = told.is_some();
        rects.extend(told.into_iter().flatten());
        knows
    }
}

struct Watched {
    mock: Mock,
    display: Display<Mock>,
    sink: Recorder,
    log: Log,
    picture: Vec<u32>,
}

impl Watched {
    fn new() -> Self {
        Self::of(Personality::Region)
    }

    fn of(personality: Personality) -> Self {
        let mock = Mock::new(personality, SIZE).unwrap();
        mock.show_card(0).unwrap();
        let mut display = Display::new(mock.clone()).unwrap();
        let log = Log(Arc::new(Mutex::new(Some(Vec::new()))));
        display.set_write_log(Some(Box::new(log.clone())));
        display.watch(Instant::now());
        let sink = Recorder::new().taking(Takes { cursor: true, ..Takes::default() });
        let picture = Card::new(SIZE, 0).picture();
        Self { mock, display, sink, log, picture }
    }

    fn poll(&mut self) -> Poll {
        let now = self.display.poll_at().expect("somebody watches");
        self.display.poll(now, &mut self.sink).unwrap()
    }

    /// Draws in row `y`, and says so or not.
    fn draw(&mut self, y: usize, told: bool) {
        self.picture[y * 64 + 5] ^= 0x10_2030;
        self.mock.draw(&self.picture).unwrap();
        if told {
            let rect = Rect { x: 0, y: y as u32, width: 64, height: 1 };
            self.log.0.lock().unwrap().get_or_insert_default().push(rect);
        }
    }

    /// Whether the sink has row `y` as it was drawn.
    fn shows(&self, y: usize) -> bool {
        let row = self.sink.picture().rows().nth(y).unwrap().iter().map(|pixel| pixel & 0xff_ffff);
        row.eq(self.picture[y * 64..][..64].iter().copied())
    }

    fn shows_all(&self) -> bool {
        (0..1024).all(|y| self.shows(y))
    }
}

#[test]
fn what_was_written_is_read_and_no_more() {
    let mut watched = Watched::new();
    assert!(matches!(watched.poll(), Poll::Shown(_)));
    assert!(watched.shows_all(), "the first is whole");
    watched.draw(300, true);
    assert!(matches!(watched.poll(), Poll::Shown(_)));
    assert!(watched.shows_all());
    // Nobody told of this one. Its turn is polls away.
    watched.draw(700, false);
    assert_eq!(watched.poll(), Poll::Same);
    assert!(!watched.shows(700));
    let polls = (1..=4096).find(|_| watched.poll() != Poll::Same);
    assert!(polls.is_some(), "what a log leaves out is mended");
    assert!(watched.shows_all());
}

#[test]
fn all_is_read_where_nobody_knows() {
    let mut watched = Watched::new();
    watched.poll();
    let spoil = |watched: &mut Watched| {
        watched.draw(100, false);
        watched.draw(900, false);
    };
    spoil(&mut watched);
    *watched.log.0.lock().unwrap() = None;
    // As if there were no log, which here is by samples; and then all once, before it is believed.
    watched.poll();
    watched.poll();
    assert!(watched.shows_all(), "the log did not know");

    // A look reads all.
    spoil(&mut watched);
    watched.display.look().unwrap();
    watched.poll();
    assert!(watched.shows_all(), "a look was made");

    spoil(&mut watched);
    watched.display.reset();
    watched.poll();
    assert!(watched.shows_all(), "the device was reset");

    spoil(&mut watched);
    watched.display.set_write_log(Some(Box::new(watched.log.clone())));
    watched.poll();
    assert!(watched.shows_all(), "it is another log");

    // Another mode of the same shape, and back.
    watched.mock.set_mode(Mode::new(Size::new(128, 512))).unwrap();
    watched.poll();
    watched.mock.set_mode(Mode::new(SIZE)).unwrap();
    spoil(&mut watched);
    watched.poll();
    assert!(watched.shows_all(), "it is another mode");
}

#[test]
fn another_buffer_is_read_whole() {
    let mut watched = Watched::of(Personality::WellBehaved);
    watched.poll();
    for slot in [1, 0, 1] {
        watched.mock.flip_to(slot).unwrap();
        // Of the same shape, and nothing was written to what was shown.
        watched.draw(100 + usize::from(slot), false);
        watched.poll();
        assert!(watched.shows_all(), "slot {slot}");
    }
}

#[test]
fn what_was_told_before_an_error_is_not_lost() {
    let mut watched = Watched::new();
    watched.poll();
    // The log is asked, and then the region can't be read.
    watched.display.reset();
    watched.draw(300, true);
    watched.mock.fail_next(Op::RegionInfo, 1, Errno::from_raw(4));
    let now = watched.display.poll_at().unwrap();
    let failed = watched.display.poll(now, &mut watched.sink);
    assert!(matches!(failed, Err(_) | Ok(Poll::Held(_))), "{failed:?}");
    assert!(!watched.shows(300));
    watched.poll();
    assert!(watched.shows_all());
}
