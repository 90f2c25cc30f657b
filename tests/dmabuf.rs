// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A screen that is handed on as the dma-buf that it is in; and what is shown where it can't be.

use std::sync::Arc;
use std::time::Instant;

use vfio_display::format::Fourcc;
use vfio_display::geometry::Size;
use vfio_display::notice;
use vfio_display::sink::Takes;
use vfio_display::testing::card::Card;
use vfio_display::testing::{Mock, Op, Personality, Recorder};
use vfio_display::{Display, Error, Poll, PollError};

const SIZE: Size = Size::new(320, 256);
const TAKES: Takes = Takes { cursor: true, idle: false, dmabuf: true };

struct Watched {
    mock: Mock,
    display: Display<Mock>,
    sink: Recorder,
}

impl Watched {
    fn new(personality: Personality, takes: Takes) -> Self {
        let mock = Mock::new(personality, SIZE).unwrap();
        mock.show_card(0).unwrap();
        let mut display = Display::new(mock.clone()).unwrap();
        display.watch(Instant::now());
        Self { mock, display, sink: Recorder::new().taking(takes) }
    }

    fn poll(&mut self) -> Result<Poll, PollError> {
        let now = self.display.poll_at().expect("somebody watches");
        self.display.poll(now, &mut self.sink)
    }

    /// Polls past what may pass, as the ENOMEM that mbochs begins with.
    fn shown(&mut self) -> Result<Poll, PollError> {
        loop {
            match self.poll() {
                Ok(Poll::Held(_)) => {}
                other => return other,
            }
        }
    }
}

#[test]
fn a_buffer_is_handed_on_as_it_is_and_exported_once() {
    for personality in [Personality::Mbochs, Personality::MbochsRw] {
        let mut watched = Watched::new(personality, TAKES);
        for n in 0..200 {
            watched.mock.flip_to(n % 2).unwrap();
            assert_eq!(watched.shown().unwrap(), Poll::Shown(SIZE));
            let shown = watched.sink.dmabuf.as_ref().expect("a dma-buf");
            assert_eq!((shown.size, shown.fourcc), (SIZE, Fourcc::new(b"XR24")));
            assert_eq!((shown.stride, shown.dmabuf.len()), (320 * 4, 320 * 256 * 4));
        }
        assert_eq!((watched.sink.dmabufs, watched.sink.frames.len()), (200, 0));
        assert_eq!(watched.mock.calls(Op::ExportDmabuf), 2);
        assert_eq!(watched.display.picture(), None, "there is no copy");
        assert_eq!(watched.mock.kernel_bugs(), []);
        // What the sink keeps is not closed under it.
        let kept = watched.sink.dmabuf.take().unwrap().dmabuf;
        drop(watched.display);
        assert_eq!(Arc::strong_count(&kept), 1);
    }
}

#[test]
fn pixels_come_where_the_sink_has_no_use_for_the_buffer() {
    let mut watched = Watched::new(Personality::MbochsRw, TAKES);
    watched.sink.unwanted = true;
    watched.shown().unwrap();
    assert_eq!((watched.sink.dmabufs, watched.sink.frames.len()), (0, 1));
    let card = Card::new(SIZE, 0).picture();
    assert!(watched.sink.picture().pixels().iter().map(|p| p & 0xff_ffff).eq(card));
    // There and back: each time the first frame is whole.
    for round in 0..3 {
        watched.sink.unwanted = false;
        watched.shown().unwrap();
        assert!(watched.sink.dmabuf.is_some());
        watched.sink.unwanted = true;
        watched.shown().unwrap();
        assert_eq!(watched.sink.frames.len(), 2 + round);
        assert!(watched.sink.frames.last().unwrap().whole);
    }
}

#[test]
fn words_come_where_no_cpu_reads_it() {
    for takes in [Takes::default(), TAKES] {
        let mut watched = Watched::new(Personality::Mbochs, takes);
        watched.sink.unwanted = true;
        for _ in 0..5 {
            let error = watched.shown().unwrap_err();
            assert!(matches!(error, PollError::Device(Error::NotMappable { .. })), "{error}");
        }
        assert_eq!(watched.sink.frames.len(), 1, "told once");
        assert!(*watched.sink.picture() == notice::gpu_only(SIZE));
        assert_eq!(watched.display.picture(), None);
        // Somebody new is told as well.
        watched.display.refresh();
        watched.shown().unwrap_err();
        assert_eq!(watched.sink.frames.len(), 2);
        // Another mode has another size.
        watched.mock.set_mode(Size::new(640, 480)).unwrap();
        watched.shown().unwrap_err();
        assert!(*watched.sink.picture() == notice::gpu_only(Size::new(640, 480)));
        watched.mock.off();
        assert_eq!(watched.shown().unwrap(), Poll::Off);
        assert_eq!(watched.sink.blanks, 1);
    }
}

#[test]
fn a_refusal_by_error_loses_nothing() {
    let mut watched = Watched::new(Personality::Mbochs, TAKES);
    watched.sink.refuse = 1;
    assert!(matches!(watched.shown(), Err(PollError::Sink(_))));
    watched.shown().unwrap();
    assert_eq!((watched.sink.dmabufs, watched.sink.frames.len()), (1, 0));
}

#[test]
fn regions_and_off_are_as_ever() {
    let mut watched = Watched::new(Personality::Mdpy, TAKES);
    watched.shown().unwrap();
    assert_eq!((watched.sink.dmabufs, watched.sink.frames.len()), (0, 1));
    let mut watched = Watched::new(Personality::Mbochs, TAKES);
    watched.shown().unwrap();
    watched.mock.off();
    assert_eq!(watched.shown().unwrap(), Poll::Off);
    assert_eq!(watched.sink.blanks, 1);
    watched.mock.show_card(1).unwrap();
    watched.shown().unwrap();
    assert_eq!(watched.sink.dmabufs, 2);
}
