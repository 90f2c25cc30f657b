// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Planes and dma-bufs of a mock: what is drawn where, and what is said of it.
//!
//! Sources: mdpy.c and mbochs.c (`*_query_gfx_plane`, `mbochs_dmabuf_*`), i915's gvt/dmabuf.c
//! (`vgpu_get_plane_info`, `intel_vgpu_query_plane`).

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::{Errno, Result};

use super::encode::{encode, has_alpha};
use super::memory::{CpuAccess, Dmabuf, PAGE, Pixels, memfd, page_up, write_at};
use super::mode::{Mode, Shape};
use super::personality::Personality;
use super::state::State;
use crate::device::{DmabufId, PlaneKind, PlaneType};
use crate::format::PixelFormat;
use crate::geometry::{Point, Size};
use crate::uapi::{PLANE_PROBE, PlaneInfo};

/// Something that a host made the driver do, and that a real kernel does not survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KernelBug {
    /// A dma-buf was exported while an earlier export of it was open. mbochs hands the same file
    /// out again without a reference to it: the first close frees it, the last one is a BUG
    /// ("VFS: Close: file count is 0").
    ExportedWhileOpen {
        /// The dma-buf.
        id: DmabufId,
        /// Whether all fds are closed by now, which is when the kernel stops.
        closed: bool,
    },
    /// A dma-buf was exported, closed, exported and closed again. mbochs takes the references to
    /// its pages once and gives them back at each close: the second frees pages that are in use.
    PagesFreedTwice {
        /// The dma-buf.
        id: DmabufId,
    },
    /// Video memory of mbochs was read or written in its last two pages, not mapped. It looks two
    /// pages further on there, which is behind its table of pages.
    MemoryOverrun,
}

/// Memory that a guest draws into.
#[derive(Clone, Debug)]
pub(super) struct Framebuffer {
    /// Tells it from all others of the device; stands for its address.
    serial: u64,
    pixels: Pixels,
}

/// The guest's pointer.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    shape: Shape,
    framebuffer: Framebuffer,
    pub(super) position: Point,
    pub(super) hotspot: Option<Point>,
    pub(super) visible: bool,
}

/// A dma-buf that has an id.
#[derive(Debug)]
pub(super) struct Exported {
    id: u32,
    shape: Shape,
    /// The framebuffer's serial number, or where it starts in the video memory of mbochs.
    start: u64,
    dmabuf: Dmabuf,
}

impl State {
    /// Sets a mode on a driver without VBE registers.
    pub(super) fn apply(&mut self, mode: Mode) -> Result<()> {
        let shape = Shape::new(self.personality, &mode).ok_or(Errno::INVAL)?;
        if let Some(region) = self.plane_region().and_then(|index| self.layout.get(index))
            && u64::from(shape.len) > region.size
        {
            return Err(Errno::NOMEM);
        }
        self.drop_framebuffers();
        self.mode = Some(mode);
        self.slot = 0;
        self.mode_changes += 1;
        if let (Personality::Nvidia, Some(pixels)) = (self.personality, self.region_pixels(9)) {
            // The region is the host's copy of the screen, and a new one starts black.
            write_at(&*pixels.file, &vec![0; shape.len as usize], pixels.offset)?;
        }
        if self.personality == Personality::GvtG {
            let odd = self.mode_changes % 2 == 1;
            self.transient = Some(if odd { Errno::FAULT } else { Errno::INVAL });
        }
        Ok(())
    }

    pub(super) fn drop_framebuffers(&mut self) {
        self.framebuffers.clear();
        self.forget_ids();
    }

    /// Where the screen is drawn, and its shape; `None` is off.
    pub(super) fn screen(&mut self) -> Option<(Shape, Pixels)> {
        if let Some(vbe) = &self.vbe {
            let (shape, start) = vbe.framebuffer()?;
            let mut pixels = self.region_pixels(0)?;
            pixels.offset += start;
            return Some((shape, pixels));
        }
        let shape = Shape::new(self.personality, self.mode.as_ref()?)?;
        let pixels = match self.plane_region() {
            Some(index) => self.region_pixels(index)?,
            None => self.framebuffer(shape).ok()?.pixels,
        };
        Some((shape, pixels))
    }

    /// The framebuffer of the current slot, made when it is first asked for.
    fn framebuffer(&mut self, shape: Shape) -> Result<Framebuffer> {
        let slot = self.slot;
        if self.framebuffers.len() <= slot {
            self.framebuffers.resize(slot + 1, None);
        }
        if let Some(framebuffer) = &self.framebuffers[slot] {
            return Ok(framebuffer.clone());
        }
        let framebuffer = self.new_framebuffer(shape.len)?;
        self.framebuffers[slot] = Some(framebuffer.clone());
        Ok(framebuffer)
    }

    fn new_framebuffer(&mut self, len: u32) -> Result<Framebuffer> {
        let file = Arc::new(memfd("vfio-display-dmabuf", page_up(u64::from(len)))?);
        self.next_serial += 1;
        Ok(Framebuffer { serial: self.next_serial, pixels: Pixels { file, offset: 0 } })
    }

