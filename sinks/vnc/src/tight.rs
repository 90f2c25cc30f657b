// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Tight without JPEG: fill, palette and copy, through three zlib streams (rfbproto, Tight
//! Encoding). All of it is lossless.

use vfio_display::geometry::Rect;
use vfio_display::picture::Picture;

use crate::deflate::Deflate;
use crate::pixels::Pixels;
use crate::tile::{Colours, MAX_COLOURS, Palette, Scratch};

/// The largest rectangle that is encoded as one. Small enough that much of a screen is one colour
/// or few, and the widest that is allowed is 2048.
pub(crate) const TILE: (u32, u32) = (256, 64);

const FILL: u8 = 0b1000 << 4;
/// A filter id follows.
const FILTER: u8 = 0b0100 << 4;
const PALETTE_FILTER: u8 = 1;

/// Data shorter than this is not compressed.
const MIN_COMPRESSED: usize = 12;

/// The streams, in the order in which other servers use them: pixels, two colours, more colours.
#[derive(Debug, Default)]
pub(crate) struct Streams([Deflate; 3]);

impl Streams {
    pub(crate) fn set_hint(&mut self, level: u8) {
        self.0.iter_mut().for_each(|stream| stream.set_hint(level));
    }

    fn append(&mut self, stream: usize, plain: &[u8], out: &mut Vec<u8>) {
        if plain.len() < MIN_COMPRESSED {
            out.extend_from_slice(plain);
            return;
        }
        let start = out.len();
        self.0[stream].append(plain, out);
        let length = compact(out.len() - start);
        // The length comes first, and takes one to three bytes.
        out.splice(start..start, length);
    }
}

/// Appends the data of a rectangle that lies in `rect`, at most [`TILE`] large.
pub(crate) fn encode(
    picture: &Picture,
    rect: Rect,
    pixels: &Pixels,
    streams: &mut Streams,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    scratch.load(picture, rect, pixels);
    if let Some(pixel) = scratch.solid() {
        out.push(FILL);
        pixels.put(out, pixel);
        return;
    }
    let area = scratch.tile().len();
    // A palette has to be much shorter than the pixels that it stands for.
    let Colours { count, .. } = scratch.analyse(MAX_COLOURS.min(area / 4));
    scratch.plain.clear();
    let (tile, palette, plain) = scratch.parts();
    let Some(count) = count.filter(|count| *count > 1) else {
        out.push(0);
        pixels.put_all(plain, tile);
        streams.append(0, plain, out);
        return;
    };
    let stream = if count == 2 { 1 } else { 2 };
    out.extend_from_slice(&[FILTER | (stream as u8) << 4, PALETTE_FILTER, (count - 1) as u8]);
    for colour in palette.colours() {
        pixels.put(out, *colour);
    }
    put_indices(plain, tile, rect.width as usize, palette);
    streams.append(stream, plain, out);
}

/// One bit for a pixel where there are two colours, rows padded to bytes; a byte otherwise.
fn put_indices(out: &mut Vec<u8>, tile: &[u32], width: usize, palette: &Palette) {
    let (mut last, mut index) = (tile[0], palette.index(tile[0]));
    let mut look_up = |pixel: u32| {
        if pixel != last {
            (last, index) = (pixel, palette.index(pixel));
        }
        index
    };
    if palette.colours().len() > 2 {
        out.extend(tile.iter().map(|pixel| look_up(*pixel)));
        return;
    }
    for row in tile.chunks_exact(width) {
        for group in row.chunks(8) {
            let byte = group.iter().fold(0, |byte, pixel| byte << 1 | look_up(*pixel));
            out.push(byte << (8 - group.len()));
        }
    }
}

/// Seven bits, seven bits, eight bits, the least significant first, as many as are needed.
fn compact(length: usize) -> impl Iterator<Item = u8> {
    let bytes = [length as u8 & 0x7f, (length >> 7) as u8 & 0x7f, (length >> 14) as u8];
    let count = match length {
        ..0x80 => 1,
        0x80..0x4000 => 2,
        _ => 3,
    };
    (0..count).map(move |i| bytes[i] | if i + 1 < count { 0x80 } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let bytes = |length| compact(length).collect::<Vec<_>>();
        assert_eq!(bytes(0), [0]);
        assert_eq!(bytes(127), [127]);
        assert_eq!(bytes(128), [0x80, 1]);
        // The example of the specification.
        assert_eq!(bytes(10000), [0x90, 0x4e]);
        assert_eq!(bytes(16384), [0x80, 0x80, 1]);
        assert_eq!(bytes(4_194_303), [0xff, 0xff, 0xff]);
    }
}
