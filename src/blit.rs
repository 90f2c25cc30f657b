// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Copy out and detect in one pass: from a plane's bytes to a screen and its damage.
//!
//! A row is hashed segment by segment. A segment that hashes to what it did before is not looked
//! at again; of any other, the bytes that were hashed are decoded and compared with the screen,
//! so what is shown is what was hashed however busy the guest is. There is no second copy of the
//! plane's bytes. Where most of a screen changes, it is not compared but overwritten. DESIGN.md has
//! the arithmetic.

#![allow(unsafe_code, reason = "loads of memory that others write, by instructions of the CPU")]

mod ahead;
mod arch;
mod fetch;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod kernel;
mod key;
mod reading;
mod sample;
mod scanner;
mod seen;
mod store;

use crate::convert::Alpha;
use crate::damage::TILE;
use crate::device::PlaneType;
use crate::error::{Error, Result};
use crate::format::PixelFormat;
use crate::geometry::{Rect, Size};
use crate::plane::Plane;
use crate::screen::Screen;
use crate::sys::Span;

pub(crate) use self::ahead::Ahead;
#[cfg(feature = "testing")]
pub(crate) use self::kernel::Kernel;
pub(crate) use self::kernel::Streams;
pub use self::reading::{Memory, Workers};
pub(crate) use self::reading::{Reading, copy_mapping};
pub(crate) use self::sample::Rows;
pub use self::scanner::{Band, Scanner, Visitor};
pub(crate) use self::seen::{Part, Seen};
pub(crate) use self::store::{To, store_row};

/// How much of a screen a [poll](crate::Display::poll) reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detection {
    /// All of it. Each frame has all that changed before its poll: what a recording wants.
    Verified,
    /// One row in 8, another in each poll; those that changed in the last 8 polls; and from each row
    /// that changed on to both sides, until 4 in succession did not. What a viewer wants: a poll
    /// costs what changes, and an eighth of the rest.
    ///
    /// A change of 8 rows or more is seen at once, any other after at most 8 polls, an eighth of a
    /// second at 60 Hz. Where nothing had changed in the last 8 polls, all of the screen is read then,
    /// and the frame has all of the change. While things change, what lies more than 4 rows apart
    /// from all that is seen to change, and is less than 8 rows tall, is in a frame after at most 8
    /// polls; until then a viewer sees there what was there before.
    #[default]
    Sampled,
}

/// How pixels lie in memory, from the first one on. Made of a checked plane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) size: Size,
    pub(crate) stride: usize,
    pub(crate) format: PixelFormat,
    pub(crate) alpha: Alpha,
}

impl Layout {
    pub(crate) fn of(plane: &Plane) -> Result<Self> {
        let alpha = match plane.plane_type {
            PlaneType::Primary => Alpha::Ignore,
            PlaneType::Cursor | PlaneType::Overlay => Alpha::Keep,
        };
        let format = plane.pixel_format().map_err(Error::Unsupported)?;
        Ok(Self { size: plane.size, stride: plane.stride as usize, format, alpha })
    }

    /// Bytes of a row's pixels.
    pub(crate) const fn row_len(&self) -> usize {
        self.size.width as usize * self.format.bytes_per_pixel() as usize
    }

    /// Bytes from the first pixel to that of row `y`.
    pub(crate) const fn row_offset(&self, y: usize) -> usize {
        y * self.stride
    }

    /// Bytes from the first pixel to the last: the last row has no padding.
    pub(crate) const fn len(&self) -> u64 {
        (self.row_offset(self.size.height as usize - 1) + self.row_len()) as u64
    }
}

/// Copies what changed in `rows`, which follow each other without padding.
pub(crate) fn copy_rows(rows: &[u8], layout: &Layout, screen: &mut Screen) {
    let row_len = layout.row_len();
    screen.begin(layout);
    let mut strip = screen.strip(layout);
    for (y, row) in rows.chunks_exact(row_len).enumerate() {
        strip.scan(y, (Span::of(row), None), None);
    }
    screen.end();
}

/// Copies what changed in the rows that `read` fetches. If it fails, those above have been copied.
/// Where it is known what was written since the last copy, no other rows are fetched.
pub(crate) fn copy_from(
    mut read: impl FnMut(u32, &mut [u8]) -> Result<()>,
    layout: &Layout,
    written: Option<&[Rect]>,
    screen: &mut Screen,
) -> Result<()> {
    let known = screen.begin(layout).zip(written);
    let told = written.and_then(|_| screen.told());
    let mut bytes = screen.take_scratch();
    bytes.resize(layout.row_len(), 0);
    let mut strip = screen.strip(layout);
    let mut scan = |y: usize| {
        read(y as u32, &mut bytes)?;
        strip.scan(y, (Span::of(&bytes), None), None);
        Ok(())
    };
    let done = match known {
        Some((_, written)) => rows_of(written, told, layout).try_for_each(&mut scan),
        None => (0..layout.size.height as usize).try_for_each(&mut scan),
    };
    screen.keep_scratch(bytes);
    if done.is_ok() {
        screen.end();
    }
    done
}

/// Copies what differs within `rects`, of bytes that `read` fetches by their offset. For those who
/// know what changed: nothing is hashed. If it fails, some of them have been copied.
pub(crate) fn copy_rects(
    mut read: impl FnMut(usize, &mut [u8]) -> Result<()>,
    layout: &Layout,
    rects: &[Rect],
    screen: &mut Screen,
) -> Result<()> {
    screen.begin_rects(layout);
    let mut bytes = screen.take_scratch();
    let pixel = layout.format.bytes_per_pixel() as usize;
    let done = rects.iter().try_for_each(|rect| {
        // Whole tiles, which is what damage is kept in.
        let left = (rect.x - rect.x % TILE) as usize;
        let right = (rect.x + rect.width).next_multiple_of(TILE).min(layout.size.width) as usize;
        bytes.resize((right - left) * pixel, 0);
        (rect.y as usize..(rect.y + rect.height) as usize).try_for_each(|y| {
            read(layout.row_offset(y) + left * pixel, &mut bytes)?;
            screen.store(layout, (left, y), &bytes);
            Ok(())
        })
    });
    screen.keep_scratch(bytes);
    done
}

/// The rows that `rects` have a part in, and those whose turn it is: so that a change is mended that is
/// in no rectangle.
fn rows_of(rects: &[Rect], turn: Option<usize>, layout: &Layout) -> impl Iterator<Item = usize> {
    let height = layout.size.height;
    let rows = rects
        .iter()
        .flat_map(move |rect| rect.y.min(height)..rect.y.saturating_add(rect.height).min(height));
    let turn = turn.map(|turn| (turn..height as usize).step_by(seen::REFRESH));
    rows.map(|y| y as usize).chain(turn.into_iter().flatten())
}

#[cfg(test)]
mod tests;
