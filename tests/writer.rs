// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A guest that draws while it is read: what is delivered is what was hashed.
//!
//! If it were not, a segment whose bytes changed between the two would keep the old pixels under
//! the new bytes' hash, and no later poll would look at it again.

use std::hint;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use vfio_display::testing::Engine;
use vfio_display::{Detection, Mapping, WritableMapping};

/// Few segments, so that the guest often draws the one that is being read.
const SIZE: Size = Size::new(256, 4);
const SEGMENT: usize = 256;
const ROUNDS: u64 = 300;

/// 62 words that a seed makes, and the sums by which they are told.
fn segment(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut words = [0_u32; SEGMENT / 4];
    let (body, sums) = words.split_at_mut(SEGMENT / 4 - 2);
    for word in &mut *body {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        // Not the highest byte, which a screen does not show.
        *word = state as u32 & 0xff_ffff;
    }
    sums[0] = body.iter().fold(0, |sum: u32, word| sum.wrapping_add(*word)) & 0xff_ffff;
    sums[1] = body.iter().fold(0, |sum: u32, word| sum.rotate_left(5) ^ word) & 0xff_ffff;
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Whether the pixels of a segment are those of one write.
fn is_whole(pixels: &[u32]) -> bool {
    let (body, sums) = pixels.split_at(SEGMENT / 4 - 2);
    let body = body.iter().map(|pixel| pixel & 0xff_ffff);
    let sum = body.clone().fold(0, |sum: u32, word| sum.wrapping_add(word));
    let mix = body.fold(0, |sum: u32, word| sum.rotate_left(5) ^ word);
    [sum, mix].map(|sum| sum & 0xff_ffff) == [sums[0] & 0xff_ffff, sums[1] & 0xff_ffff]
}

#[test]
fn what_is_delivered_is_what_was_hashed() {
    let len = SIZE.area() as usize * 4;
    for (kernel, mut engine) in Engine::each(SIZE, PixelFormat::Xrgb8888).enumerate() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        let mapping = Mapping::new(file.as_fd(), 0, len).unwrap();
        let mut guest = WritableMapping::new(file.as_fd(), 0, len).unwrap();
        // A frame whose segments are all whole, and a poll that is not dense after it.
        for at in 0..len / SEGMENT {
            assert!(guest.copy_in(at * SEGMENT, &segment(at as u64)));
        }
        engine.scan(&mapping, Detection::Verified);
        let mut busy = 0;
        for round in 0..ROUNDS {
            let mut seed = round.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let drawings: Vec<Vec<u8>> = (0..61).map(|n| segment(seed ^ n << 32)).collect();
            // In every other round so slowly that most segments are the same at each poll.
            let pause = if round % 2 == 0 { 0 } else { 100 };
            let [started, stop] = [const { AtomicBool::new(false) }; 2];
            thread::scope(|scope| {
                let (guest, started, stop) = (&mut guest, &started, &stop);
                scope.spawn(move || {
                    for drawing in drawings.iter().cycle() {
                        seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                        let at = (seed >> 40) as usize % (len / SEGMENT);
                        assert!(guest.copy_in(at * SEGMENT, drawing));
                        (0..pause).for_each(|_| hint::spin_loop());
                        started.store(true, Ordering::Relaxed);
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
                while !started.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
                for _ in 0..100 {
                    engine.scan(&mapping, Detection::Verified);
                    busy += usize::from(!engine.damage().is_empty());
                }
                stop.store(true, Ordering::Relaxed);
            });
            // The guest is done: one more poll, and the screen is what it drew last.
            engine.scan(&mapping, Detection::Verified);
            let mut bytes = vec![0; len];
            assert!(mapping.copy_out(0, &mut bytes));
            let words = bytes.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
            let drawn: Vec<u32> = words.map(|word| word | 0xff00_0000).collect();
            let stale = engine.picture().pixels().iter().zip(&drawn).position(|(a, b)| a != b);
            assert_eq!(stale, None, "kernel {kernel} {}, round {round}", engine.kernel());
            let mut segments = engine.picture().pixels().chunks_exact(SEGMENT / 4);
            assert!(segments.all(is_whole), "kernel {kernel}, round {round}: a sum is wrong");
        }
        assert!(busy > 100, "the guest drew during {busy} polls");
    }
}
