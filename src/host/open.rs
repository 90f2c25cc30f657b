// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Opening of a device that nobody uses: `Documentation/driver-api/vfio.rst` of the kernel.

use std::ffi::CString;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno as Raw;

use super::error::{HostError, Result};
use super::export::{ExportGuard, breaks};
use super::kvm::{Attachment, attach};
use super::list::iommu_group;
use super::locate::Found;
use super::opened::{By, Note, Opened};
use super::{DeviceName, Host, OnConflict};
use crate::device::Vfio;
use crate::sys::open::{
    API_VERSION, Iommu, api_version, bind_iommufd, device_fd, group_is_viable, set_container,
    set_iommu, supports,
};

/// What was opened so far.
struct Parts {
    device: OwnedFd,
    kvm: Option<Attachment>,
    by: By,
    notes: Vec<Note>,
}

impl Host {
    /// Opens the device `name`: by its group where there is one, else by its cdev.
    ///
    /// With feature `kvm`, and where `/dev/kvm` is there, the device is attached to an empty
    /// virtual machine first. Where that fails is [noted](Opened::notes), and no error.
    /// `on_conflict` says what becomes of an export that may break the device's driver.
    ///
    /// # Errors
    ///
    /// [`HostError::NoSuchDevice`], [`HostError::NotADevice`], [`HostError::NotVfio`],
    /// [`HostError::NoVgpuType`], [`HostError::NotPermitted`], [`HostError::GroupBusy`] with who
    /// has it, [`HostError::GroupNotViable`], [`HostError::NoDeviceFile`],
    /// [`HostError::NoIommu`], [`HostError::NoContainer`]. Whether the device has a display is
    /// not asked.
    pub fn open(&self, name: &DeviceName, on_conflict: OnConflict) -> Result<Opened> {
        let found = self.find(name)?;
        let group = iommu_group(&found.path);
        let group_path = match group {
            Some(group) => self.dev.join(format!("vfio/{group}")),
            None => self.dev.join("vfio/GROUP"),
        };
        let iommufd = self.dev.join("iommu");
        let parts = match (group, self.cdev(&found.path)) {
            (Some(group), _) if group_path.exists() => {
                self.open_by_group(&found, group, &group_path)?
            }
            (_, Some(cdev)) if cdev.exists() && iommufd.exists() => {
                self.open_by_cdev(&cdev, &iommufd)?
            }
            _ => return Err(self.no_device_file(found, group, group_path, iommufd)),
        };
        let owner = (std::process::id(), parts.device.as_raw_fd());
        let device = Vfio::new(parts.device);
        let breaks = breaks(found.driver.as_deref(), &device);
        Ok(Opened {
            device,
            _kvm: parts.kvm,
            _by: parts.by,
            path: found.path,
            driver: found.driver,
            notes: parts.notes,
            guard: ExportGuard::new(self, owner, breaks, on_conflict),
        })
    }

    fn open_by_group(&self, found: &Found, group: u32, path: &Path) -> Result<Parts> {
        let group_fd = self.open_file(path).map_err(|error| match error.errno() {
            Some(Raw::BUSY) => {
                let mut holders = self.holders(|fds| fds.groups.contains(&group));
                if holders.is_empty() {
                    // A group stays open behind a device fd, also when its own fd is closed.
                    holders = self.holders(|fds| !fds.devices.is_empty() && fds.groups.is_empty());
                }
                let path = path.to_owned();
                HostError::GroupBusy { path, holders }
            }
            _ => error,
        })?;
        let fd = group_fd.as_fd();
        if !group_is_viable(fd).map_err(HostError::io("get the group status of", path))? {
            return Err(HostError::GroupNotViable { group, members: self.foreign_members(group) });
        }
        let mut notes = Vec::new();
        let container = self.container(fd, path, &mut notes)?;
        let kvm = self.attach(fd, &mut notes);
        let name = CString::new(found.name.as_bytes()).unwrap_or_default();
        let device = device_fd(fd, &name).map_err(HostError::io("get the device fd from", path))?;
        Ok(Parts { device, kvm, by: By::Group { _group: group_fd, _container: container }, notes })
    }

    fn open_by_cdev(&self, path: &Path, iommufd: &Path) -> Result<Parts> {
        let device = self.open_file(path)?;
        let mut notes = Vec::new();
        let kvm = self.attach(device.as_fd(), &mut notes);
        let iommufd = self.open_file(iommufd)?;
        bind_iommufd(device.as_fd(), iommufd.as_fd()).map_err(|errno| {
            // We hold the cdev too, so others only. One that is bound elsewhere answers EINVAL.
            let name = path.file_name().map(|name| name.to_string_lossy());
            let mut holders = self.holders(|fds| {
                let cdevs = fds.devices.iter().map(|device| device.cdev.as_deref());
                cdevs.flatten().any(|cdev| Some(cdev) == name.as_deref())
            });
            holders.retain(|holder| holder.pid != std::process::id());
            if errno == Raw::BUSY || errno == Raw::INVAL && !holders.is_empty() {
                let path = path.to_owned();
                return HostError::GroupBusy { path, holders };
            }
            HostError::io("bind to an iommufd", path)(errno)
        })?;
        Ok(Parts { device, kvm, by: By::Cdev { _iommufd: iommufd }, notes })
    }

    /// A container with the group in it and an IOMMU chosen.
    fn container(
        &self,
        group: BorrowedFd<'_>,
        group_path: &Path,
        notes: &mut Vec<Note>,
    ) -> Result<OwnedFd> {
        let path = self.dev.join("vfio/vfio");
        let lacks = |why| HostError::NoContainer { path: path.clone(), why };
        let io = |what| HostError::io(what, &path);
        let container = self.open_file(&path).map_err(|error| match error.errno() {
            Some(Raw::NOENT | Raw::NODEV | Raw::NXIO) => lacks("there is no VFIO container"),
            _ => error,
        })?;
        let fd = container.as_fd();
        if api_version(fd).map_err(io("get the API version of"))? != API_VERSION {
            return Err(lacks("it has an API version other than 0"));
        }
        let supports = |iommu| supports(fd, iommu).map_err(io("query"));
        let iommu = if supports(Iommu::Type1V2)? {
            Iommu::Type1V2
        } else if supports(Iommu::Type1)? {
            notes.push(Note::OldIommu);
            Iommu::Type1
        } else {
            return Err(lacks("it knows no IOMMU of type 1"));
        };
        set_container(group, fd).map_err(HostError::io("set the container of", group_path))?;
        set_iommu(fd, iommu).map_err(io("set the IOMMU of"))?;
        Ok(container)
    }

    /// Attaches a group or a cdev to a virtual machine, or notes why not.
    fn attach(&self, file: BorrowedFd<'_>, notes: &mut Vec<Note>) -> Option<Attachment> {
        attach(&self.dev.join("kvm"), file).map_err(|note| notes.push(note)).ok()
    }
}
