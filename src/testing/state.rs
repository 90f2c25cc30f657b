// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a mock is at one moment, and its file operations.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::{Errno, Result};

use super::drawing::{Cursor, Framebuffer};
use super::edid::EdidRegion;
use super::layout::{Content, Layout};
use super::memory::{PAGE, Pixels, memfd, read_at, write_at};
use super::mode::Mode;
use super::op::{Op, Script};
use super::pci::config_space;
use super::personality::Personality;
use super::planes::Exported;
use super::vbe::Vbe;
use crate::geometry::Size;
use crate::uapi::PlaneInfo;

#[derive(Debug)]
pub(super) struct State {
    pub(super) personality: Personality,
    /// The size that it was made for.
    pub(super) native: Size,
    pub(super) layout: Layout,
    /// The device's file: what its regions hold lies where their offsets say.
    pub(super) file: Arc<OwnedFd>,
    config: Vec<u8>,
    pub(super) vbe: Option<Vbe>,
    pub(super) edid: Option<EdidRegion>,
    /// The mode of drivers without VBE registers; `None` is off.
    pub(super) mode: Option<Mode>,
    /// Framebuffers of the current mode, by slot.
    pub(super) framebuffers: Vec<Option<Framebuffer>>,
    pub(super) slot: usize,
    pub(super) cursor: Option<Cursor>,
    pub(super) exported: Vec<Exported>,
    pub(super) next_id: u32,
    pub(super) next_serial: u64,
    pub(super) mode_changes: u32,
    /// What GVT-g answers to the next plane query.
    pub(super) transient: Option<Errno>,
    /// Whether memory behind the pages of mbochs was read or written.
    pub(super) overran: bool,
    pub(super) script: Script,
    pub(super) plane_answers: VecDeque<PlaneInfo>,
    pub(super) region_answers: VecDeque<Vec<u8>>,
}

impl State {
    pub(super) fn new(personality: Personality, native: Size) -> Result<Self> {
        let layout = Layout::new(personality, native);
        let file = Arc::new(memfd("vfio-display-mock", layout.file_len())?);
        let edid = personality.has_edid().then(|| match personality {
            Personality::GvtG => EdidRegion::new(128, true),
            _ => EdidRegion::new(1024, false),
        });
        let mut state = Self {
            personality,
            native,
            config: config_space(personality, native),
            vbe: None,
            edid,
            mode: None,
            framebuffers: Vec::new(),
            slot: 0,
            cursor: None,
            exported: Vec::new(),
            next_id: 1,
            next_serial: 0,
            mode_changes: 0,
            transient: None,
            overran: false,
            script: Script::default(),
            plane_answers: VecDeque::new(),
            region_answers: VecDeque::new(),
            layout,
            file,
        };
        state.reset()?;
        Ok(state)
    }

    /// `VFIO_DEVICE_RESET`: what the guest set is gone.
    pub(super) fn reset(&mut self) -> Result<()> {
        self.cursor = None;
        self.transient = None;
        match self.personality {
            Personality::Mdpy => {
                self.apply(Mode::new(self.native))?;
                return self.fill_grey();
            }
            Personality::Mbochs | Personality::MbochsRw => {
                let memory = self.layout.get(0).map_or(0, |region| region.size);
                self.vbe = Some(Vbe::new(memory));
            }
            _ => {}
        }
        self.mode = None;
        self.drop_framebuffers();
        Ok(())
    }

    /// The grey gradient of mdpy: row `y` holds `y * 255 / height`.
    fn fill_grey(&mut self) -> Result<()> {
        let Some((shape, pixels)) = self.screen() else {
            return Ok(());
        };
        for y in 0..shape.height {
            let grey = (u64::from(y) * 255 / u64::from(shape.height)) as u8;
            let row = vec![grey; shape.stride as usize];
            let at = pixels.offset + u64::from(y) * u64::from(shape.stride);
            write_at(&*pixels.file, &row, at)?;
        }
        Ok(())
    }

    /// `VFIO_DEVICE_GET_REGION_INFO`.
    pub(super) fn region_answer(&self, index: u32, answer: &mut [u8]) -> Result<()> {
        self.layout.answer(index, answer)
    }

