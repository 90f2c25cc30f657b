// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One FramebufferUpdate, encoded piece by piece while the viewer takes it (RFC 6143, section
//! 7.6.1).

use vfio_display::geometry::Rect;
use vfio_display::picture::Picture;

use crate::deflate::Deflate;
use crate::messages::Encoding;
use crate::pixel_format::PixelFormat;
use crate::pixels::Pixels;
use crate::region::Region;
use crate::tile::Scratch;
use crate::wire::{encoding, put_rect};
use crate::{raw, tight, zrle};

/// The largest piece, in pixels: rows of ZRLE tiles. A piece is what is encoded between two looks
/// at the socket, so this bounds the memory of a viewer.
const PIECE: (u32, u32) = (2048, 64);

/// The pieces of an update that are still to be sent. How many there are is said first, so they
/// follow from the rectangles alone; their pixels are those of the moment when they are encoded.
#[derive(Debug)]
pub(crate) struct Update {
    rects: Vec<Rect>,
    /// Of the rectangle that is on.
    at: (u32, u32),
    step: (u32, u32),
    encoding: Encoding,
}

impl Update {
    pub(crate) fn new(region: &Region, encoding: Encoding) -> Self {
        let step = if encoding == Encoding::Tight { tight::TILE } else { PIECE };
        // Taken from the end, so the topmost is last.
        let mut rects = region.rects().to_vec();
        rects.sort_unstable_by_key(|r| std::cmp::Reverse((r.y, r.x)));
        Self { rects, at: (0, 0), step, encoding }
    }

    /// Pieces in all, asked before the first is taken.
    pub(crate) fn count(&self) -> usize {
        let of = |r: &Rect| r.width.div_ceil(self.step.0) * r.height.div_ceil(self.step.1);
        self.rects.iter().map(of).sum::<u32>() as usize
    }

    pub(crate) fn is_done(&self) -> bool {
        self.rects.is_empty()
    }

    fn next(&mut self) -> Option<Rect> {
        let rect = *self.rects.last()?;
        let (x, y) = self.at;
        let width = self.step.0.min(rect.width - x);
        let height = self.step.1.min(rect.height - y);
        self.at.0 += width;
        if self.at.0 == rect.width {
            self.at = (0, y + height);
        }
        if self.at.1 == rect.height {
            self.at = (0, 0);
            self.rects.pop();
        }
        Some(Rect { x: rect.x + x, y: rect.y + y, width, height })
    }
}

/// What of a viewer lasts from piece to piece: its pixels and its zlib streams.
#[derive(Debug)]
pub(crate) struct Encoder {
    pixels: Pixels,
    made_for: (PixelFormat, Encoding),
    zrle: Deflate,
    tight: tight::Streams,
}

impl Default for Encoder {
    fn default() -> Self {
        let made_for = (PixelFormat::XRGB8888, Encoding::Raw);
        Self {
            pixels: Pixels::plain(&made_for.0),
            made_for,
            zrle: Deflate::default(),
            tight: tight::Streams::default(),
        }
    }
}

impl Encoder {
    pub(crate) fn set_hint(&mut self, level: u8) {
        self.zrle.set_hint(level);
        self.tight.set_hint(level);
    }

    /// To be called before the first piece of an update.
    pub(crate) fn prepare(&mut self, format: &PixelFormat, encoding: Encoding) {
        if self.made_for != (*format, encoding) {
            self.made_for = (*format, encoding);
            self.pixels = match encoding {
                Encoding::Raw => Pixels::plain(format),
                Encoding::Zrle => Pixels::compressed(format),
                Encoding::Tight => Pixels::tight(format),
            };
        }
    }

    /// As prepared.
    pub(crate) fn pixels(&self) -> &Pixels {
        &self.pixels
    }

    /// Appends the next piece of `update`, if there is one.
    pub(crate) fn piece(
        &mut self,
        update: &mut Update,
        picture: &Picture,
        scratch: &mut Scratch,
        out: &mut Vec<u8>,
    ) {
        let Some(rect) = update.next() else { return };
        match update.encoding {
            Encoding::Raw => {
                put_rect(out, rect, encoding::RAW);
                raw::encode(picture, rect, &self.pixels, scratch, out);
            }
            Encoding::Zrle => {
                put_rect(out, rect, encoding::ZRLE);
                zrle::encode(picture, rect, &self.pixels, &mut self.zrle, scratch, out);
            }
            Encoding::Tight => {
                put_rect(out, rect, encoding::TIGHT);
                tight::encode(picture, rect, &self.pixels, &mut self.tight, scratch, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::region::area;
    use crate::testing::Random;
    use vfio_display::geometry::Size;

    #[test]
    fn as_many_pieces_as_it_said_and_all_of_the_pixels() {
        let mut random = Random::new(5);
        for round in 0..300 {
            let mut region = Region::new();
            for _ in 0..random.below(9) {
                let (x, y) = (random.below(5000), random.below(3000));
                let (width, height) = (random.below(5000) + 1, random.below(300) + 1);
                region.add(Rect { x, y, width, height });
            }
            region.clip(Size::new(7680, 3200));
            let kind = if round % 2 == 0 { Encoding::Tight } else { Encoding::Zrle };
            let mut update = Update::new(&region, kind);
            let count = update.count();
            let pieces: Vec<Rect> = std::iter::from_fn(|| update.next()).collect();
            assert_eq!(pieces.len(), count);
            assert!(update.is_done());
            let pixels = |rects: &[Rect]| rects.iter().map(|r| area(*r)).sum::<u64>();
            assert_eq!(pixels(&pieces), pixels(region.rects()));
            assert!(pieces.iter().all(|p| p.width <= update.step.0 && p.height <= update.step.1));
        }
    }
}
