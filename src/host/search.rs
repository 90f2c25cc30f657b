// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The displays of another process: which of its fds are devices, and which of those answer.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno as Raw, retry_on_intr};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::error::{HostError, Result};
use super::process::{DeviceFd, Fds, Link};
use super::tree::{link_name, names, text};
use super::{Host, VmmDisplay};
use crate::device::{GfxDevice, PlaneKind, Vfio};
use crate::error::{Errno, Error};

impl Host {
    pub(super) fn device_fds(&self, pid: u32, pidfd: &OwnedFd) -> Result<Fds> {
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
    pub(super) fn candidates(
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
                        device: self.device_of(fds, theirs),
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

    /// Where a device of a process is in sysfs: as the kernel tells, or where only one can be meant.
    fn device_of(&self, fds: &Fds, theirs: &DeviceFd) -> Option<PathBuf> {
        if let Some(path) = &theirs.device {
            return Some(self.sys(path.strip_prefix("/sys").unwrap_or(path)));
        }
        if let Some(cdev) = &theirs.cdev {
            return self.sys("class/vfio-dev").join(cdev).join("device").canonicalize().ok();
        }
        let [group] = Vec::from_iter(&fds.groups)[..] else {
            return None;
        };
        let devices = self.sys(Path::new("kernel/iommu_groups").join(group.to_string()));
        let devices = devices.join("devices");
        let [device] = &names(&devices).ok()?[..] else {
            return None;
        };
        devices.join(device).canonicalize().ok()
    }

    /// The driver of a borrowed device, where it is known which one that is.
    pub(super) fn driver_of(&self, fds: &Fds, fd: i32) -> Option<String> {
        let theirs = fds.devices.iter().find(|theirs| theirs.fd == fd)?;
        link_name(&self.device_of(fds, theirs)?.join("driver"))
    }
}

pub(super) fn open_process(pid: u32) -> Result<OwnedFd> {
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
pub(super) fn has_exited(pidfd: &OwnedFd) -> bool {
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
