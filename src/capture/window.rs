// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A part of a region, read through a mapping where there can be one.

use crate::device::{RegionDevice, RegionIndex};
use crate::error::{Error, Result};
use crate::region::{RegionFlags, RegionInfo};
use crate::sys::Mapping;

/// Mappings start at pages.
const PAGE: u64 = 4096;

#[derive(Debug)]
pub(super) struct Window {
    info: RegionInfo,
    offset: u64,
    len: u64,
    /// All of it; `None` where the region's file is read instead.
    mapping: Option<Mapping>,
}

impl Window {
    /// `len` bytes of region `info` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`], and what the device answers where the bytes can't be read either.
    pub(super) fn new<D: RegionDevice + ?Sized>(
        device: &D,
        info: RegionInfo,
        offset: u64,
        len: u64,
    ) -> Result<Self> {
        info.file_offset(offset, len)?;
        let can_be = offset.is_multiple_of(PAGE) && info.mappable_len(offset, len).is_ok();
        let mapping = match can_be.then(|| device.map(&info, offset, len)).transpose() {
            Ok(mapping) => mapping.filter(|mapping| mapping.len() as u64 >= len),
            // Memory that is not safe to map, or not in this way, can still be read.
            Err(Error::Refused { .. }) if info.flags.contains(RegionFlags::READ) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { info, offset, len, mapping })
    }

    /// Whether it is that part of that region.
    pub(super) fn is(&self, region: u32, offset: u64, len: u64) -> bool {
        (self.info.index, self.offset, self.len) == (RegionIndex(region), offset, len)
    }

    /// Fills `out` with its bytes from `at` on.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`], and what the device answers.
    pub(super) fn read<D: RegionDevice + ?Sized>(
        &self,
        device: &D,
        at: usize,
        out: &mut [u8],
    ) -> Result<()> {
        match &self.mapping {
            Some(mapping) if mapping.copy_out(at, out) => Ok(()),
            Some(_) => Err(self.info.outside(at as u64, out.len() as u64, self.len)),
            None => device.read(&self.info, self.offset + at as u64, out),
        }
    }
}
