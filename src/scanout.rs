// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The memory behind a plane, and a picture out of it.

use crate::convert::{self, Alpha};
use crate::device::{DmabufId, GfxDevice, PlaneType, RegionDevice, RegionIndex};
use crate::dmabuf::DmabufCache;
use crate::error::{Error, Result};
use crate::format::PixelFormat;
use crate::picture::Picture;
use crate::plane::{Buffer, Plane};
use crate::region::{RegionFlags, RegionInfo};
use crate::sys::Mapping;

/// dma-bufs that are kept. Compositors flip between two to four, a cursor adds as many.
const DMABUFS: usize = 16;

/// Finds a plane's bytes and copies pictures out of them.
///
/// What it finds is kept for the next look: a mapping of the region, the dma-bufs. All of it is
/// let go by [`reset`](Self::reset).
#[derive(Debug)]
pub(crate) struct Scanout {
    dmabufs: DmabufCache,
    region: Option<Region>,
    row: Vec<u8>,
}

impl Scanout {
    pub(crate) fn new() -> Self {
        Self { dmabufs: DmabufCache::new(DMABUFS), region: None, row: Vec::new() }
    }

    /// Forgets all memory of the device.
    pub(crate) fn reset(&mut self) {
        self.dmabufs.clear();
        self.region = None;
    }

    /// Makes `picture` a copy of `plane`. On an error it is what it was.
    pub(crate) fn copy<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        plane: &Plane,
        picture: &mut Picture,
    ) -> Result<()> {
        let format = plane.pixel_format().map_err(Error::Unsupported)?;
        match plane.buffer {
            Buffer::Region(index) => self.copy_region(device, index, plane, format, picture),
            Buffer::Dmabuf(id) => self.copy_dmabuf(device, id, plane, format, picture),
        }
    }

    fn copy_dmabuf<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        id: DmabufId,
        plane: &Plane,
        format: PixelFormat,
        picture: &mut Picture,
    ) -> Result<()> {
        let dmabuf = self.dmabufs.get(device, id, plane)?;
        let len = plane.picture_len(format);
        dmabuf.cpu_read(len, |mapping| {
            copy_rows(plane, format, &mut self.row, picture, |at, row| {
                let short = Error::DmabufShort { id, needed: len, len: mapping.len() as u64 };
                mapping.copy_out(at as usize, row).then_some(()).ok_or(short)
            })
        })?
    }

    fn copy_region<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: RegionIndex,
        plane: &Plane,
        format: PixelFormat,
        picture: &mut Picture,
    ) -> Result<()> {
        let len = plane.picture_len(format);
        let kept = self.region.take().filter(|kept| kept.info.index == index && kept.len == len);
        let region = match kept {
            Some(region) => region,
            None => Region::attach(device, index, len)?,
        };
        let region = self.region.insert(region);
        match &mut region.access {
            Access::Mapped(mapping) => {
                copy_rows(plane, format, &mut self.row, picture, |at, row| {
                    let outside = region.info.outside(at, row.len() as u64, mapping.len() as u64);
                    mapping.copy_out(at as usize, row).then_some(()).ok_or(outside)
                })
            }
            Access::Read(bytes) => {
                let row = plane.size.width as usize * format.bytes_per_pixel() as usize;
                bytes.resize(row * plane.size.height as usize, 0);
                for (y, bytes) in bytes.chunks_exact_mut(row).enumerate() {
                    device.read(&region.info, y as u64 * u64::from(plane.stride), bytes)?;
                }
                let mut rows = bytes.chunks_exact(row);
                copy_rows(plane, format, &mut self.row, picture, |_, row| {
                    row.copy_from_slice(rows.next().unwrap_or_default());
                    Ok(())
                })
            }
        }
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
    /// Through a mapping.
    Mapped(Mapping),
    /// Through the region's file. The rows are all read into this before a picture changes, so
    /// that a device that stops half-way leaves the last one whole.
    Read(Vec<u8>),
}

impl Region {
    fn attach<D: RegionDevice + ?Sized>(device: &D, index: RegionIndex, len: u64) -> Result<Self> {
        let info = device.region_info(index)?;
        // A region that is too small is an error of its own, whatever can be done with it.
        info.file_offset(0, len)?;
        let readable = info.flags.contains(RegionFlags::READ);
        let access = if info.mappable_from_start() >= len || !readable {
            Access::Mapped(device.map(&info, len)?)
        } else {
            Access::Read(Vec::new())
        };
        Ok(Self { info, len, access })
    }
}

/// Fills `picture` from rows that `read` copies out, given a row's offset in bytes.
fn copy_rows(
    plane: &Plane,
    format: PixelFormat,
    row: &mut Vec<u8>,
    picture: &mut Picture,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let alpha = match plane.plane_type {
        PlaneType::Primary => Alpha::Ignore,
        PlaneType::Cursor | PlaneType::Overlay => Alpha::Keep,
    };
    row.resize(plane.size.width as usize * format.bytes_per_pixel() as usize, 0);
    picture.resize(plane.size);
    for (y, pixels) in picture.rows_mut().enumerate() {
        read(y as u64 * u64::from(plane.stride), row)?;
        convert::row(format, alpha, row, pixels);
    }
    Ok(())
}
