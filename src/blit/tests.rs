// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every kernel against a plain decode and compare, on memory of any shape.

use super::fuzz::{Drawn, Lent, covers, oracle, segments};
use super::kernel::Kernel;
use super::reading::copy_span;
use super::sample::SAMPLED;
use super::*;
use crate::damage::{Damage, TILE};

/// xorshift: pictures and edits that a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

fn seeds() -> std::ops::Range<u64> {
    if cfg!(miri) { 1..2 } else { 1..60 }
}

/// As much, or less where it is interpreted.
const fn about(much: usize) -> usize {
    if cfg!(miri) { much / 10 } else { much }
}

#[test]
fn every_kernel_finds_what_a_compare_finds() {
    for kernel in Kernel::available() {
        for format in PixelFormat::ALL {
            for seed in seeds() {
                check(kernel, format, seed, Detection::Verified.into());
            }
        }
    }
}

#[test]
fn what_is_fetched_by_lines_is_found_the_same() {
    let reading = Reading { memory: Memory::WriteCombined, ..Detection::Verified.into() };
    for format in PixelFormat::ALL {
        seeds().for_each(|seed| check(Kernel::best(), format, seed, reading));
    }
}

#[test]
fn two_threads_find_what_one_does() {
    for workers in [Lent::Scope, Lent::Nothing, Lent::OneTwice] {
        let reading = Reading { workers: Some(&workers), ..Detection::Verified.into() };
        for kernel in Kernel::available() {
            for format in [PixelFormat::Xrgb8888, PixelFormat::Rgb888, PixelFormat::Rgb565] {
                seeds().for_each(|seed| check(kernel, format, seed, reading));
            }
        }
    }
}

fn check(kernel: Kernel, format: PixelFormat, seed: u64, reading: Reading<'_>) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let width = 1 + random.below(about(400)) as u32;
    let size = Size::new(width, 1 + random.below(if cfg!(miri) { 24 } else { 40 }) as u32);
    let pixel = format.bytes_per_pixel() as usize;
    let stride = size.width as usize * pixel + random.below(70);
    let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
    let start = random.below(70);
    let mut memory = vec![0_u8; start + layout.len() as usize];
    memory.fill_with(|| random.below(256) as u8);
    let mut screen = Screen::with(Seen::with(kernel));
    let mut shown = vec![0; size.width as usize * size.height as usize];
    let mut before = Vec::new();
    for poll in 0..8 {
        let bytes = &memory[start..];
        let dense = screen.is_dense();
        copy_span(Span::of(bytes), &layout, &mut screen, reading);
        let damage = oracle(bytes, &layout, &mut shown);
        assert_eq!(screen.picture().pixels(), shown, "{kernel:?} {layout:?} seed {seed}");
        if poll == 0 {
            let whole = screen.damage().clone();
            let mut all = Damage::new(size);
            all.mark_rect(size.rect());
            assert_eq!(whole, all);
        } else if dense {
            let most = segments(&before, bytes, &layout);
            assert!(covers(screen.damage(), &damage), "{kernel:?} {layout:?} seed {seed}");
            assert!(covers(&most, screen.damage()), "{kernel:?} {layout:?} seed {seed}");
        } else {
            assert_eq!(*screen.damage(), damage, "{kernel:?} {layout:?} seed {seed}");
        }
        before = bytes.to_vec();
        screen.shown();
        if poll % 4 == 1 {
            memory.fill_with(|| random.below(256) as u8);
        }
        for _ in 0..random.below(4) {
            let (at, bits) = (random.below(memory.len()), random.below(256) as u8);
            memory[at] ^= bits;
        }
    }
}

#[test]
fn the_fuzz_target_holds_for_any_bytes() {
    let mut random = Random(5);
    for _ in 0..if cfg!(miri) { 2 } else { 200 } {
        let bytes: Vec<u8> = (0..6 + random.below(80)).map(|_| random.below(256) as u8).collect();
        fuzz::run(&bytes);
    }
}

