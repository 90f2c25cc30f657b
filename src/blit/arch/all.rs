// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Without special instructions: multiplications, in the way of UMAC's NH.

use crate::blit::kernel::{Register, Row, Take, scan};
use crate::blit::key::Key;

#[derive(Clone, Copy)]
struct Words(u64, u64);

// SAFETY: no instructions that a CPU may lack; loads are volatile, byte by byte or by words.
unsafe impl Register for Words {
    const LEN: usize = 16;

    #[inline(always)]
    unsafe fn zero() -> Self {
        Self(0, 0)
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        let word = |at: usize| {
            let from = from.wrapping_add(at);
            if from.cast::<u64>().is_aligned() {
                // SAFETY: aligned, and the caller vouches for the bytes.
                return unsafe { from.cast::<u64>().read_volatile() };
            }
            let mut bytes = [0; 8];
            for (at, byte) in bytes.iter_mut().enumerate() {
                // SAFETY: the caller vouches for the bytes.
                *byte = unsafe { from.add(at).read_volatile() };
            }
            u64::from_ne_bytes(bytes)
        };
        Self(word(0), word(8))
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        // SAFETY: the caller vouches for 16 bytes, and they may lie anywhere.
        unsafe { to.cast::<[u64; 2]>().write_unaligned([self.0, self.1]) }
    }

    #[inline(always)]
    unsafe fn of_words(word: u32) -> Self {
        let both = u64::from(word) << 32 | u64::from(word);
        Self(both, both)
    }

    #[inline(always)]
    unsafe fn is(self, other: Self) -> bool {
        (self.0, self.1) == (other.0, other.1)
    }

    #[inline(always)]
    unsafe fn or(self, other: Self) -> Self {
        Self(self.0 | other.0, self.1 | other.1)
    }

    #[inline(always)]
    unsafe fn of_ours(from: *const u8) -> Self {
        // SAFETY: the caller vouches for 16 bytes, and they may lie anywhere.
        let [a, b] = unsafe { from.cast::<[u64; 2]>().read_unaligned() };
        Self(a, b)
    }

    #[inline(always)]
    unsafe fn mix(self, place: Self, _: [Self; 2]) -> Self {
        product(self.0.wrapping_add(place.0), self.1.wrapping_add(place.1))
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let (low, carry) = self.0.overflowing_add(other.0);
        Self(low, self.1.wrapping_add(other.1).wrapping_add(carry.into()))
    }

    #[inline(always)]
    unsafe fn finish(self, [shared, _]: [Self; 2]) -> u64 {
        // Of 128 bits 64, by a multiplication whose factors nobody else knows.
        let Self(low, high) = product(self.0 ^ shared.0, self.1 ^ shared.1);
        low ^ high
    }
}

#[inline(always)]
fn product(a: u64, b: u64) -> Words {
    let product = u128::from(a) * u128::from(b);
    Words(product as u64, (product >> 64) as u64)
}

/// # Safety
///
/// As of [`scan`].
pub(in crate::blit) unsafe fn scalar(row: Row<'_>, long: bool, key: &Key, take: &mut impl Take) {
    // SAFETY: as the caller says.
    unsafe {
        if long {
            scan::<Words, 24>(row, key, take);
        } else {
            scan::<Words, 16>(row, key, take);
        }
    }
}
