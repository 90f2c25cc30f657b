// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One thread and many displays: what each costs, and how late looks come. The table of
//! docs/performance.md: `cargo bench --features testing --bench scale`, which takes 11 GB of memory;
//! `-- 100` leaves out rows of more displays than that.
//!
//! Screens of 1080p, of which one in twenty changes, a hundredth of it before each look: a guest's
//! thread draws. Each display has its own copy and hashes; up to four share one device's memory, and
//! are looked at a quarter of a turn from each other, when the caches have long held other things.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use vfio_display::display::WriteLog;
use vfio_display::geometry::{Rect, Size};
use vfio_display::plane::Plane;
use vfio_display::sink::{SinkError, Takes};
use vfio_display::testing::{Mock, Personality};
use vfio_display::{Cursor, Display, Frame, Sink};

const SIZE: Size = Size::new(1920, 1080);
/// What changes: as many rows from this one on.
const ROWS: (u32, u32) = (500, 11);
const TIME: Duration = Duration::from_secs(5);
/// Devices at most; with more displays than that, some share.
const DEVICES: usize = 250;

/// Takes frames and keeps nothing.
struct Nowhere {
    frames: usize,
}

impl Sink for Nowhere {
    fn takes(&self) -> Takes {
        Takes { cursor: true, ..Takes::default() }
    }

    fn frame(&mut self, _: &Frame<'_>) -> Result<(), SinkError> {
        self.frames += 1;
        Ok(())
    }

    fn cursor(&mut self, _: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        Ok(())
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A log that a guest keeps of what it draws.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<Rect>>>);

impl WriteLog for Log {
    fn plane(&mut self, _: &Plane, rects: &mut Vec<Rect>) -> bool {
        rects.append(&mut self.0.lock().expect("no panic"));
        true
    }
}

#[derive(Clone, Copy)]
struct Case {
    displays: usize,
    /// Of them, those that somebody watches; the first of these change.
    watched: usize,
    changing: usize,
    /// Looks a second at each.
    rate: u32,
    /// Whether a log tells what was drawn.
    logged: bool,
}

struct Screen {
    mock: Mock,
    display: Display<Mock>,
    log: Log,
}

fn screens(case: Case) -> Vec<Screen> {
    let mocks: Vec<Mock> = (0..case.displays.min(DEVICES))
        .map(|_| {
            let mock = Mock::new(Personality::Region, SIZE).expect("memory for a device");
            mock.show_card(0).expect("it draws");
            mock
        })
        .collect();
    let screen = |n: usize| {
        let mock = mocks[n % mocks.len()].clone();
        let mut display = Display::new(mock.clone()).expect("a display");
        display.set_rate(case.rate);
        let log = Log::default();
        if case.logged {
            display.set_write_log(Some(Box::new(log.clone())));
        }
        // All of it once.
        display.watch(Instant::now());
        let at = display.poll_at().expect("somebody watches");
        display.poll(at, &mut Nowhere { frames: 0 }).expect("a frame");
        display.park();
        Screen { mock, display, log }
    };
    (0..case.displays).map(screen).collect()
}

/// Draws on those that change, as often as they are looked at, until told to stop.
fn guest(changing: &[(Mock, Log)], rate: u32, stop: &AtomicBool) {
    let rows = |n: u32| vec![n.wrapping_mul(0x01_1d3b) & 0xff_ffff; (SIZE.width * ROWS.1) as usize];
    for n in 1.. {
        let start = Instant::now();
        for (mock, log) in changing {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            mock.draw_rows(ROWS.0, &rows(n)).expect("it draws");
            let rect = Rect { x: 0, y: ROWS.0, width: SIZE.width, height: ROWS.1 };
            log.0.lock().expect("no panic").push(rect);
        }
        thread::sleep((Duration::from_secs(1) / rate).saturating_sub(start.elapsed()));
        if stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

/// Processor time of this thread, in seconds.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").expect("procfs");
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).expect("a number") / 1e9
}

fn run(case: Case) {
    let mut screens = screens(case);
    let changing: Vec<(Mock, Log)> = screens[..case.changing]
        .iter()
        .map(|screen| (screen.mock.clone(), screen.log.clone()))
        .collect();
    let stop = AtomicBool::new(false);
    let mut sink = Nowhere { frames: 0 };
    let mut late = Vec::new();
    let (mut busy, mut passed) = (0.0, 0.0);
    thread::scope(|scope| {
        scope.spawn(|| guest(&changing, case.rate, &stop));
        // Looks are spread over an interval.
        let start = Instant::now();
        let mut due = BinaryHeap::new();
        for (n, screen) in screens[..case.watched].iter_mut().enumerate() {
            let share = n as f64 / case.watched as f64 / f64::from(case.rate);
            screen.display.watch(start + Duration::from_secs_f64(share));
            due.extend(screen.display.poll_at().map(|at| Reverse((at, n))));
        }
        let (mut before, mut begun) = (cpu(), start);
        let mut first = true;
        while let Some(Reverse((at, n))) = due.pop() {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if first && now - start > TIME / 5 {
                // The first turns bring back into the caches what belongs there.
                (before, begun, first) = (cpu(), now, false);
                late.clear();
            }
            late.push((now - at).as_secs_f64() * 1e3);
            let display = &mut screens[n].display;
            display.poll(now, &mut sink).expect("a look");
            due.extend(display.poll_at().map(|at| Reverse((at, n))));
            if now - begun > TIME && !first {
                break;
            }
        }
        (busy, passed) = (cpu() - before, begun.elapsed().as_secs_f64());
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(sink.frames > 0, case.changing > 0, "what changes is seen");
    let looks = late.len() as f64;
    late.sort_by(f64::total_cmp);
    let at = |part: usize| late[(late.len() - 1) * part / 100];
    let Case { displays, watched, changing, rate, logged } = case;
    println!(
        "| {displays} | {watched} | {changing} | {rate} | {} | {:.1} | {:.1} % | {:.3} % | {:.1} | {:.2} | {:.2} | {:.2} |",
        if logged { "a log" } else { "sampled" },
        looks / passed / watched as f64,
        busy / passed * 100.0,
        busy / passed * 100.0 / displays as f64,
        busy / looks * 1e6,
        at(50),
        at(99),
        at(100),
    );
}

fn main() {
    let most = std::env::args().skip(1).find_map(|argument| argument.parse().ok());
    println!(
        "| displays | watched | changing | asked for, looks/s | by | looks/s | CPU | for each | us a look | late, ms: median | 99 % | worst |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let case = |displays: usize, rate, logged| {
        let changing = displays.div_ceil(20) - usize::from(displays == 1);
        Case { displays, watched: displays, changing, rate, logged }
    };
    let parked = |displays| Case { displays, watched: 50, changing: 50, rate: 5, logged: false };
    let mut cases = Vec::new();
    for logged in [false, true] {
        cases.extend([1, 10, 100].map(|displays| case(displays, 60, logged)));
        cases.extend([1, 10, 100, 1000].map(|displays| case(displays, 5, logged)));
    }
    cases.push(case(1000, 60, true));
    cases.extend([parked(50), parked(1000)]);
    for case in cases {
        if most.is_none_or(|most| case.displays <= most) {
            run(case);
        }
    }
}
