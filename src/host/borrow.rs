// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device that a running VMM has open, borrowed without its help.
//!
//! `pidfd_open(2)`, then `pidfd_getfd(2)` on its device fd. That gives a second fd of the same
//! open file, with which planes are asked for. Nothing of the VMM is changed, stopped or reset.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno as Raw, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::error::{HostError, Result};
use super::export::{ExportGuard, breaks};
use super::process::{DeviceFd, Fds, Link};
use super::tree::{link_name, names, text};
use super::{DisplayConflict, Host, OnConflict};
use crate::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionDevice, RegionIndex, Vfio};
use crate::error::{Errno, Error, Gone};
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
    /// The device in sysfs, where the kernel tells.
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

    fn device_fds(&self, pid: u32, pidfd: &OwnedFd) -> Result<Fds> {
        let fds = self.fds(pid);
        // Had it exited, what stands under its number could be another process by now.
        if has_exited(pidfd) {
            return Err(HostError::NoSuchProcess { pid });
        }
        let dir = self.proc(pid).join("fd");
        let fds = fds.map_err(|errno| match errno {
            Raw::ACCESS | Raw::PERM => self.no_ptrace(dir, errno),
            Raw::NOENT | Raw::SRCH => HostError::NoSuchProcess { pid },
            errno => HostError::io("list", &dir)(errno),
        })?;
        if fds.devices.is_empty() {
            return Err(HostError::NotAVmm(self.process(pid)));
        }
        Ok(fds)
    }

    /// The devices of a process that have a display, and why the first of the others has none.
    #[expect(clippy::type_complexity, reason = "a pair that only its callers see")]
    fn candidates(
        &self,
        pid: u32,
        pidfd: &OwnedFd,
        fds: &Fds,
    ) -> Result<(Vec<(VmmDisplay, Vfio<OwnedFd>)>, Option<(Errno, Errno)>)> {
        let mut seen: Vec<OwnedFd> = Vec::new();
        let mut found: Vec<(VmmDisplay, Vfio<OwnedFd>)> = Vec::new();
        let mut refused = None;
        for theirs in &fds.devices {
            let Some(fd) = self.take(pid, pidfd, theirs)? else {
                continue;
            };
            let known = found.iter().map(|(_, device)| device.as_fd());
            if known.chain(seen.iter().map(AsFd::as_fd)).any(|known| is_same(known, fd.as_fd())) {
                continue;
            }
            let device = Vfio::new(fd);
            match probe(&device) {
                Ok(kinds) => {
                    let display = VmmDisplay {
                        pid,
                        n: u32::try_from(found.len()).unwrap_or(u32::MAX),
                        fd: theirs.fd,
                        kinds,
                        device: theirs.device.clone(),
                    };
                    found.push((display, device));
                }
                Err(why) => {
                    refused.get_or_insert(why);
                    seen.push(device.into_inner());
                }
            }
        }
        Ok((found, refused))
    }

    /// A duplicate of an fd of another process, if it is still the device that it was.
    fn take(&self, pid: u32, pidfd: &OwnedFd, theirs: &DeviceFd) -> Result<Option<OwnedFd>> {
        let path = || self.proc(pid).join("fd").join(theirs.fd.to_string());
        let fd = match pidfd_getfd(pidfd, theirs.fd, PidfdGetfdFlags::empty()) {
            Ok(fd) => fd,
            Err(Raw::BADF) => return Ok(None),
            Err(Raw::SRCH) => return Err(HostError::NoSuchProcess { pid }),
            Err(errno @ (Raw::PERM | Raw::ACCESS)) => return Err(self.no_ptrace(path(), errno)),
            Err(errno) => return Err(HostError::io("duplicate", &path())(errno)),
        };
        Ok(self.is_device(&fd, theirs.cdev.as_deref()).then_some(fd))
    }

    /// Whether an fd of ours is a VFIO device for certain.
    ///
    /// Asked of the duplicate, before any ioctl: the number may have been closed and opened as
    /// something else since it was listed, and the number of a plane query means "unmap" to a
    /// VFIO container.
    fn is_device(&self, fd: &OwnedFd, cdev: Option<&str>) -> bool {
        let link = self.procfs.join("self/fd").join(fd.as_raw_fd().to_string());
        let Ok(link) = std::fs::read_link(link) else {
            return false;
        };
        match (Link::parse(&link.to_string_lossy()), cdev) {
            (Link::Device, None) => true,
            // Any file may have such a path, but not such a number.
            (Link::Cdev(name), Some(cdev)) if name == cdev => {
                let number = text(&self.sys("class/vfio-dev").join(cdev).join("dev"));
                let stat = rustix::fs::fstat(fd);
                stat.is_ok_and(|stat| {
                    let (major, minor) =
                        (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
                    number == Ok(format!("{major}:{minor}"))
                })
            }
            _ => false,
        }
    }

    /// The driver of a borrowed device, where only one device can be meant.
    fn driver_of(&self, fds: &Fds, fd: i32) -> Option<String> {
        let theirs = fds.devices.iter().find(|theirs| theirs.fd == fd)?;
        if let Some(path) = &theirs.device {
            let path = path.strip_prefix("/sys").unwrap_or(path);
            return link_name(&self.sys(path).join("driver"));
        }
        if let Some(cdev) = &theirs.cdev {
            let device = self.sys("class/vfio-dev").join(cdev).join("device");
            return link_name(&device.join("driver"));
        }
        let [group] = Vec::from_iter(&fds.groups)[..] else {
            return None;
        };
        let devices = self.sys(Path::new("kernel/iommu_groups").join(group.to_string()));
        let devices = devices.join("devices");
        let [device] = &names(&devices).ok()?[..] else {
            return None;
        };
        link_name(&devices.join(device).join("driver"))
    }
}

