// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The devices of this host: list them, open one, or borrow one from a running VMM.
//!
//! A [`Host`] is three directories: where sysfs, procfs and device files are. Nothing else of
//! the system is looked at, so all but the ioctls can be tried on a tree of plain files.
//!
//! - [`Host::mdevs`], [`Host::mdev_types`], [`Host::pci_devices`] and [`Host::vmms`] list. Lists
//!   are sorted, reads bounded, and what may not be looked at is named.
//! - [`Host::open`] opens a device that nobody uses.
//! - [`Host::borrow`] takes a second handle of a device that a VMM has open, without the VMM's
//!   help and without a change to it.
//! - [`Host::reach`] does whichever of the two a [`Target`] asks for.
//!
//! Nothing in sysfs says whether a device has a display: only a probe on an open device does.

mod borrow;
mod device;
mod error;
mod export;
#[cfg_attr(not(feature = "kvm"), path = "host/no_kvm.rs")]
mod kvm;
mod list;
mod locate;
mod open;
mod opened;
mod process;
mod search;
mod target;
mod tree;

use std::path::{Path, PathBuf};

pub use self::borrow::{Borrowed, VmmDisplay};
pub use self::device::Reached;
pub use self::error::{HostError, Member, Missing, Result};
pub use self::export::{DisplayConflict, DmabufHolder, OnConflict};
pub use self::list::{Mdev, MdevType, PciDevice, VgpuType, VgpuTypes};
pub use self::opened::{Note, Opened};
pub use self::process::{DeviceFd, Process, Unseen, Vmm, Vmms};
pub use self::target::{DeviceName, PciAddress, Target, TargetError, Uuid};

/// Where this host's sysfs, procfs and device files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    sysfs: PathBuf,
    procfs: PathBuf,
    dev: PathBuf,
}

impl Default for Host {
    fn default() -> Self {
        Self { sysfs: "/sys".into(), procfs: "/proc".into(), dev: "/dev".into() }
    }
}

impl Host {
    /// This host, in the usual places.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with sysfs at `root` instead of `/sys`.
    #[must_use]
    pub fn with_sysfs(mut self, root: impl Into<PathBuf>) -> Self {
        self.sysfs = root.into();
        self
    }

    /// The same with procfs at `root` instead of `/proc`.
    #[must_use]
    pub fn with_procfs(mut self, root: impl Into<PathBuf>) -> Self {
        self.procfs = root.into();
        self
    }

    /// The same with device files at `root` instead of `/dev`.
    #[must_use]
    pub fn with_dev(mut self, root: impl Into<PathBuf>) -> Self {
        self.dev = root.into();
        self
    }

    fn sys(&self, path: impl AsRef<Path>) -> PathBuf {
        self.sysfs.join(path)
    }

    fn proc(&self, pid: u32) -> PathBuf {
        self.procfs.join(pid.to_string())
    }

    /// Opens or borrows what `target` names; `on_conflict` is as for [`borrow`](Self::borrow).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open) and [`borrow`](Self::borrow).
    pub fn reach(&self, target: &Target, on_conflict: OnConflict) -> Result<Reached> {
        Ok(match target {
            Target::Device(name) => Reached::Opened(self.open(name, on_conflict)?),
            Target::Process { pid, display } => {
                Reached::Borrowed(self.borrow(*pid, *display, on_conflict)?)
            }
        })
    }
}
