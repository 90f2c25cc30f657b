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
/// own is converted whole by pixman, and then each line is compared with a second surface, piece by
/// piece by memcmp where its bit says that it is dirty, and copied where it differs.
pub(crate) struct Qemu<'a> {
    pixman: &'a Pixman,
    work: Vec<u32>,
    surface: Vec<u8>,
    /// For each line as many bits as it has pieces.
    dirty: Vec<u64>,
}

impl<'a> Qemu<'a> {
    pub(crate) fn new(pixman: &'a Pixman, size: Size) -> Self {
        let area = size.area() as usize;
        let words = (size.width as usize).div_ceil(PIECE * 64) * size.height as usize;
        Self { pixman, work: vec![0; area], surface: vec![0; area * 4], dirty: vec![0; words] }
    }

    /// What a server reads of.
    pub(crate) fn surface(&self) -> &[u8] {
        &self.surface
    }

    pub(crate) fn poll(&mut self, bytes: &[u8], format: PixelFormat, size: Size) {
        self.dirty.fill(!0);
        let width = size.width as usize;
        if format == PixelFormat::Xrgb8888 {
            compare(bytes, &mut self.surface, &mut self.dirty, width);
        } else {
            let stride = width * format.bytes_per_pixel() as usize;
            self.pixman.decode((format, Alpha::Ignore), (bytes, stride), size, &mut self.work);
            // SAFETY: any bytes of words are bytes.
            let (_, work, _) = unsafe { self.work.align_to::<u8>() };
            compare(work, &mut self.surface, &mut self.dirty, width);
        }
    }
}

fn compare(bytes: &[u8], surface: &mut [u8], dirty: &mut [u64], width: usize) {
    let lines = bytes.chunks_exact(width * 4).zip(surface.chunks_exact_mut(width * 4));
    for ((line, shown), bits) in lines.zip(dirty.chunks_exact_mut(width.div_ceil(PIECE * 64))) {
        let pieces = line.chunks(PIECE * 4).zip(shown.chunks_mut(PIECE * 4));
        for (x, (piece, shown)) in pieces.enumerate() {
            let bit = 1 << (x % 64);
            if bits[x / 64] & bit == 0 {
                continue;
            }
            bits[x / 64] &= !bit;
            if piece != shown {
                shown.copy_from_slice(piece);
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
