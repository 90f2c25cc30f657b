// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The kernels, by architecture. `all` is the one that every other is compared with.

#[cfg(target_arch = "aarch64")]
pub(super) mod aarch64;
pub(super) mod all;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86_64;
