// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every kernel against a plain decode and compare, on memory of any shape.

use super::kernel::Kernel;
use super::*;
use crate::convert;
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

/// What a scan has to find, by decoding all and comparing all.
fn oracle(bytes: &[u8], layout: &Layout, shown: &mut [u32]) -> Damage {
    let mut damage = Damage::new(layout.size);
    let width = layout.size.width as usize;
    for y in 0..layout.size.height as usize {
        let row = &bytes[layout.row_offset(y)..][..layout.row_len()];
        let mut pixels = vec![0; width];
        convert::row(layout.format, layout.alpha, row, &mut pixels);
        let shown = &mut shown[y * width..][..width];
        for x in 0..width {
            if pixels[x] != shown[x] {
                damage.mark(x as u32, y as u32);
            }
        }
        shown.copy_from_slice(&pixels);
    }
    damage
}

fn seeds() -> std::ops::Range<u64> {
    if cfg!(miri) { 1..4 } else { 1..60 }
}

#[test]
fn every_kernel_finds_what_a_compare_finds() {
    for kernel in Kernel::available() {
        for format in PixelFormat::ALL {
            for seed in seeds() {
                check(kernel, format, seed);
            }
        }
    }
}

fn check(kernel: Kernel, format: PixelFormat, seed: u64) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let size = Size::new(1 + random.below(400) as u32, 1 + random.below(40) as u32);
    let pixel = format.bytes_per_pixel() as usize;
    let stride = size.width as usize * pixel + random.below(70);
    let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
    let start = random.below(70);
    let mut memory = vec![0_u8; start + layout.len() as usize];
    memory.fill_with(|| random.below(256) as u8);
    let mut screen = Screen::with(Seen::with(kernel));
    let mut shown = vec![0; size.width as usize * size.height as usize];
    for poll in 0..6 {
        let bytes = &memory[start..];
        copy_span(Span::of(bytes), &layout, &mut screen, Detection::Verified);
        let damage = oracle(bytes, &layout, &mut shown);
        assert_eq!(screen.picture().pixels(), shown, "{kernel:?} {layout:?} seed {seed}");
        if poll == 0 {
            let whole = screen.damage().clone();
            let mut all = Damage::new(size);
            all.mark_rect(size.rect());
            assert_eq!(whole, all);
        } else {
            assert_eq!(*screen.damage(), damage, "{kernel:?} {layout:?} seed {seed}");
        }
        screen.shown();
        for _ in 0..random.below(4) {
            let (at, bits) = (random.below(memory.len()), random.below(256) as u8);
            memory[at] ^= bits;
        }
    }
}

#[test]
fn sampling_misses_nothing_for_longer_than_eight_polls() {
    let size = Size::new(300, 64);
    let format = PixelFormat::Xrgb8888;
    let layout = Layout { size, stride: 1200, format, alpha: Alpha::Ignore };
    let mut memory = vec![0_u8; layout.len() as usize];
    let mut screen = Screen::default();
    let mut random = Random(7);
    let poll = |memory: &[u8], screen: &mut Screen| {
        screen.shown();
        copy_span(Span::of(memory), &layout, screen, Detection::Sampled);
        !screen.damage().is_empty()
    };
    for round in 0..if cfg!(miri) { 3 } else { 2000 } {
        while poll(&memory, &mut screen) {}
        for _ in 0..random.below(20) {
            assert!(!poll(&memory, &mut screen));
        }
        let tall = random.below(2) == 0;
        let (x, y) = (random.below(300), random.below(if tall { 57 } else { 64 }));
        for y in y..y + if tall { 8 } else { 1 } {
            memory[y * 1200 + x * 4 + random.below(3)] ^= 1 + random.below(255) as u8;
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
fn a_missed_change_is_mended_by_the_refresh() {
    let (size, format) = (Size::new(64, 20), PixelFormat::Xrgb8888);
    let layout = Layout { size, stride: 256, format, alpha: Alpha::Ignore };
    let memory = vec![7_u8; layout.len() as usize];
    for detection in [Detection::Verified, Detection::Sampled] {
        let mut screen = Screen::default();
        copy_span(Span::of(&memory), &layout, &mut screen, detection);
        copy_span(Span::of(&memory), &layout, &mut screen, detection);
        screen.shown();
        // As if a change had hashed to what was there before.
        screen.spoil(13);
        let polls = (1..=512).find(|_| {
            copy_span(Span::of(&memory), &layout, &mut screen, detection);
            !screen.damage().is_empty()
        });
        assert!(polls.is_some(), "{detection:?}");
    }
}

#[test]
fn kernels_of_one_hash_agree() {
    // All but the scalar one have AES, and a key decides the hash.
    let bytes: Vec<u8> = (0..1000_u32).map(|at| (at * 7 + at / 251) as u8).collect();
    let key = key::Key::random();
    for long in [false, true] {
        let mut all = Vec::new();
        for kernel in Kernel::available().filter(|kernel| *kernel != Kernel::SCALAR) {
            let mut hashes = vec![0; if long { 3 } else { 4 }];
            let next = bytes.as_ptr();
            let row =
                kernel::Row { bytes: Span::of(&bytes), next, hashes: &mut hashes, force: true };
            let mut seen = Vec::new();
            kernel.scan(row, long, &key, &mut |_, bytes| seen.extend_from_slice(bytes));
            assert_eq!(seen, bytes, "{kernel:?}");
            all.push(hashes);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:x?}");
    }
}

#[test]
fn the_state_is_a_32nd_of_the_frame() {
    let mut screen = Screen::default();
    let size = Size::new(1920, 1080);
    let layout = Layout { size, stride: 7680, format: PixelFormat::Xrgb8888, alpha: Alpha::Ignore };
    screen.begin(&layout);
    let frame = 1920 * 1080 * 4;
    assert!(screen.state_bytes() * 1000 <= frame * 32, "{} bytes", screen.state_bytes());
}
