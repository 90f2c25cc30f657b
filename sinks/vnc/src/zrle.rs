// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! ZRLE: tiles of 64x64, each in the shortest of five forms, through zlib (RFC 6143, section 7.7.6).

use vfio_display::geometry::Rect;
use vfio_display::picture::Picture;

use crate::deflate::Deflate;
use crate::pixels::Pixels;
use crate::tile::{Colours, Palette, Scratch, run};

const TILE: u32 = 64;

/// More colours than this have no index of 7 bits.
const MAX_PALETTE: usize = 127;

/// Appends the data of a rectangle that lies in `rect`.
pub(crate) fn encode(
    picture: &Picture,
    rect: Rect,
    pixels: &Pixels,
    zlib: &mut Deflate,
    scratch: &mut Scratch,
    out: &mut Vec<u8>,
) {
    scratch.plain.clear();
    for y in (0..rect.height).step_by(TILE as usize) {
        for x in (0..rect.width).step_by(TILE as usize) {
            let width = TILE.min(rect.width - x);
            let height = TILE.min(rect.height - y);
            let tile = Rect { x: rect.x + x, y: rect.y + y, width, height };
            scratch.load(picture, tile, pixels);
            encode_tile(scratch, width as usize, pixels);
        }
    }
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    zlib.append(&scratch.plain, out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// How a tile can be sent, with its number on the wire where that is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Raw = 0,
    PlainRle = 128,
    Packed,
    PaletteRle,
}

fn encode_tile(scratch: &mut Scratch, width: usize, pixels: &Pixels) {
    if let Some(pixel) = scratch.solid() {
        scratch.plain.push(1);
        pixels.put(&mut scratch.plain, pixel);
        return;
    }
    let colours = scratch.analyse(MAX_PALETTE);
    let (tile, palette, out) = scratch.parts();
    match shortest(colours, tile.len(), width, pixels.bytes) {
        Form::Raw => {
            out.push(Form::Raw as u8);
            pixels.put_all(out, tile);
        }
        Form::PlainRle => {
            out.push(Form::PlainRle as u8);
            each_run(tile, |pixel, length| {
                pixels.put(out, pixel);
                put_length(out, length);
            });
        }
        Form::Packed => {
            out.push(palette.colours().len() as u8);
            put_palette(out, palette, pixels);
            put_packed(out, tile, width, palette);
        }
        Form::PaletteRle => {
            out.push(128 + palette.colours().len() as u8);
            put_palette(out, palette, pixels);
            each_run(tile, |pixel, length| {
                let index = palette.index(pixel);
                if length == 1 {
                    out.push(index);
                } else {
                    out.push(index | 128);
                    put_length(out, length);
                }
            });
        }
    }
}

fn shortest(colours: Colours, area: usize, width: usize, bytes: usize) -> Form {
    let Colours { count, singles, runs } = colours;
    let mut best = (area * bytes, Form::Raw);
    let mut offer = |length, form| {
        if length < best.0 {
            best = (length, form);
        }
    };
    offer((singles + runs) * (bytes + 1), Form::PlainRle);
    if let Some(count) = count.filter(|count| *count > 1) {
        offer(count * bytes + singles + 2 * runs, Form::PaletteRle);
        if count <= 16 {
            let row = (width * index_bits(count)).div_ceil(8);
            offer(count * bytes + row * (area / width), Form::Packed);
        }
    }
    best.1
}

/// Bits of an index into a packed palette of so many colours.
const fn index_bits(colours: usize) -> usize {
    match colours {
        ..=2 => 1,
        3..=4 => 2,
        _ => 4,
    }
}

fn put_palette(out: &mut Vec<u8>, palette: &Palette, pixels: &Pixels) {
    for colour in palette.colours() {
        pixels.put(out, *colour);
    }
}

/// Indices from the left in the highest bits; each row begins with a byte of its own.
fn put_packed(out: &mut Vec<u8>, tile: &[u32], width: usize, palette: &Palette) {
    let bits = index_bits(palette.colours().len());
    // Neighbours are mostly alike, so the last look-up mostly still holds.
    let (mut last, mut index) = (tile[0], palette.index(tile[0]));
    for row in tile.chunks_exact(width) {
        for group in row.chunks(8 / bits) {
            let mut byte = 0;
            for pixel in group {
                if *pixel != last {
                    (last, index) = (*pixel, palette.index(*pixel));
                }
                byte = byte << bits | index;
            }
            out.push(byte << (bits * (8 / bits - group.len())));
        }
    }
}

fn each_run(tile: &[u32], mut put: impl FnMut(u32, usize)) {
    let mut rest = tile;
    while let Some(pixel) = rest.first() {
        let length = run(rest);
        put(*pixel, length);
        rest = &rest[length..];
    }
}

/// One less than the length, as a sum of bytes of which all but the last are 255.
fn put_length(out: &mut Vec<u8>, length: usize) {
    let mut rest = length - 1;
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(rest as u8);
}
