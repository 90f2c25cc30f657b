// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a guest doesn't know, so that it can't aim for a collision.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use super::kernel::MAX_SEGMENT;

/// The key of a screen's hashes.
#[repr(C, align(64))]
pub(super) struct Key {
    /// For each block of a segment one of its own, so that blocks that change places show.
    pub(super) places: [u8; MAX_SEGMENT],
    /// For all blocks; 16 bytes, as often as the longest register has them.
    pub(super) shared: [[u8; 64]; 2],
}

impl Key {
    /// At random. The standard library seeds its hash tables against the same attack; SipHash of
    /// a counter, with such a seed, can't be told from random numbers.
    pub(super) fn random() -> Self {
        let seed = RandomState::new();
        let mut counter = 0_u64;
        let mut word = || {
            let mut hasher = seed.build_hasher();
            hasher.write_u64(counter);
            counter += 1;
            hasher.finish().to_ne_bytes()
        };
        let mut key = Self { places: [0; MAX_SEGMENT], shared: [[0; 64]; 2] };
        key.places.as_chunks_mut().0.fill_with(&mut word);
        for shared in &mut key.shared {
            let block = [word(), word()];
            shared.as_chunks_mut::<16>().0.fill(block.concat().try_into().unwrap_or_default());
        }
        key
    }
}

impl fmt::Debug for Key {
    /// A log is no place for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").finish_non_exhaustive()
    }
}
