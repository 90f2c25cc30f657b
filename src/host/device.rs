// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What was reached, as a device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{Borrowed, Opened};
use crate::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex,
};
use crate::error::Result;
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, PlaneInfo};

/// A device that a [`Target`](super::Target) led to.
#[derive(Debug)]
pub enum Reached {
    /// One that we opened.
    Opened(Opened),
    /// One that a running VMM has open.
    Borrowed(Borrowed),
}

impl Reached {
    fn device(&self) -> &dyn GfxDevice {
        match self {
            Self::Opened(device) => device,
            Self::Borrowed(device) => device,
        }
    }

    /// Name of the device's driver, where it is known.
    pub fn driver(&self) -> Option<&str> {
        match self {
            Self::Opened(device) => device.driver(),
            Self::Borrowed(device) => device.driver(),
        }
    }

    /// Whether the driver breaks where others hold the device's dma-bufs: exports look for those
    /// then, in all processes.
    pub fn driver_breaks(&self) -> bool {
        match self {
            Self::Opened(device) => device.guard.breaks(),
            Self::Borrowed(device) => device.breaks(),
        }
    }
}

impl AsFd for Reached {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Opened(device) => device.as_fd(),
            Self::Borrowed(device) => device.as_fd(),
        }
    }
}

impl RegionDevice for Reached {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.device().device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        self.device().region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.device().read(region, offset, buf)
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.device().write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        self.device().map(region, offset, len)
    }
    fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.device().set_eventfd(index, fd)
    }
}

impl GfxDevice for Reached {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.device().probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        self.device().query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        self.device().export_dmabuf(id)
    }
}
