// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The registers of an EDID region, as a device tells them.

use std::fmt;

use crate::device::RegionDevice;
use crate::error::Result;
use crate::region::RegionInfo;

/// What the guest sees of the cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Nothing was written yet.
    Unset,
    /// A monitor is plugged in.
    Up,
    /// None is.
    Down,
    /// The device tells a state that does not exist.
    Unknown(u32),
}

impl fmt::Display for LinkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset => f.write_str("unset"),
            Self::Up => f.write_str("up"),
            Self::Down => f.write_str("down"),
            Self::Unknown(raw) => write!(f, "unknown ({raw})"),
        }
    }
}

/// The registers of an EDID region, as the device tells them; not judged.
#[doc(alias = "vfio_region_gfx_edid")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdidRegisters {
    /// Where the EDID is written, in bytes from the region's start.
    pub blob_offset: u32,
    /// Most bytes that an EDID may have.
    pub max_size: u32,
    /// Bytes of the EDID that is there.
    pub size: u32,
    /// Widest mode that the device takes, in pixels; `None` where it sets no limit.
    pub max_width: Option<u32>,
    /// Highest mode that the device takes, in pixels; `None` where it sets no limit.
    pub max_height: Option<u32>,
    /// What the guest sees of the cable.
    pub link: LinkState,
}

impl EdidRegisters {
    /// Reads the registers of `region`, which is an EDID region.
    ///
    /// # Errors
    ///
    /// What [`RegionDevice::read`] answers.
    pub fn read<D: RegionDevice + ?Sized>(device: &D, region: &RegionInfo) -> Result<Self> {
        let register = |offset| -> Result<u32> {
            let mut bytes = [0; 4];
            device.read(region, offset, &mut bytes)?;
            Ok(u32::from_ne_bytes(bytes))
        };
        let limit = |raw: u32| (raw != 0).then_some(raw);
        Ok(Self {
            blob_offset: register(0)?,
            max_size: register(4)?,
            size: register(8)?,
            max_width: limit(register(12)?),
            max_height: limit(register(16)?),
            link: match register(20)? {
                0 => LinkState::Unset,
                1 => LinkState::Up,
                2 => LinkState::Down,
                raw => LinkState::Unknown(raw),
            },
        })
    }
}
