// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Three rounds of AES for each block of 16 bytes, one, two or four blocks at a time.
//!
//! Loads are assembly because the compiler may repeat or split a load that it knows. What a
//! register holds then is what was in memory at one moment, so hash and pixels are of the same.

use std::arch::asm;
use std::arch::x86_64::*;

use crate::blit::kernel::{Register, Row, Take, scan};
use crate::blit::key::Key;

/// Ends all stores around the caches.
pub(in crate::blit) fn fence() {
    // SAFETY: every x86_64 has it.
    unsafe { _mm_sfence() }
}

macro_rules! register {
    (
        $features:literal, $entry:ident: $name:ident($vector:ty), $class:ident, $load:literal,
        $len:literal, $zero:ident, $unaligned:ident, $stored:ident, $xor:ident, $round:ident,
        $streamed:ident, $same:ident, $or:ident, |$differ:ident| $none:expr, |$sum:ident| $fold:expr
    ) => {
        #[derive(Clone, Copy)]
        struct $name($vector);

        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $class(from: *const u8) -> $vector {
            let vector;
            // SAFETY: the caller vouches for the bytes; nothing but them is read.
            unsafe {
                asm!(
                    concat!($load, " {}, [{}]"), out($class) vector, in(reg) from,
                    options(nostack, preserves_flags, readonly)
                );
            }
            vector
        }

        // SAFETY: what each function needs is in `Register`'s contract, and handed on.
        unsafe impl Register for $name {
            const LEN: usize = $len;

            #[inline(always)]
            unsafe fn zero() -> Self {
                // SAFETY: the CPU has it.
                unsafe { Self($zero()) }
            }

            #[inline(always)]
            unsafe fn load(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the bytes.
                unsafe { Self($class(from)) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut u8) {
                // SAFETY: the caller vouches for the bytes.
                unsafe { $stored(to.cast(), self.0) }
            }

            #[inline(always)]
            unsafe fn stream(self, to: *mut u8) {
                // SAFETY: the caller vouches for the bytes, and for where they lie.
                unsafe { $streamed(to.cast(), self.0) }
            }

            #[inline(always)]
            unsafe fn of_words(word: u32) -> Self {
                // SAFETY: the CPU has it.
                unsafe { Self($same(word.cast_signed())) }
            }

            #[inline(always)]
            unsafe fn is(self, other: Self) -> bool {
                // SAFETY: the CPU has them.
                unsafe {
                    let $differ = $xor(self.0, other.0);
                    $none
                }
            }

            #[inline(always)]
            unsafe fn or(self, other: Self) -> Self {
                // SAFETY: the CPU has it.
                unsafe { Self($or(self.0, other.0)) }
            }

            #[inline(always)]
            unsafe fn of_ours(from: *const u8) -> Self {
                // SAFETY: the caller vouches for the bytes.
                unsafe { Self($unaligned(from.cast())) }
            }

            #[inline(always)]
            unsafe fn mix(self, place: Self, [one, two]: [Self; 2]) -> Self {
                // SAFETY: the CPU has them.
                unsafe {
                    let mixed = $round($xor(self.0, place.0), one.0);
                    Self($round($round(mixed, two.0), $zero()))
                }
            }

            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                // SAFETY: the CPU has it.
                unsafe { Self($xor(self.0, other.0)) }
            }

            #[inline(always)]
            unsafe fn finish(self, _: [Self; 2]) -> u64 {
                let $sum = self.0;
                // SAFETY: the CPU has them.
                unsafe { _mm_cvtsi128_si64($fold) as u64 }
            }
        }

        /// # Safety
        ///
        /// As of [`scan`]; the CPU has the features.
        #[target_feature(enable = $features)]
        pub(in crate::blit) unsafe fn $entry(
            row: Row<'_>,
            long: bool,
            key: &Key,
            take: &mut impl Take,
        ) {
            // SAFETY: as the caller says.
            unsafe {
                if long {
                    scan::<$name, { 384 / $len }>(row, key, take);
                } else {
                    scan::<$name, { 256 / $len }>(row, key, take);
                }
            }
        }
    };
}

register! {
    "avx512f,vaes", vaes512: Zmm(__m512i), zmm_reg, "vmovdqu64",
    64, _mm512_setzero_si512, _mm512_loadu_si512, _mm512_storeu_si512, _mm512_xor_si512,
    _mm512_aesenc_epi128, _mm512_stream_si512, _mm512_set1_epi32, _mm512_or_si512,
    |differ| _mm512_test_epi32_mask(differ, differ) == 0,
    |sum| {
        let half = _mm256_xor_si256(
            _mm512_castsi512_si256(sum),
            _mm512_extracti64x4_epi64::<1>(sum),
        );
        _mm_xor_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half))
    }
}

register! {
    "avx2,vaes", vaes256: Ymm(__m256i), ymm_reg, "vmovdqu",
    32, _mm256_setzero_si256, _mm256_loadu_si256, _mm256_storeu_si256, _mm256_xor_si256,
    _mm256_aesenc_epi128, _mm256_stream_si256, _mm256_set1_epi32, _mm256_or_si256,
    |differ| _mm256_testz_si256(differ, differ) == 1,
    |sum| _mm_xor_si128(_mm256_castsi256_si128(sum), _mm256_extracti128_si256::<1>(sum))
}

register! {
    "aes", aes_ni: Xmm(__m128i), xmm_reg, "movdqu",
    16, _mm_setzero_si128, _mm_loadu_si128, _mm_storeu_si128, _mm_xor_si128, _mm_aesenc_si128,
    _mm_stream_si128, _mm_set1_epi32, _mm_or_si128,
    |differ| _mm_movemask_epi8(_mm_cmpeq_epi8(differ, _mm_setzero_si128())) == 0xffff,
    |sum| sum
}
