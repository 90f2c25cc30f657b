// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Planes and dma-bufs of a mock: what is said of what the guest shows.
//!
//! Sources: mdpy.c and mbochs.c (`*_query_gfx_plane`, `mbochs_dmabuf_*`), i915's gvt/dmabuf.c
//! (`vgpu_get_plane_info`, `intel_vgpu_query_plane`).

use std::os::fd::OwnedFd;

use rustix::io::{Errno, Result};

use super::drawing::Framebuffer;
use super::memory::{CpuAccess, Dmabuf, PAGE, Pixels, page_up};
use super::mode::Shape;
use super::personality::Personality;
use super::state::State;
use crate::device::{DmabufId, PlaneKind, PlaneType};
use crate::geometry::Point;
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

    pub(super) fn plane_region(&self) -> Option<u32> {
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

    /// Takes the ids off framebuffers that the guest has given up, where the driver does.
    pub(super) fn forget_ids(&mut self) {
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