fn open_process(pid: u32) -> Result<OwnedFd> {
    let raw = i32::try_from(pid).ok().filter(|&pid| pid > 0);
    let Some(id) = raw.and_then(Pid::from_raw) else {
        return Err(HostError::NoSuchProcess { pid });
    };
    let pidfd = pidfd_open(id, PidfdFlags::empty()).map_err(|errno| match errno {
        // EINVAL is a thread that is not its process's first.
        Raw::SRCH | Raw::INVAL => HostError::NoSuchProcess { pid },
        errno => HostError::io("open a pidfd of", &Path::new("/proc").join(pid.to_string()))(errno),
    })?;
    if has_exited(&pidfd) {
        return Err(HostError::NoSuchProcess { pid });
    }
    Ok(pidfd)
}

/// Whether a process has exited, reaped or not: its pidfd is readable then.
fn has_exited(pidfd: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).is_ok_and(|ready| ready > 0)
}

/// Whether two fds of ours are one open file; no, where the kernel can't tell.
fn is_same(a: BorrowedFd<'_>, b: BorrowedFd<'_>) -> bool {
    let us = std::process::id().cast_signed();
    crate::sys::open::same_file(us, a.as_raw_fd(), us, b.as_raw_fd()) == Ok(true)
}

/// The kinds of plane that a device has, or why it has neither.
fn probe(device: &impl GfxDevice) -> Result<Vec<PlaneKind>, (Errno, Errno)> {
    let [dmabuf, region] = [PlaneKind::Dmabuf, PlaneKind::Region].map(|kind| device.probe(kind));
    let errno = |error: &Error| error.errno().unwrap_or(Raw::IO.into());
    match (&dmabuf, &region) {
        (Err(dmabuf), Err(region)) => Err((errno(dmabuf), errno(region))),
        _ => Ok([(PlaneKind::Dmabuf, dmabuf), (PlaneKind::Region, region)]
            .into_iter()
            .filter_map(|(kind, answer)| answer.ok().map(|()| kind))
            .collect()),
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
    fn map(&self, region: &RegionInfo, len: u64) -> Result<Mapping, Error> {
        self.live()?.map(region, len)
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
        let device = self.live()?;
        self.guard.check(id, device.as_fd())?;
        device.export_dmabuf(id)
    }
}
