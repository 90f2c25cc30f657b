// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The hash of `x86_64` with the AES instructions of NEON.

use std::arch::aarch64::*;
use std::arch::asm;

use crate::blit::kernel::{Register, Row, Take, scan};
use crate::blit::key::Key;

#[derive(Clone, Copy)]
struct Quad(uint8x16_t);

#[inline]
#[target_feature(enable = "neon,aes")]
unsafe fn load(from: *const u8) -> uint8x16_t {
    let vector;
    // SAFETY: the caller vouches for the bytes; nothing but them is read.
    unsafe {
        asm!(
            "ldr {:q}, [{}]", out(vreg) vector, in(reg) from,
            options(nostack, preserves_flags, readonly)
        );
    }
    vector
}

/// Three rounds. AESE adds the key before the round, AESENC of `x86_64` after it.
#[inline]
#[target_feature(enable = "neon,aes")]
fn rounds(block: uint8x16_t, keys: [uint8x16_t; 3]) -> uint8x16_t {
    let [place, one, two] = keys;
    let block = vaesmcq_u8(vaeseq_u8(block, place));
    let block = vaesmcq_u8(vaeseq_u8(block, one));
    vaesmcq_u8(vaeseq_u8(block, two))
}

// SAFETY: what each function needs is in `Register`'s contract, and handed on.
unsafe impl Register for Quad {
    const LEN: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the CPU has it.
        unsafe { Self(vdupq_n_u8(0)) }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: the caller vouches for the bytes.
        unsafe { Self(load(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller vouches for the bytes.
        unsafe { vst1q_u8(to, self.0) }
    }

    #[inline(always)]
    unsafe fn of_words(word: u32) -> Self {
        // SAFETY: the CPU has it.
        unsafe { Self(vreinterpretq_u8_u32(vdupq_n_u32(word))) }
    }

    #[inline(always)]
    unsafe fn is(self, other: Self) -> bool {
        // SAFETY: the CPU has it.
        unsafe { vmaxvq_u8(veorq_u8(self.0, other.0)) == 0 }
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        // SAFETY: the CPU has it.
        unsafe { Self(vorrq_u8(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn of_ours(from: *const u8) -> Self {
        // SAFETY: the caller vouches for the bytes.
        unsafe { Self(vld1q_u8(from)) }
    }

    #[inline(always)]
    unsafe fn mix(self, place: Self, [one, two]: [Self; 2]) -> Self {
        // SAFETY: the CPU has them.
        unsafe { Self(rounds(self.0, [place.0, one.0, two.0])) }
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        // SAFETY: the CPU has it.
        unsafe { Self(veorq_u8(self.0, other.0)) }
    }

    #[inline(always)]
    unsafe fn finish(self, _: [Self; 2]) -> u64 {
        // SAFETY: the CPU has it.
        unsafe { vgetq_lane_u64::<0>(vreinterpretq_u64_u8(self.0)) }
    }
}

/// # Safety
///
/// As of [`scan`]; the CPU has the features.
#[target_feature(enable = "neon,aes")]
pub(in crate::blit) unsafe fn neon(row: Row<'_>, long: bool, key: &Key, take: &mut impl Take) {
    // SAFETY: as the caller says.
    unsafe {
        if long {
            scan::<Quad, 24>(row, key, take);
        } else {
            scan::<Quad, 16>(row, key, take);
        }
    }
}
