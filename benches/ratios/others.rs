// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What else is measured: a visitor, a second thread, loads by lines, and what a poll costs beside
//! its scan.

use std::hint::black_box;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex};
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

use crate::bare;
use crate::pixman::Pixman;
use crate::rivals::{self, Qemu};
use crate::{Change, FIRST, FULL_HD, TIME, ULTRA_HD, is_asked_for, ratio, sources, time};

/// A thread of a pool that waits for work: what an embedder lends. It may look for work all the time,
/// as pools do while they are busy, or sleep, from which it has to be woken.
#[derive(Debug)]
struct Pool {
    spins: bool,
    work: SyncSender<Work>,
    done: Mutex<Receiver<()>>,
}

/// Work of a caller that waits for it.
struct Work(*mut (dyn FnMut() + Send));

// SAFETY: what it points to may be sent, and the sender waits until it has run.
unsafe impl Send for Work {}

impl Pool {
    fn new(spins: bool) -> Self {
        let (work, works) = sync_channel::<Work>(1);
        let (told, done) = sync_channel(1);
        std::thread::spawn(move || {
            while let Some(Work(work)) = take(&works, spins) {
                // SAFETY: `join` keeps it until it is told.
                unsafe { (*work)() };
                if told.send(()).is_err() {
                    return;
                }
            }
        });
        Self { spins, work, done: Mutex::new(done) }
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
        take(&self.done.lock().expect("no panic"), self.spins).expect("the thread answers");
    }
}

/// A pool that others use as well.
#[derive(Debug)]
struct Shared(Arc<Pool>);

impl Workers for Shared {
    fn join(&self, one: &mut (dyn FnMut() + Send), other: &mut (dyn FnMut() + Send)) {
        self.0.join(one, other);
    }
}

/// What comes next; `None` where nobody sends any more.
fn take<T>(from: &Receiver<T>, spins: bool) -> Option<T> {
    if !spins {
        return from.recv().ok();
    }
    loop {
        match from.try_recv() {
            Ok(taken) => return Some(taken),
            Err(TryRecvError::Empty) => std::hint::spin_loop(),
            Err(TryRecvError::Disconnected) => return None,
        }
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
    let mut lines = Engine::new(FULL_HD, format).with_memory(Memory::WriteCombined);
    let (mut scanner, mut sum) = (Scanner::new(), Sum(0));
    let mut qemu = Qemu::new(pixman, FULL_HD);
    let plane = plane(FULL_HD);
    assert_eq!(plane.len as usize, len);
    let mut times = [const { Vec::new() }; 4];
    let start = Instant::now();
    for turn in 0.. {
        let source = |of: usize| &sources[(turn + ((of * frames / 8) & !1)) % frames];
        let took = [
            time(|| one.scan(&source(0).mapping, Detection::Verified)),
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
    let [one, lines, visit, qemu] = &times;
    ratio(&name, "visitor, its pass included: x QEMU and a pass", qemu, visit);
    ratio(&name, "loads by lines: of plain ones", lines, one);
}

/// A second thread, which looks for work all the time or is woken.
fn threads(change: Change, spins: bool) {
    let name = format!("other\t{FULL_HD}\tXR24\tcold\t{}", change.name());
    if !is_asked_for(&name) {
        return;
    }
    let format = PixelFormat::Xrgb8888;
    let sources = sources(FULL_HD, format, change, true);
    let mut one = Engine::new(FULL_HD, format);
    let pool = Arc::new(Pool::new(spins));
    let mut two = Engine::new(FULL_HD, format).with_workers(Shared(Arc::clone(&pool)));
    let row_len = FULL_HD.width as usize * 4;
    let mut times = [const { Vec::new() }; 4];
    let start = Instant::now();
    for turn in 0.. {
        let source = |of: usize| &sources[(turn + of * sources.len() / 8 * 2) % sources.len()];
        let (above, below) = source(3).bytes.split_at(row_len * FULL_HD.height as usize / 2);
        let read = |bytes: &[u8]| _ = black_box(bare::pass(black_box(bytes), row_len, None));
        let took = [
            time(|| one.scan(&source(0).mapping, Detection::Verified)),
            time(|| two.scan(&source(1).mapping, Detection::Verified)),
            time(|| read(&source(2).bytes)),
            time(|| pool.join(&mut || read(above), &mut || read(below))),
        ];
        if turn >= FIRST {
            times.iter_mut().zip(took).for_each(|(all, time)| all.push(time));
            if start.elapsed() > TIME {
                break;
            }
        }
    }
    let how = if spins { "two threads" } else { "two threads, one is woken" };
    ratio(&name, &format!("{how}: x one"), &times[0], &times[1]);
    ratio(&name, &format!("{how}, a bare read: x one"), &times[2], &times[3]);
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

/// A poll in which nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Poll {
    /// It reads all.
    Scans,
    /// It is told so, one time after the other.
    Told,
    /// It is told so, and a whole screen is read before it, so that the caches have none of it.
    ToldCold,
}

/// Microseconds of it, beside its queries and its scan.
fn poll(size: Size, poll: Poll) {
    let residence = if poll == Poll::ToldCold { "cold" } else { "warm" };
    let name = format!("other\t{size}\tXR24\t{residence}\tunchanged");
    let what = match poll {
        Poll::Scans => "a poll beside its scan: us",
        Poll::Told | Poll::ToldCold => "a poll that is told of no change: us",
    };
    if !is_asked_for(&name) {
        return;
    }
    let mock = Mock::new(Personality::Region, size).expect("a mock");
    mock.show_card(0).expect("it draws");
    let mut display = Display::new(mock.clone()).expect("a display");
    display.set_detection(Detection::Verified);
    if poll != Poll::Scans {
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
        let mut scan = || time(|| engine.scan(&source.mapping, Detection::Verified));
        let scan = match poll {
            Poll::Scans => scan(),
            Poll::Told => 0.0,
            Poll::ToldCold => {
                scan();
                0.0
            }
        };
        beside.push((all - queries - scan) * 1e6);
    }
    let ones = vec![1.0; beside.len()];
    ratio(&name, what, &beside, &ones);
}

pub(crate) fn all(pixman: &Pixman) {
    for change in [Change::Nothing, Change::Window10, Change::All] {
        scans(pixman, change);
        threads(change, true);
        threads(change, false);
    }
    poll(Size::new(64, 64), Poll::Scans);
    for size in [FULL_HD, ULTRA_HD] {
        poll(size, Poll::Told);
        poll(size, Poll::ToldCold);
    }
}
