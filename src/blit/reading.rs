// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a mapping is read: how much of it, by what loads, on whose threads.

use std::fmt;
use std::ops::Range;

use super::ahead::Ahead;
use super::fetch::{fetch, wait_for_loads};
use super::sample::SAMPLED;
use super::{Detection, Layout, rows_of};
use crate::damage::TILE;
use crate::geometry::Rect;
use crate::screen::{Screen, Strip};
use crate::sys::{Mapping, Span};

/// What kind of memory a plane is in, as the CPU that reads it sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Memory {
    /// The caches hold it: ordinary memory, of a guest or of a driver.
    #[default]
    Cached,
    /// Mapped write-combined, as a BAR often is: ordinary loads of it go out one by one. It is read by
    /// loads that fetch a line at a time (`MOVNTDQA`) where the CPU has them, and of cached memory
    /// those are slower. Nothing tells a process how its memory is mapped, so who knows says so.
    WriteCombined,
}

/// Threads that an embedder lends: a scope, a pool. This crate starts none.
pub trait Workers: fmt::Debug {
    /// Runs both, at once if it can, and comes back when both are done: `rayon::join`, or a thread of
    /// `std::thread::scope` for one of them. What it leaves out is done by the caller.
    fn join(&self, one: &mut (dyn FnMut() + Send), other: &mut (dyn FnMut() + Send));
}

/// How a plane is read.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reading<'a> {
    pub(crate) detection: Detection,
    pub(crate) memory: Memory,
    pub(crate) workers: Option<&'a dyn Workers>,
    /// What was written since the last copy, where that is known.
    pub(crate) written: Option<&'a [Rect]>,
}

impl From<Detection> for Reading<'_> {
    fn from(detection: Detection) -> Self {
        Self { detection, ..Self::default() }
    }
}

/// Copies what changed in `mapping`, which has at least [`Layout::len`] bytes.
pub(crate) fn copy_mapping(
    mapping: &Mapping,
    layout: &Layout,
    screen: &mut Screen,
    reading: Reading<'_>,
) {
    copy_span(mapping.span(), layout, screen, reading);
}

pub(super) fn copy_span(
    span: Span<'_>,
    layout: &Layout,
    screen: &mut Screen,
    reading: Reading<'_>,
) {
    let turn = screen.begin(layout);
    let height = layout.size.height as usize;
    let cached = reading.memory == Memory::Cached;
    let sampled = reading.detection == Detection::Sampled;
    match (turn, reading.written, reading.workers) {
        (Some(_), Some(written), _) => {
            let turn = screen.told();
            scan(span, layout, screen, reading.memory, |scan| {
                rows_of(written, turn, layout).for_each(|y| _ = scan(y, y + 1));
            });
        }
        // Sampled rows are too few for two threads, but where most of them changed.
        (turn, _, Some(workers))
            if cached
                && height > TILE as usize
                && (turn.is_none() || !sampled || screen.is_dense()) =>
        {
            both(workers, span, layout, screen);
        }
        (Some(turn), ..) if sampled => {
            let mut rows = screen.take_rows();
            scan(span, layout, screen, reading.memory, |scan| rows.sample(turn % SAMPLED, scan));
            screen.keep_rows(rows);
        }
        _ => scan(span, layout, screen, reading.memory, |scan| {
            (0..height).for_each(|y| _ = scan(y, y + 1));
        }),
    }
    screen.end();
}

/// Has `order` name the rows to be scanned, each with the one that is likely to be next.
fn scan(
    span: Span<'_>,
    layout: &Layout,
    screen: &mut Screen,
    memory: Memory,
    order: impl FnOnce(&mut dyn FnMut(usize, usize) -> bool),
) {
    let mut bytes = screen.take_scratch();
    {
        let mut strip = screen.strip(layout);
        let streams = strip.streams();
        if memory == Memory::WriteCombined {
            bytes.resize(layout.row_len(), 0);
            wait_for_loads();
        }
        order(&mut |y, next| {
            let row = span.part(layout.row_offset(y), layout.row_len());
            let row = match memory {
                Memory::Cached => (row, Some(Ahead::of(span, layout, y, next))),
                Memory::WriteCombined => {
                    fetch(row, &mut bytes);
                    (Span::of(&bytes), None)
                }
            };
            strip.scan(y, row, streams.as_ref())
        });
    }
    screen.keep_scratch(bytes);
}

/// Scans all rows, half of them on each of two threads.
fn both(workers: &dyn Workers, span: Span<'_>, layout: &Layout, screen: &mut Screen) {
    let height = layout.size.height as usize;
    let mid = (height / 2).next_multiple_of(TILE as usize);
    let mut found = screen.take_found(layout.size);
    let [mut top, mut bottom] = screen.strips(layout, mid, &mut found);
    let [mut one, mut other] =
        [(&mut top, 0..mid), (&mut bottom, mid..height)].map(|(strip, rows)| {
            let mut left = Some(rows);
            move || {
                if let Some(rows) = left.take() {
                    all(strip, span, layout, rows);
                }
            }
        });
    workers.join(&mut one, &mut other);
    // What they left out.
    one();
    other();
    screen.merge(found);
}

fn all(strip: &mut Strip<'_>, span: Span<'_>, layout: &Layout, rows: Range<usize>) {
    let streams = strip.streams();
    for y in rows {
        let row = span.part(layout.row_offset(y), layout.row_len());
        strip.scan(y, (row, Some(Ahead::of(span, layout, y, y + 1))), streams.as_ref());
    }
}
