// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a poll is measured beside.

use vfio_display::convert::Alpha;
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::pixman::Pixman;

/// Pixels of a piece that QEMU compares and copies at a time.
const PIECE: usize = 16;

/// Side of a tile that is hashed with XXH3.
const TILE: usize = 32;

/// QEMU's display of a region, from its description: all is dirty at each refresh, a format of its
/// own is converted whole by pixman, and then each line is compared with a second surface piece by
/// piece.
pub(crate) struct Qemu<'a> {
    pixman: &'a Pixman,
    work: Vec<u32>,
    surface: Vec<u32>,
}

impl<'a> Qemu<'a> {
    pub(crate) fn new(pixman: &'a Pixman, size: Size) -> Self {
        let pixels = vec![0; size.area() as usize];
        Self { pixman, work: pixels.clone(), surface: pixels }
    }

    pub(crate) fn poll(&mut self, bytes: &[u8], format: PixelFormat, size: Size) {
        if format == PixelFormat::Xrgb8888 {
            let (pieces, _) = bytes.as_chunks::<{ 4 * PIECE }>();
            for (piece, shown) in pieces.iter().zip(self.surface.as_chunks_mut::<PIECE>().0) {
                let piece: [u32; PIECE] = std::array::from_fn(|at| {
                    let at = at * 4;
                    u32::from_le_bytes([piece[at], piece[at + 1], piece[at + 2], piece[at + 3]])
                });
                if piece != *shown {
                    *shown = piece;
                }
            }
            return;
        }
        let stride = size.width as usize * format.bytes_per_pixel() as usize;
        self.pixman.decode((format, Alpha::Ignore), (bytes, stride), size, &mut self.work);
        let pieces = self.work.as_chunks::<PIECE>().0.iter();
        for (piece, shown) in pieces.zip(self.surface.as_chunks_mut::<PIECE>().0) {
            if piece != shown {
                *shown = *piece;
            }
        }
    }
}

/// Tiles hashed with XXH3, each row of one with the hash of that above as its seed; what changed is
/// copied.
pub(crate) struct Tiles {
    hashes: Vec<u64>,
    surface: Vec<u8>,
}

impl Tiles {
    pub(crate) fn new(len: usize) -> Self {
        Self { hashes: vec![0; len / TILE], surface: vec![0; len] }
    }

    pub(crate) fn poll(&mut self, bytes: &[u8], row_len: usize, pixel: usize) {
        let (width, bands) = (TILE * pixel, bytes.chunks(row_len * TILE));
        let tiles = row_len.div_ceil(width);
        for (band, (bytes, shown)) in bands.zip(self.surface.chunks_mut(row_len * TILE)).enumerate()
        {
            for tile in 0..tiles {
                let part = tile * width..row_len.min((tile + 1) * width);
                let rows = bytes.chunks_exact(row_len);
                let hash = rows.fold(0, |hash, row| xxh3_64_with_seed(&row[part.clone()], hash));
                let seen = &mut self.hashes[band * tiles + tile];
                if *seen != hash {
                    *seen = hash;
                    let rows = bytes.chunks_exact(row_len).zip(shown.chunks_exact_mut(row_len));
                    rows.for_each(|(row, shown)| {
                        shown[part.clone()].copy_from_slice(&row[part.clone()]);
                    });
                }
            }
        }
    }
}

/// Reads all of it and no more.
pub(crate) fn read(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}