#[test]
#[cfg_attr(miri, ignore = "many pixels")]
fn a_screen_that_changes_is_overwritten_until_it_does_not() {
    // Large enough to be stored around the caches, and with rows that do not fill their lines.
    for (width, format) in [
        (1088, PixelFormat::Xrgb8888),
        (1090, PixelFormat::Argb8888),
        (1088, PixelFormat::Xbgr8888),
        (1090, PixelFormat::Rgb565),
    ] {
        let size = Size::new(width, 1000);
        let stride = width as usize * format.bytes_per_pixel() as usize;
        let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
        for kernel in Kernel::available() {
            let mut random = Random(3);
            let mut memory = vec![0_u8; layout.len() as usize];
            let mut screen = Screen::with(Seen::with(kernel));
            let mut shown = vec![0; size.area() as usize];
            // Of each poll: whether half of the rows change before it, and whether it is dense.
            for (change, dense) in
                [(true, false), (true, false), (true, true), (false, true), (false, false)]
            {
                let rows = if change { 0..stride * 510 } else { 0..1 };
                memory[rows].fill_with(|| random.below(256) as u8);
                assert_eq!(screen.is_dense(), dense, "{kernel:?} {layout:?}");
                screen.shown();
                copy_span(Span::of(&memory), &layout, &mut screen, Detection::Verified.into());
                let damage = oracle(&memory, &layout, &mut shown);
                assert!(screen.picture().pixels() == shown, "{kernel:?} {layout:?}");
                assert!(covers(screen.damage(), &damage), "{kernel:?} {layout:?}");
            }
            assert!(!screen.is_dense());
        }
    }
}

#[test]
fn sampling_misses_nothing_for_longer_than_eight_polls() {
    let width = about(300);
    let (size, stride) = (Size::new(width as u32, 64), width * 4);
    let format = PixelFormat::Xrgb8888;
    let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let mut screen = Screen::default();
    let mut random = Random(7);
    let poll = |memory: &[u8], screen: &mut Screen| {
        screen.shown();
        copy_span(Span::of(memory), &layout, screen, Detection::Sampled.into());
        !screen.damage().is_empty()
    };
    for round in 0..if cfg!(miri) { 1 } else { 2000 } {
        while poll(&memory, &mut screen) {}
        for _ in 0..random.below(20) {
            assert!(!poll(&memory, &mut screen));
        }
        let tall = random.below(2) == 0;
        let (x, y) = (random.below(width), random.below(if tall { 57 } else { 64 }));
        for y in y..y + if tall { 8 } else { 1 } {
            memory[y * stride + x * 4 + random.below(3)] ^= 1 + random.below(255) as u8;
        }
        let polls = (1..=SAMPLED).find(|_| poll(&memory, &mut screen));
        let most = if tall { 1 } else { SAMPLED };
        assert!(polls.is_some_and(|polls| polls <= most), "{round}: {x}, {y}: {polls:?}");
        let mut all = Damage::new(size);
        all.mark(x as u32, y as u32);
        all.mark(x as u32, (y as u32 + if tall { 7 } else { 0 }) / TILE * TILE);
        assert_eq!(*screen.damage(), all, "{round}: the damage is all there is");
    }
}

