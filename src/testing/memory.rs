// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory behind real fds: the device's own file and the dma-bufs.
//!
//! # Who still holds a dma-buf
//!
//! What a driver does when an id is exported again depends on whether its file is still open,
//! anywhere: an fd, a duplicate of it, another process, or a mapping that outlives its fd. Two
//! facts of the kernel answer that without looking at anybody's fd table:
//!
//! - A `flock(2)` lock belongs to the open file description and goes with its last reference. A
//!   memfd that stands in for a dma-buf is opened anew for each export and locked shared; while
//!   an exclusive lock is refused, somebody holds an export.
//! - `/proc/self/fdinfo` counts the references to a real dma-buf (`count:`, in
//!   `drivers/dma-buf/dma-buf.c`). We hold one; more are somebody else's.

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    FlockOperation, MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, flock, ftruncate,
    memfd_create, open,
};
use rustix::io::{Errno, Result, pread, pwrite, retry_on_intr};

use crate::sys::udmabuf;

/// Bytes of a page, as all the drivers here round.
pub(super) const PAGE: u64 = 4096;

/// `len` up to whole pages.
pub(super) const fn page_up(len: u64) -> u64 {
    len.next_multiple_of(PAGE)
}

/// A memfd of `len` zero bytes that will not shrink, so that a mapping of it stays whole.
pub(super) fn memfd(name: &str, len: u64) -> Result<OwnedFd> {
    let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&fd, len)?;
    fcntl_add_seals(&fd, SealFlags::SHRINK)?;
    Ok(fd)
}

/// Writes all of `data` at `offset`.
pub(super) fn write_at(fd: impl AsFd, mut data: &[u8], mut offset: u64) -> Result<()> {
    while !data.is_empty() {
        let count = retry_on_intr(|| pwrite(&fd, data, offset))?;
        data = &data[count..];
        offset += count as u64;
    }
    Ok(())
}

/// Fills `buf` from `offset` on; EFAULT at the end of the file.
pub(super) fn read_at(fd: impl AsFd, mut buf: &mut [u8], mut offset: u64) -> Result<()> {
    while !buf.is_empty() {
        match retry_on_intr(|| pread(&fd, &mut *buf, offset))? {
            0 => return Err(Errno::FAULT),
            count => {
                buf = &mut buf[count..];
                offset += count as u64;
            }
        }
    }
    Ok(())
}

/// Pixels as the guest reaches them: a part of a file.
#[derive(Clone, Debug)]
pub(super) struct Pixels {
    pub(super) file: Arc<OwnedFd>,
    pub(super) offset: u64,
}

/// What can be done with an exported fd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CpuAccess {
    Map,
    /// `mmap(2)` refuses, with EACCES for a stand-in.
    Refused,
}

/// A dma-buf that can be exported.
#[derive(Debug)]
pub(super) struct Dmabuf {
    pixels: Pixels,
    len: u64,
    access: CpuAccess,
    /// A memfd in the dma-buf's place. The pixels themselves, or a copy where they lie in a
    /// larger file.
    stand_in: Arc<OwnedFd>,
    /// The real dma-buf, from its first export on.
    real: Option<OwnedFd>,
    /// Times exported.
    exports: u32,
    /// Times exported while an earlier export was open.
    exports_while_open: u32,
    /// Times that all exports were seen closed.
    releases: u32,
}

impl Dmabuf {
    /// `len` bytes at the start of `pixels`.
    pub(super) fn new(pixels: Pixels, len: u64, access: CpuAccess) -> Result<Self> {
        let whole = pixels.offset == 0 && rustix::fs::fstat(&*pixels.file)?.st_size as u64 == len;
        let stand_in = if whole {
            Arc::clone(&pixels.file)
        } else {
            Arc::new(memfd("vfio-display-dmabuf", len)?)
        };
        Ok(Self {
            pixels,
            len,
            access,
            stand_in,
            real: None,
            exports: 0,
            exports_while_open: 0,
            releases: 0,
        })
    }

    /// Copies the pixels to where an export shows them, unless they are the same memory.
    pub(super) fn refresh(&self) -> Result<()> {
        let shared = Arc::ptr_eq(&self.stand_in, &self.pixels.file);
        if shared || self.real.is_some() || self.access == CpuAccess::Refused || self.exports == 0 {
            return Ok(());
        }
        let mut piece = vec![0; (1 << 20).min(self.len as usize)];
        let mut done = 0;
        while done < self.len {
            let count = (self.len - done).min(piece.len() as u64);
            let piece = &mut piece[..count as usize];
            read_at(&*self.pixels.file, piece, self.pixels.offset + done)?;
            write_at(&*self.stand_in, piece, done)?;
            done += count;
        }
        Ok(())
    }

