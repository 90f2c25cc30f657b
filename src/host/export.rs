// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who else holds dma-bufs of a device, and whether one more export is safe.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, open};
use rustix::io::{Errno as Raw, fcntl_dupfd_cloexec};

use super::process::{Process, Unseen};
use super::{Host, Result};
use crate::device::{DmabufId, GfxDevice as _, RegionDevice, Vfio};
use crate::error::{Call, Conflict, Error};
use crate::uapi::PCI_CONFIG_REGION;

/// Driver whose dma-bufs must not be exported twice, as it calls itself.
///
/// The kernel's `samples/vfio-mdev/mbochs.c`, up to 6.12 at least, hands out the file of a
/// dma-buf that is open without taking a reference, so that the first close frees it under the
/// second: a BUG, or a CPU that spins for ever.
const BREAKS: &str = "mbochs";
/// Vendor and device id in the configuration space of an mbochs device.
const BREAKS_PCI_IDS: [u8; 4] = [0x34, 0x12, 0x11, 0x11];
/// Most dma-bufs of such a driver that are kept; a guest that makes more is up to no good.
const MOST_KEPT: usize = 256;

/// What to do where exporting a dma-buf may break the device's driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse with [`Error::Conflict`].
    #[default]
    Refuse,
    /// Export all the same. With mbochs this can crash the kernel.
    Force,
}

/// A process that holds dma-bufs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DmabufHolder {
    /// The process.
    pub process: Process,
    /// How many, by the driver that exported them.
    pub dmabufs: BTreeMap<String, u32>,
}

impl fmt::Display for DmabufHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} holds", self.process)?;
        for (at, (exporter, count)) in self.dmabufs.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let exporter = if exporter.is_empty() { "?" } else { exporter };
            write!(f, "{comma} {count} dma-bufs of {exporter}")?;
        }
        Ok(())
    }
}

/// Others who hold dma-bufs that may be of this device.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DisplayConflict {
    /// Whether the device's driver breaks when one of them is exported again.
    pub driver_breaks: bool,
    /// Who holds them. Where the driver is not one that breaks, only the VMM is looked at.
    pub holders: Vec<DmabufHolder>,
    /// Processes that may not be looked into.
    pub unseen: Vec<Unseen>,
}

impl DisplayConflict {
    /// Whether nobody was found.
    pub fn is_empty(&self) -> bool {
        self.holders.is_empty()
    }
}

/// Watches over the exports of one device.
#[derive(Debug)]
pub(super) struct ExportGuard {
    host: Host,
    /// The process that opened the device, and its fd there.
    owner: u32,
    owner_fd: i32,
    breaks: bool,
    on_conflict: OnConflict,
    exports: Mutex<Exports>,
}

/// What is held from the first export on, as long as the device is.
#[derive(Debug, Default)]
struct Exports {
    lock: Option<OwnedFd>,
    /// Every dma-buf that was exported from a driver that breaks.
    dmabufs: BTreeMap<u32, OwnedFd>,
}

impl ExportGuard {
    pub(super) fn new(
        host: &Host,
        (owner, owner_fd): (u32, i32),
        breaks: bool,
        on_conflict: OnConflict,
    ) -> Self {
        Self { host: host.clone(), owner, owner_fd, breaks, on_conflict, exports: Mutex::default() }
    }

    /// Whether the device's driver breaks when a dma-buf is exported twice.
    pub(super) const fn breaks(&self) -> bool {
        self.breaks
    }

    /// Exports `id` from `device`, unless that may break its driver.
    ///
    /// From a driver that breaks, each id is exported once as long as the device is open, and
    /// the first fd kept: mbochs counts the pages of a dma-buf when it makes the id, but gives
    /// them back at each last close of a file, so a second one would take them from the guest.
    pub(super) fn export(&self, id: DmabufId, device: &Vfio<OwnedFd>) -> Result<OwnedFd, Error> {
        if !self.breaks {
            return device.export_dmabuf(id);
        }
        let mut exports = self.exports.lock().unwrap_or_else(PoisonError::into_inner);
        if !exports.dmabufs.contains_key(&id.0) {
            let held = exports.dmabufs.len();
            if held >= MOST_KEPT {
                return Err(Error::TooManyDmabufs { held });
            }
            self.check(&mut exports, id, device.as_fd())?;
            exports.dmabufs.insert(id.0, device.export_dmabuf(id)?);
        }
        fcntl_dupfd_cloexec(&exports.dmabufs[&id.0], 0)
            .map_err(|errno| Call::ExportDmabuf(id).refused(errno))
    }

