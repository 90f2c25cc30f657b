// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Loops compiled for wider registers than every CPU has, and taken where this one has them.

/// A loop without any intrinsics. `run` has to be `#[inline(always)]`: it is compiled once for
/// each width.
pub(crate) trait Loop {
    /// Runs it.
    fn run(self);
}

/// Runs `work` in the widest registers that it is compiled for.
#[inline]
pub(crate) fn widest(work: impl Loop) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
            // SAFETY: the CPU was just found to have them.
            return unsafe { avx512(work) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU was just found to have AVX2.
            return unsafe { avx2(work) };
        }
    }
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512bw,avx512vl")]
fn avx512(work: impl Loop) {
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(work: impl Loop) {
    work.run();
}

/// Which of three bytes each byte of a word is made of, the lowest first; the fourth is of none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    /// For each byte of 16 words the one that it is made of, of 48.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "no shuffle takes them"))]
    places: [u8; 64],
}

impl Order {
    /// Each is 0, 1 or 2. Made once: a row takes little longer than these do.
    pub(crate) const fn new(order: [u8; 3]) -> Self {
        let mut places = [0; 64];
        let mut at = 0;
        while at < places.len() {
            let byte = if at % 4 == 3 { 0 } else { order[at % 4] };
            places[at] = (at / 4 * 3) as u8 + byte;
            at += 1;
        }
        Self { places }
    }
}

/// Makes words of three bytes each: the bytes of `src` that `order` names, the lowest first, and
/// `high` as the fourth. Answers how many it made: a shuffle of a register does many, and leaves the
/// rest, or all where there is none, to the caller's loop.
///
/// The compiler makes no shuffles of a loop over three bytes: it takes twice as long.
pub(crate) fn widen(src: &[u8], order: &Order, high: u8, dst: &mut [u32]) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi") {
            // SAFETY: the CPU was just found to have them.
            return unsafe { widen::avx512(src, order, high, dst) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU was just found to have AVX2.
            return unsafe { widen::avx2(src, order, high, dst) };
        }
    }
    let _ = (src, order, high, dst);
    0
}

#[cfg(target_arch = "x86_64")]
mod widen {
    use std::arch::x86_64::*;

    use super::Order;

    #[target_feature(enable = "avx512bw,avx512vbmi")]
    pub(super) fn avx512(src: &[u8], order: &Order, high: u8, dst: &mut [u32]) -> usize {
        let load = |bytes: &[u8; 64]| {
            // SAFETY: as many bytes as it takes.
            unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
        };
        let places = load(&order.places);
        let fourth = _mm512_set1_epi32((u32::from(high) << 24).cast_signed());
        let words = |bytes| {
            let bytes = _mm512_maskz_permutexvar_epi8(0x7777_7777_7777_7777, places, bytes);
            _mm512_or_si512(bytes, fourth)
        };
        // Whole registers: of loads of 48 bytes' distance three in four would be of two lines.
        let (ins, (outs, _)) = (src.as_chunks::<192>().0, dst.as_chunks_mut::<64>());
        let mut done = 0;
        for (bytes, out) in ins.iter().zip(outs) {
            let (registers, _) = bytes.as_chunks();
            let [a, b, c] = [0, 1, 2].map(|at| load(&registers[at]));
            // 48 bytes each, from the first of a register on.
            let parts = [
                a,
                _mm512_alignr_epi64::<6>(b, a),
                _mm512_alignr_epi64::<4>(c, b),
                _mm512_alignr_epi64::<2>(c, c),
            ];
            for (part, out) in parts.into_iter().zip(out.as_chunks_mut::<16>().0) {
                // SAFETY: as many bytes as it stores.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), words(part)) };
            }
            done += 64;
        }
        done + avx2(&src[done * 3..], order, high, &mut dst[done..])
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(src: &[u8], order: &Order, high: u8, dst: &mut [u32]) -> usize {
        // Each half of a register is shuffled alone: four pixels from its first byte on.
        let words = u32::from(high) << 24;
        // SAFETY: 16 bytes of 64.
        let places = unsafe { _mm_loadu_si128(order.places.as_ptr().cast()) };
        let places = _mm256_broadcastsi128_si256(places);
        let colours = _mm256_set1_epi32(0xff_ffff);
        let high = _mm256_set1_epi32(words.cast_signed());
        let mut done = 0;
        for out in dst.as_chunks_mut::<8>().0 {
            let Some(bytes) = src[done * 3..].first_chunk::<28>() else { break };
            let at = bytes.as_ptr();
            // SAFETY: 16 bytes from the first and from the thirteenth of 28 on, and 32 of `dst`.
            unsafe {
                let halves = [_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(12).cast())];
                let bytes = _mm256_set_m128i(halves[1], halves[0]);
                let words = _mm256_and_si256(_mm256_shuffle_epi8(bytes, places), colours);
                _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_or_si256(words, high));
            }
            done += 8;
        }
        done
    }

    #[cfg(test)]
    mod tests {
        use super::Order;

        /// Answers how many words it made, of `src` and `dst` as they are.
        type Widen = unsafe fn(&[u8], &Order, u8, &mut [u32]) -> usize;

        #[test]
        fn every_shuffle_makes_what_a_loop_makes() {
            let all: [(bool, Widen); 2] = [
                (is_x86_feature_detected!("avx512vbmi"), super::avx512),
                (is_x86_feature_detected!("avx2"), super::avx2),
            ];
            let src: Vec<u8> = (0..400_u32).map(|at| (at * 7 + at / 251) as u8).collect();
            for (_, widen) in all.into_iter().filter(|(has, _)| *has) {
                for (len, order) in (0..400).zip([[0, 1, 2], [2, 1, 0], [1, 2, 0]].iter().cycle()) {
                    let mut dst = vec![7; len / 3 + len % 2];
                    // SAFETY: the CPU has what the function needs.
                    let done = unsafe { widen(&src[..len], &Order::new(*order), 0x80, &mut dst) };
                    assert!(done + 22 > len / 3 && done <= len / 3, "{done} of {len} bytes");
                    let (made, rest) = dst.split_at(done);
                    for (word, bytes) in made.iter().zip(src.chunks_exact(3)) {
                        let [a, b, c] = order.map(|at| bytes[usize::from(at)]);
                        assert_eq!(word.to_le_bytes(), [a, b, c, 0x80], "{len} bytes");
                    }
                    assert!(rest.iter().all(|word| *word == 7), "past the end");
                }
            }
        }
    }
}
