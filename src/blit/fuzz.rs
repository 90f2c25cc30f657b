// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every kernel against a plain decode and compare: pictures of any shape, edits of any kind.

use super::kernel::Kernel;
use super::reading::copy_span;
use super::{Band, Detection, Layout, Memory, Reading, Scanner, Seen, Visitor, Workers, store};
use crate::convert::{self, Alpha};
use crate::damage::Damage;
use crate::format::PixelFormat;
use crate::geometry::{Rect, Size};
use crate::screen::Screen;
use crate::sys::Span;

/// What a scan has to find, by decoding all and comparing all.
pub(super) fn oracle(bytes: &[u8], layout: &Layout, shown: &mut [u32]) -> Damage {
    let mut damage = Damage::new(layout.size);
    let width = layout.size.width as usize;
    for y in 0..layout.size.height as usize {
        let row = &bytes[layout.row_offset(y)..][..layout.row_len()];
        let mut pixels = vec![0; width];
        convert::row(layout.format, layout.alpha, row, &mut pixels);
        let shown = &mut shown[y * width..][..width];
        for x in 0..width {
            if pixels[x] != shown[x] {
                damage.mark(x as u32, y as u32);
            }
        }
        shown.copy_from_slice(&pixels);
    }
    damage
}

/// The tiles of all segments whose bytes changed: the most that a dense poll may mark.
pub(super) fn segments(before: &[u8], bytes: &[u8], layout: &Layout) -> Damage {
    let mut damage = Damage::new(layout.size);
    let pixel = layout.format.bytes_per_pixel() as usize;
    let pixels = store::segment_pixels(layout);
    for y in 0..layout.size.height as usize {
        let row = layout.row_offset(y)..layout.row_offset(y) + layout.row_len();
        let both =
            before[row.clone()].chunks(pixels * pixel).zip(bytes[row].chunks(pixels * pixel));
        for (n, (before, bytes)) in both.enumerate().filter(|(_, (before, bytes))| before != bytes)
        {
            assert_eq!(before.len(), bytes.len());
            let (x, width) = ((n * pixels) as u32, (bytes.len() / pixel) as u32);
            damage.mark_rect(Rect { x, y: y as u32, width, height: 1 });
        }
    }
    damage
}

/// Whether all of `part` is in `damage`.
pub(super) fn covers(damage: &Damage, part: &Damage) -> bool {
    let mut both = damage.clone();
    both.merge(part);
    both == *damage
}

/// What a visitor was handed, put where it belongs.
pub(super) struct Drawn {
    pub(super) picture: Vec<u32>,
    pub(super) damage: Damage,
}

impl Drawn {
    pub(super) fn new(size: Size) -> Self {
        Self { picture: vec![0; size.area() as usize], damage: Damage::new(size) }
    }
}

impl Visitor for Drawn {
    fn band(&mut self, band: &Band<'_>) {
        band.runs(|place, pixels| {
            let (x, y) = (place.x as u32, place.y as u32);
            let at = (y * band.size().width + x) as usize;
            self.picture[at..][..pixels.len()].copy_from_slice(pixels);
            self.damage.mark_rect(Rect { x, y, width: pixels.len() as u32, height: 1 });
        });
    }
}

/// Threads as an embedder may lend them, well or badly.
#[derive(Debug)]
pub(super) enum Lent {
    Scope,
    Nothing,
    OneTwice,
}

impl Workers for Lent {
    fn join(&self, one: &mut (dyn FnMut() + Send), other: &mut (dyn FnMut() + Send)) {
        match self {
            Self::Scope => std::thread::scope(|scope| {
                let thread = scope.spawn(other);
                one();
                // A scope ends before its threads have: what they still hold then looks like a leak.
                thread.join().expect("it does not panic");
            }),
            Self::Nothing => {}
            Self::OneTwice => {
                other();
                other();
            }
        }
    }
}

/// The body of the fuzz target: a picture's shape, and then edits, of which some end a poll.
///
/// # Panics
///
/// Where a kernel finds anything else than the oracle does.
pub fn run(data: &[u8]) {
    let Some((head, edits)) = data.split_first_chunk::<6>() else { return };
    let [width, more, height, format, padding, start] = head.map(usize::from);
    let size = Size::new(1 + width as u32 + (more as u32 % 4) * 100, 1 + height as u32 % 24);
    let way = format / PixelFormat::ALL.len();
    let format = PixelFormat::ALL[format % PixelFormat::ALL.len()];
    let lent = [Lent::Scope, Lent::Nothing, Lent::OneTwice];
    let reading = match way % 8 {
        0 => Reading { memory: Memory::WriteCombined, ..Detection::Verified.into() },
        way => {
            let workers = lent.get(way - 1).map(|lent| lent as &dyn Workers);
            Reading { workers, ..Detection::Verified.into() }
        }
    };
    let alpha = if more < 128 { Alpha::Ignore } else { Alpha::Keep };
    let stride = size.width as usize * format.bytes_per_pixel() as usize + padding;
    let layout = Layout { size, stride, format, alpha };
    for kernel in Kernel::available() {
        let mut memory = vec![0_u8; start + layout.len() as usize];
        let mut screen = Screen::with(Seen::with(kernel));
        let mut shown = vec![0; size.area() as usize];
        let (mut scanner, mut drawn) = (Scanner::with(kernel), Drawn::new(size));
        let mut poll = |before: &[u8], bytes: &[u8]| {
            poll((before, bytes), &layout, reading, &mut screen, &mut shown);
            scanner.visit_span(Span::of(bytes), &layout, Detection::Verified, &mut drawn);
            assert!(drawn.picture == shown, "{layout:?}: what was handed on differs");
        };
        poll(&memory[start..], &memory[start..]);
        let mut before = memory.clone();
        for edit in edits.chunks_exact(4) {
            let at = usize::from(edit[0]) << 8 | usize::from(edit[1]);
            let (at, len) = (at * 5 % memory.len(), usize::from(edit[2] >> 1) * 64 + 1);
            let end = (at + len).min(memory.len());
            memory[at..end].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(5) ^ edit[3]);
            if edit[2] & 1 == 0 {
                poll(&before[start..], &memory[start..]);
                before.clone_from(&memory);
            }
        }
    }
}

/// One poll, and whether it is what it has to be.
fn poll(
    (before, bytes): (&[u8], &[u8]),
    layout: &Layout,
    reading: Reading<'_>,
    screen: &mut Screen,
    shown: &mut [u32],
) {
    let (first, dense) = (screen.picture().size() != layout.size, screen.is_dense());
    screen.shown();
    copy_span(Span::of(bytes), layout, screen, reading);
    let mut damage = oracle(bytes, layout, shown);
    assert!(screen.picture().pixels() == shown, "{layout:?}: the pixels differ");
    if first {
        damage.mark_rect(layout.size.rect());
    }
    if dense {
        assert!(covers(screen.damage(), &damage), "{layout:?}: damage is missing");
        let most = segments(before, bytes, layout);
        assert!(covers(&most, screen.damage()), "{layout:?}: damage where nothing changed");
    } else {
        assert_eq!(*screen.damage(), damage, "{layout:?}");
    }
}