    /// Draws rows from `first` on; the rows are as long as the mode is wide.
    pub(super) fn draw(&mut self, first: u32, rows: &[u32]) -> Result<()> {
        let size = self.screen_size().ok_or(Errno::NODEV)?;
        let format = self.mode.map_or(PixelFormat::Xrgb8888, |mode| mode.format);
        let (shape, pixels) = self.screen().ok_or(Errno::NODEV)?;
        if self.personality == Personality::Nvidia && shape.stays_black() {
            return Ok(());
        }
        let mut bytes = Vec::new();
        let mut opaque = Vec::new();
        for (y, row) in (u64::from(first)..).zip(rows.chunks_exact(size.width as usize)) {
            bytes.clear();
            if has_alpha(format) {
                opaque.clear();
                opaque.extend(row.iter().map(|pixel| pixel | 0xff00_0000));
                encode(format, &opaque, &mut bytes);
            } else {
                encode(format, row, &mut bytes);
            }
            write_at(&*pixels.file, &bytes, pixels.offset + y * u64::from(shape.stride))?;
        }
        self.refresh()
    }

    /// The size that the guest draws in.
    pub(super) fn screen_size(&mut self) -> Option<Size> {
        match &self.vbe {
            Some(vbe) => {
                let (shape, _) = vbe.framebuffer()?;
                Some(Size::new(shape.width, shape.height))
            }
            None => self.mode.map(|mode| mode.size),
        }
    }

