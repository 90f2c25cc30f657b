// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the guest does: modes, pictures and a cursor, into memory of its own or the device's.

use std::sync::Arc;

use rustix::io::{Errno, Result};

use super::encode::{encode, has_alpha};
use super::memory::{Pixels, memfd, page_up, write_at};
use super::mode::{Mode, Shape};
use super::personality::Personality;
use super::state::State;
use crate::format::PixelFormat;
use crate::geometry::{Point, Size};

/// Memory that a guest draws into.
#[derive(Clone, Debug)]
pub(super) struct Framebuffer {
    /// Tells it from all others of the device; stands for its address.
    pub(super) serial: u64,
    pub(super) pixels: Pixels,
}

/// The guest's pointer.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    pub(super) shape: Shape,
    pub(super) framebuffer: Framebuffer,
    pub(super) position: Point,
    pub(super) hotspot: Option<Point>,
    pub(super) visible: bool,
}

impl State {
    /// Sets a mode on a driver without VBE registers.
    pub(super) fn apply(&mut self, mode: Mode) -> Result<()> {
        let shape = Shape::new(self.personality, &mode).ok_or(Errno::INVAL)?;
        let region = self.plane_region().and_then(|index| self.layout.get(index));
        if region.is_some_and(|region| u64::from(shape.len) > region.size) {
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
    pub(super) fn framebuffer(&mut self, shape: Shape) -> Result<Framebuffer> {
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
}
