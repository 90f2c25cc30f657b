// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The vGPU that this machine has not.
//!
//! A VMM with one gives [`Display`](vfio_display::Display) its `VfioDevice`, and the boot display
//! is shown while that shows nothing. Here the device shows nothing for ever.

use std::os::fd::OwnedFd;

use vfio_display::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionDevice, RegionIndex};
use vfio_display::error::Call;
use vfio_display::region::RegionInfo;
use vfio_display::uapi::{DeviceInfo, PlaneInfo};
use vfio_display::{Errno, Error, Mapping, Result};

/// A device with a display that is off, and nothing else.
#[derive(Debug)]
pub(crate) struct NoVgpu;

impl GfxDevice for NoVgpu {
    fn probe(&self, _: PlaneKind) -> Result<()> {
        Ok(())
    }

    /// All zeros is how a driver says that no mode is set.
    fn query_plane(&self, _: PlaneType, _: PlaneKind) -> Result<PlaneInfo> {
        Ok(PlaneInfo::default())
    }

    fn export_dmabuf(&self, _: DmabufId) -> Result<OwnedFd> {
        nothing()
    }
}

impl RegionDevice for NoVgpu {
    fn device_info(&self) -> Result<DeviceInfo> {
        nothing()
    }

    fn region_info(&self, _: RegionIndex) -> Result<RegionInfo> {
        nothing()
    }

    fn read(&self, _: &RegionInfo, _: u64, _: &mut [u8]) -> Result<()> {
        nothing()
    }

    fn write(&self, _: &RegionInfo, _: u64, _: &[u8]) -> Result<()> {
        nothing()
    }

    fn map(&self, _: &RegionInfo, _: u64, _: u64) -> Result<Mapping> {
        nothing()
    }
}

fn nothing<T>() -> Result<T> {
    Err(Error::Refused { call: Call::DeviceInfo, errno: Errno::from_raw(libc::ENOTTY) })
}