    /// Brings the stand-ins of mbochs' dma-bufs up to date with its video memory.
    pub(super) fn refresh(&mut self) -> Result<()> {
        match self.vbe.as_ref().and_then(|vbe| vbe.framebuffer()) {
            Some((shape, start)) => match self.find(shape, start) {
                Some(at) => self.exported[at].dmabuf.refresh(),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    /// Gives the cursor a shape of ARGB8888 pixels.
    pub(super) fn shape_cursor(&mut self, size: Size, pixels: &[u32]) -> Result<()> {
        let len = u32::try_from(size.area() * 4).map_err(|_| Errno::INVAL)?;
        let framebuffer = match self.personality {
            Personality::Region => {
                Framebuffer { serial: 0, pixels: self.region_pixels(11).ok_or(Errno::NODEV)? }
            }
            _ => self.new_framebuffer(len)?,
        };
        let mut bytes = Vec::new();
        encode(PixelFormat::Argb8888, pixels, &mut bytes);
        write_at(&*framebuffer.pixels.file, &bytes, framebuffer.pixels.offset)?;
        let shape = Shape {
            fourcc: PixelFormat::Argb8888.fourcc().raw(),
            modifier: 0,
            width: size.width,
            height: size.height,
            stride: size.width * 4,
            len: match self.personality {
                Personality::GvtG => len,
                _ => page_up(u64::from(len)) as u32,
            },
        };
        let (position, hotspot) = match &self.cursor {
            Some(cursor) => (cursor.position, cursor.hotspot),
            None => (Point::default(), None),
        };
        self.cursor = Some(Cursor { shape, framebuffer, position, hotspot, visible: true });
        self.forget_ids();
        Ok(())
    }

    /// `VFIO_DEVICE_QUERY_GFX_PLANE`.
    pub(super) fn query(&mut self, info: &mut PlaneInfo) -> Result<()> {
        let kind = self.personality.plane_kind().ok_or(Errno::NOTTY)?;
        if info.flags == PLANE_PROBE | kind.flag() {
            return Ok(());
        }
        if info.flags != kind.flag() {
            return Err(Errno::INVAL);
        }
        let gvt = self.personality == Personality::GvtG;
        if gvt {
            self.exported.retain(|exported| !exported.dmabuf.is_released());
            if info.drm_plane_type == PlaneType::Overlay.raw() {
                return Err(Errno::INVAL);
            }
            if let Some(errno) = self.transient.take() {
                return Err(errno);
            }
        } else {
            // Before the driver looks: GVT-g alone touches nothing of a plane that is off.
            *info = PlaneInfo {
                argsz: info.argsz,
                flags: info.flags,
                drm_plane_type: info.drm_plane_type,
                ..Default::default()
            };
        }
        let mdpy = self.personality == Personality::Mdpy;
        if mdpy || info.drm_plane_type == PlaneType::Primary.raw() {
            self.query_screen(kind, info)
        } else if info.drm_plane_type == PlaneType::Cursor.raw() {
            self.query_cursor(kind, info)
        } else {
            Ok(())
        }
    }

    fn query_screen(&mut self, kind: PlaneKind, info: &mut PlaneInfo) -> Result<()> {
        let Some((shape, pixels)) = self.screen() else {
            return Ok(());
        };
        let buffer = match self.plane_region() {
            Some(index) => index,
            None => {
                let start = match self.personality.has_vbe() {
                    true => pixels.offset - self.region_pixels(0).map_or(0, |bar| bar.offset),
                    false => self.framebuffer(shape)?.serial,
                };
                self.id_of(shape, start, pixels)?
            }
        };
        debug_assert_eq!(kind == PlaneKind::Region, self.plane_region().is_some());
        describe(info, &shape, buffer);
        self.refresh()
    }

    fn query_cursor(&mut self, kind: PlaneKind, info: &mut PlaneInfo) -> Result<()> {
        let Some(cursor) = self.cursor.clone().filter(|cursor| cursor.visible) else {
            return Ok(());
        };
        let Framebuffer { serial, pixels } = cursor.framebuffer;
        let buffer = match kind {
            PlaneKind::Region => 11,
            PlaneKind::Dmabuf => self.id_of(cursor.shape, serial, pixels)?,
        };
        describe(info, &cursor.shape, buffer);
        let Point { x, y } = cursor.position;
        (info.x_pos, info.y_pos) = match self.personality {
            // Hardware has a sign and a magnitude, of 13 and 12 bits; the sign is dropped.
            Personality::GvtG => (x.unsigned_abs() & 0x1fff, y.unsigned_abs() & 0xfff),
            _ => (x.cast_unsigned(), y.cast_unsigned()),
        };
        (info.x_hot, info.y_hot) = match cursor.hotspot {
            Some(hotspot) => (hotspot.x.cast_unsigned(), hotspot.y.cast_unsigned()),
            None => (u32::MAX, u32::MAX),
        };
        Ok(())
    }

    fn plane_region(&self) -> Option<u32> {
        match self.personality {
            Personality::Region => Some(10),
            Personality::Mdpy => Some(16),
            Personality::Nvidia => Some(9),
            _ => None,
        }
    }

    fn find(&self, shape: Shape, start: u64) -> Option<usize> {
        let same = |exported: &Exported| exported.shape == shape && exported.start == start;
        self.exported.iter().position(same)
    }

    /// The id of a framebuffer, a new one where it has none.
    fn id_of(&mut self, shape: Shape, start: u64, pixels: Pixels) -> Result<u32> {
        if let Some(at) = self.find(shape, start) {
            return Ok(self.exported[at].id);
        }
        let id = match self.personality {
            // The kernel's idr: the smallest that is free, from 1 on.
            Personality::GvtG => (1..)
                .find(|id| self.exported.iter().all(|exported| exported.id != *id))
                .ok_or(Errno::NOSPC)?,
            _ => self.next_id,
        };
        self.next_id = self.next_id.max(id) + 1;
        let vbe = self.personality.has_vbe();
        let len = u64::from(shape.len);
        let access = match self.personality {
            Personality::Mbochs | Personality::GvtG => CpuAccess::Refused,
            _ => CpuAccess::Map,
        };
        let dmabuf = Dmabuf::new(pixels, if vbe { len } else { page_up(len) }, access)?;
        self.exported.push(Exported { id, shape, start, dmabuf });
        // mbochs makes the dma-buf and forgets to look at it.
        if vbe { Err(Errno::NOMEM) } else { Ok(id) }
    }

    /// Takes the ids off framebuffers that the guest has given up, where the driver does.
    fn forget_ids(&mut self) {
        if self.personality == Personality::WellBehaved {
            let screens = self.framebuffers.iter().flatten().map(|screen| screen.serial);
            let cursor = self.cursor.iter().map(|cursor| cursor.framebuffer.serial);
            let live: Vec<u64> = screens.chain(cursor).collect();
            self.exported.retain(|exported| live.contains(&exported.start));
        }
    }

    /// `VFIO_DEVICE_GET_GFX_DMABUF`.
    pub(super) fn export(&mut self, id: u32) -> Result<OwnedFd> {
        if self.personality.plane_kind() != Some(PlaneKind::Dmabuf) {
            return Err(Errno::NOTTY);
        }
        let unknown = match self.personality {
            Personality::GvtG => Errno::INVAL,
            _ => Errno::NOENT,
        };
        let exported = self.exported.iter_mut().find(|exported| exported.id == id);
        let exported = exported.ok_or(unknown)?;
        if self.vbe.is_some() && !exported.start.is_multiple_of(PAGE) {
            return Err(Errno::INVAL);
        }
        exported.dmabuf.export()
    }

    /// What the host did that a real kernel does not survive.
    pub(super) fn kernel_bugs(&self) -> Vec<KernelBug> {
        let mut bugs = Vec::new();
        for Exported { id, dmabuf, .. } in self.exported.iter().filter(|_| self.vbe.is_some()) {
            let id = DmabufId(*id);
            if dmabuf.was_exported_while_open() {
                let closed = dmabuf.is_released();
                bugs.push(KernelBug::ExportedWhileOpen { id, closed });
            }
            if dmabuf.releases() > 1 {
                bugs.push(KernelBug::PagesFreedTwice { id });
            }
        }
        bugs.extend(self.overran.then_some(KernelBug::MemoryOverrun));
        bugs
    }
}

fn describe(info: &mut PlaneInfo, shape: &Shape, buffer: u32) {
    info.drm_format = shape.fourcc;
    info.drm_format_mod = shape.modifier;
    info.width = shape.width;
    info.height = shape.height;
    info.stride = shape.stride;
    info.size = shape.len;
    info.region_or_dmabuf = buffer;
}