#[test]
fn sampling_misses_nothing_beside_what_moves() {
    let width = about(300);
    let (size, stride) = (Size::new(width as u32, 96), width * 4);
    let layout = Layout { size, stride, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let mut screen = Screen::default();
    let mut random = Random(11);
    copy_span(Span::of(&memory), &layout, &mut screen, Detection::Sampled.into());
    for round in 0..if cfg!(miri) { 1 } else { 2000 } {
        let tall = random.below(2) == 0;
        // Rows from 40 on change before each poll; what is looked for is above or below them.
        let moving = 40..40 + 1 + random.below(8);
        let (x, y) = (random.below(width), random.below(24) + 72 * random.below(2));
        let (y, rows) = if tall { (y.min(88), 8) } else { (y.min(95), 1) };
        for y in y..y + rows {
            memory[y * stride + x * 4] ^= 1 + random.below(255) as u8;
        }
        let polls = (1..=SAMPLED).find(|poll| {
            for y in moving.clone() {
                memory[y * stride] = *poll as u8 ^ round as u8;
            }
            screen.shown();
            copy_span(Span::of(&memory), &layout, &mut screen, Detection::Sampled.into());
            (y..y + rows).all(|y| {
                let pixel = screen.picture().pixel(x as u32, y as u32).unwrap();
                pixel.to_le_bytes()[0] == memory[y * stride + x * 4]
            })
        });
        let most = if tall { 1 } else { SAMPLED };
        assert!(polls.is_some_and(|polls| polls <= most), "{round}: {x}, {y}: {polls:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "many pixels")]
fn what_is_known_to_be_written_is_read_and_no_more() {
    let size = Size::new(300, 1100);
    let layout = Layout { size, stride: 1204, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let mut screen = Screen::default();
    let mut random = Random(13);
    let mut shown = vec![0; size.area() as usize];
    for round in 0..if cfg!(miri) { 1 } else { 300 } {
        let (x, y) = (random.below(300), random.below(1000));
        let height = 1 + random.below(100);
        let mut draw = |memory: &mut [u8], y: usize| {
            memory[y * 1204 + x * 4] ^= 1 + random.below(255) as u8;
        };
        (y..y + height).for_each(|y| draw(&mut memory, y));
        // A log that says more than there is, as one of pages does.
        let rect = Rect { x: 0, y: y as u32, width: 9999, height: height as u32 + 5 };
        let outside = Rect { x: 0, y: 2000, width: 1, height: u32::MAX };
        let written = [outside, rect];
        let reading = Reading { written: Some(&written), ..Detection::Sampled.into() };
        screen.shown();
        let dense = screen.is_dense();
        copy_span(Span::of(&memory), &layout, &mut screen, reading);
        let damage = oracle(&memory, &layout, &mut shown);
        assert!(screen.picture().pixels() == shown, "{round}: {rect:?}");
        assert!(covers(screen.damage(), &damage), "{round}");
        assert!(round == 0 || dense || *screen.damage() == damage, "{round}");
        // Of what nobody told, a poll sees the row whose turn it is, if that is one of these.
        let rows = (0..1100).filter(|row| !(y..y + height + 5).contains(row));
        let rows: Vec<usize> = rows.collect();
        rows.iter().for_each(|&y| draw(&mut memory, y));
        copy_span(Span::of(&memory), &layout, &mut screen, reading);
        let pixel = |y: usize| screen.picture().pixel(x as u32, y as u32).unwrap() & 0xff_ffff;
        let seen = rows.iter().filter(|&&y| pixel(y) != shown[y * 300 + x] & 0xff_ffff);
        assert!(seen.count() <= 3, "{round}: rows that nobody named were read");
        rows.iter().for_each(|&y| memory[y * 1204 + x * 4] = pixel(y) as u8);
        oracle(&memory, &layout, &mut shown);
    }
}

#[test]
#[cfg_attr(miri, ignore = "many polls")]
fn what_a_log_leaves_out_is_mended() {
    let size = Size::new(64, 1000);
    let layout = Layout { size, stride: 256, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let mut screen = Screen::default();
    let reading = Reading { written: Some(&[]), ..Detection::Sampled.into() };
    for y in [0, 1, 511, 512, 999] {
        copy_span(Span::of(&memory), &layout, &mut screen, reading);
        memory[y * 256] ^= 0xff;
        screen.shown();
        let polls = (1..=4096).find(|_| {
            copy_span(Span::of(&memory), &layout, &mut screen, reading);
            !screen.damage().is_empty()
        });
        assert!(polls.is_some(), "row {y}");
    }
}

#[test]
fn a_visitor_sees_what_changed() {
    for format in PixelFormat::ALL {
        for seed in seeds() {
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let size =
                Size::new(1 + random.below(about(1500)) as u32, 1 + random.below(about(60)) as u32);
            let stride = size.width as usize * format.bytes_per_pixel() as usize + random.below(70);
            let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
            let mut memory = vec![0_u8; layout.len() as usize];
            let mut shown = vec![0; size.area() as usize];
            let (mut scanner, mut drawn) = (Scanner::new(), Drawn::new(size));
            let mut before: Option<Vec<u8>> = None;
            for _ in 0..8 {
                drawn.damage.clear();
                let span = Span::of(&memory);
                scanner.visit_span(span, &layout, Detection::Verified, &mut drawn);
                let damage = oracle(&memory, &layout, &mut shown);
                assert!(drawn.picture == shown, "{layout:?} seed {seed}");
                assert!(covers(&drawn.damage, &damage), "{layout:?} seed {seed}");
                if let Some(before) = &before {
                    let mut most = segments(before, &memory, &layout);
                    // Those whose turn it is are handed on in any case.
                    (0..8).for_each(|y| {
                        most.mark_rect(Rect { x: 0, y, width: size.width, height: 1 })
                    });
                    assert!(covers(&most, &drawn.damage), "{layout:?} seed {seed}");
                }
                before = Some(memory.clone());
                for _ in 0..random.below(4) {
                    let (at, bits) = (random.below(memory.len()), random.below(256) as u8);
                    memory[at] ^= bits;
                }
            }
        }
    }
}

#[test]
fn a_sampled_visit_sees_all_within_eight() {
    let width = about(700);
    let (size, stride) = (Size::new(width as u32, 90), width * 4);
    let layout = Layout { size, stride, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let (mut scanner, mut drawn) = (Scanner::new(), Drawn::new(size));
    let mut shown = vec![0; size.area() as usize];
    let mut random = Random(17);
    for round in 0..if cfg!(miri) { 1 } else { 500 } {
        for _ in 0..random.below(5) {
            let at = random.below(memory.len());
            memory[at] ^= 1 + random.below(255) as u8;
        }
        for _ in 0..SAMPLED {
            scanner.visit_span(Span::of(&memory), &layout, Detection::Sampled, &mut drawn);
        }
        oracle(&memory, &layout, &mut shown);
        assert!(drawn.picture == shown, "{round}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "many polls")]
fn a_missed_change_is_mended_by_the_refresh() {
    let (size, format) = (Size::new(64, 20), PixelFormat::Xrgb8888);
    let layout = Layout { size, stride: 256, format, alpha: Alpha::Ignore };
    let memory = vec![7_u8; layout.len() as usize];
    for detection in [Detection::Verified, Detection::Sampled] {
        let mut screen = Screen::default();
        copy_span(Span::of(&memory), &layout, &mut screen, detection.into());
        copy_span(Span::of(&memory), &layout, &mut screen, detection.into());
        screen.shown();
        // As if a change had hashed to what was there before.
        screen.spoil(13);
        let polls = (1..=512).find(|_| {
            copy_span(Span::of(&memory), &layout, &mut screen, detection.into());
            !screen.damage().is_empty()
        });
        assert!(polls.is_some(), "{detection:?}");
    }
}

/// Takes in the bytes of a row.
struct Bytes(Vec<u8>);

impl kernel::Take for Bytes {
    fn direct(&mut self, _: usize) -> Option<kernel::Direct<'_>> {
        None
    }

    fn stored(&mut self, _: usize, _: u64) {}

    fn changed(&mut self, _: usize, bytes: &[u8], _: bool) {
        self.0.extend_from_slice(bytes);
    }
}

#[test]
fn kernels_of_one_hash_agree() {
    // All but the scalar one have AES, and a key decides the hash.
    let expected: Vec<u8> = (0..1000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    let key = key::Key::random();
    for long in [false, true] {
        let mut all = Vec::new();
        for kernel in Kernel::available().filter(|kernel| *kernel != Kernel::SCALAR) {
            let mut hashes = vec![0; if long { 3 } else { 4 }];
            let bytes = Span::of(&expected);
            let row = kernel::Row { bytes, ahead: None, hashes: &mut hashes, force: true };
            let mut seen = Bytes(Vec::new());
            kernel.scan(row, long, &key, &mut seen);
            assert_eq!(seen.0, expected, "{kernel:?}");
            all.push(hashes);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:x?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "many pixels")]
fn the_state_is_a_32nd_of_the_frame() {
    let mut screen = Screen::default();
    let size = Size::new(1920, 1080);
    let layout = Layout { size, stride: 7680, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    screen.begin(&layout);
    let frame = 1920 * 1080 * 4;
    assert!(screen.state_bytes() * 1000 <= frame * 32, "{} bytes", screen.state_bytes());
}
