// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The bodies of the fuzz targets.

use std::sync::Arc;

use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};

use crate::limits::Limits;
use crate::region::Region;
use crate::session::{Session, Stage};
use crate::tile::Scratch;

/// More than a session may ever hold: what is encoded ahead, a piece in the worst of cases, and
/// answers that were never taken.
const MEMORY: usize = 4 << 20;

/// Target `rfb_client`: a viewer that sends anything, in pieces of any length, and reads when it
/// likes. The first byte of each step says what happens: its low five bits how many bytes are
/// sent, the others what the screen and the socket do meanwhile.
pub fn client(data: &[u8]) {
    let mut session = Session::new(Limits::default(), Arc::from("fuzz"), true);
    let mut scratch = Scratch::default();
    let mut picture = Picture::new(Size::new(300, 90));
    let mut rest = data;
    while let Some((step, more)) = rest.split_first() {
        let (bytes, more) = more.split_at(more.len().min(usize::from(step & 31) + 1));
        rest = more;
        let value = u32::from(bytes.first().copied().unwrap_or_default());
        if session.receive(bytes, &mut |_| {}).is_err() {
            break;
        }
        if session.stage() == Stage::Ready {
            session.start(picture.size());
        }
        match step >> 5 {
            0 | 1 => session.sent(usize::MAX / 2),
            2 => session.sent(100),
            3 => {
                let side = value + 1;
                picture = Picture::new(Size::new(side * 3, side));
                session.resized(picture.size());
            }
            4 | 5 => {
                let mut region = Region::new();
                region.add(Rect { x: value, y: value / 4, width: 40, height: 20 });
                region.clip(picture.size());
                if let Some(row) = picture.rows_mut().nth(value as usize / 4) {
                    row.fill(value * 0x0001_0203);
                }
                session.damaged(&region);
            }
            _ => {}
        }
        session.encode(&picture, &mut scratch);
        assert!(session.memory() < MEMORY, "{} bytes", session.memory());
    }
    let mut last = 0;
    session.release(&mut |_| last += 1);
    assert!(last <= 0x300 + 3);
    session.release(&mut |said| panic!("{said:?} again"));
}

#[cfg(test)]
mod tests {
    use crate::testing::Random;

    /// The corpus, as it is and with bytes changed, cut and doubled: a short fuzz run in each test
    /// run.
    #[test]
    fn the_corpus_and_what_is_near_it() {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/rfb_client");
        let mut random = Random::new(11);
        let mut seeds = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            seeds += 1;
            super::client(&seed);
            for _ in 0..300 {
                let mut data = seed.clone();
                for _ in 0..random.below(6) + 1 {
                    let at = random.below(data.len() as u32) as usize;
                    match random.below(4) {
                        0 => data.truncate(at + 1),
                        1 => data.extend_from_within(at..),
                        _ => data[at] = random.next() as u8,
                    }
                }
                super::client(&data);
            }
        }
        assert!(seeds >= 4);
    }
}
