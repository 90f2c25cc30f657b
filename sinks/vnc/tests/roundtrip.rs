// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a session encodes, a decoder of another hand turns back into the same picture. No sockets
//! and no threads: a viewer's stream is the session itself.

mod common;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use common::format::{ALL, BGR233, RGB565, XRGB};
use common::pictures::KINDS;
use common::viewer::*;
use common::{Format, Random, Viewer, change, draw};
use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};
use vfio_display_vnc::{Limits, Region, Said, Scratch, Session, Stage};

/// A session, and the screen that it shows.
struct Desk {
    session: Session,
    picture: Picture,
    scratch: Scratch,
    said: Vec<Said>,
    random: Random,
}

#[derive(Clone)]
struct Wire(Rc<RefCell<Desk>>);

impl Wire {
    fn new(size: Size) -> Self {
        let session = Session::new(Limits::default(), "desk".into(), true);
        let (picture, scratch) = (Picture::new(size), Scratch::default());
        let (said, random) = (Vec::new(), Random(7));
        Self(Rc::new(RefCell::new(Desk { session, picture, scratch, said, random })))
    }

    fn damage(&self, act: impl FnOnce(&mut Picture) -> Rect) {
        let desk = &mut *self.0.borrow_mut();
        let mut region = Region::new();
        region.add(act(&mut desk.picture));
        desk.session.damaged(&region);
    }

    fn resize(&self, size: Size, random: &mut Random) {
        let desk = &mut *self.0.borrow_mut();
        desk.picture = Picture::new(size);
        (0..6).for_each(|_| _ = change(&mut desk.picture, random));
        desk.session.resized(size);
    }

    fn said(&self) -> Vec<Said> {
        std::mem::take(&mut self.0.borrow_mut().said)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Desk { session, picture, scratch, .. } = &mut *self.0.borrow_mut();
        if session.output().is_empty() {
            session.encode(picture, scratch);
        }
        let length = session.output().len().min(buffer.len());
        if length == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        buffer[..length].copy_from_slice(&session.output()[..length]);
        session.sent(length);
        Ok(length)
    }
}

