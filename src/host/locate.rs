// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where a device is, what opens it, and who has it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, stat};
use rustix::io::Errno as Raw;

use super::error::{HostError, Member, Missing, Result};
use super::list::is_vfio;
use super::process::Fds;
use super::tree::{clean, link_name, names, number};
use super::{DeviceName, Host, PciAddress, Process, Uuid};

/// A device as sysfs has it.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) path: PathBuf,
    pub(super) driver: Option<String>,
}

impl Host {
    pub(super) fn find(&self, name: &DeviceName) -> Result<Found> {
        let link = match name {
            DeviceName::Mdev(uuid) => self.sys("bus/mdev/devices").join(uuid.to_string()),
            DeviceName::Pci(address) => self.sys("bus/pci/devices").join(address.to_string()),
            DeviceName::Path(path) => path.clone(),
        };
        let path = link.canonicalize().map_err(|error| {
            match Raw::from_io_error(&error).unwrap_or(Raw::IO) {
                Raw::NOENT | Raw::NOTDIR => {
                    HostError::NoSuchDevice { device: name.to_string(), path: link.clone() }
                }
                errno => HostError::io("resolve", &link)(errno),
            }
        })?;
        let bus_name = path.file_name().and_then(|name| name.to_str());
        let bus_name = bus_name.filter(|_| path.is_dir());
        let (name, is_mdev) = match bus_name {
            Some(name) if Uuid::parse(name).is_some() => (name.to_owned(), true),
            Some(name) if PciAddress::parse(name).is_some() => (name.to_owned(), false),
            _ => return Err(HostError::NotADevice { path }),
        };
        let driver = link_name(&path.join("driver"));
        if is_vfio(&path) || is_mdev && driver.is_some() {
            return Ok(Found { name, path, driver });
        }
        let vgpu = path.join("nvidia/current_vgpu_type");
        if number(&vgpu) == Some(0) {
            return Err(HostError::NoVgpuType { device: name, path: vgpu });
        }
        Err(HostError::NotVfio { device: name, path, driver })
    }

    /// The file of the cdev of the device at `path`, which may not be there.
    pub(super) fn cdev(&self, path: &Path) -> Option<PathBuf> {
        let cdevs = names(&path.join("vfio-dev")).ok()?;
        Some(self.dev.join("vfio/devices").join(cdevs.first()?))
    }

    /// Why a device can't be opened that has no file to open it by.
    pub(super) fn no_device_file(
        &self,
        found: Found,
        group: Option<u32>,
        group_path: PathBuf,
        iommufd: PathBuf,
    ) -> HostError {
        let noiommu = group.map(|group| self.dev.join(format!("vfio/noiommu-{group}")));
        match noiommu.filter(|path| path.exists()) {
            Some(path) => HostError::NoIommu { path },
            None => HostError::NoDeviceFile { device: found.name, group: group_path, iommufd },
        }
    }

    /// Opens a device file for reading and writing.
    pub(super) fn open_file(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        open(path, flags, Mode::empty()).map_err(|errno| match errno {
            Raw::ACCESS | Raw::PERM => HostError::NotPermitted {
                path: path.to_owned(),
                errno: errno.into(),
                missing: self.file_mode(path),
            },
            errno => HostError::io("open", path)(errno),
        })
    }

    fn file_mode(&self, path: &Path) -> Missing {
        match stat(path) {
            // The mode does not hold root back.
            Ok(stat) if !rustix::process::geteuid().is_root() => Missing::FileMode {
                mode: stat.st_mode & 0o7777,
                uid: stat.st_uid,
                gid: stat.st_gid,
            },
            _ => Missing::Unknown,
        }
    }

    /// The processes that hold what `wanted` looks for, by pid.
    pub(super) fn holders(&self, wanted: impl Fn(&Fds) -> bool) -> Vec<Process> {
        let pids = self.pids().unwrap_or_default();
        let holds = |&pid: &u32| self.fds(pid).is_ok_and(|fds| wanted(&fds));
        let holders = pids.into_iter().filter(holds);
        holders.map(|pid| self.process(pid)).collect()
    }

    /// The members of a group that other drivers have.
    pub(super) fn foreign_members(&self, group: u32) -> Vec<Member> {
        let dir = self.sys(format!("kernel/iommu_groups/{group}/devices"));
        let devices = names(&dir).unwrap_or_default();
        let members = devices.iter().filter_map(|device| {
            let path = dir.join(device);
            let driver = link_name(&path.join("driver"))?;
            // `drivers/vfio` lets bridges and stubs be in a group.
            let harmless = is_vfio(&path) || ["pcieport", "pci-stub"].contains(&driver.as_str());
            (!harmless).then(|| Member { device: clean(&device.to_string_lossy()), driver })
        });
        members.collect()
    }
}
