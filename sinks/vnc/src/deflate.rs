// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One zlib stream of a viewer. It lasts as long as the connection (RFC 6143, section 7.7.6).

use flate2::{Compress, Compression, FlushCompress};

/// What a zlib stream begins with: 32 KB of window, the fastest level (RFC 1950, section 2.2). The
/// checksum at its end is never sent, as it never ends; so deflate without zlib does, and nobody
/// adds up what nobody compares.
const HEADER: [u8; 2] = [0x78, 0x01];

/// How hard to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Effort {
    /// Of flate2.
    level: u32,
    /// Above this part of its input, in 64ths, an output is not worth the time it takes.
    poor: usize,
}

/// Where bytes cost little: on this machine, and without a wish of the viewer's.
const FAST: Effort = Effort { level: 1, poor: 56 };
const MIDDLE: Effort = Effort { level: 2, poor: 60 };
const HARD: Effort = Effort { level: 6, poor: 64 };

/// Too short to tell how well its kind can be compressed.
const SHORT: usize = 4096;

/// How many blocks are stored before compressing is tried again.
const PATIENCE: u32 = 15;

/// The longest stored block (RFC 1951, section 3.2.4).
const MAX_STORED: usize = 0xffff;

/// A stream that is made when it is first used: it takes some 300 KB.
#[derive(Debug)]
pub(crate) struct Deflate {
    stream: Option<Compress>,
    effort: Effort,
    /// Blocks yet to be stored because the last that was compressed hardly shrank.
    store: u32,
    /// The viewer has had bytes that `stream` knows nothing of, so it must not refer back.
    apart: bool,
}

impl Default for Deflate {
    fn default() -> Self {
        Self { stream: None, effort: FAST, store: 0, apart: false }
    }
}

impl Deflate {
    /// `level` 0 to 9 as a viewer asks for it.
    pub(crate) fn set_hint(&mut self, level: u8) {
        let effort = match level {
            0 | 1 => FAST,
            2..=6 => MIDDLE,
            _ => HARD,
        };
        if effort != self.effort {
            self.effort = effort;
            self.store = 0;
            if self.stream.is_some() {
                // It knows nothing of what the other one sent, so it can't refer to that.
                self.stream = Some(Compress::new(Compression::new(effort.level), false));
            }
        }
    }

    /// Appends all of `plain`, flushed so that it can be decoded without more.
    pub(crate) fn append(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        if self.stream.is_none() {
            out.extend_from_slice(&HEADER);
            let level = Compression::new(self.effort.level);
            self.stream = Some(Compress::new(level, false));
        }
        if self.store > 0 && plain.len() >= SHORT {
            self.store -= 1;
            return self.put_stored(plain, out);
        }
        let start = out.len();
        self.put_compressed(plain, out);
        let length = out.len() - start;
        if plain.len() >= SHORT && length * 64 > plain.len() * self.effort.poor {
            self.store = PATIENCE;
            if length > plain.len() {
                out.truncate(start);
                self.put_stored(plain, out);
            }
        }
    }

    /// Every block before this one ended at a byte: so does what is flushed.
    fn put_stored(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        self.apart = true;
        for block in plain.chunks(MAX_STORED) {
            let length = block.len() as u16;
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(block);
        }
    }

    fn put_compressed(&mut self, plain: &[u8], out: &mut Vec<u8>) {
        let Some(stream) = &mut self.stream else { return };
        if std::mem::take(&mut self.apart) {
            stream.reset();
        }
        let mut fed = 0;
        loop {
            out.reserve(plain.len() - fed + plain.len() / 512 + 64);
            let start = stream.total_in();
            // The one error there is says that the output is full, which this loop looks at anyway.
            let _ = stream.compress_vec(&plain[fed..], out, FlushCompress::Sync);
            fed += (stream.total_in() - start) as usize;
            // Room left over means that the flush is complete.
            if fed == plain.len() && out.len() < out.capacity() {
                return;
            }
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
            deflate.set_hint((round / 3 % 10) as u8);
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
        let noise: Vec<u8> = (0..100_000).map(|_| random.next() as u8).collect();
        let (mut deflate, mut inflate) = (Deflate::default(), Decompress::new(true));
        let mut send = |deflate: &mut Deflate, plain: &[u8]| {
            let mut packed = Vec::new();
            deflate.append(plain, &mut packed);
            let mut back = Vec::with_capacity(plain.len() + 1);
            inflate.decompress_vec(&packed, &mut back, FlushDecompress::Sync).unwrap();
            assert_eq!(back, plain);
            packed.len()
        };
        assert!(send(&mut deflate, &[7; 50_000]) < 1000);
        for _ in 0..40 {
            assert!(send(&mut deflate, &noise) < 100_000 + 20);
            // What is short is compressed, and must not refer to what was stored or to before it.
            assert!(send(&mut deflate, &[7; 2000]) < 100);
        }
        deflate.store = 0;
        assert!(send(&mut deflate, &[7; 50_000]) < 1000);
    }
}
