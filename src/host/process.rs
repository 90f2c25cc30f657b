// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Processes and the VFIO fds in them, through `/proc/PID/fd` and `/proc/PID/fdinfo`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::io::{Errno as Raw, Result as RawResult};

use super::error::{HostError, Result};
use super::tree::{clean, head, line, names, text};
use super::{Host, Missing};
use crate::error::Errno;

/// Bytes of a command line that are read: enough for the name in front.
const COMMAND_BYTES: usize = 4096;
/// Flag of a kernel thread in `/proc/PID/stat`, `PF_KTHREAD` of `<linux/sched.h>`.
const PF_KTHREAD: u64 = 0x0020_0000;

/// A process by its number and the name that it gives itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// Its name, `/proc/PID/comm`; empty where it has none.
    pub name: String,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.pid, self.name)
    }
}

/// A process that has VFIO devices open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vmm {
    /// The process.
    pub process: Process,
    /// Name of the program in its command line, without its directory.
    pub command: Option<String>,
    /// Its device fds, by number. Two may be one open file, or one device.
    pub device_fds: Vec<DeviceFd>,
    /// The IOMMU groups that it has open; none where it uses cdevs.
    pub iommu_groups: Vec<u32>,
    /// How many dma-bufs it holds, by the driver that exported them.
    pub dmabufs: BTreeMap<String, u32>,
}

/// An fd of a VFIO device in another process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DeviceFd {
    /// Its number there.
    pub fd: i32,
    /// The device in sysfs, where the kernel tells (`vfio-device-syspath` in fdinfo, 6.18).
    pub device: Option<PathBuf>,
    /// Name of the cdev that was opened, as `vfio0`; `None` where it came from a group.
    pub cdev: Option<String>,
}

/// What could not be looked at, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The process.
    pub process: Process,
    /// What the system said.
    pub errno: Errno,
}

/// The VMMs that are running.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmms {
    /// Those with VFIO devices, by pid.
    pub running: Vec<Vmm>,
    /// Processes that may not be looked into, by pid. Any may be a VMM.
    pub unseen: Vec<Unseen>,
}

/// The fds of a process that have to do with VFIO or with dma-bufs.
#[derive(Clone, Debug, Default)]
pub(super) struct Fds {
    pub(super) devices: Vec<DeviceFd>,
    pub(super) groups: BTreeSet<u32>,
    pub(super) dmabufs: Vec<i32>,
}

/// What an fd's link in `/proc/PID/fd` says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Device,
    Cdev(String),
    Group(u32),
    Dmabuf,
    Other,
}

impl Link {
    pub(super) fn parse(link: &str) -> Self {
        if link == "anon_inode:[vfio-device]" {
            return Self::Device;
        }
        if link.starts_with("/dmabuf:") {
            return Self::Dmabuf;
        }
        // Not from the start: a jailed VMM has its own /dev somewhere below.
        let Some((_, name)) = link.rsplit_once("/dev/vfio/") else {
            return Self::Other;
        };
        if let Some(cdev) = name.strip_prefix("devices/") {
            return match cdev.strip_prefix("vfio").map(str::parse::<u32>) {
                Some(Ok(_)) => Self::Cdev(cdev.to_owned()),
                _ => Self::Other,
            };
        }
        name.parse().map_or(Self::Other, Self::Group)
    }
}

impl Host {
    /// The processes that have VFIO devices open, and those that may not be looked into.
    ///
    /// Which of their devices have a display is another question, that
    /// [`displays`](Self::displays) asks.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`] where procfs can't be listed.
    pub fn vmms(&self) -> Result<Vmms> {
        let mut vmms = Vmms::default();
        for pid in self.pids()? {
            match self.fds(pid) {
                Ok(fds) if fds.devices.is_empty() => {}
                Ok(fds) => vmms.running.push(self.vmm(pid, fds)),
                Err(errno) => vmms.unseen.extend(self.unseen(pid, errno)),
            }
        }
        Ok(vmms)
    }

    fn vmm(&self, pid: u32, fds: Fds) -> Vmm {
        Vmm {
            process: self.process(pid),
            command: self.command(pid),
            dmabufs: self.exporters(pid, &fds.dmabufs),
            iommu_groups: fds.groups.into_iter().collect(),
            device_fds: fds.devices,
        }
    }

