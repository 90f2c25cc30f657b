// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whether a file that a server sent can be mapped without harm.

use std::os::fd::OwnedFd;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};
use rustix::io::{Errno, Result};

/// `HUGETLBFS_MAGIC`, `<linux/magic.h>`.
const HUGETLBFS: i64 = 0x9584_58f6;

/// Whether a mapping of the file's first `end` bytes stays whole: ENXIO where the file has fewer,
/// EPERM where somebody could take them away, so that a read is a SIGBUS.
///
/// Only a memfd can promise it. One of huge pages can't: a hole that is punched in it is filled
/// again only while the host has such pages left.
pub(super) fn stays_whole(file: &OwnedFd, end: u64) -> Result<()> {
    match fcntl_get_seals(file) {
        Ok(seals) if seals.contains(SealFlags::SHRINK) => {}
        _ => return Err(Errno::PERM),
    }
    if fstatfs(file)?.f_type as i64 == HUGETLBFS {
        return Err(Errno::PERM);
    }
    // After the seal was seen: from then on the file can only grow.
    match u64::try_from(fstat(file)?.st_size) {
        Ok(len) if len >= end => Ok(()),
        _ => Err(Errno::NXIO),
    }
}
