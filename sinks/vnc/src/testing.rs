// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What this crate's own tests share.

/// Numbers that look random and are the same in every run (splitmix64).
#[derive(Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `limit`, which is not reached; 0 where `limit` is.
    pub(crate) fn below(&mut self, limit: u32) -> u32 {
        if limit == 0 { 0 } else { (self.next() % u64::from(limit)) as u32 }
    }
}
