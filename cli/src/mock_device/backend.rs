// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a client is told, and what it does.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::thread::Thread;

use rustix::io::Errno;
use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_DATA_EVENTFD,
    VFIO_REGION_INFO_FLAG_MMAP, VFIO_REGION_INFO_FLAG_READ, VFIO_REGION_INFO_FLAG_WRITE,
    vfio_region_info, vfio_region_sparse_mmap_area,
};
use vfio_display::device::{IrqIndex, RegionDevice as _, RegionIndex};
use vfio_display::region::RegionInfo;
use vfio_display::testing::{FB_IRQ, FB_REGION, FbMock};
use vfio_display::uapi::PCI_CONFIG_REGION;
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, ServerBackend, ServerRegion, SparseArea};

use super::config_space::{self, ConfigSpace};
use super::{BAR0, BAR2, BAR2_LEN};

/// Bytes of the framebuffer region's page, which is not mappable.
const PAGE_LEN: u64 = vfio_display::fb_region::layout::PAGE_LEN as u64;
/// The first bytes of BAR 2.
const SIGNATURE: [u8; 4] = *b"VFMD";

const READ: u32 = VFIO_REGION_INFO_FLAG_READ;
const WRITE: u32 = VFIO_REGION_INFO_FLAG_WRITE;
const MMAP: u32 = VFIO_REGION_INFO_FLAG_MMAP;

/// The device as its clients see it, one after the other.
pub(super) struct Backend {
    mock: FbMock,
    config: ConfigSpace,
    bar0: RegionInfo,
    fb: RegionInfo,
    /// To be woken once it may have something to do.
    guest: Thread,
}

impl Backend {
    pub(super) fn new(mock: FbMock, guest: Thread) -> vfio_display::Result<Self> {
        let bar0 = mock.region_info(RegionIndex(BAR0))?;
        let fb = mock.region_info(FB_REGION)?;
        let config = ConfigSpace::new(mock.config_space(), bar_len(&bar0));
        Ok(Self { mock, config, bar0, fb, guest })
    }

    /// Every region, also those that the device has not.
    pub(super) fn regions(&self) -> Vec<ServerRegion> {
        let region = |index: u32| {
            // Bytes, access, and which of them can be mapped.
            let (size, flags, mappable) = match index {
                BAR0 => (bar_len(&self.bar0), READ | WRITE | MMAP, 0..self.bar0.size),
                BAR2 => (BAR2_LEN, READ, 0..0),
                PCI_CONFIG_REGION => (config_space::LEN as u64, READ | WRITE, 0..0),
                _ if index == FB_REGION.0 => {
                    (self.fb.size, READ | WRITE | MMAP, PAGE_LEN..self.fb.size)
                }
                _ => (0, 0, 0..0),
            };
            let file = self.mock.backing(RegionIndex(index));
            let area = vfio_region_sparse_mmap_area {
                offset: mappable.start,
                size: mappable.end - mappable.start,
            };
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    flags,
                    index,
                    size,
                    offset: file.map_or(0, |(_, start)| start),
                    ..Default::default()
                },
                // The server sends a file with such areas only.
                sparse_areas: file.iter().map(|_| SparseArea { area }).collect(),
                mmap_fd: file.map(|(fd, _)| fd.as_raw_fd()),
            }
        };
        (BAR0..=FB_REGION.0).map(region).collect()
    }

    /// The client has gone: nobody watches, and nobody is told.
    pub(super) fn disconnected(&self) {
        self.mock.disconnected();
    }

    /// BAR 2: who it is and the size of its screen.
    fn registers(&self) -> [u8; BAR2_LEN as usize] {
        let mut bytes = [0; BAR2_LEN as usize];
        let size = self.mock.native_size();
        bytes[..4].copy_from_slice(&SIGNATURE);
        bytes[4..8].copy_from_slice(&size.width.to_le_bytes());
        bytes[8..12].copy_from_slice(&size.height.to_le_bytes());
        bytes
    }
}

/// Every interrupt: those of PCI, which the device has not, and the one that tells of frames.
pub(super) fn irqs() -> Vec<IrqInfo> {
    let irq = |index| match index == FB_IRQ.0 {
        true => IrqInfo { index, flags: VFIO_IRQ_INFO_EVENTFD, count: 1 },
        false => IrqInfo { index, flags: 0, count: 0 },
    };
    (0..=FB_IRQ.0).map(irq).collect()
}

/// A BAR has a power of two of bytes; what is behind its memory reads as zero.
fn bar_len(memory: &RegionInfo) -> u64 {
    memory.size.next_power_of_two()
}

impl ServerBackend for Backend {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> Result<()> {
        match region {
            BAR0 if offset < self.bar0.size => self.mock.read(&self.bar0, offset, data),
            BAR0 => {
                data.fill(0);
                Ok(())
            }
            BAR2 => {
                let bytes = self.registers();
                let start = usize::try_from(offset).map_err(|_| Errno::INVAL)?;
                let bytes = bytes.get(start..).and_then(|bytes| bytes.get(..data.len()));
                data.copy_from_slice(bytes.ok_or(Errno::INVAL)?);
                Ok(())
            }
            PCI_CONFIG_REGION => return Ok(self.config.read(offset, data).ok_or(Errno::INVAL)?),
            _ if region == FB_REGION.0 => self.mock.read(&self.fb, offset, data),
            _ => return Err(Errno::INVAL.into()),
        }
        .map_err(refused)
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> Result<()> {
        match region {
            BAR0 if offset < self.bar0.size => self.mock.write(&self.bar0, offset, data),
            BAR0 => Ok(()),
            PCI_CONFIG_REGION => return Ok(self.config.write(offset, data).ok_or(Errno::INVAL)?),
            _ if region == FB_REGION.0 => {
                let written = self.mock.write(&self.fb, offset, data);
                self.guest.unpark();
                written
            }
            _ => return Err(Errno::INVAL.into()),
        }
        .map_err(refused)
    }

    /// The device reads no memory of its guest's.
    fn dma_map(&mut self, _: DmaMapFlags, _: u64, _: u64, _: u64, _: Option<File>) -> Result<()> {
        Ok(())
    }

    fn dma_unmap(&mut self, _: DmaUnmapFlags, _: u64, _: u64) -> Result<()> {
        Ok(())
    }

    /// The guest's driver sets its mode again at once.
    fn reset(&mut self) -> Result<()> {
        self.config = ConfigSpace::new(self.mock.config_space(), bar_len(&self.bar0));
        self.mock.reset();
        self.mock.set_mode(Some(self.mock.native_size()))
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> Result<()> {
        const EVENTFD: u32 = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD;
        let eventfd = match (start, count, &fds[..]) {
            (0, 0, _) => None,
            (0, 1, [fd]) if flags & EVENTFD == EVENTFD => Some(fd.as_fd()),
            _ => return Err(Errno::INVAL.into()),
        };
        self.mock.set_eventfd(IrqIndex(index), eventfd).map_err(refused)
    }
}

fn refused(error: vfio_display::Error) -> Error {
    error.errno().map_or(Errno::INVAL.into(), |errno| Error::from_raw_os_error(errno.raw()))
}
