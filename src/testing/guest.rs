// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The part of the guest, played through a device fd.
//!
//! Everything here works on a mock and on a real device alike, so that one test body runs on
//! both, and what the mock does is checked beside the real thing.

pub mod bochs;

use std::os::fd::AsFd;

use crate::device::{RegionDevice, RegionIndex};
use crate::error::{Call, Result};
use crate::sys::WritableMapping;

/// Maps all of BAR `bar` of `device`, readable and writable, as a VMM does for its guest.
///
/// # Errors
///
/// As [`RegionDevice::region_info`] and [`RegionDevice::map`].
pub fn map_bar<D: RegionDevice + AsFd>(device: &D, bar: u32) -> Result<WritableMapping> {
    let region = device.region_info(RegionIndex(bar))?;
    let call = Call::Map { index: region.index, offset: 0, len: region.size };
    let len = region.mappable_len(0, region.mappable_from_start())?;
    WritableMapping::new(device.as_fd(), region.offset, len).map_err(|errno| call.refused(errno))
}