    /// Answers with an error where `id` must not be exported from `device`.
    ///
    /// Looks at each new id, and not only the first: the VMM may begin to show its display when
    /// we have long begun to.
    fn check(
        &self,
        exports: &mut Exports,
        id: DmabufId,
        device: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        if self.on_conflict == OnConflict::Force {
            return Ok(());
        }
        let conflict = |why| Error::Conflict { id, why };
        self.take_lock(&mut exports.lock).map_err(conflict)?;
        let given = exports.dmabufs.values().filter_map(|fd| fstat(fd).ok());
        let given = given.map(|stat| stat.st_ino).collect();
        let found = self.conflict_beside(device, &given).map_err(|error| {
            let errno = error.errno().unwrap_or(Raw::IO).into();
            conflict(Conflict::Unknown { errno })
        })?;
        if found.is_empty() {
            return Ok(());
        }
        let pids = found.holders.iter().map(|holder| holder.process.pid);
        Err(conflict(Conflict::Held { driver: BREAKS, pids: pids.collect() }))
    }

    /// Shuts out other processes that export from this device by this crate.
    ///
    /// The look at who holds dma-bufs and the export after it are not one step, so two processes
    /// could both find nobody. Hence an advisory lock, on a file that is there already and the
    /// same for both: `/proc/PID/fdinfo/FD` of the fd that the device was opened as. The device
    /// fd itself will not do, because a borrowed one is the same open file in both processes and
    /// a lock belongs to the open file; nor will its inode, which all anonymous files share.
    fn take_lock(&self, lock: &mut Option<OwnedFd>) -> Result<(), Conflict> {
        if lock.is_some() {
            return Ok(());
        }
        let unknown = |errno: Raw| Conflict::Unknown { errno: errno.into() };
        let file = open(self.lock_path(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .map_err(unknown)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => *lock = Some(file),
            Err(Raw::WOULDBLOCK) => return Err(Conflict::Exporting { pid: self.owner }),
            Err(errno) => return Err(unknown(errno)),
        }
        Ok(())
    }

    fn lock_path(&self) -> PathBuf {
        let fdinfo = self.host.proc(self.owner).join("fdinfo");
        fdinfo.join(self.owner_fd.to_string())
    }

    /// Who else holds dma-bufs that may be of `device`.
    ///
    /// We ourselves do not count: whoever exports by this crate exports an id once and
    /// duplicates the fd after that.
    pub(super) fn conflict(&self, device: BorrowedFd<'_>) -> Result<DisplayConflict> {
        self.conflict_beside(device, &BTreeSet::new())
    }

    /// The same, but for dma-bufs with these inode numbers: those that we exported, and that
    /// whoever has them was handed by us.
    fn conflict_beside(
        &self,
        device: BorrowedFd<'_>,
        given: &BTreeSet<u64>,
    ) -> Result<DisplayConflict> {
        let us = std::process::id();
        let mut conflict = DisplayConflict { driver_breaks: self.breaks, ..Default::default() };
        let pids = if self.breaks { self.host.pids()? } else { vec![self.owner] };
        for pid in pids.into_iter().filter(|&pid| pid != us) {
            let fds = match self.host.fds(pid) {
                Ok(fds) => fds,
                Err(errno) => {
                    conflict.unseen.extend(self.host.unseen(pid, errno));
                    continue;
                }
            };
            let mut held = fds.dmabufs.clone();
            held.retain(|fd| !self.host.inode(pid, *fd).is_some_and(|ino| given.contains(&ino)));
            let mut dmabufs = self.host.exporters(pid, &held);
            if self.breaks {
                dmabufs.retain(|exporter, _| exporter == BREAKS);
            }
            // dma-bufs do not say which device they are of. Who has devices open, but not this
            // one, has them of those; who has none open was given them by somebody.
            let other = self.breaks
                && !fds.devices.is_empty()
                && fds.devices.iter().all(|theirs| {
                    let (us, pid) = (us.cast_signed(), pid.cast_signed());
                    let same = crate::sys::open::same_file(us, device.as_raw_fd(), pid, theirs.fd);
                    same == Ok(false)
                });
            if !dmabufs.is_empty() && !other {
                conflict.holders.push(DmabufHolder { process: self.host.process(pid), dmabufs });
            }
        }
        Ok(conflict)
    }
}

/// Whether a driver of this name breaks when a dma-buf is exported twice, or the device is one
/// of such a driver's: a borrowed fd tells no driver, but its configuration space does.
pub(super) fn breaks(driver: Option<&str>, device: &impl RegionDevice) -> bool {
    let has_ids = || {
        let config = device.region_info(crate::device::RegionIndex(PCI_CONFIG_REGION))?;
        let mut ids = [0; 4];
        device.read(&config, 0, &mut ids)?;
        Ok::<_, Error>(ids == BREAKS_PCI_IDS)
    };
    driver == Some(BREAKS) || has_ids().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Process 7 has a device open as fd 3, and process 8 as well what it is `given`.
    fn guarded(given: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let root = tempfile::tempdir().unwrap();
        for pid in ["7", "8"] {
            let dir = root.path().join(pid);
            fs::create_dir_all(dir.join("fd")).unwrap();
            fs::create_dir_all(dir.join("fdinfo")).unwrap();
            fs::write(dir.join("comm"), format!("vmm-{pid}\n")).unwrap();
        }
        symlink("anon_inode:[vfio-device]", root.path().join("7/fd/3")).unwrap();
        fs::write(root.path().join("7/fdinfo/3"), "pos:\t0\n").unwrap();
        for (at, (link, info)) in given.iter().enumerate() {
            symlink(link, root.path().join(format!("8/fd/{at}"))).unwrap();
            fs::write(root.path().join(format!("8/fdinfo/{at}")), info).unwrap();
        }
        let host = Host::new().with_procfs(root.path());
        (root, host)
    }

    fn check(guard: &ExportGuard) -> Result<(), Error> {
        if !guard.breaks {
            return Ok(());
        }
        let mut exports = guard.exports.lock().unwrap();
        guard.check(&mut exports, DmabufId(1), tempfile::tempfile().unwrap().as_fd())
    }

    fn guard(host: &Host, breaks: bool, on_conflict: OnConflict) -> ExportGuard {
        ExportGuard::new(host, (7, 3), breaks, on_conflict)
    }

    fn why(answer: Result<(), Error>) -> Conflict {
        match answer {
            Err(Error::Conflict { why, .. }) => why,
            other => panic!("no conflict: {other:?}"),
        }
    }

    const DMABUF: &str = "/dmabuf:";
    const OF_MBOCHS: &str = "pos:\t0\nsize:\t1\ncount:\t1\nexp_name:\tmbochs\n";

    #[test]
    fn one_process_exports_at_a_time() {
        let (_root, host) = guarded(&[]);
        let first = guard(&host, true, OnConflict::Refuse);
        let second = guard(&host, true, OnConflict::Refuse);
        assert_eq!(check(&first), Ok(()));
        assert_eq!(check(&first), Ok(()));
        assert_eq!(why(check(&second)), Conflict::Exporting { pid: 7 });
        assert_eq!(check(&guard(&host, false, OnConflict::Refuse)), Ok(()));
        assert_eq!(check(&guard(&host, true, OnConflict::Force)), Ok(()));
        drop(first);
        assert_eq!(check(&second), Ok(()));
    }

    #[test]
    fn a_holder_of_the_driver_s_dmabufs_stops_the_export_unless_forced() {
        let (_root, host) = guarded(&[(DMABUF, OF_MBOCHS), (DMABUF, OF_MBOCHS)]);
        let held = Conflict::Held { driver: "mbochs", pids: vec![8] };
        assert_eq!(why(check(&guard(&host, true, OnConflict::Refuse))), held);
        assert_eq!(check(&guard(&host, true, OnConflict::Force)), Ok(()));
        assert_eq!(check(&guard(&host, false, OnConflict::Refuse)), Ok(()));
        let found = guard(&host, true, OnConflict::Force);
        let found = found.conflict(tempfile::tempfile().unwrap().as_fd()).unwrap();
        assert_eq!(found.holders[0].to_string(), "process 8 (vmm-8) holds 2 dma-bufs of mbochs");
    }

    #[test]
    fn dmabufs_of_other_drivers_are_no_reason() {
        let (_root, host) = guarded(&[(DMABUF, "exp_name:\tudmabuf\n"), ("/dev/null", OF_MBOCHS)]);
        assert_eq!(check(&guard(&host, true, OnConflict::Refuse)), Ok(()));
    }

    #[test]
    fn what_cannot_be_locked_is_not_exported() {
        let (root, host) = guarded(&[]);
        fs::remove_file(root.path().join("7/fdinfo/3")).unwrap();
        assert_eq!(
            why(check(&guard(&host, true, OnConflict::Refuse))),
            Conflict::Unknown { errno: Raw::NOENT.into() }
        );
    }

    #[test]
    fn two_opens_of_an_fdinfo_in_procfs_contend_for_its_lock() {
        // The premise of `take_lock`, on the real procfs.
        let file = tempfile::tempfile().unwrap();
        let owner = (std::process::id(), file.as_raw_fd());
        let host = Host::new();
        let first = ExportGuard::new(&host, owner, true, OnConflict::Refuse);
        let second = ExportGuard::new(&host, owner, true, OnConflict::Refuse);
        let (mut held, mut wanted) = (None, None);
        first.take_lock(&mut held).unwrap();
        assert_eq!(second.take_lock(&mut wanted), Err(Conflict::Exporting { pid: owner.0 }));
        drop(held);
        second.take_lock(&mut wanted).unwrap();
    }
}
