// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The Bochs display interface: 16-bit registers in BAR 2 of mbochs, at 0x500.
//!
//! Source: mbochs.c (`handle_mmio_read`, `handle_mmio_write`, `mbochs_check_framebuffer`).

use super::guest::bochs::{ENABLED, ID5, REGISTERS, Register};
use super::mode::Shape;
use crate::format::PixelFormat;

/// The registers as the device has them.
#[derive(Clone, Debug)]
pub(super) struct Vbe {
    words: [u16; 11],
    /// Bytes of video memory.
    memory: u64,
}

impl Vbe {
    /// As after a reset.
    pub(super) fn new(memory: u64) -> Self {
        let mut words = [0; 11];
        words[Register::Id as usize] = ID5;
        words[Register::VideoMemory64K as usize] = (memory >> 16) as u16;
        Self { words, memory }
    }

    /// Answers a read at `at` of the BAR; the EDID lies at its start.
    pub(super) fn read(&self, at: u64, buf: &mut [u8], edid: Option<&[u8]>) {
        buf.fill(0);
        if at < 0x400 {
            let edid = edid.unwrap_or_default().get(at as usize..).unwrap_or_default();
            let count = edid.len().min(buf.len());
            buf[..count].copy_from_slice(&edid[..count]);
        } else if let (Some(index), 2) = (Self::index(at), buf.len()) {
            buf.copy_from_slice(&self.words[index].to_le_bytes());
        }
    }

    /// Takes a write at `at` of the BAR; one that is no register is ignored.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) {
        if let (Some(index), Ok(bytes)) = (Self::index(at), data.try_into()) {
            self.words[index] = u16::from_le_bytes(bytes);
        }
    }

    pub(super) fn set(&mut self, register: Register, value: u16) {
        self.words[register as usize] = value;
    }

    fn index(at: u64) -> Option<usize> {
        let index = usize::try_from(at.checked_sub(REGISTERS)? / 2).ok()?;
        (index < 11).then_some(index)
    }

    /// What the registers show and where it starts in video memory; `None` is off.
    pub(super) fn framebuffer(&self) -> Option<(Shape, u64)> {
        let word = |register: Register| u32::from(self.words[register as usize]);
        let on = word(Register::Enable) & u32::from(ENABLED) != 0;
        let (width, height) = (word(Register::Xres), word(Register::Yres));
        if !on || word(Register::Bpp) != 32 || width < 64 || height < 64 {
            return None;
        }
        let stride = word(Register::VirtWidth).max(width) * 4;
        let len = u64::from(stride) * u64::from(height);
        let start = u64::from(word(Register::XOffset)) * 4
            + u64::from(word(Register::YOffset)) * u64::from(stride);
        if start + len > self.memory {
            return None;
        }
        let shape = Shape {
            fourcc: PixelFormat::Xrgb8888.fourcc().raw(),
            modifier: 0,
            width,
            height,
            stride,
            len: u32::try_from(len).ok()?,
        };
        Some((shape, start))
    }
}
