// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Regions by kernel index, and the chain of capabilities behind an answer.
//!
//! The answer of `VFIO_DEVICE_GET_REGION_INFO` is parsed over bytes: every offset in it is
//! checked against the bytes that came, and a chain goes forward or is refused, so its length is
//! bounded by the answer's.

mod answer;

use std::borrow::Cow;
use std::ops::Range;

use bitflags::bitflags;

pub use self::answer::RegionError;
use self::answer::{parse, u32_at};
use crate::device::{RegionDevice, RegionIndex};
use crate::error::{Call, Error, Result};
use crate::uapi::{
    REGION_CAPS, REGION_HEAD_BYTES, REGION_MMAP, REGION_READ, REGION_SUBTYPE_GFX_EDID,
    REGION_TYPE_GFX, REGION_WRITE,
};

/// Longest answer that is asked for, in bytes. Real ones stay below 200.
pub const MAX_ANSWER: u32 = 64 << 10;

bitflags! {
    /// What can be done with a region.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct RegionFlags: u32 {
        /// It can be read.
        const READ = REGION_READ;
        /// It can be written.
        const WRITE = REGION_WRITE;
        /// It can be mapped.
        const MMAP = REGION_MMAP;
        /// Its answer carries capabilities.
        const CAPS = REGION_CAPS;
        const _ = !0;
    }
}

/// A region of a device, checked: nothing in it wraps or points outside.
#[doc(alias = "vfio_region_info")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionInfo {
    /// Its number.
    pub index: RegionIndex,
    /// What can be done with it.
    pub flags: RegionFlags,
    /// Its bytes.
    pub size: u64,
    /// Where it lies in the device's file.
    pub offset: u64,
    /// What else the device says of it, in the device's order.
    pub capabilities: Vec<Capability>,
}

/// One link of a region's chain of capabilities.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Capability {
    /// Only these parts of the region can be mapped; each lies inside it.
    #[doc(alias = "VFIO_REGION_INFO_CAP_SPARSE_MMAP")]
    SparseMmap(Vec<Range<u64>>),
    /// What the region is.
    #[doc(alias = "VFIO_REGION_INFO_CAP_TYPE")]
    Type {
        /// Vendor or class of the subtype.
        kind: u32,
        /// What it is within that.
        subtype: u32,
    },
    /// One that this crate has no use for.
    Other {
        /// Its id.
        id: u16,
        /// The version of its layout.
        version: u16,
    },
}

impl RegionInfo {
    /// Asks for region `index` by `ask`, which fills a buffer as the ioctl does.
    ///
    /// Asked twice where there is more than the head: with 32 bytes, then with exactly the
    /// length that came back. The second answer is the one that counts; there is a driver that
    /// fills nothing before it.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::region_info`].
    pub fn query(
        index: RegionIndex,
        mut ask: impl FnMut(&mut [u8]) -> rustix::io::Result<()>,
    ) -> Result<Self> {
        let refused = |errno| Call::RegionInfo(index).refused(errno);
        let mut head = [0; REGION_HEAD_BYTES];
        ask(&mut head).map_err(refused)?;
        let argsz = u32_at(&head, 0).unwrap_or_default();
        if argsz as usize <= REGION_HEAD_BYTES {
            return Self::parse(index, &head);
        }
        if argsz > MAX_ANSWER {
            return Err(Error::Region { index, error: RegionError::TooLong { argsz } });
        }
        let mut answer = vec![0; argsz as usize];
        ask(&mut answer).map_err(refused)?;
        Self::parse(index, &answer)
    }

    /// Reads an answer: a `vfio_region_info` with its capabilities behind it.
    ///
    /// # Errors
    ///
    /// [`Error::Region`] where it makes no sense.
    pub fn parse(index: RegionIndex, answer: &[u8]) -> Result<Self> {
        parse(index, answer).map_err(|error| Error::Region { index, error })
    }

    /// Whether it is the region of that type and subtype.
    pub fn is_type(&self, wanted: u32, wanted_subtype: u32) -> bool {
        self.capabilities.iter().any(|capability| {
            matches!(capability, Capability::Type { kind, subtype }
                if (*kind, *subtype) == (wanted, wanted_subtype))
        })
    }

    /// Whether it is an EDID region.
    pub fn is_edid(&self) -> bool {
        self.is_type(REGION_TYPE_GFX, REGION_SUBTYPE_GFX_EDID)
    }

    /// Where `len` bytes at `offset` of the region lie in the device's file.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`] where they do not fit the region.
    pub fn file_offset(&self, offset: u64, len: u64) -> Result<u64> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size => Ok(self.offset + offset),
            _ => Err(self.outside(offset, len, self.size)),
        }
    }

    /// Whether `len` bytes at `offset` can be mapped, and `len` as a length of memory.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`] with the bytes that can be mapped from the region's start on.
    pub fn mappable_len(&self, offset: u64, len: u64) -> Result<usize> {
        let inside = |area: &Range<u64>| {
            area.start <= offset && offset.checked_add(len).is_some_and(|end| end <= area.end)
        };
        match usize::try_from(len) {
            Ok(bytes) if self.mappable().iter().any(inside) => Ok(bytes),
            _ => Err(self.outside(offset, len, self.mappable_from_start())),
        }
    }

    /// Bytes from the region's start on that can be mapped; 0 for none.
    pub fn mappable_from_start(&self) -> u64 {
        self.mappable().iter().find(|area| area.start == 0).map_or(0, |area| area.end)
    }

    /// The parts that can be mapped, each on its own.
    fn mappable(&self) -> Cow<'_, [Range<u64>]> {
        if !self.flags.contains(RegionFlags::MMAP) {
            return Cow::Borrowed(&[]);
        }
        let sparse = self.capabilities.iter().find_map(|capability| match capability {
            Capability::SparseMmap(areas) => Some(areas.as_slice()),
            _ => None,
        });
        sparse.map_or_else(|| Cow::Owned(std::iter::once(0..self.size).collect()), Cow::Borrowed)
    }

    /// The error of an access outside the `size` bytes that there are.
    pub(crate) fn outside(&self, offset: u64, len: u64, size: u64) -> Error {
        Error::OutsideRegion { index: self.index, offset, len, size }
    }
}

/// Indices past a device's own count that are looked at. Display devices put regions there.
const HIDDEN_REGIONS: u32 = 32;

/// Every region that the device has, also those beyond the number that it admits to.
///
/// Regions that it has not, or whose description makes no sense, are left out.
///
/// # Errors
///
/// What [`RegionDevice::device_info`] answers.
pub fn all<D: RegionDevice + ?Sized>(device: &D) -> Result<Vec<RegionInfo>> {
    let count = device.device_info()?.num_regions.clamp(HIDDEN_REGIONS, 2 * HIDDEN_REGIONS);
    Ok((0..count).filter_map(|index| device.region_info(RegionIndex(index)).ok()).collect())
}
