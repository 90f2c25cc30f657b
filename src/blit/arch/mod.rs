// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The kernels, by architecture. `all` is the one that every other is compared with.

#[cfg(target_arch = "aarch64")]
pub(super) mod aarch64;
pub(super) mod all;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;

/// Asks for the line of memory that this is in; any address will do.
#[inline(always)]
pub(super) fn prefetch<T>(at: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86_64 has it, and of an address that is not mapped it does nothing.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(at.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as there.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{}]", in(reg) at, options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = at;
}
