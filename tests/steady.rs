// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A screen that is polled for long: what it costs, and what a small change takes to be seen.
#![cfg(feature = "testing")]
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Instant;

use vfio_display::geometry::Size;
use vfio_display::sink::{SinkError, Takes};
use vfio_display::testing::card::Card;
use vfio_display::testing::{Mock, Personality, Recorder};
use vfio_display::{Cursor, Detection, Display, Frame, Poll, Sink};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: the system's allocator does it; the count is a number of the thread.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller says.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller says.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Takes frames and keeps nothing.
struct Nowhere;

impl Sink for Nowhere {
    fn takes(&self) -> Takes {
        Takes::default()
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

const SIZE: Size = Size::new(320, 256);

#[test]
fn a_steady_poll_allocates_nothing() {
    for personality in [Personality::Region, Personality::WellBehaved] {
        let mock = Mock::new(personality, SIZE).unwrap();
        let mut display = Display::new(mock.clone()).unwrap();
        display.watch(Instant::now());
        let mut during = |frames: std::ops::Range<u64>| {
            let mut allocated = 0;
            for n in frames {
                mock.show_card(n).unwrap();
                for _ in 0..4 {
                    let now = display.poll_at().unwrap();
                    let before = ALLOCATIONS.get();
                    display.poll(now, &mut Nowhere).unwrap();
                    allocated += ALLOCATIONS.get() - before;
                }
            }
            allocated
        };
        // The first frames take what the others use.
        assert!(during(0..4) > 0, "{personality}: the count counts");
        assert_eq!(during(4..100), 0, "{personality}");
    }
}

#[test]
fn a_small_change_is_seen_as_soon_as_was_asked_for() {
    for (detection, most) in [(Detection::Verified, 1), (Detection::Sampled, 8)] {
        let mock = Mock::new(Personality::Region, SIZE).unwrap();
        mock.show_card(0).unwrap();
        let mut display = Display::new(mock.clone()).unwrap();
        display.set_detection(detection);
        display.watch(Instant::now());
        let mut sink = Recorder::new();
        let mut poll = || {
            let now = display.poll_at().unwrap();
            display.poll(now, &mut sink).unwrap()
        };
        let mut picture = Card::new(SIZE, 0).picture();
        for n in 0..picture.len() / 97 {
            while poll() != Poll::Same {}
            picture[n * 97] ^= 0x10;
            mock.draw(&picture).unwrap();
            let polls = (1..=most).find(|_| poll() != Poll::Same);
            assert!(polls.is_some(), "{detection:?}: pixel {}", n * 97);
        }
    }
}
