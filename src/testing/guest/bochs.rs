// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A guest's driver for the Bochs display, `bochs-drm` in small.
//!
//! Registers of 16 bits, little-endian, in BAR 2 from [`REGISTERS`] on; video memory is BAR 0.
//! Source: `docs/specs/standard-vga.rst` of QEMU, and mbochs.c in the kernel's samples.

use crate::device::{RegionDevice, RegionIndex};
use crate::error::Result;
use crate::geometry::Size;
use crate::region::RegionInfo;

/// Where the registers start in BAR 2, in bytes.
pub const REGISTERS: u64 = 0x500;
/// BAR of the video memory.
pub const MEMORY_BAR: u32 = 0;
/// BAR of the registers.
pub const REGISTER_BAR: u32 = 2;

/// What [`Register::Id`] reads on every emulation of today.
#[doc(alias = "VBE_DISPI_ID5")]
pub const ID5: u16 = 0xB0C5;
/// Bit of [`Register::Enable`]: the display is on.
#[doc(alias = "VBE_DISPI_ENABLED")]
pub const ENABLED: u16 = 0x01;
/// Bit of [`Register::Enable`]: memory is one linear range.
#[doc(alias = "VBE_DISPI_LFB_ENABLED")]
pub const LFB: u16 = 0x40;

/// A register; its number is its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Register {
    /// Which version of the interface it is.
    Id = 0,
    /// Pixels in a row.
    Xres = 1,
    /// Rows.
    Yres = 2,
    /// Bits of a pixel.
    Bpp = 3,
    /// [`ENABLED`] and [`LFB`].
    Enable = 4,
    /// Bank of the VGA window; unused here.
    Bank = 5,
    /// Pixels from a row to the next.
    VirtWidth = 6,
    /// Rows of memory; unused here.
    VirtHeight = 7,
    /// First column shown.
    XOffset = 8,
    /// First row shown.
    YOffset = 9,
    /// Video memory, in units of 64 KiB.
    VideoMemory64K = 10,
}

/// The registers of a device.
#[derive(Debug)]
pub struct Vbe<D> {
    device: D,
    region: RegionInfo,
}

impl<D: RegionDevice> Vbe<D> {
    /// Looks the registers up on `device`.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::region_info`].
    pub fn new(device: D) -> Result<Self> {
        let region = device.region_info(RegionIndex(REGISTER_BAR))?;
        Ok(Self { device, region })
    }

    /// What a register holds.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::read`].
    pub fn read(&self, register: Register) -> Result<u16> {
        let mut bytes = [0; 2];
        self.device.read(&self.region, at(register), &mut bytes)?;
        Ok(u16::from_le_bytes(bytes))
    }

    /// Sets a register.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::write`].
    pub fn write(&self, register: Register, value: u16) -> Result<()> {
        let bytes = value.to_le_bytes();
        self.device.write(&self.region, at(register), &bytes)
    }

    /// Shows `size` pixels, 32 bits each, from the start of memory on. Sides are cut to 16 bits.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::write`].
    pub fn set_mode(&self, size: Size) -> Result<()> {
        let (width, height) = (size.width as u16, size.height as u16);
        self.off()?;
        for (register, value) in [
            (Register::Bpp, 32),
            (Register::Xres, width),
            (Register::Yres, height),
            (Register::Bank, 0),
            (Register::VirtWidth, width),
            (Register::VirtHeight, height),
            (Register::XOffset, 0),
            (Register::YOffset, 0),
            (Register::Enable, ENABLED | LFB),
        ] {
            self.write(register, value)?;
        }
        Ok(())
    }

    /// Shows memory from row `y_offset` on.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::write`].
    pub fn flip(&self, y_offset: u16) -> Result<()> {
        self.write(Register::YOffset, y_offset)
    }

    /// Shows nothing.
    ///
    /// # Errors
    ///
    /// As [`RegionDevice::write`].
    pub fn off(&self) -> Result<()> {
        self.write(Register::Enable, 0)
    }
}

const fn at(register: Register) -> u64 {
    REGISTERS + 2 * register as u64
}