impl Write for Wire {
    /// In pieces of any length, as a network has them.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Desk { session, picture, said, random, .. } = &mut *self.0.borrow_mut();
        let length = (random.below(9) as usize + 1).min(bytes.len());
        session.receive(&bytes[..length], &mut |s| said.push(s)).map_err(io::Error::other)?;
        if session.stage() == Stage::Ready {
            session.start(picture.size());
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the viewer should have, in its format; black where there is no screen.
fn expected(picture: &Picture, format: &Format, (width, height): (usize, usize)) -> Vec<u32> {
    let all = (0..height as u32).flat_map(|y| (0..width as u32).map(move |x| (x, y)));
    all.map(|(x, y)| format.pack(picture.pixel(x, y).unwrap_or(0))).collect()
}

fn check(viewer: &Viewer<Wire>, wire: &Wire, what: &dyn std::fmt::Debug) {
    let want = expected(&wire.0.borrow().picture, &viewer.format, viewer.size);
    let wrong = want.iter().zip(&viewer.pixels).filter(|(a, b)| a != b).count();
    assert_eq!(wrong, 0, "pixels of {:?}, {what:?}", viewer.size);
}

#[test]
fn every_kind_in_every_format_and_encoding() {
    let mut random = Random(1);
    for encoding in [RAW, ZRLE, TIGHT] {
        for format in ALL {
            for (width, height) in [(1, 1), (64, 64), (63, 65), (300, 130)] {
                let wire = Wire::new(Size::new(width, height));
                let mut viewer = Viewer::connect(wire.clone()).unwrap();
                viewer.set_format(format).unwrap();
                viewer.set_encodings(&[encoding]).unwrap();
                for (incremental, kind) in
                    [false, true, true, true, true, true, true].into_iter().zip(KINDS)
                {
                    wire.damage(|picture| {
                        let rect = picture.size().rect();
                        draw(picture, rect, kind, &mut random);
                        rect
                    });
                    viewer.request(incremental).unwrap();
                    viewer.update().unwrap();
                    check(&viewer, &wire, &(encoding, format, kind));
                }
                assert_eq!(viewer.colour_map.len(), if format.colour { 0 } else { 256 });
            }
        }
    }
}

/// The edges of the forms that a tile can have: how many colours, and how long runs.
#[test]
fn so_many_colours_and_so_long_runs() {
    let wire = Wire::new(Size::new(64, 64));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    for encoding in [ZRLE, TIGHT] {
        viewer.set_encodings(&[encoding]).unwrap();
        for colours in [1, 2, 3, 4, 5, 16, 17, 126, 127, 128, 129, 255, 256, 257, 1024] {
            for run in [1, 2, 63, 127, 128, 129, 255, 256, 257, 510, 511, 512, 4096] {
                wire.damage(|picture| {
                    for (i, pixel) in (0..).zip(picture.rows_mut().flatten()) {
                        let i: u32 = i;
                        *pixel = 0xff00_0000 | (i / run % colours).wrapping_mul(0x0003_0507);
                    }
                    picture.size().rect()
                });
                viewer.request(true).unwrap();
                viewer.update().unwrap();
                check(&viewer, &wire, &(encoding, colours, run));
            }
        }
    }
}

#[test]
fn who_asks_for_answers_and_takes_none_is_read_no_more() {
    let mut session = Session::new(Limits::default(), "desk".into(), true);
    session.receive(b"RFB 003.008\n\x01\x01", &mut |_| {}).unwrap();
    let fence = [248, 0, 0, 0, 128, 0, 0, 0, 0];
    // Before ServerInit, while answers have to wait.
    let count = (0..10_000).take_while(|_| {
        session.receive(&fence, &mut |_| {}).unwrap();
        session.wants_input()
    });
    assert!(count.count() < 500);
    session.start(Size::new(9, 9));
    assert!(session.wants_input());
    let count = (0..10_000_000).take_while(|_| {
        session.receive(&fence, &mut |_| {}).unwrap();
        session.wants_input()
    });
    assert!(count.count() < 200_000);
    session.sent(usize::MAX / 2);
    assert!(session.wants_input());
}

#[test]
fn damage_is_all_that_is_needed() {
    let mut random = Random(2);
    for encoding in [RAW, ZRLE, TIGHT] {
        for format in [XRGB, RGB565, BGR233] {
            let wire = Wire::new(Size::new(261, 150));
            let mut viewer = Viewer::connect(wire.clone()).unwrap();
            viewer.set_format(format).unwrap();
            viewer.set_encodings(&[encoding, -250]).unwrap();
            viewer.request(false).unwrap();
            viewer.update().unwrap();
            for _ in 0..25 {
                for _ in 0..random.below(30) + 1 {
                    wire.damage(|picture| change(picture, &mut random));
                }
                viewer.request(true).unwrap();
                viewer.update().unwrap();
                check(&viewer, &wire, &(encoding, format));
            }
        }
    }
}

#[test]
fn formats_and_encodings_change_between_updates() {
    let mut random = Random(3);
    let wire = Wire::new(Size::new(200, 150));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    for _ in 0..200 {
        viewer.set_format(ALL[random.below(11) as usize]).unwrap();
        viewer.set_encodings(&[[RAW, ZRLE, TIGHT][random.below(3) as usize]]).unwrap();
        wire.damage(|picture| change(picture, &mut random));
        viewer.request(false).unwrap();
        viewer.update().unwrap();
        check(&viewer, &wire, &viewer.format);
    }
}

#[test]
fn sizes_follow_the_screen_where_the_viewer_can() {
    let mut random = Random(4);
    for sizes in [&[ZRLE][..], &[ZRLE, DESKTOP_SIZE], &[ZRLE, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE]]
    {
        let wire = Wire::new(Size::new(100, 80));
        let mut viewer = Viewer::connect(wire.clone()).unwrap();
        viewer.set_encodings(sizes).unwrap();
        viewer.request(false).unwrap();
        viewer.update().unwrap();
        assert_eq!(viewer.sizes.len(), usize::from(sizes.len() == 3), "is told the first time");
        for _ in 0..40 {
            let size = Size::new(random.below(300) + 1, random.below(200) + 1);
            wire.resize(size, &mut random);
            viewer.request(true).unwrap();
            viewer.update().unwrap();
            check(&viewer, &wire, &sizes);
            let told = if sizes.len() == 1 {
                (100, 80)
            } else {
                (size.width as usize, size.height as usize)
            };
            assert_eq!(viewer.size, told);
        }
        assert!(viewer.sizes.iter().all(|told| *told == (0, 0)));
    }
}

#[test]
fn a_size_that_changes_amid_an_update() {
    let mut random = Random(5);
    for last_rect in [LAST_RECT, ZRLE] {
        let wire = Wire::new(Size::new(700, 500));
        let mut viewer = Viewer::connect(wire.clone()).unwrap();
        viewer.set_encodings(&[ZRLE, DESKTOP_SIZE, last_rect]).unwrap();
        for _ in 0..20 {
            viewer.request(false).unwrap();
            {
                let Desk { session, picture, scratch, .. } = &mut *wire.0.borrow_mut();
                session.encode(picture, scratch);
                assert!(session.is_amid_update());
            }
            let size = Size::new(random.below(300) + 300, random.below(300) + 400);
            wire.resize(size, &mut random);
            while viewer.size != (size.width as usize, size.height as usize) {
                viewer.read().unwrap();
                viewer.request(true).unwrap();
            }
            viewer.update().unwrap();
            check(&viewer, &wire, &size);
        }
    }
}

#[test]
fn a_part_that_was_not_asked_for_waits() {
    let wire = Wire::new(Size::new(200, 100));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    viewer.request(false).unwrap();
    viewer.update().unwrap();
    let mut random = Random(6);
    wire.damage(|picture| {
        draw(picture, picture.size().rect(), common::Kind::Noise, &mut random);
        picture.size().rect()
    });
    viewer.request_area(true, [0, 0, 50, 40]).unwrap();
    assert_eq!(viewer.update().unwrap(), 50 * 40 * 4);
    viewer.request_area(true, [0, 0, 50, 40]).unwrap();
    assert_eq!(viewer.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
    viewer.request(true).unwrap();
    assert_eq!(viewer.update().unwrap(), (200 * 100 - 50 * 40) * 4);
    check(&viewer, &wire, &());
}

#[test]
fn old_versions_and_the_window_title() {
    for version in [b"RFB 003.003\n", b"RFB 003.007\n", b"RFB 003.008\n"] {
        let mut viewer = Viewer::connect_as(Wire::new(Size::new(9, 9)), version).unwrap();
        assert_eq!((viewer.name.as_str(), viewer.size), ("desk", (9, 9)));
        viewer.request(false).unwrap();
        viewer.update().unwrap();
    }
}

#[test]
fn continuous_updates_need_no_request() {
    let mut random = Random(8);
    let wire = Wire::new(Size::new(120, 90));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    viewer.set_encodings(&[ZRLE, FENCE, CONTINUOUS]).unwrap();
    let Told::Fence { flags, payload } = viewer.read().unwrap() else { panic!() };
    assert!(flags >> 31 == 1 && payload.is_empty(), "says that it knows fences");
    viewer.send(&[248, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    assert_eq!(viewer.read().unwrap(), Told::EndOfContinuous);
    viewer.send(&[150, 1, 0, 0, 0, 0, 0, 120, 0, 90]).unwrap();
    viewer.update().unwrap();
    for round in 0..20 {
        wire.damage(|picture| change(picture, &mut random));
        if round < 3 {
            viewer.update().unwrap();
            check(&viewer, &wire, &round);
        }
    }
    // Four are on their way and none was confirmed.
    while viewer.read().is_ok() {}
    for _ in 0..5 {
        viewer.send(&[248, 0, 0, 0, 0, 0, 0, 1, 0]).unwrap();
    }
    viewer.update().unwrap();
    check(&viewer, &wire, &"confirmed");
    viewer.send(&[150, 0, 0, 0, 0, 0, 0, 120, 0, 90]).unwrap();
    while viewer.read().unwrap() != Told::EndOfContinuous {}
    wire.damage(|picture| change(picture, &mut random));
    assert_eq!(viewer.read().unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[test]
fn a_fence_comes_back_with_its_payload() {
    let wire = Wire::new(Size::new(10, 10));
    let mut viewer = Viewer::connect(wire).unwrap();
    viewer.send(&[248, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 7, 8, 9]).unwrap();
    let payload = vec![7, 8, 9];
    assert_eq!(viewer.read().unwrap(), Told::Fence { flags: 7, payload });
}

#[test]
fn another_size_is_passed_on_or_refused_at_once() {
    let wire = Wire::new(Size::new(10, 10));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    let ask = |width: u16, height: u16| {
        let [a, b] = width.to_be_bytes();
        let [c, d] = height.to_be_bytes();
        [&[251, 0, a, b, c, d, 1, 0][..], &[0; 16]].concat()
    };
    viewer.send(&ask(1024, 768)).unwrap();
    viewer.read().unwrap();
    assert_eq!(wire.said(), [Said::Resize(Size::new(1024, 768))]);
    for (width, height) in [(0, 768), (1024, 0), (65535, 65535), (16385, 1)] {
        viewer.send(&ask(width, height)).unwrap();
        viewer.read().unwrap();
        assert_eq!(wire.said(), []);
    }
    assert_eq!(viewer.sizes, [(1, 4), (1, 3), (1, 3), (1, 3), (1, 3)]);
    assert_eq!(viewer.size, (10, 10));
}

#[test]
fn keys_by_symbol_and_by_scancode() {
    use vfio_display::input::Event;
    let wire = Wire::new(Size::new(10, 10));
    let mut viewer = Viewer::connect(wire.clone()).unwrap();
    viewer.set_encodings(&[EXTENDED_KEY]).unwrap();
    viewer.request(false).unwrap();
    viewer.update().unwrap();
    assert!(viewer.extended_key);
    viewer.send(&[4, 1, 0, 0, 0, 0, 0, 0x61]).unwrap();
    viewer.send(&[255, 0, 0, 1, 0, 0, 0, 0x79, 0, 0, 0, 0x15]).unwrap();
    viewer.send(&[6, 0, 0, 0, 0, 0, 0, 3, b'a', b'b', b'c', 4, 0, 0, 0, 0, 0, 0, 0x61]).unwrap();
    let key = |code, down| Said::Input(Event::Key { code, down });
    assert_eq!(wire.said(), [key(30, true), key(21, true), key(30, false)]);
    let desk = &mut *wire.0.borrow_mut();
    let mut released = Vec::new();
    desk.session.release(&mut |said| released.push(said));
    assert_eq!(released, [key(21, false)]);
}
