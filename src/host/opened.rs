// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device that we opened.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::export::ExportGuard;
use super::kvm::Attachment;
use super::{DisplayConflict, Result};
use crate::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex, Vfio,
};
use crate::error::{Errno, Error};
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, PlaneInfo};

/// A device that we opened, with all that keeps it open.
///
/// The fields are dropped in this order: the device before what it was opened by.
#[derive(Debug)]
pub struct Opened {
    pub(super) device: Vfio<OwnedFd>,
    pub(super) _kvm: Option<Attachment>,
    pub(super) _by: By,
    pub(super) path: PathBuf,
    pub(super) driver: Option<String>,
    pub(super) notes: Vec<Note>,
    pub(super) guard: ExportGuard,
}

/// What a device was opened by.
#[derive(Debug)]
pub(super) enum By {
    Group { _group: OwnedFd, _container: OwnedFd },
    Cdev { _iommufd: OwnedFd },
}

/// Something about an opened device that is no error, but may explain one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The device is attached to no virtual machine.
    NotAttached {
        /// What refused.
        call: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why.
        errno: Errno,
    },
    /// The crate was built without its feature `kvm`, so the device is attached to none.
    WithoutKvm,
    /// The container has only the older of the two IOMMU models.
    OldIommu,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gvt = "drivers like GVT-g need a virtual machine";
        match self {
            Self::NotAttached { call, path, errno } => {
                write!(f, "not attached to KVM ({call} of {}: {errno}); {gvt}", path.display())
            }
            Self::WithoutKvm => write!(f, "not attached to KVM (built without it); {gvt}"),
            Self::OldIommu => f.write_str("the container has VFIO_TYPE1_IOMMU, but not v2"),
        }
    }
}

impl Opened {
    /// The device in sysfs, links resolved.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Name of its driver: `vfio-pci`, or that of the mediated device.
    pub fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    /// What may explain it if the device does not do what it should.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Who else holds dma-bufs of this device: somebody who borrows it from us may.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`](super::HostError::Io) where procfs can't be listed.
    pub fn display_conflict(&self) -> Result<DisplayConflict> {
        self.guard.conflict(self.device.as_fd())
    }
}

/// The device fd.
impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl RegionDevice for Opened {
    fn device_info(&self) -> Result<DeviceInfo, Error> {
        self.device.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Error> {
        self.device.region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.device.read(region, offset, buf)
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.device.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping, Error> {
        self.device.map(region, offset, len)
    }
    fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.device.set_eventfd(index, fd)
    }
}

impl GfxDevice for Opened {
    fn probe(&self, kind: PlaneKind) -> Result<(), Error> {
        self.device.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo, Error> {
        self.device.query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Error> {
        self.guard.export(id, &self.device)
    }
}
