// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device whose reads are counted in bytes.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use vfio_display::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex,
};
use vfio_display::region::RegionInfo;
use vfio_display::uapi::{DeviceInfo, PlaneInfo};
use vfio_display::{Mapping, Result};

#[derive(Debug)]
pub(crate) struct Metered<D> {
    device: D,
    bytes: AtomicU64,
}

impl<D: RegionDevice> Metered<D> {
    pub(crate) fn new(device: D) -> Self {
        Self { device, bytes: AtomicU64::new(0) }
    }

    /// Bytes read since the last call.
    pub(crate) fn take_bytes(&self) -> u64 {
        self.bytes.swap(0, Ordering::Relaxed)
    }

    /// All of BAR 0, as a plane query's consumer maps it.
    pub(crate) fn map_all(device: &D) -> Mapping {
        let bar = device.region_info(RegionIndex(0)).expect("BAR 0");
        device.map(&bar, 0, bar.size).expect("it maps")
    }
}

impl<D: RegionDevice> RegionDevice for Metered<D> {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.device.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        self.device.region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
        self.device.read(region, offset, buf)
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.device.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        self.device.map(region, offset, len)
    }
    fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.device.set_eventfd(index, fd)
    }
}

impl<D: GfxDevice> GfxDevice for Metered<D> {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.device.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        self.device.query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        self.device.export_dmabuf(id)
    }
}