    /// A new fd of it; the answer says whether an earlier one was still open.
    pub(super) fn export(&mut self) -> Result<OwnedFd> {
        if self.is_open() {
            self.exports_while_open += 1;
        } else if self.exports > 0 {
            self.releases += 1;
            self.real = None;
        }
        if self.access == CpuAccess::Map && self.real.is_none() && !self.is_open() {
            let Pixels { file, offset } = &self.pixels;
            // Anything that keeps udmabuf from it (no such device, its size limit) leaves the
            // stand-in, which works the same but for DMA_BUF_IOCTL_SYNC.
            self.real = udmabuf::create(file.as_fd(), *offset, page_up(self.len)).ok();
        }
        let fd = match &self.real {
            Some(real) => rustix::io::fcntl_dupfd_cloexec(real, 0)?,
            None => self.open_stand_in()?,
        };
        self.exports += 1;
        self.refresh()?;
        Ok(fd)
    }

    fn open_stand_in(&self) -> Result<OwnedFd> {
        let flags = match self.access {
            CpuAccess::Map => OFlags::RDWR,
            // A mapping is always readable, so mmap(2) refuses every one of a write-only file.
            CpuAccess::Refused => OFlags::WRONLY,
        };
        let path = format!("/proc/self/fd/{}", self.stand_in.as_raw_fd());
        let fd = open(path, flags | OFlags::CLOEXEC, Mode::empty())?;
        flock(&fd, FlockOperation::NonBlockingLockShared)?;
        Ok(fd)
    }

    /// Whether anybody holds an export: an fd of it, or a mapping.
    pub(super) fn is_open(&self) -> bool {
        if let Some(real) = &self.real {
            return references(real).is_some_and(|count| count > 1);
        }
        match flock(&*self.stand_in, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                // Our own lock on our own description: giving it back does not fail.
                let _ = flock(&*self.stand_in, FlockOperation::Unlock);
                false
            }
            Err(errno) => errno == Errno::WOULDBLOCK,
        }
    }

    /// Whether it was exported and every export is closed again.
    pub(super) fn is_released(&self) -> bool {
        self.exports > 0 && !self.is_open()
    }

    /// Whether an export was made while another was open.
    pub(super) fn was_exported_while_open(&self) -> bool {
        self.exports_while_open > 0
    }

    /// Times that its last export was closed.
    pub(super) fn releases(&self) -> u32 {
        self.releases + u32::from(self.is_released())
    }
}

/// References to a dma-buf's file, as its driver counts them.
fn references(dmabuf: &OwnedFd) -> Option<u32> {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", dmabuf.as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("count:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Mapping;

    fn dmabuf(access: CpuAccess) -> Dmabuf {
        let file = Arc::new(memfd("test", 2 * PAGE).unwrap());
        Dmabuf::new(Pixels { file, offset: 0 }, 2 * PAGE, access).unwrap()
    }

    #[test]
    fn a_duplicate_and_a_mapping_hold_a_dmabuf_open() {
        let mut dmabuf = dmabuf(CpuAccess::Map);
        assert!(!dmabuf.is_open());
        let fd = dmabuf.export().unwrap();
        let duplicate = fd.try_clone().unwrap();
        drop(fd);
        assert!(dmabuf.is_open(), "the duplicate");
        let mapping = Mapping::new(duplicate.as_fd(), 0, 4096).unwrap();
        drop(duplicate);
        assert!(dmabuf.is_open(), "the mapping");
        drop(mapping);
        assert!(!dmabuf.is_open());
        assert_eq!(dmabuf.releases(), 1);
    }

    #[test]
    fn a_refused_one_has_a_size_and_no_mapping() {
        let fd = dmabuf(CpuAccess::Refused).export().unwrap();
        assert_eq!(Mapping::new(fd.as_fd(), 0, 4096).unwrap_err(), Errno::ACCESS);
        let end = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0));
        assert_eq!(end, Ok(2 * PAGE));
    }

    #[test]
    fn a_part_of_a_file_is_shown_from_its_start() {
        let file = Arc::new(memfd("test", 4 * PAGE).unwrap());
        write_at(&*file, &[7; 16], PAGE).unwrap();
        let pixels = Pixels { file: Arc::clone(&file), offset: PAGE };
        let mut dmabuf = Dmabuf::new(pixels, 5000, CpuAccess::Map).unwrap();
        let fd = dmabuf.export().unwrap();
        let mapping = Mapping::new(fd.as_fd(), 0, 5000).unwrap();
        let mut out = [0; 16];
        assert!(mapping.copy_out(0, &mut out));
        assert_eq!(out, [7; 16]);
        write_at(&*file, &[9; 16], PAGE).unwrap();
        dmabuf.refresh().unwrap();
        assert!(mapping.copy_out(0, &mut out));
        assert_eq!(out, [9; 16]);
    }
}
