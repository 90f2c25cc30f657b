// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! dma-bufs of a device: exported once, kept while they are shown, read only when asked to.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::fs::{SealFlags, SeekFrom, fcntl_get_seals, seek};
use rustix::io::Errno;

use crate::device::{DmabufId, GfxDevice};
use crate::error::{Call, Error, Result};
use crate::format::{Fourcc, Modifier};
use crate::geometry::Size;
use crate::plane::Plane;
use crate::sys::{self, Mapping};

/// A dma-buf that a device exported, with the plane that it was described as.
///
/// It is shared by [`Arc`]. Whoever hands it on duplicates the fd: a second export of the same
/// id could free it under its holder.
#[derive(Debug)]
pub struct Dmabuf {
    id: DmabufId,
    fd: OwnedFd,
    len: u64,
    mapping: OnceLock<Result<Mapping, Errno>>,
}

impl Dmabuf {
    fn new(id: DmabufId, fd: OwnedFd) -> Result<Self> {
        // Every dma-buf tells its size this way, `Documentation/driver-api/dma-buf.rst`.
        let len =
            seek(&fd, SeekFrom::End(0)).map_err(|errno| Call::DmabufLen(id).refused(errno))?;
        Ok(Self { id, fd, len, mapping: OnceLock::new() })
    }

    /// The device's name for it.
    pub const fn id(&self) -> DmabufId {
        self.id
    }

    /// Its bytes.
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lets `read` copy out of the first `len` bytes, within one bracket of CPU access.
    ///
    /// # Errors
    ///
    /// [`Error::DmabufShort`] where it has fewer bytes, [`Error::NotMappable`] where its driver
    /// gives the CPU no access.
    pub fn cpu_read<T>(&self, len: u64, read: impl FnOnce(&Mapping) -> T) -> Result<T> {
        let id = self.id;
        if len > self.len {
            return Err(Error::DmabufShort { id, needed: len, len: self.len });
        }
        let mapping = self.mapping.get_or_init(|| self.map()).as_ref();
        let mapping = mapping.map_err(|&errno| Error::NotMappable {
            id,
            len: self.len,
            errno: errno.into(),
        })?;
        sys::dmabuf::cpu_read(self.fd.as_fd(), || read(mapping))
            .map_err(|errno| Call::SyncDmabuf(id).refused(errno))
    }

    fn map(&self) -> Result<Mapping, Errno> {
        // A dma-buf keeps its size for life. A memfd in its place could shrink under the mapping,
        // and the next read would be a SIGBUS, unless it is sealed against that.
        match fcntl_get_seals(&self.fd) {
            Ok(seals) if !seals.contains(SealFlags::SHRINK) => return Err(Errno::PERM),
            _ => {}
        }
        let len = usize::try_from(self.len).map_err(|_| Errno::NOMEM)?;
        Mapping::new(self.fd.as_fd(), 0, len)
    }
}

impl AsFd for Dmabuf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A screen that is handed on as the buffer that it is in, for a GPU to read.
///
/// Nobody but the device knows what changed in it, so all of it may have.
#[derive(Clone, Copy, Debug)]
pub struct DmabufFrame<'a> {
    /// The buffer. Who needs it later clones this; its device keeps few, so not for long. The fd
    /// may be duplicated and sent to others, and outlives everything here.
    pub dmabuf: &'a Arc<Dmabuf>,
    /// Pixels in a row, and rows.
    pub size: Size,
    /// The pixels' format, which this crate need not know.
    pub fourcc: Fourcc,
    /// Their layout.
    pub modifier: Modifier,
    /// Bytes from a row to the next.
    pub stride: u32,
    /// Bytes before the first pixel.
    pub offset: u32,
}

/// dma-bufs by id *and* description, because ids are used again; bounded, least recent out.
///
/// A dma-buf that somebody still holds is never dropped for room, so that its id is not exported
/// a second time while the first file is open.
#[derive(Debug)]
pub struct DmabufCache {
    /// Least recently used first.
    entries: Vec<(Plane, Arc<Dmabuf>)>,
    capacity: usize,
}

impl DmabufCache {
    /// A cache for at most `capacity` dma-bufs, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { entries: Vec::new(), capacity: capacity.max(1) }
    }

    /// The dma-buf `id`, described by `plane`; exported if it is not here.
    ///
    /// # Errors
    ///
    /// What [`GfxDevice::export_dmabuf`] answers, and [`Error::TooManyDmabufs`].
    pub fn get<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        id: DmabufId,
        plane: &Plane,
    ) -> Result<Arc<Dmabuf>> {
        if let Some(at) = self.entries.iter().position(|(p, d)| d.id == id && same(p, plane)) {
            let entry = self.entries.remove(at);
            let dmabuf = Arc::clone(&entry.1);
            self.entries.push(entry);
            return Ok(dmabuf);
        }
        // The id names another buffer now. Ours is closed before the new one is exported.
        self.entries.retain(|(_, dmabuf)| dmabuf.id != id);
        if self.entries.len() >= self.capacity {
            let unused = self.entries.iter().position(|(_, d)| Arc::strong_count(d) == 1);
            let unused = unused.ok_or(Error::TooManyDmabufs { held: self.entries.len() })?;
            self.entries.remove(unused);
        }
        let dmabuf = Arc::new(Dmabuf::new(id, device.export_dmabuf(id)?)?);
        self.entries.push((*plane, Arc::clone(&dmabuf)));
        Ok(dmabuf)
    }

    /// Drops every dma-buf, as a reset of the device asks for.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    /// dma-bufs in the cache.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// Whether both describe one buffer; where it is drawn does not matter to that.
fn same(a: &Plane, b: &Plane) -> bool {
    let buffer = |p: &Plane| (p.size, p.fourcc, p.modifier, p.stride, p.len);
    buffer(a) == buffer(b)
}
