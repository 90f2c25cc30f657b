// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The bodies of the fuzz targets.

use std::sync::Arc;
use std::time::Duration;

use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};
use vfio_display_sinks::Denied;

use crate::entrance::{Awaits, Security};
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

/// Target `vencrypt`: anything on the way in, in pieces of any length. The first byte says what the
/// viewer has to go through; that of each step how many bytes follow, and whether TLS begins and a
/// password is right. Nobody is let in but by all of it.
pub fn vencrypt(data: &[u8]) {
    let Some((first, mut rest)) = data.split_first() else {
        return;
    };
    let security =
        [Security::None, Security::X509None, Security::X509Plain][usize::from(first % 3)];
    let session = Session::new(Limits::default(), Arc::from("fuzz"), true);
    let mut session = session.behind(security);
    let (mut tls, mut right) = (false, false);
    while let Some((step, more)) = rest.split_first() {
        let (bytes, more) = more.split_at(more.len().min(usize::from(step & 63)));
        rest = more;
        let awaited = session.awaits();
        assert_eq!(session.wants_input(), awaited.is_none());
        let mut heard = false;
        let result = session.receive(bytes, &mut |_| heard = true);
        assert!(!heard || session.stage() == Stage::Ready, "it listens to a stranger");
        assert!(result.is_err() || bytes.is_empty() || awaited.is_none(), "it takes no input now");
        if result.is_err() && session.stage() != Stage::Ready {
            break;
        }
        if step & 64 != 0 {
            session.sent(usize::MAX / 2);
        }
        match session.awaits() {
            Some(Awaits::Tls) if step & 128 != 0 => {
                let sent = session.output().is_empty();
                session.tls_started();
                assert_eq!(session.awaits().is_none(), sent, "not before all has been sent");
                tls |= sent;
            }
            Some(Awaits::Verdict) => {
                assert!(tls && security == Security::X509Plain);
                if let Some(said) = session.take_credentials() {
                    assert!(said.user.len() <= 1024 && said.password.len() <= 1024);
                    right = step & 128 != 0;
                    let denied = Denied::TooSoon(Duration::from_secs(u64::from(*step)));
                    session.answer(if right { Ok(()) } else { Err(denied) });
                }
            }
            _ => {}
        }
        assert!(session.memory() < 8192, "{} bytes", session.memory());
        if session.stage() == Stage::Ready {
            assert!(tls || security == Security::None, "in without TLS");
            assert!(right || security != Security::X509Plain, "in without a password");
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Random;

    /// The corpus, as it is and with bytes changed, cut and doubled: a short fuzz run in each test
    /// run.
    #[test]
    fn the_corpus_and_what_is_near_it() {
        near("rfb_client", super::client);
        near("vencrypt", super::vencrypt);
    }

    fn near(target: &str, body: fn(&[u8])) {
        let corpus = format!("{}/../../fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
        let mut random = Random::new(11);
        let mut seeds = 0;
        for entry in std::fs::read_dir(corpus).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            seeds += 1;
            body(&seed);
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
                body(&data);
            }
        }
        assert!(seeds >= 4);
    }
}