    /// The ids of all processes, in order.
    pub(super) fn pids(&self) -> Result<Vec<u32>> {
        let names = names(&self.procfs).map_err(HostError::io("list", &self.procfs))?;
        let mut pids: Vec<u32> = names.iter().filter_map(number).collect();
        pids.sort_unstable();
        Ok(pids)
    }

    pub(super) fn process(&self, pid: u32) -> Process {
        Process { pid, name: line(&self.proc(pid).join("comm")).unwrap_or_default() }
    }

    fn command(&self, pid: u32) -> Option<String> {
        let bytes = head(&self.proc(pid).join("cmdline"), COMMAND_BYTES).ok()?;
        let program = bytes.split(|&b| b == 0).next()?;
        let program = program.rsplit(|&b| b == b'/').next()?;
        Some(clean(&String::from_utf8_lossy(program))).filter(|name| !name.is_empty())
    }

    /// Names a process whose fds answered `errno`, if there is anything to be seen in it.
    pub(super) fn unseen(&self, pid: u32, errno: Raw) -> Option<Unseen> {
        let gone = matches!(errno, Raw::NOENT | Raw::SRCH | Raw::NOTDIR);
        if gone || self.is_kernel_thread(pid) {
            return None;
        }
        Some(Unseen { process: self.process(pid), errno: errno.into() })
    }

    fn is_kernel_thread(&self, pid: u32) -> bool {
        let flags = || {
            let stat = text(&self.proc(pid).join("stat")).ok()?;
            // The name before it may have spaces and parentheses of its own.
            let (_, fields) = stat.rsplit_once(')')?;
            fields.split_whitespace().nth(6)?.parse::<u64>().ok()
        };
        flags().is_some_and(|flags| flags & PF_KTHREAD != 0)
    }

    /// The fds of process `pid` that matter here, by number.
    pub(super) fn fds(&self, pid: u32) -> RawResult<Fds> {
        let dir = self.proc(pid).join("fd");
        let mut numbers: Vec<i32> = names(&dir)?.iter().filter_map(number).collect();
        numbers.sort_unstable();
        let mut fds = Fds::default();
        for fd in numbers {
            // An fd that was closed meanwhile is none.
            let Ok(link) = std::fs::read_link(dir.join(fd.to_string())) else {
                continue;
            };
            match Link::parse(&link.to_string_lossy()) {
                Link::Device => fds.devices.push(self.device_fd(pid, fd, None)),
                Link::Cdev(name) => fds.devices.push(self.device_fd(pid, fd, Some(name))),
                Link::Group(group) => drop(fds.groups.insert(group)),
                Link::Dmabuf => fds.dmabufs.push(fd),
                Link::Other => {}
            }
        }
        Ok(fds)
    }

    fn device_fd(&self, pid: u32, fd: i32, cdev: Option<String>) -> DeviceFd {
        DeviceFd { fd, device: self.fdinfo(pid, fd, "vfio-device-syspath:").map(Into::into), cdev }
    }

    /// What the drivers of these dma-bufs call themselves, and how many are of each.
    pub(super) fn exporters(&self, pid: u32, dmabufs: &[i32]) -> BTreeMap<String, u32> {
        let mut exporters = BTreeMap::new();
        for &fd in dmabufs {
            let exporter = self.fdinfo(pid, fd, "exp_name:");
            *exporters.entry(exporter.unwrap_or_default()).or_default() += 1;
        }
        exporters
    }

    /// The inode number of what an fd of a process is open on. Each dma-buf has its own.
    pub(super) fn inode(&self, pid: u32, fd: i32) -> Option<u64> {
        // The link is followed by the kernel: its text is no path.
        let path = self.proc(pid).join("fd").join(fd.to_string());
        fs::metadata(path).ok().map(|meta| meta.ino())
    }

    fn fdinfo(&self, pid: u32, fd: i32, key: &str) -> Option<String> {
        let path = self.proc(pid).join("fdinfo").join(fd.to_string());
        let text = text(&path).ok()?;
        let value = text.lines().find_map(|line| line.strip_prefix(key))?;
        Some(clean(value.trim()))
    }

    /// Why a process may not be looked into.
    pub(super) fn no_ptrace(&self, path: PathBuf, errno: Raw) -> HostError {
        let yama = self.procfs.join("sys/kernel/yama/ptrace_scope");
        HostError::NotPermitted {
            path,
            errno: errno.into(),
            missing: Missing::Ptrace { yama: super::tree::number(&yama) },
        }
    }
}

fn number<N: std::str::FromStr>(name: &OsString) -> Option<N> {
    name.to_str()?.parse().ok()
}
