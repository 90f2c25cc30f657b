// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One zlib stream of a viewer. It lasts as long as the connection (RFC 6143, section 7.7.6).

use flate2::{Compress, Compression, FlushCompress};

/// Above this part of its input, in 256ths, an output was not worth its time.
const POOR: usize = 240;

/// How many blocks are stored before compressing is tried again.
const PATIENCE: u32 = 15;

/// A stream that is made when it is first used: it takes about 300 KB.
#[derive(Debug, Default)]
pub(crate) struct Deflate {
    stream: Option<Compress>,
    level: u32,
    /// Blocks yet to be stored because the last that was compressed did not shrink.
    store: u32,
}

impl Deflate {
    /// `level` 0 to 9 as a viewer asks for it. The lower half is the fastest there is: on a local
    /// socket the time goes into compressing, not into sending.
    pub(crate) fn set_hint(&mut self, level: u32) {
        self.level = if level > 6 { 6 } else { 1 };
        self.store = 0;
    }

    /// Appends all of `plain`, compressed and flushed so that it can be decoded without more.
    pub(crate) fn append(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let level = self.level.max(1);
        let stream =
            self.stream.get_or_insert_with(|| Compress::new(Compression::new(level), true));
        let (before, mut fed) = (out.len(), 0);
        let want = if self.store > 0 { 0 } else { level };
        // Never fails for a level in 0..=9; if it did, the old level would be as right.
        let _ = stream.set_level(Compression::new(want));
        loop {
            out.reserve(plain.len() - fed + plain.len() / 512 + 64);
            let start = stream.total_in();
            // The one error there is says that the output is full, which ends this loop neither.
            let _ = stream.compress_vec(&plain[fed..], out, FlushCompress::Sync);
            fed += (stream.total_in() - start) as usize;
            // Room left over means that the flush is complete.
            if fed == plain.len() && out.len() < out.capacity() {
                break;
            }
        }
        if self.store > 0 {
            self.store -= 1;
        } else if plain.len() > 4096 && (out.len() - before) * 256 > plain.len() * POOR {
            self.store = PATIENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;
    use flate2::{Decompress, FlushDecompress};

    #[test]
    fn each_block_can_be_decoded_when_it_arrives() {
        let mut random = Random::new(3);
        let (mut deflate, mut inflate) = (Deflate::default(), Decompress::new(true));
        for round in 0..200 {
            deflate.set_hint(round % 10);
            let length = random.below(40_000) as usize;
            let noise = round % 3 == 0;
            let plain: Vec<u8> = (0..length)
                .map(|i| if noise { random.next() as u8 } else { (i / 9) as u8 })
                .collect();
            let mut packed = Vec::new();
            deflate.append(&plain, &mut packed);
            let mut back = Vec::with_capacity(plain.len() + 1);
            inflate.decompress_vec(&packed, &mut back, FlushDecompress::Sync).unwrap();
            assert_eq!(back, plain, "round {round}");
        }
    }

    #[test]
    fn noise_is_stored_after_a_try() {
        let mut random = Random::new(4);
        let noise: Vec<u8> = (0..50_000).map(|_| random.next() as u8).collect();
        let mut deflate = Deflate::default();
        let mut out = Vec::new();
        deflate.append(&noise, &mut out);
        assert_eq!(deflate.store, PATIENCE);
        deflate.append(&noise, &mut out);
        assert_eq!(deflate.store, PATIENCE - 1);
        deflate.store = 0;
        deflate.append(&[7; 50_000], &mut out);
        assert_eq!(deflate.store, 0);
    }
}
