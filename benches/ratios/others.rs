// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What else is measured: a visitor, a second thread, loads by lines, and what a poll costs beside
//! its scan.

use std::hint::black_box;
use std::time::{Duration, Instant};

use vfio_display::device::{GfxDevice as _, PlaneKind, PlaneType, RegionIndex};
use vfio_display::display::WriteLog;
use vfio_display::format::{Fourcc, Modifier, PixelFormat};
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::plane::{Buffer, Plane};
use vfio_display::sink::{SinkError, Takes};
use vfio_display::testing::{Engine, Mock, Personality};
use vfio_display::{
    Band, Cursor, Detection, Display, Frame, Memory, Scanner, Sink, Visitor, Workers,
};

use crate::pixman::Pixman;
use crate::rivals::{self, Qemu};
use crate::{Change, FIRST, FULL_HD, TIME, is_asked_for, ratio, sources, time};

/// A thread of a pool that waits for work: what an embedder lends.
#[derive(Debug)]
struct Pool {
    work: std::sync::mpsc::SyncSender<Work>,
    done: std::sync::Mutex<std::sync::mpsc::Receiver<()>>,
}

/// Work of a caller that waits for it.
struct Work(*mut (dyn FnMut() + Send));

// SAFETY: what it points to may be sent, and the sender waits until it has run.
unsafe impl Send for Work {}

impl Pool {
    fn new() -> Self {
        let (work, works) = std::sync::mpsc::sync_channel::<Work>(1);
        let (told, done) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            for Work(work) in works {
                // SAFETY: `join` keeps it until it is told.
                unsafe { (*work)() };
                if told.send(()).is_err() {
                    return;
                }
            }
        });
        Self { work, done: std::sync::Mutex::new(done) }
    }
}

impl Workers for Pool {
    fn join(&self, one: &mut (dyn FnMut() + Send), other: &mut (dyn FnMut() + Send)) {
        // SAFETY: only the lifetime is another; it is not used past the end of this function.
        let other = unsafe {
            std::mem::transmute::<&mut (dyn FnMut() + Send), &'static mut (dyn FnMut() + Send)>(
                other,
            )
        };
        self.work.send(Work(other)).expect("the thread waits");
        one();
        self.done.lock().expect("no panic").recv().expect("the thread answers");
    }
}

/// Adds up all pixels that it sees: a consumer that reads them once.
struct Sum(u64);

impl Visitor for Sum {
    fn band(&mut self, band: &Band<'_>) {
        band.runs(|_, pixels| {
            let words = pixels.as_chunks::<2>().0.iter();
            let sum = words
                .fold(0, |sum: u64, [a, b]| sum.wrapping_add(u64::from(*a) | u64::from(*b) << 32));
            self.0 = self.0.wrapping_add(sum);
        });
    }
}

fn plane(size: Size) -> Plane {
    Plane {
        plane_type: PlaneType::Primary,
        size,
        fourcc: Fourcc::new(b"XR24"),
        modifier: Modifier::LINEAR,
        stride: size.width * 4,
        len: size.width * 4 * size.height,
        buffer: Buffer::Region(RegionIndex(10)),
        position: Point::new(0, 0),
        hotspot: None,
    }
}

/// A scan in other ways.
fn scans(pixman: &Pixman, change: Change) {
    let name = format!("other\t{FULL_HD}\tXR24\tcold\t{}", change.name());
    if !is_asked_for(&name) {
        return;
    }
    let format = PixelFormat::Xrgb8888;
    let sources = sources(FULL_HD, format, change, true);
    let (frames, len) = (sources.len(), sources[0].bytes.len());
    let mut one = Engine::new(FULL_HD, format);
    let mut two = Engine::new(FULL_HD, format).with_workers(Pool::new());
    let mut lines = Engine::new(FULL_HD, format).with_memory(Memory::WriteCombined);
    let (mut scanner, mut sum) = (Scanner::new(), Sum(0));
    let mut qemu = Qemu::new(pixman, FULL_HD);
    let plane = plane(FULL_HD);
    assert_eq!(plane.len as usize, len);
    let mut times = [const { Vec::new() }; 5];
    let start = Instant::now();
    for turn in 0.. {
        let source = |of: usize| &sources[(turn + ((of * frames / 8) & !1)) % frames];
        let took = [
            time(|| one.scan(&source(0).mapping, Detection::Verified)),
            time(|| two.scan(&source(2).mapping, Detection::Verified)),
            time(|| lines.scan(&source(3).mapping, Detection::Verified)),
            time(|| {
                let mapping = &source(4).mapping;
                scanner.visit(&plane, mapping, Detection::Verified, &mut sum).expect("a plane");
            }),
            time(|| {
                qemu.poll(&source(6).bytes, format, FULL_HD);
                // Of its surface, what changed.
                if change == Change::All {
                    black_box(rivals::read(black_box(qemu.surface())));
                }
            }),
        ];
        black_box(sum.0);
        if turn >= FIRST {
            times.iter_mut().zip(took).for_each(|(all, time)| all.push(time));
            if start.elapsed() > TIME {
                break;
            }
        }
    }
    let [one, two, lines, visit, qemu] = &times;
    ratio(&name, "visitor, its pass included: x QEMU and a pass", qemu, visit);
    ratio(&name, "two threads: x one", one, two);
    ratio(&name, "loads by lines: of plain ones", lines, one);
}

#[derive(Debug)]
struct NothingWritten;

impl WriteLog for NothingWritten {
    fn plane(&mut self, _: &Plane, _: &mut Vec<Rect>) -> bool {
        true
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn takes(&self) -> Takes {
        Takes { cursor: true, ..Takes::default() }
    }

    fn frame(&mut self, _: &Frame<'_>) -> Result<(), SinkError> {
        Ok(())
    }

    fn cursor(&mut self, _: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        Ok(())
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Microseconds of a poll in which nothing changed, beside its queries and the scan of `scanned`.
fn poll(size: Size, log: bool, scanned: bool) {
    let name = format!("other\t{size}\tXR24\twarm\tunchanged");
    let what =
        if log { "a poll that is told of no change: us" } else { "a poll beside its scan: us" };
    if !is_asked_for(&name) {
        return;
    }
    let mock = Mock::new(Personality::Region, size).expect("a mock");
    mock.show_card(0).expect("it draws");
    let mut display = Display::new(mock.clone()).expect("a display");
    display.set_detection(Detection::Verified);
    if log {
        display.set_write_log(Some(Box::new(NothingWritten)));
    }
    display.watch(Instant::now());
    let source = &sources(size, PixelFormat::Xrgb8888, Change::Nothing, false)[0];
    let mut engine = Engine::new(size, PixelFormat::Xrgb8888);
    let mut beside = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(500) {
        let now = display.poll_at().expect("somebody watches");
        let all = time(|| _ = display.poll(now, &mut Nowhere).expect("a poll"));
        let queries = time(|| {
            for plane in [PlaneType::Primary, PlaneType::Cursor] {
                _ = black_box(mock.query_plane(plane, PlaneKind::Region));
            }
        });
        let scan = time(|| engine.scan(&source.mapping, Detection::Verified));
        beside.push((all - queries - if scanned { scan } else { 0.0 }) * 1e6);
    }
    let ones = vec![1.0; beside.len()];
    ratio(&name, what, &beside, &ones);
}

pub(crate) fn all(pixman: &Pixman) {
    for change in [Change::Nothing, Change::Window10, Change::All] {
        scans(pixman, change);
    }
    poll(Size::new(64, 64), false, true);
    poll(FULL_HD, true, false);
    poll(Size::new(3840, 2160), true, false);
}
