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

/// Makes words of three bytes each: the bytes of `src` that `order` names, the lowest first, and
/// `high` as the fourth. Answers how many it made: a shuffle of a register does many, and leaves the
/// rest, or all where there is none, to the caller's loop.
///
/// The compiler makes no shuffles of a loop over three bytes: it takes twice as long.
pub(crate) fn widen(src: &[u8], order: [u8; 3], high: u8, dst: &mut [u32]) -> usize {
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

    /// For each byte of words the one that it is made of; the fourth is any.
    fn places<const N: usize>(order: [u8; 3], of: impl Fn(u8) -> u8) -> [u8; N] {
        std::array::from_fn(|at| {
            let (pixel, byte) = ((at / 4) as u8, at % 4);
            of(pixel * 3 + order.get(byte).copied().unwrap_or(0))
        })
    }

    #[target_feature(enable = "avx512bw,avx512vbmi")]
    pub(super) fn avx512(src: &[u8], order: [u8; 3], high: u8, dst: &mut [u32]) -> usize {
        let places: [u8; 64] = places(order, |byte| byte);
        let words = u32::from(high) << 24;
        // SAFETY: 64 bytes of ours.
        let places = unsafe { _mm512_loadu_si512(places.as_ptr().cast()) };
        let high = _mm512_set1_epi32(words.cast_signed());
        let mut done = 0;
        // A load takes 16 bytes more than it needs.
        for out in dst.as_chunks_mut::<16>().0 {
            let Some(bytes) = src[done * 3..].first_chunk::<64>() else { break };
            // SAFETY: 64 bytes of `src`, and as many of `dst`.
            unsafe {
                let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
                let bytes = _mm512_maskz_permutexvar_epi8(0x7777_7777_7777_7777, places, bytes);
                _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_or_si512(bytes, high));
            }
            done += 16;
        }
        done
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn avx2(src: &[u8], order: [u8; 3], high: u8, dst: &mut [u32]) -> usize {
        // Each half of a register is shuffled alone: four pixels from its first byte on.
        let places: [u8; 32] = places(order, |byte| byte % 12);
        let words = u32::from(high) << 24;
        // SAFETY: 32 bytes of ours.
        let places = unsafe { _mm256_loadu_si256(places.as_ptr().cast()) };
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
        /// Answers how many words it made, of `src` and `dst` as they are.
        type Widen = unsafe fn(&[u8], [u8; 3], u8, &mut [u32]) -> usize;

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
                    let done = unsafe { widen(&src[..len], *order, 0x80, &mut dst) };
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
