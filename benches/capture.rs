// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Frames through a framebuffer region, beside a copy of the frame.
//!
//! `cargo bench --bench capture --features testing`. Producer and consumer are one thread here: a
//! frame is drawn, captured into a slot, and copied out of it onto the screen, and a copy of a frame
//! is timed in turn with that. The ratio is the median of those of the turns.

use std::hint::black_box;
use std::os::fd::AsFd as _;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use vfio_display::geometry::{Rect, Size};
use vfio_display::sink::{SinkError, Takes};
use vfio_display::testing::{FbMock, FbOptions};
use vfio_display::{Cursor, Display, Frame, Poll, Sink};

const TURNS: usize = 60;

/// Who looks at no pixel, so that it is the way to them that is timed.
struct Nobody;

impl Sink for Nobody {
    fn takes(&self) -> Takes {
        Takes { cursor: true, ..Takes::default() }
    }
    fn frame(&mut self, _: &Frame<'_>) -> Result<(), SinkError> {
        Ok(())
    }
    fn cursor(&mut self, _: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        Ok(())
    }
    fn blank(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn case(size: Size, name: &str, rect: Rect) {
    let guest = FbMock::new(FbOptions::new(size)).expect("a device");
    guest.set_mode(Some(size)).expect("its own mode");
    let mut display = Display::new(guest.clone()).expect("a framebuffer region");
    let (mut sink, mut now) = (Nobody, Instant::now());
    display.watch(now);
    let bytes = size.area() as usize * 4;
    let (from, mut to) = (vec![1_u8; bytes], vec![0_u8; bytes]);
    let mut memory = guest.memory().expect("it maps");
    let row = vec![0_u8; rect.width as usize * 4];
    let [mut frames, mut copies] = [const { Vec::new() }; 2];
    for turn in 0..TURNS + 4 {
        guest.begin();
        let row: Vec<u8> = row.iter().map(|_| turn as u8).collect();
        for y in rect.y..rect.y + rect.height {
            assert!(memory.copy_in((y * size.width + rect.x) as usize * 4, &row));
        }
        let frame = time(|| {
            guest.commit(&[rect]);
            now = display.poll_at().expect("somebody watches");
            let poll = display.poll(now, &mut sink).expect("a picture");
            assert_eq!(poll, Poll::Shown(size));
        });
        let copy = time(|| to.copy_from_slice(black_box(&from)));
        black_box(&to);
        if turn >= 4 {
            frames.push(frame);
            copies.push(copy);
        }
    }
    let ratio = median(frames.iter().zip(&copies).map(|(a, b)| a / b).collect());
    let rate = 1.0 / median(frames);
    println!("{size} {name}: {rate:.0} frames/s, {ratio:.3} times a copy of the frame");
}

fn idle(size: Size) {
    const POLLS: u32 = 100_000;
    let guest = FbMock::new(FbOptions::new(size)).expect("a device");
    guest.set_mode(Some(size)).expect("its own mode");
    let mut display = Display::new(guest).expect("a framebuffer region");
    let (mut sink, mut now) = (Nobody, Instant::now());
    display.watch(now);
    let mut poll = || {
        now = display.poll_at().expect("somebody watches");
        display.poll(now, &mut sink).expect("an answer")
    };
    poll();
    let passed = time(|| (0..POLLS).for_each(|_| assert_eq!(poll(), Poll::Same)));
    println!("{size} nothing: {:.0} ns a poll", passed * 1e9 / f64::from(POLLS));
}

/// From a frame's publishing to its showing, with the consumer in a thread of its own that waits
/// for the eventfd as well, or for the time of the next look alone.
fn latency(by_wake: bool) -> f64 {
    const FRAMES: u32 = 120;
    let size = Size::new(1920, 1080);
    let letter = Rect { x: 100, y: 100, width: 12, height: 24 };
    let guest = FbMock::new(FbOptions::new(size)).expect("a device");
    guest.set_mode(Some(size)).expect("its own mode");
    let published = Mutex::new(Instant::now());
    let (shown, showings) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut display = Display::new(guest.clone()).expect("a framebuffer region");
            let wake =
                eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd");
            if by_wake {
                assert!(display.set_wake(Some(wake.as_fd())).expect("it takes one"));
            }
            let mut sink = Nobody;
            display.watch(Instant::now());
            let mut frames = 0;
            while frames <= FRAMES {
                let now = Instant::now();
                let due = display.poll_at().expect("somebody watches");
                let pause = Timespec::try_from(due.saturating_duration_since(now)).expect("short");
                let woken = poll(&mut [PollFd::new(&wake, PollFlags::IN)], Some(&pause));
                if woken == Ok(1) {
                    let _ = rustix::io::read(&wake, &mut [0; 8]);
                    display.wake(Instant::now());
                }
                if let Ok(Poll::Shown(_)) = display.poll(Instant::now(), &mut sink) {
                    frames += 1;
                    let taken = published.lock().expect("no panic").elapsed();
                    shown.send(taken.as_secs_f64()).expect("somebody listens");
                }
            }
        });
        showings.recv().expect("a first frame");
        let (mut all, mut memory) = (Vec::new(), guest.memory().expect("it maps"));
        for n in 0..FRAMES {
            // At times that have nothing to do with those of the looks.
            thread::sleep(Duration::from_micros(20_000 + u64::from(n * 7919 % 16_667)));
            guest.begin();
            let row = [n as u8 + 1; 12 * 4];
            assert!(memory.copy_in((100 * 1920 + 100) * 4, &row));
            let mut last = published.lock().expect("no panic");
            *last = Instant::now();
            drop(last);
            guest.commit(&[letter]);
            all.push(showings.recv().expect("a frame"));
        }
        median(all)
    })
}

fn main() {
    for by_wake in [true, false] {
        let how = if by_wake { "woken" } else { "polling at 60 Hz" };
        println!("a letter, {how}: {:.2} ms from its frame to its showing", latency(by_wake) * 1e3);
    }
    for size in [Size::new(1920, 1080), Size::new(3840, 2160)] {
        case(size, "all", size.rect());
        case(
            size,
            "a window of 10 %",
            Rect { x: 100, y: 100, width: size.width / 2, height: size.height / 5 },
        );
        case(size, "a letter", Rect { x: 100, y: 100, width: 12, height: 24 });
        idle(size);
    }
}
