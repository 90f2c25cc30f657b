// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The guest's numbers become a checked plane, here and nowhere else.

use std::ops::Range;

use vm_memory::{Bytes, GuestAddress};

use super::config::{Config, MIN_SIDE};
use crate::convert::{self, Alpha};
use crate::format::{Fourcc, PixelFormat};
use crate::geometry::Size;
use crate::picture::Picture;
use crate::plane::MAX_SIDE;

/// Regions of guest memory begin and end at pages of at least this many bytes.
const PAGE: u64 = 4096;

/// What is wrong with a boot display that a guest set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RamfbError {
    /// A format that this crate does not read.
    #[error("ramfb: format {0} ({raw:#010x}) is not read", raw = .0.raw())]
    Format(Fourcc),
    /// Flags, of which none are defined.
    #[error("ramfb: flags {0:#x} mean nothing")]
    Flags(u32),
    /// A side is too short or too long.
    #[error("ramfb: size {0} is not within {MIN_SIDE}x{MIN_SIDE} and {MAX_SIDE}x{MAX_SIDE}")]
    Size(Size),
    /// A row does not fit the distance to the next row.
    #[error("ramfb: stride of {stride} bytes is less than a row of {width} pixels in {format}")]
    Stride {
        /// Bytes from a row to the next.
        stride: u32,
        /// Pixels of a row.
        width: u32,
        /// Their format.
        format: PixelFormat,
    },
    /// Not all of the picture is in guest memory.
    #[error("ramfb: {len} bytes at {address:#x} are not all in guest memory")]
    Memory {
        /// Guest physical address of the first pixel.
        address: u64,
        /// Bytes from the first pixel to the last.
        len: u64,
    },
}

/// A framebuffer in guest memory, whose numbers agree with one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamPlane {
    address: u64,
    size: Size,
    format: PixelFormat,
    stride: u32,
}

impl RamPlane {
    /// Checks the numbers alone, not yet against any memory.
    ///
    /// # Errors
    ///
    /// [`RamfbError`] with the number that cannot be.
    pub fn new(config: &Config) -> Result<Self, RamfbError> {
        let Config { address, flags, width, height, stride, .. } = *config;
        let format =
            PixelFormat::from_fourcc(config.format()).ok_or(RamfbError::Format(config.format()))?;
        if flags != 0 {
            return Err(RamfbError::Flags(flags));
        }
        let size = Size::new(width, height);
        let sides = MIN_SIDE..=MAX_SIDE;
        if !sides.contains(&width) || !sides.contains(&height) {
            return Err(RamfbError::Size(size));
        }
        let row = width * format.bytes_per_pixel();
        if stride != 0 && stride < row {
            return Err(RamfbError::Stride { stride, width, format });
        }
        let stride = if stride == 0 { row } else { stride };
        let plane = Self { address, size, format, stride };
        let len = plane.len();
        address.checked_add(len).ok_or(RamfbError::Memory { address, len })?;
        Ok(plane)
    }

    /// The configuration that describes it, with a stride that is not 0.
    pub fn config(&self) -> Config {
        Config {
            address: self.address,
            fourcc: self.format.fourcc().raw(),
            flags: 0,
            width: self.size.width,
            height: self.size.height,
            stride: self.stride,
        }
    }

    /// Guest physical address of the first pixel.
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Pixels in a row, and rows.
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Format of the pixels.
    pub const fn format(&self) -> PixelFormat {
        self.format
    }

    /// Bytes from a row to the next; the rows of a large stride may lie far apart.
    pub const fn stride(&self) -> u32 {
        self.stride
    }

    /// Bytes of a row's pixels.
    pub const fn row_len(&self) -> u32 {
        self.size.width * self.format.bytes_per_pixel()
    }

    /// Bytes from the first pixel to the last, at most 2^46: the last row has no padding.
    #[expect(clippy::len_without_is_empty, reason = "it has at least 16x16 pixels")]
    pub const fn len(&self) -> u64 {
        (self.size.height as u64 - 1) * self.stride as u64 + self.row_len() as u64
    }

    /// Whether all of it is in `memory`. Regions that touch one another are one here; nothing
    /// between regions is read.
    ///
    /// This goes by pages: it costs two reads of a byte for each 4 KiB of the pixels.
    pub fn is_in<M: Bytes<GuestAddress> + ?Sized>(&self, memory: &M) -> bool {
        // vm-memory has changed the arguments of `check_range` between its versions 0.17 and
        // 0.18, and takes a read for what it is in both.
        let there = |at: u64| memory.read_slice(&mut [0], GuestAddress(at)).is_ok();
        let row_len = u64::from(self.row_len());
        let all = |first: u64, end: u64| {
            let pages = (first / PAGE + 1..=(end - 1) / PAGE).map(|page| page * PAGE);
            there(first) && pages.into_iter().all(|at| there(at - 1) && there(at)) && there(end - 1)
        };
        if u64::from(self.stride) < row_len + PAGE {
            return all(self.address, self.address + self.len());
        }
        // Far apart: what is between the rows is of no concern.
        (0..self.size.height).map(|y| self.row_at(y)).all(|at| all(at, at + row_len))
    }

    /// Guest physical addresses of row `y`, whether or not there is one.
    fn row_at(&self, y: u32) -> u64 {
        self.address + u64::from(y) * u64::from(self.stride)
    }

    /// Copies the pixels of row `y` out, as they are in guest memory. `row` has to be
    /// [`row_len`](Self::row_len) bytes.
    ///
    /// # Errors
    ///
    /// [`RamfbError::Memory`] where `memory` does not have them, or no such row is.
    pub fn read_row<M>(&self, memory: &M, y: u32, row: &mut [u8]) -> Result<(), RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        let outside = RamfbError::Memory { address: self.address, len: self.len() };
        if y >= self.size.height || row.len() != self.row_len() as usize {
            return Err(outside);
        }
        memory.read_slice(row, GuestAddress(self.row_at(y))).map_err(|_| outside)
    }

    /// Makes `picture` a copy of it.
    ///
    /// # Errors
    ///
    /// [`RamfbError::Memory`] where `memory` does not have all of it; what `picture` shows is
    /// undefined then.
    pub fn copy<M>(&self, memory: &M, picture: &mut Picture) -> Result<(), RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        if picture.size() != self.size {
            picture.resize(self.size);
        }
        self.copy_rows(memory, 0..self.size.height, picture)
    }

    /// Copies rows that changed into `picture`, which has to be of the same size.
    ///
    /// # Errors
    ///
    /// [`RamfbError::Memory`] as of [`copy`](Self::copy); [`RamfbError::Size`] with the picture's
    /// size where it is another.
    pub fn copy_rows<M>(
        &self,
        memory: &M,
        rows: Range<u32>,
        picture: &mut Picture,
    ) -> Result<(), RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        if picture.size() != self.size {
            return Err(RamfbError::Size(picture.size()));
        }
        let mut bytes = vec![0; self.row_len() as usize];
        let (first, count) = (rows.start as usize, rows.len());
        for (y, pixels) in rows.zip(picture.rows_mut().skip(first).take(count)) {
            self.read_row(memory, y, &mut bytes)?;
            convert::row(self.format, Alpha::Ignore, &bytes, pixels);
        }
        Ok(())
    }
}
