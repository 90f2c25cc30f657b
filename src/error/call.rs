// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What was asked of a device, for a message to name.

use std::fmt;

use super::{Errno, Error};
use crate::device::{DmabufId, IrqIndex, PlaneKind, PlaneType, RegionIndex};

/// A call to a device, with the numbers that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Call {
    /// `VFIO_DEVICE_GET_INFO`.
    DeviceInfo,
    /// `VFIO_DEVICE_GET_REGION_INFO`.
    RegionInfo(RegionIndex),
    /// Reading of a region.
    Read {
        /// The region.
        index: RegionIndex,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Writing to a region.
    Write {
        /// The region.
        index: RegionIndex,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// Mapping of a region.
    Map {
        /// The region.
        index: RegionIndex,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// `VFIO_DEVICE_SET_IRQS`.
    SetIrqs(IrqIndex),
    /// `VFIO_DEVICE_QUERY_GFX_PLANE` with `VFIO_GFX_PLANE_TYPE_PROBE`.
    Probe(PlaneKind),
    /// `VFIO_DEVICE_QUERY_GFX_PLANE`.
    QueryPlane {
        /// The plane asked about.
        plane: PlaneType,
        /// What it was asked as.
        kind: PlaneKind,
    },
    /// `VFIO_DEVICE_GET_GFX_DMABUF`.
    ExportDmabuf(DmabufId),
    /// The size of a dma-buf, by `lseek(2)`.
    DmabufLen(DmabufId),
    /// `DMA_BUF_IOCTL_SYNC`.
    SyncDmabuf(DmabufId),
}

impl Call {
    /// The error of this call having been refused.
    pub(crate) fn refused(self, errno: impl Into<Errno>) -> Error {
        Error::Refused { call: self, errno: errno.into() }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DeviceInfo => f.write_str("GET_INFO"),
            Self::RegionInfo(index) => write!(f, "GET_REGION_INFO of region {index}"),
            Self::Read { index, offset, len } => {
                write!(f, "read of {len} bytes at {offset:#x} of region {index}")
            }
            Self::Write { index, offset, len } => {
                write!(f, "write of {len} bytes at {offset:#x} of region {index}")
            }
            Self::Map { index, offset, len } => {
                write!(f, "mmap of {len} bytes at {offset:#x} of region {index}")
            }
            Self::SetIrqs(index) => write!(f, "SET_IRQS of interrupt {index}"),
            Self::Probe(kind) => write!(f, "QUERY_GFX_PLANE probe for {kind} planes"),
            Self::QueryPlane { plane, kind } => {
                write!(f, "QUERY_GFX_PLANE of the {plane} plane as a {kind}")
            }
            Self::ExportDmabuf(id) => write!(f, "GET_GFX_DMABUF of dma-buf {id}"),
            Self::DmabufLen(id) => write!(f, "size of dma-buf {id}"),
            Self::SyncDmabuf(id) => write!(f, "DMA_BUF_IOCTL_SYNC of dma-buf {id}"),
        }
    }
}
