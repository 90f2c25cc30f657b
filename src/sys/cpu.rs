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
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the CPU was just found to have AVX2.
        return unsafe { avx2(work) };
    }
    work.run();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2(work: impl Loop) {
    work.run();
}