    /// `pread(2)` on the device's file.
    pub(super) fn pread(&mut self, pos: u64, buf: &mut [u8]) -> Result<()> {
        let region = self.layout.at(pos).ok_or(Errno::FAULT)?;
        let (content, start, size) = (region.content, region.offset, region.size);
        if content == Content::Memory {
            return read_at(&*self.file, buf, pos);
        }
        pieces(pos - start, buf.len(), |at, range| {
            let buf = &mut buf[range];
            match content {
                Content::Config => match self.config.get(at as usize..at as usize + buf.len()) {
                    Some(bytes) => buf.copy_from_slice(bytes),
                    None => buf.fill(0),
                },
                Content::Mmio => {
                    let edid = self.edid.as_ref().and_then(EdidRegion::seen_by_guest);
                    if let Some(vbe) = &self.vbe {
                        vbe.read(at, buf, edid);
                    }
                }
                Content::Edid => {
                    if let Some(edid) = &self.edid {
                        edid.read(at, buf)?;
                    }
                }
                Content::Memory => {}
                Content::MemoryStart => read_at(&*self.file, buf, start)?,
                Content::MemoryShifted => match shifted(at, buf.len(), size) {
                    Some(at) => read_at(&*self.file, buf, start + at)?,
                    None => {
                        self.overran = true;
                        buf.fill(0xA5);
                    }
                },
            }
            Ok(())
        })
        // Whatever a driver refuses, its read says EFAULT.
        .map_err(|_: Errno| Errno::FAULT)
    }

    /// `pwrite(2)` on the device's file.
    pub(super) fn pwrite(&mut self, pos: u64, data: &[u8]) -> Result<()> {
        let region = self.layout.at(pos).ok_or(Errno::FAULT)?;
        let (content, start, size) = (region.content, region.offset, region.size);
        if content == Content::Memory {
            return write_at(&*self.file, data, pos);
        }
        pieces(pos - start, data.len(), |at, range| {
            let data = &data[range];
            match content {
                // Only the addresses of BARs can be written, and nobody here asks for them.
                Content::Config | Content::Memory => {}
                Content::Mmio => {
                    if let Some(vbe) = &mut self.vbe {
                        vbe.write(at, data);
                    }
                }
                Content::Edid => {
                    if let Some(edid) = &mut self.edid {
                        edid.write(at, data)?;
                    }
                }
                Content::MemoryStart => write_at(&*self.file, data, start)?,
                Content::MemoryShifted => match shifted(at, data.len(), size) {
                    Some(at) => write_at(&*self.file, data, start + at)?,
                    None => self.overran = true,
                },
            }
            Ok(())
        })
        .map_err(|_: Errno| Errno::FAULT)
    }

    /// Counts a call and answers whether it is scripted to fail.
    pub(super) fn enter(&mut self, op: Op) -> Result<()> {
        self.script.enter(op).map_or(Ok(()), Err)
    }

    /// Where region `index` starts, as pixels.
    pub(super) fn region_pixels(&self, index: u32) -> Option<Pixels> {
        let offset = self.layout.get(index)?.offset;
        let file = Arc::clone(&self.file);
        Some(Pixels { file, offset })
    }
}

/// Cuts an access into aligned pieces of four, two and one byte, as the drivers do.
fn pieces(
    start: u64,
    len: usize,
    mut access: impl FnMut(u64, std::ops::Range<usize>) -> Result<()>,
) -> Result<()> {
    let mut done = 0;
    while done < len {
        let at = start + done as u64;
        let piece = match len - done {
            4.. if at.is_multiple_of(4) => 4,
            2.. if at.is_multiple_of(2) => 2,
            _ => 1,
        };
        access(at, done..done + piece)?;
        done += piece;
    }
    Ok(())
}

/// Where mbochs really looks; `None` is past its table of pages.
fn shifted(at: u64, len: usize, size: u64) -> Option<u64> {
    let at = at + 2 * PAGE;
    (at + len as u64 <= size).then_some(at)
}
