// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading the page, all of it in one state.
//!
//! Source: `docs/framebuffer-region.md`, "Consistency".

use super::error::FbRegionError;
use super::layout::{self, PAGE_LEN};
use super::page::Page;
use crate::device::RegionDevice;
use crate::error::Result;
use crate::region::{RegionFlags, RegionInfo};

/// Looks at a page that is in the middle of a change.
const TRIES: u32 = 8;

impl Page {
    /// Reads the page of `region` and checks it.
    ///
    /// # Errors
    ///
    /// What the device answers, and [`FbRegionError`].
    pub fn read<D: RegionDevice + ?Sized>(device: &D, region: &RegionInfo) -> Result<Self> {
        let (size, flags) = (region.size, region.flags);
        if size < PAGE_LEN as u64 {
            return Err(FbRegionError::Short { size }.into());
        }
        if !flags.contains(RegionFlags::READ | RegionFlags::WRITE) {
            return Err(FbRegionError::Access { flags }.into());
        }
        let mut bytes = Box::new([0; PAGE_LEN]);
        let first = sequence(device, region)?;
        read_steady(device, region, first, &mut bytes)?;
        Ok(Self::new(bytes, size)?)
    }
}

/// The page's sequence now.
pub(crate) fn sequence<D: RegionDevice + ?Sized>(device: &D, region: &RegionInfo) -> Result<u64> {
    let mut bytes = [0; 8];
    device.read(region, layout::SEQUENCE.offset as u64, &mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads a page whose sequence was `before`, until none of it changed meanwhile.
pub(crate) fn read_steady<D: RegionDevice + ?Sized>(
    device: &D,
    region: &RegionInfo,
    mut before: u64,
    bytes: &mut [u8; PAGE_LEN],
) -> Result<()> {
    for _ in 0..TRIES {
        if before.is_multiple_of(2) {
            device.read(region, 0, bytes)?;
        }
        let after = sequence(device, region)?;
        if before.is_multiple_of(2) && before == after && layout::SEQUENCE.get(bytes) == after {
            return Ok(());
        }
        before = after;
    }
    Err(FbRegionError::Unsteady { tries: TRIES }.into())
}
