// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The seam below: what this crate asks of a device, one method per kernel call.
//!
//! Both traits are object-safe and take `&self`, so a VMM keeps its device and lends it. What
//! they answer is unchecked where the type says so ([`PlaneInfo`]); the modules that read an
//! answer check it.

mod vfio;
#[cfg(feature = "vfio-ioctls")]
mod vfio_ioctls;

use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::Errno;

pub use self::vfio::Vfio;
use crate::error::{Call, Result};
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, PLANE_DMABUF, PLANE_REGION, PlaneInfo};

/// Index of a region, as the kernel counts.
///
/// Display devices use indices past the number of regions that they admit to, so an index is
/// looked up, never counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionIndex(pub u32);

impl fmt::Display for RegionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Index of a kind of interrupt, as the kernel counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IrqIndex(pub u32);

impl fmt::Display for IrqIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Name that a device gives to one of its dma-bufs. It may name another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DmabufId(pub u32);

impl fmt::Display for DmabufId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a plane's pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneKind {
    /// In a dma-buf that the device exports.
    #[doc(alias = "VFIO_GFX_PLANE_TYPE_DMABUF")]
    Dmabuf,
    /// In a region of the device.
    #[doc(alias = "VFIO_GFX_PLANE_TYPE_REGION")]
    Region,
}

impl PlaneKind {
    /// Both kinds, the one that needs no copy first.
    pub const ALL: [Self; 2] = [Self::Dmabuf, Self::Region];

    /// The flag that asks for this kind.
    pub const fn flag(self) -> u32 {
        match self {
            Self::Dmabuf => PLANE_DMABUF,
            Self::Region => PLANE_REGION,
        }
    }
}

impl fmt::Display for PlaneKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dmabuf => "dma-buf",
            Self::Region => "region",
        })
    }
}

/// A layer of the screen, `enum drm_plane_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PlaneType {
    /// A layer over the screen, as of a video.
    #[doc(alias = "DRM_PLANE_TYPE_OVERLAY")]
    Overlay,
    /// The screen.
    #[doc(alias = "DRM_PLANE_TYPE_PRIMARY")]
    Primary,
    /// The pointer.
    #[doc(alias = "DRM_PLANE_TYPE_CURSOR")]
    Cursor,
}

impl PlaneType {
    /// Every layer, the screen first.
    pub const ALL: [Self; 3] = [Self::Primary, Self::Cursor, Self::Overlay];

    /// The kernel's number.
    pub const fn raw(self) -> u32 {
        match self {
            Self::Overlay => 0,
            Self::Primary => 1,
            Self::Cursor => 2,
        }
    }
}

impl fmt::Display for PlaneType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Overlay => "overlay",
            Self::Primary => "primary",
            Self::Cursor => "cursor",
        })
    }
}

/// A device with regions: a VFIO device, a vfio-user client, a mock.
pub trait RegionDevice {
    /// What the device is and how many regions it admits to.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused): ENOTTY where it is no VFIO device.
    #[doc(alias = "VFIO_DEVICE_GET_INFO")]
    fn device_info(&self) -> Result<DeviceInfo>;

    /// What region `index` is: its size, access and capabilities, checked.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) with EINVAL where there is no such region,
    /// [`Error::Region`](crate::Error::Region) where the answer makes no sense.
    #[doc(alias = "VFIO_DEVICE_GET_REGION_INFO")]
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo>;

    /// Fills `buf` with the bytes of `region` from `offset` on.
    ///
    /// Registers want aligned accesses of their own size: an access of 1, 2, 4 or 8 bytes is
    /// made in one piece.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`](crate::Error::OutsideRegion) before anything is asked of the
    /// device, [`Error::Refused`](crate::Error::Refused) with EIO where it reads short.
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()>;

    /// Writes `data` to `region` from `offset` on; as for [`read`](Self::read) otherwise.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()>;

    /// Maps `len` bytes of `region` from `offset` on, shared and readable.
    ///
    /// There are drivers that refuse any `offset` but 0 and any `len` that is not whole pages.
    ///
    /// # Errors
    ///
    /// [`Error::OutsideRegion`](crate::Error::OutsideRegion) where that is more than can be
    /// mapped, [`Error::Refused`](crate::Error::Refused) with what `mmap(2)` said.
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping>;

    /// Has `eventfd` signalled by the first interrupt of `index`, or, for `None`, no longer.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused): EINVAL where there is no such interrupt, ENOTTY
    /// where nothing of the kind can be asked for, which is the answer of a device that does not
    /// implement this.
    #[doc(alias = "VFIO_DEVICE_SET_IRQS")]
    fn set_eventfd(&self, index: IrqIndex, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let _ = eventfd;
        Err(Call::SetIrqs(index).refused(Errno::NOTTY))
    }
}

/// A device that answers plane queries: what only a VFIO device fd, or its mock, has.
///
/// One that has none, and shows itself by a [framebuffer region](crate::fb_region), leaves all of it
/// out: each query is then refused with ENOTTY.
pub trait GfxDevice: RegionDevice {
    /// Asks whether planes of `kind` are supported; an error is the answer "no" with its reason.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused): EINVAL for the other kind, ENOTTY where there
    /// is no display at all.
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        Err(Call::Probe(kind).refused(Errno::NOTTY))
    }

    /// What the device says of a plane now, unchecked.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused), which
    /// [may be transient](crate::Error::is_transient), and [`Error::Gone`](crate::Error::Gone).
    #[doc(alias = "VFIO_DEVICE_QUERY_GFX_PLANE")]
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        Err(Call::QueryPlane { plane, kind }.refused(Errno::NOTTY))
    }

    /// A new, close-on-exec fd of the dma-buf `id`.
    ///
    /// Call it once per id while that fd is open and duplicate the fd after that: there are
    /// drivers that hand out one file twice with one reference. [`DmabufCache`] sees to it.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused): ENOENT where the id is no longer known.
    ///
    /// [`DmabufCache`]: crate::dmabuf::DmabufCache
    #[doc(alias = "VFIO_DEVICE_GET_GFX_DMABUF")]
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        Err(Call::ExportDmabuf(id).refused(Errno::NOTTY))
    }
}

/// Lends a device: what holds for the device holds for the reference, box or `Arc`.
macro_rules! lend {
    ($($owner:ty),*) => {$(
        impl<D: RegionDevice + ?Sized> RegionDevice for $owner {
            fn device_info(&self) -> Result<DeviceInfo> {
                (**self).device_info()
            }
            fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
                (**self).region_info(index)
            }
            fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
                (**self).read(region, offset, buf)
            }
            fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
                (**self).write(region, offset, data)
            }
            fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
                (**self).map(region, offset, len)
            }
            fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<()> {
                (**self).set_eventfd(index, fd)
            }
        }

        impl<D: GfxDevice + ?Sized> GfxDevice for $owner {
            fn probe(&self, kind: PlaneKind) -> Result<()> {
                (**self).probe(kind)
            }
            fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
                (**self).query_plane(plane, kind)
            }
            fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
                (**self).export_dmabuf(id)
            }
        }
    )*};
}

lend!(&D, Box<D>, std::sync::Arc<D>);
