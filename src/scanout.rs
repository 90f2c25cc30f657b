// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The memory behind a plane, and a picture out of it with what changed.

use std::sync::Arc;

use crate::blit::{self, Layout, Reading};
use crate::device::{DmabufId, GfxDevice, RegionDevice, RegionIndex};
use crate::dmabuf::{Dmabuf, DmabufCache};
use crate::error::Result;
use crate::plane::{Buffer, Plane};
use crate::region::{RegionFlags, RegionInfo};
use crate::screen::Screen;
use crate::sys::Mapping;

/// dma-bufs that are kept. Compositors flip between two to four, a cursor adds as many.
const DMABUFS: usize = 16;

/// Finds a plane's bytes and copies them onto a screen.
///
/// What it finds is kept for the next look: a mapping of the region, the dma-bufs. All of it is
/// let go by [`reset`](Self::reset).
#[derive(Debug)]
pub(crate) struct Scanout {
    dmabufs: DmabufCache,
    region: Option<Region>,
}

impl Scanout {
    pub(crate) fn new() -> Self {
        Self { dmabufs: DmabufCache::new(DMABUFS), region: None }
    }

    /// Forgets all memory of the device.
    pub(crate) fn reset(&mut self) {
        self.dmabufs.clear();
        self.region = None;
    }

    /// Makes `screen` a copy of `plane`, read as `reading` says. On an error it is what it
    /// was.
    pub(crate) fn copy<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        plane: &Plane,
        screen: &mut Screen,
        reading: Reading<'_>,
    ) -> Result<()> {
        let layout = Layout::of(plane)?;
        match plane.buffer {
            Buffer::Region(index) => self.copy_region(device, index, &layout, screen, reading),
            Buffer::Dmabuf(id) => self.copy_dmabuf(device, id, plane, &layout, screen, reading),
        }
    }

    /// The dma-buf that `plane` is in, `None` where it is in a region.
    pub(crate) fn dmabuf<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        plane: &Plane,
    ) -> Result<Option<Arc<Dmabuf>>> {
        match plane.buffer {
            Buffer::Dmabuf(id) => self.dmabufs.get(device, id, plane).map(Some),
            Buffer::Region(_) => Ok(None),
        }
    }

    fn copy_dmabuf<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        id: DmabufId,
        plane: &Plane,
        layout: &Layout,
        screen: &mut Screen,
        reading: Reading<'_>,
    ) -> Result<()> {
        let dmabuf = self.dmabufs.get(device, id, plane)?;
        dmabuf.cpu_read(layout.len(), |mapping| {
            blit::copy_mapping(mapping, layout, screen, reading);
        })
    }

    fn copy_region<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: RegionIndex,
        layout: &Layout,
        screen: &mut Screen,
        reading: Reading<'_>,
    ) -> Result<()> {
        let len = layout.len();
        let kept = self.region.take().filter(|kept| kept.info.index == index && kept.len == len);
        let region = match kept {
            Some(region) => region,
            None => Region::attach(device, index, len)?,
        };
        let region = self.region.insert(region);
        match &mut region.access {
            Access::Mapped(mapping) => blit::copy_mapping(mapping, layout, screen, reading),
            Access::Read(bytes) => {
                bytes.resize(layout.row_len() * layout.size.height as usize, 0);
                for (y, row) in bytes.chunks_exact_mut(layout.row_len()).enumerate() {
                    device.read(&region.info, layout.row_offset(y) as u64, row)?;
                }
                blit::copy_rows(bytes, layout, screen);
            }
        }
        Ok(())
    }
}

/// The region that a plane is in, and as many of its bytes as the plane has.
#[derive(Debug)]
struct Region {
    info: RegionInfo,
    len: u64,
    access: Access,
}

#[derive(Debug)]
enum Access {
    /// Through a mapping of at least the plane's bytes.
    Mapped(Mapping),
    /// Through the region's file. The rows are all read into this before the screen changes, so
    /// that a device that stops half-way leaves the last picture whole.
    Read(Vec<u8>),
}

impl Region {
    fn attach<D: RegionDevice + ?Sized>(device: &D, index: RegionIndex, len: u64) -> Result<Self> {
        let info = device.region_info(index)?;
        // A region that is too small is an error of its own, whatever can be done with it.
        info.file_offset(0, len)?;
        let readable = info.flags.contains(RegionFlags::READ);
        let access = if info.mappable_from_start() >= len || !readable {
            let mapping = device.map(&info, 0, len)?;
            if (mapping.len() as u64) < len {
                return Err(info.outside(0, len, mapping.len() as u64));
            }
            Access::Mapped(mapping)
        } else {
            Access::Read(Vec::new())
        };
        Ok(Self { info, len, access })
    }
}
