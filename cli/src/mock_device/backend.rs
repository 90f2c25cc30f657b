// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a client is told, and what it does.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::sync::Arc;

use rustix::io::{Errno, pread, pwrite};
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
    vfio_region_info, vfio_region_sparse_mmap_area,
};
use vfio_display::geometry::Size;
use vfio_display::uapi::PCI_CONFIG_REGION;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion, SparseArea};

use super::config_space::{self, ConfigSpace};
use super::device::{Memory, Shared};
use super::{BAR0, BAR0_LEN, BAR2, FB_REGION, WAKE};

/// "VFMD", the first bytes of BAR 0.
const SIGNATURE: [u8; 4] = *b"VFMD";

const READ: u32 = VFIO_REGION_INFO_FLAG_READ;
const WRITE: u32 = VFIO_REGION_INFO_FLAG_WRITE;
const MMAP: u32 = VFIO_REGION_INFO_FLAG_MMAP;

/// The device as one client sees it.
pub(super) struct Backend {
    shared: Arc<Shared>,
    config: ConfigSpace,
    size: Size,
    /// BAR 2, and its bytes.
    bar2: (Arc<OwnedFd>, u64),
    /// The framebuffer region, the page left out, and its bytes.
    slots: (Arc<OwnedFd>, u64),
}

/// Every region, also those that the device has not.
pub(super) fn regions([bar2, slots]: [&Memory; 2], page: u64) -> Vec<ServerRegion> {
    let region = |index: u32| {
        let (size, flags, file, from) = match index {
            BAR0 => (BAR0_LEN, READ, None, 0),
            BAR2 => (bar2.len, READ | WRITE | MMAP, Some(&bar2.fd), 0),
            PCI_CONFIG_REGION => (config_space::LEN as u64, READ | WRITE, None, 0),
            FB_REGION => (slots.len, READ | WRITE | MMAP, Some(&slots.fd), page),
            _ => (0, 0, None, 0),
        };
        let area = vfio_region_sparse_mmap_area { offset: from, size: size - from };
        ServerRegion {
            region_info: vfio_region_info {
                argsz: size_of::<vfio_region_info>() as u32,
                flags,
                index,
                size,
                ..Default::default()
            },
            // The server sends a file with such areas only.
            sparse_areas: file.iter().map(|_| SparseArea { area }).collect(),
            mmap_fd: file.map(|fd| fd.as_raw_fd()),
        }
    };
    (BAR0..=FB_REGION).map(region).collect()
}

/// Every interrupt: those of PCI, which the device has not, and the one that tells of frames.
pub(super) fn irqs() -> Vec<IrqInfo> {
    let none = |index| IrqInfo { index, flags: 0, count: 0 };
    let wake = IrqInfo { index: WAKE, flags: VFIO_IRQ_INFO_EVENTFD, count: 1 };
    (0..WAKE).map(none).chain([wake]).collect()
}

impl Backend {
    pub(super) fn new(shared: Arc<Shared>, size: Size, [bar2, slots]: [&Memory; 2]) -> Self {
        let part = |memory: &Memory| (Arc::clone(&memory.fd), memory.len);
        let config = ConfigSpace::new(bar2.len);
        Self { shared, config, size, bar2: part(bar2), slots: part(slots) }
    }

    /// The client has gone: nobody watches, and nobody is told.
    pub(super) fn disconnected(&mut self) {
        let mut state = self.shared.lock();
        state.wake = None;
        state.producer.disconnected();
    }

    /// BAR 0: who it is, what it shows, and how many frames it has drawn.
    fn registers(&self) -> [u8; BAR0_LEN as usize] {
        let mut bytes = [0; BAR0_LEN as usize];
        let drawn = self.shared.lock().drawn;
        bytes[..4].copy_from_slice(&SIGNATURE);
        bytes[4..8].copy_from_slice(&self.size.width.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.size.height.to_le_bytes());
        bytes[16..24].copy_from_slice(&drawn.to_le_bytes());
        bytes
    }
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<()> {
        match region {
            BAR0 => {
                let start = usize::try_from(offset).map_err(invalid)?;
                let end = start.checked_add(data.len()).ok_or(Errno::INVAL)?;
                data.copy_from_slice(self.registers().get(start..end).ok_or(Errno::INVAL)?);
            }
            BAR2 => read_at(&self.bar2, offset, data)?,
            PCI_CONFIG_REGION => self.config.read(offset, data).ok_or(Errno::INVAL)?,
            FB_REGION => {
                let producer = &self.shared.lock().producer;
                if offset < producer.mappable().start {
                    producer.read(offset, data).map_err(invalid)?;
                } else {
                    read_at(&self.slots, offset, data)?;
                }
            }
            _ => return Err(Errno::INVAL.into()),
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        match region {
            BAR2 => {
                let (file, len) = &self.bar2;
                inside(offset, data.len(), *len)?;
                pwrite(file, data, offset)?;
            }
            PCI_CONFIG_REGION => self.config.write(offset, data).ok_or(Errno::INVAL)?,
            FB_REGION => {
                self.shared.lock().producer.write(offset, data).map_err(invalid)?;
                self.shared.written();
            }
            _ => return Err(Errno::INVAL.into()),
        }
        Ok(())
    }

    /// The device reads no memory of its guest's.
    fn dma_map(&mut self, _: DmaMapFlags, _: u64, _: u64, _: u64, _: Option<File>) -> Result<()> {
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    fn reset(&mut self) -> Result<()> {
        self.config = ConfigSpace::new(self.bar2.1);
        self.shared.lock().producer.reset();
        self.shared.written();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        mut fds: Vec<File>,
    ) -> Result<()> {
        const EVENTFD: u32 = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
        let wake = match (index, start, count) {
            // Whoever takes an interrupt away that there is not has what it wants.
            (index, _, 0) if index != WAKE => return Ok(()),
            (WAKE, 0, 0) => None,
            (WAKE, 0, 1) if flags & EVENTFD == EVENTFD => fds.pop(),
            _ => return Err(Errno::INVAL.into()),
        };
        self.shared.lock().wake = wake;
        Ok(())
    }
}

fn inside(offset: u64, count: usize, len: u64) -> Result<()> {
    let end = offset.checked_add(count as u64);
    if end.is_some_and(|end| end <= len) { Ok(()) } else { Err(Errno::INVAL.into()) }
}

fn read_at((file, len): &(Arc<OwnedFd>, u64), offset: u64, data: &mut [u8]) -> Result<()> {
    inside(offset, data.len(), *len)?;
    let count = pread(file, &mut *data, offset)?;
    if count == data.len() { Ok(()) } else { Err(Errno::IO.into()) }
}

fn invalid(_: impl std::error::Error) -> Error {
    Errno::INVAL.into()
}
