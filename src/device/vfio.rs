// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VFIO device fd that somebody else opened.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::{DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex};
use crate::error::{Call, Error, Result};
use crate::region::RegionInfo;
use crate::sys::{self, Mapping};
use crate::uapi::{DeviceInfo, PLANE_PROBE, PlaneInfo};

/// A device behind any file descriptor that `F` lends: owned, borrowed or shared.
///
/// It opens nothing and closes nothing but what `F` owns, and keeps no state of its own.
#[derive(Clone, Copy, Debug)]
pub struct Vfio<F> {
    fd: F,
}

impl<F: AsFd> Vfio<F> {
    /// The device behind `fd`, which nothing is asked of yet.
    pub const fn new(fd: F) -> Self {
        Self { fd }
    }

    /// The fd, back.
    pub fn into_inner(self) -> F {
        self.fd
    }

    /// Resets the device: a test in the part of a VMM.
    ///
    /// # Errors
    ///
    /// The errno of the driver; ENOTTY where it has no reset.
    #[cfg(feature = "testing")]
    #[doc(alias = "VFIO_DEVICE_RESET")]
    pub fn reset(&self) -> Result<(), crate::Errno> {
        sys::vfio::reset(self.fd.as_fd()).map_err(Into::into)
    }
}

impl<F: AsFd> AsFd for Vfio<F> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<F: AsFd> RegionDevice for Vfio<F> {
    fn device_info(&self) -> Result<DeviceInfo> {
        sys::vfio::device_info(self.fd.as_fd()).map_err(|errno| Call::DeviceInfo.refused(errno))
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        RegionInfo::query(index, |answer| sys::vfio::region_info(self.fd.as_fd(), index.0, answer))
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = buf.len() as u64;
        let call = Call::Read { index: region.index, offset, len };
        let start = region.file_offset(offset, len)?;
        transfer(call, buf.len(), |done| pread(&self.fd, &mut buf[done..], start + done as u64))
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        let call = Call::Write { index: region.index, offset, len };
        let start = region.file_offset(offset, len)?;
        transfer(call, data.len(), |done| pwrite(&self.fd, &data[done..], start + done as u64))
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        let call = Call::Map { index: region.index, offset, len };
        let bytes = region.mappable_len(offset, len)?;
        Mapping::new(self.fd.as_fd(), region.offset + offset, bytes)
            .map_err(|errno| call.refused(errno))
    }

    fn set_eventfd(&self, index: IrqIndex, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        sys::vfio::set_eventfd(self.fd.as_fd(), index.0, eventfd)
            .map_err(|errno| Call::SetIrqs(index).refused(errno))
    }
}

impl<F: AsFd> GfxDevice for Vfio<F> {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        let mut info = PlaneInfo { flags: PLANE_PROBE | kind.flag(), ..Default::default() };
        sys::vfio::query_gfx_plane(self.fd.as_fd(), &mut info)
            .map_err(|errno| Call::Probe(kind).refused(errno))
    }

    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        let mut info =
            PlaneInfo { flags: kind.flag(), drm_plane_type: plane.raw(), ..Default::default() };
        sys::vfio::query_gfx_plane(self.fd.as_fd(), &mut info)
            .map_err(|errno| Call::QueryPlane { plane, kind }.refused(errno))?;
        Ok(info)
    }

    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        sys::vfio::get_gfx_dmabuf(self.fd.as_fd(), id.0)
            .map_err(|errno| Call::ExportDmabuf(id).refused(errno))
    }
}

/// Repeats `step` until `len` bytes are through; a device that stops short answers EIO.
fn transfer(
    call: Call,
    len: usize,
    mut step: impl FnMut(usize) -> rustix::io::Result<usize>,
) -> Result<(), Error> {
    let mut done = 0;
    while done < len {
        match retry_on_intr(|| step(done)) {
            Ok(0) => return Err(call.refused(Errno::IO)),
            Ok(count) => done += count,
            Err(errno) => return Err(call.refused(errno)),
        }
    }
    Ok(())
}
