// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What can go wrong on the way to a device, each with what to do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use super::borrow::VmmDisplay;
use super::process::Process;
use crate::error::Errno;

/// Short for a result with a [`HostError`].
pub type Result<T, E = HostError> = std::result::Result<T, E>;

/// Why a device could not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// There is no device of that name.
    #[error("no such device: {device} ({} does not exist)", path.display())]
    NoSuchDevice {
        /// The name that was asked for.
        device: String,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The path leads to something else.
    #[error(
        "{} is no mdev and no PCI device: its name is neither a UUID nor a PCI address",
        path.display()
    )]
    NotADevice {
        /// Where it leads, links resolved.
        path: PathBuf,
    },
    /// The virtual function has not been made a vGPU.
    #[error(
        "{device} has no vGPU type; creatable_vgpu_types beside it lists some: \
         echo NUMBER > {}",
        path.display()
    )]
    NoVgpuType {
        /// The virtual function.
        device: String,
        /// The attribute that takes a type.
        path: PathBuf,
    },
    /// No VFIO driver has the device.
    #[error(
        "{device} is not bound to a VFIO driver but to {}; for a PCI device, as root: \
         echo vfio-pci > {dir}/driver_override; echo {device} > {dir}/driver/unbind; \
         echo {device} > /sys/bus/pci/drivers_probe",
        driver.as_deref().unwrap_or("none"), dir = path.display()
    )]
    NotVfio {
        /// The device.
        device: String,
        /// Its directory in sysfs.
        path: PathBuf,
        /// The driver that has it.
        driver: Option<String>,
    },
    /// Something is there, but not for us.
    #[error("not permitted: {}: {errno}; {missing}", path.display())]
    NotPermitted {
        /// What may not be opened.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
        /// What is missing.
        missing: Missing,
    },
    /// The device's group is open, and can be only once.
    #[error("{} is in use{}", path.display(), in_use(holders))]
    GroupBusy {
        /// Its device file.
        path: PathBuf,
        /// The processes that were found to hold it.
        holders: Vec<Process>,
    },
    /// The device shares its group with devices that other drivers have.
    #[error(
        "IOMMU group {group} is not viable: {}; bind each to vfio-pci, or unbind it",
        list(members)
    )]
    GroupNotViable {
        /// The group.
        group: u32,
        /// Its members that are bound to another driver.
        members: Vec<Member>,
    },
    /// The device has neither a group nor a cdev to open it by.
    #[error(
        "{device} has no device file: neither {} nor a cdev with {} is there; \
         is the IOMMU enabled, and vfio_iommu_type1 or iommufd loaded?",
        group.display(), iommufd.display()
    )]
    NoDeviceFile {
        /// The device.
        device: String,
        /// The group's file that was looked for.
        group: PathBuf,
        /// The iommufd that was looked for.
        iommufd: PathBuf,
    },
    /// The device has no IOMMU behind it; it could then write to any memory.
    #[error("{} has no IOMMU (noiommu mode), and is not opened without", path.display())]
    NoIommu {
        /// The group's device file.
        path: PathBuf,
    },
    /// There is no container, or none that knows an IOMMU.
    #[error("{}: {why}; load it with: modprobe vfio_iommu_type1", path.display())]
    NoContainer {
        /// The container's device file.
        path: PathBuf,
        /// What it lacks.
        why: &'static str,
    },
    /// There is no process of that number, or it has just exited.
    #[error("no process {pid}, or it has just exited")]
    NoSuchProcess {
        /// The process id.
        pid: u32,
    },
    /// The process has no VFIO device open.
    #[error("process {0} is no VMM with a VFIO device: it holds no VFIO device fd")]
    NotAVmm(Process),
    /// There is a VFIO device, but it has no display.
    #[error(
        "no display on {device}: its driver refused plane queries for dma-bufs ({dmabuf}) \
         and for regions ({region})"
    )]
    NoDisplay {
        /// The device.
        device: String,
        /// Why it does not offer dma-bufs.
        dmabuf: Errno,
        /// Why it does not offer regions.
        region: Errno,
    },
    /// The process has several displays, and none was chosen.
    #[error("process {process} has {} displays, choose one of {}", displays.len(), list(displays))]
    SeveralDisplays {
        /// The process.
        process: Process,
        /// Its displays.
        displays: Vec<VmmDisplay>,
    },
    /// The process has displays, but none of that number.
    #[error("process {process} has no display {n}, it has {}", list(displays))]
    NoSuchDisplay {
        /// The process.
        process: Process,
        /// The number asked for.
        n: u32,
        /// Its displays.
        displays: Vec<VmmDisplay>,
    },
    /// The device itself refused, or answered nonsense.
    #[error(transparent)]
    Device(#[from] crate::Error),
    /// Any other refusal of the system.
    #[error("can't {what} {}: {errno}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        errno: Errno,
    },
}

impl HostError {
    /// The errno of a plain refusal.
    pub(super) fn errno(&self) -> Option<rustix::io::Errno> {
        match self {
            Self::Io { errno, .. } => Some(rustix::io::Errno::from_raw_os_error(errno.raw())),
            _ => None,
        }
    }

    /// The error of `what` having failed on `path`.
    pub(super) fn io(what: &'static str, path: &Path) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self::Io { what, path: path.to_owned(), errno: errno.into() }
    }
}

/// What stands between us and what we were not permitted to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missing {
    /// A process may be looked into only by its own user, or with `CAP_SYS_PTRACE`.
    Ptrace {
        /// `/proc/sys/kernel/yama/ptrace_scope`, where there is one; above 0 it shuts out the
        /// process's own user as well.
        yama: Option<u32>,
    },
    /// A file is for others.
    FileMode {
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        uid: u32,
        /// Its group.
        gid: u32,
    },
    /// Nothing that could be found out: a security module, a seccomp filter, a cgroup's device list.
    Unknown,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ptrace { yama } => {
                f.write_str(
                    "it takes root, CAP_SYS_PTRACE, or to be the process's own user and the \
                     process dumpable",
                )?;
                match yama {
                    Some(scope @ 1..) => write!(
                        f,
                        "; kernel.yama.ptrace_scope is {scope}, so only the first two will do"
                    ),
                    _ => Ok(()),
                }
            }
            Self::FileMode { mode, uid, gid } => write!(
                f,
                "its mode is {mode:03o}, its owner uid {uid}, gid {gid}: be root, or grant \
                 yourself access (chown, setfacl, a udev rule)"
            ),
            Self::Unknown => {
                f.write_str("a security module, seccomp filter or device cgroup may be in the way")
            }
        }
    }
}

/// A device in the same IOMMU group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name on its bus.
    pub device: String,
    /// The driver that has it.
    pub driver: String,
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has {}", self.driver, self.device)
    }
}

fn list<T: ToString>(items: &[T]) -> String {
    let items: Vec<String> = items.iter().map(T::to_string).collect();
    items.join(", ")
}

fn in_use(holders: &[Process]) -> String {
    match holders {
        [] => " by a process that could not be found; try list as root".into(),
        [first, ..] => format!(
            " by process {}; a running VMM's display is reached as pid:{}",
            list(holders),
            first.pid
        ),
    }
}
