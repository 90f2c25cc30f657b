// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device that a running VMM has open, borrowed without its help.
//!
//! `pidfd_open(2)`, then `pidfd_getfd(2)` on its device fd. That gives a second fd of the same
//! open file, with which planes are asked for. Nothing of the VMM is changed, stopped or reset.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use super::error::{HostError, Result};
use super::export::{ExportGuard, breaks};
use super::search::{has_exited, open_process};
use super::{DisplayConflict, Host, OnConflict};
use crate::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex, Vfio,
};
use crate::error::{Error, Gone};
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, PlaneInfo};

/// A display of a running VMM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VmmDisplay {
    /// The VMM.
    pub pid: u32,
    /// Which of its displays, from 0, in the order of its fds.
    pub n: u32,
    /// Its device fd there; the lowest, where it has several of one open file.
    pub fd: i32,
    /// The kinds of plane that it has.
    pub kinds: Vec<PlaneKind>,
    /// The device in sysfs, where the kernel tells or only one can be meant.
    pub device: Option<PathBuf>,
}

/// Shown as the [`Target`](super::Target) that leads to it.
impl fmt::Display for VmmDisplay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pid:{}/{}", self.pid, self.n)
    }
}

/// A device of a running VMM.
///
/// The device stays open as long as this lives, also when the VMM has exited, and can't be
/// opened anew until then: drop it once it is [gone](Error::is_gone).
#[derive(Debug)]
pub struct Borrowed {
    device: Vfio<OwnedFd>,
    pidfd: OwnedFd,
    display: VmmDisplay,
    driver: Option<String>,
    guard: ExportGuard,
}

impl Host {
    /// The displays of process `pid`, found by a probe on each of its devices.
    ///
    /// # Errors
    ///
    /// As [`borrow`](Self::borrow); that there is no display is an empty list.
    pub fn displays(&self, pid: u32) -> Result<Vec<VmmDisplay>> {
        let pidfd = open_process(pid)?;
        let (found, _) = self.candidates(pid, &pidfd, &self.device_fds(pid, &pidfd)?)?;
        Ok(found.into_iter().map(|(display, _)| display).collect())
    }

    /// Borrows a display of process `pid`: its only one, or number `nth`, counted from 0.
    ///
    /// `on_conflict` says what becomes of an export that may break the device's driver.
    ///
    /// # Errors
    ///
    /// [`HostError::NoSuchProcess`], [`HostError::NotPermitted`], [`HostError::NotAVmm`] where it
    /// has no VFIO device, [`HostError::NoDisplay`] where none has a display,
    /// [`HostError::SeveralDisplays`] and [`HostError::NoSuchDisplay`].
    pub fn borrow(&self, pid: u32, nth: Option<u32>, on_conflict: OnConflict) -> Result<Borrowed> {
        let pidfd = open_process(pid)?;
        let fds = self.device_fds(pid, &pidfd)?;
        let (mut found, refused) = self.candidates(pid, &pidfd, &fds)?;
        if found.is_empty() {
            let process = self.process(pid);
            return Err(match refused {
                Some((dmabuf, region)) => HostError::NoDisplay {
                    device: format!("the VFIO devices of process {process}"),
                    dmabuf,
                    region,
                },
                None => HostError::NotAVmm(process),
            });
        }
        let chosen = match nth {
            None if found.len() > 1 => None,
            None => Some(0),
            Some(n) => usize::try_from(n).ok().filter(|&n| n < found.len()),
        };
        let Some(chosen) = chosen else {
            let process = self.process(pid);
            let displays = found.into_iter().map(|(display, _)| display).collect();
            return Err(match nth {
                Some(n) => HostError::NoSuchDisplay { process, n, displays },
                None => HostError::SeveralDisplays { process, displays },
            });
        };
        let (display, device) = found.swap_remove(chosen);
        let driver = self.driver_of(&fds, display.fd);
        let owner = (pid, display.fd);
        let guard = ExportGuard::new(self, owner, breaks(driver.as_deref(), &device), on_conflict);
        Ok(Borrowed { device, pidfd, display, driver, guard })
    }
}

impl Borrowed {
    /// The process that has the device open.
    pub fn pid(&self) -> u32 {
        self.display.pid
    }

    /// Which of the process's displays this is.
    pub fn display(&self) -> &VmmDisplay {
        &self.display
    }

    /// Name of the device's driver, where it is known.
    pub fn driver(&self) -> Option<&str> {
        self.driver.as_deref()
    }

    /// The process as an fd, which becomes readable when it exits: for an event loop.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Whether the process still runs. One that has exited and was not reaped does not.
    pub fn alive(&self) -> bool {
        !has_exited(&self.pidfd)
    }

    /// Who holds dma-bufs that may be of this device: a VMM that does shows the display itself.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`] where procfs can't be listed.
    pub fn display_conflict(&self) -> Result<DisplayConflict> {
        self.guard.conflict(self.device.as_fd())
    }

    pub(super) const fn breaks(&self) -> bool {
        self.guard.breaks()
    }

    fn live(&self) -> Result<&Vfio<OwnedFd>, Error> {
        if self.alive() {
            return Ok(&self.device);
        }
        Err(Error::Gone(Gone::Exited { pid: self.pid() }))
    }
}

/// The device fd: the same open file as the VMM's.
impl AsFd for Borrowed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Each call fails with [`Error::Gone`] once the process has exited.
impl RegionDevice for Borrowed {
    fn device_info(&self) -> Result<DeviceInfo, Error> {
        self.live()?.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo, Error> {
        self.live()?.region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<(), Error> {
        self.live()?.read(region, offset, buf)
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.live()?.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping, Error> {
        self.live()?.map(region, offset, len)
    }
    fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<(), Error> {
        self.live()?.set_eventfd(index, fd)
    }
}

/// Each call fails with [`Error::Gone`] once the process has exited.
impl GfxDevice for Borrowed {
    fn probe(&self, kind: PlaneKind) -> Result<(), Error> {
        self.live()?.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo, Error> {
        self.live()?.query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd, Error> {
        self.guard.export(id, self.live()?)
    }
}
