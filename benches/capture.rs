// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Frames through a framebuffer region, beside a copy of the frame.
//!
//! `cargo bench --bench capture --features testing`. Producer and consumer are one thread here: a
//! frame is drawn, captured into a slot, and copied out of it onto the screen, and a copy of a frame
//! is timed in turn with that. The ratio is the median of those of the turns.

use std::hint::black_box;
use std::time::Instant;

use vfio_display::geometry::{Rect, Size};
use vfio_display::testing::{FbMock, FbOptions, Recorder};
use vfio_display::{Display, Poll};

const TURNS: usize = 60;

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
    let (mut sink, mut now) = (Recorder::new(), Instant::now());
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
        sink.frames.clear();
        if turn >= 4 {
            frames.push(frame);
            copies.push(copy);
        }
    }
    let ratio = median(frames.iter().zip(&copies).map(|(a, b)| a / b).collect());
    let frame = median(frames);
    println!(
        "{size} {name}: {:.0} frames/s, {:.2} GB/s of the frame, {ratio:.3} copies of it",
        1.0 / frame,
        bytes as f64 / frame / 1e9
    );
}

fn idle(size: Size) {
    const POLLS: u32 = 100_000;
    let guest = FbMock::new(FbOptions::new(size)).expect("a device");
    guest.set_mode(Some(size)).expect("its own mode");
    let mut display = Display::new(guest).expect("a framebuffer region");
    let (mut sink, mut now) = (Recorder::new(), Instant::now());
    display.watch(now);
    let mut poll = || {
        now = display.poll_at().expect("somebody watches");
        display.poll(now, &mut sink).expect("an answer")
    };
    poll();
    let passed = time(|| (0..POLLS).for_each(|_| assert_eq!(poll(), Poll::Same)));
    println!("{size} nothing: {:.0} ns a poll", passed * 1e9 / f64::from(POLLS));
}

fn main() {
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
