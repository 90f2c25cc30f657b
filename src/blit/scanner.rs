// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Detection for those who need no copy of the screen: what changed, handed on while it is in the
//! cache.

use super::ahead::Ahead;
use super::sample::SAMPLED;
use super::{Detection, Layout, Seen, To};
use crate::damage::{Damage, TILE};
use crate::error::Result;
use crate::geometry::{Point, Size};
use crate::picture::Picture;
use crate::plane::{Plane, PlaneError};
use crate::sys::{Mapping, Span};

/// Rows of a band.
const ROWS: usize = TILE as usize;

/// Sees what changed: an encoder, a copy in other memory.
pub trait Visitor {
    /// Takes in what changed of a band of 16 rows. Bands come from the top, but what a sampled poll
    /// finds later it hands on later: then one comes again in the same poll, with other runs.
    fn band(&mut self, band: &Band<'_>);
}

/// 16 rows of a plane, or what there is of them, as far as they changed.
#[derive(Debug)]
pub struct Band<'a> {
    top: usize,
    size: Size,
    pixels: &'a Picture,
    changed: &'a Damage,
}

impl Band<'_> {
    /// Pixels in a row of the plane, and rows.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Calls `run` with what changed: the place of a pixel, and as many pixels, `0xffRRGGBB`, from it
    /// on to the right.
    pub fn runs(&self, mut run: impl FnMut(Point, &[u32])) {
        let width = self.size.width;
        for (row, pixels) in self.pixels.rows().enumerate() {
            self.changed.runs(row, &mut |start, end| {
                let (left, right) = (start * TILE, (end * TILE).min(width));
                let place = Point::new(left as i32, (self.top + row) as i32);
                run(place, &pixels[left as usize..right as usize]);
            });
        }
    }
}

/// Finds what changes in a plane's memory, keeping hashes of it and no copy: 3.1 % of a frame.
///
/// It is for embedders that map the memory themselves, by
/// [`RegionDevice::map`](crate::device::RegionDevice::map) or
/// [`Dmabuf::cpu_read`](crate::dmabuf::Dmabuf::cpu_read), and want neither a picture nor a schedule;
/// those have a [`Display`](crate::Display). There is nothing to compare with, so segments of 256
/// bytes are handed on whole (384 where pixels have three).
///
/// ```
/// # #[cfg(feature = "testing")] {
/// use vfio_display::device::{GfxDevice as _, PlaneKind, PlaneType, RegionDevice as _, RegionIndex};
/// use vfio_display::geometry::Size;
/// use vfio_display::plane::PlaneState;
/// use vfio_display::testing::{Mock, Personality};
/// use vfio_display::{Band, Detection, Scanner, Visitor};
///
/// struct Count(usize);
///
/// impl Visitor for Count {
///     fn band(&mut self, band: &Band<'_>) {
///         band.runs(|_, pixels| self.0 += pixels.len());
///     }
/// }
///
/// let mock = Mock::new(Personality::Region, Size::new(640, 480))?;
/// let PlaneState::Live(plane) = PlaneState::query(&mock, PlaneType::Primary, PlaneKind::Region)?
/// else { panic!("it is on") };
/// let region = mock.region_info(RegionIndex(10))?;
/// let mapping = mock.map(&region, 0, plane.len.into())?;
/// let (mut scanner, mut count) = (Scanner::new(), Count(0));
/// scanner.visit(&plane, &mapping, Detection::Verified, &mut count)?;
/// assert_eq!(count.0, 640 * 480);
/// scanner.visit(&plane, &mapping, Detection::Verified, &mut count)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct Scanner {
    seen: Seen,
    /// The band that is being scanned.
    band: Picture,
    /// Its tiles that changed, those of each row in a row of tiles of their own.
    changed: Damage,
}

impl Scanner {
    /// One that has seen nothing: what it visits first is all new.
    pub fn new() -> Self {
        Self::default()
    }

    /// One whose bytes `kernel` hashes.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn with(kernel: super::kernel::Kernel) -> Self {
        Self { seen: Seen::with(kernel), ..Self::default() }
    }

    /// Shows `visitor` what changed in `plane` since the last visit, all of it where that was of
    /// another plane. The plane's pixels begin at the start of `mapping`.
    ///
    /// # Errors
    ///
    /// [`Error::Unsupported`](crate::Error::Unsupported), and [`PlaneError`] where the plane's numbers
    /// do not agree with one another, or with the bytes that are mapped.
    pub fn visit(
        &mut self,
        plane: &Plane,
        mapping: &Mapping,
        detection: Detection,
        visitor: &mut impl Visitor,
    ) -> Result<()> {
        plane.check()?;
        let layout = Layout::of(plane)?;
        let (needed, len) = (layout.len(), mapping.len());
        if needed > len as u64 {
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            let (size, stride) = (plane.size, plane.stride);
            return Err(PlaneError::Len { needed, size, stride, len }.into());
        }
        self.visit_span(mapping.span(), &layout, detection, visitor);
        Ok(())
    }

    pub(super) fn visit_span(
        &mut self,
        span: Span<'_>,
        layout: &Layout,
        detection: Detection,
        visitor: &mut impl Visitor,
    ) {
        let Size { width, height } = layout.size;
        let turn = self.seen.begin(layout);
        if self.band.size().width != width {
            self.band.resize(Size::new(width, ROWS as u32));
            self.changed.reset(Size::new(width, ROWS as u32 * TILE));
        }
        let mut rows = std::mem::take(&mut self.seen.rows);
        {
            let (band, changed) = (&mut self.band, &mut self.changed);
            let mut part = self.seen.part(layout);
            let mut top = 0;
            let mut flush = |top: usize, pixels: &Picture, changed: &mut Damage| {
                if !changed.is_empty() {
                    visitor.band(&Band { top, size: layout.size, pixels, changed });
                    changed.clear();
                }
            };
            let mut scan = |y: usize, next: usize| {
                if y - y % ROWS != top {
                    flush(top, band, changed);
                    top = y - y % ROWS;
                }
                let row = span.part(layout.row_offset(y), layout.row_len());
                let mark = y % ROWS * TILE as usize;
                let to = To { row: band.row_mut(y % ROWS), kept: false, damage: changed, mark };
                part.scan(y, (row, Some(Ahead::of(span, layout, y, next))), to, None)
            };
            match (detection, turn) {
                (Detection::Sampled, Some(turn)) => rows.sample(turn % SAMPLED, &mut scan),
                _ => (0..height as usize).for_each(|y| _ = scan(y, y + 1)),
            }
            flush(top, band, changed);
        }
        self.seen.rows = rows;
        self.seen.end();
    }
}
