// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What can go wrong when a guest is given another monitor.

use std::fmt;

use super::{LinkState, MAX_REACH};
use crate::device::RegionIndex;
use crate::error::Error;

/// Why a guest could not be given another monitor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EdidError {
    /// The device takes less than the shortest EDID.
    #[error("the device takes {max_size} bytes, an EDID has 128 at least")]
    NoRoom {
        /// Bytes that it takes.
        max_size: u32,
    },
    /// The EDID's place is among the registers, or words cannot be written there.
    #[error("region {index}: an EDID at {offset:#x} is among the registers or not aligned")]
    Misplaced {
        /// The EDID region.
        index: RegionIndex,
        /// Where the EDID is to be written.
        offset: u32,
    },
    /// The EDID's place is so far outside the region that it is no known driver's mistake.
    #[error(
        "region {index}: an EDID of {len} bytes at {offset:#x} lies outside its {size} bytes and \
         beyond {MAX_REACH}"
    )]
    OutOfReach {
        /// The EDID region.
        index: RegionIndex,
        /// Where the EDID is to be written.
        offset: u32,
        /// Bytes of the EDID.
        len: usize,
        /// Bytes of the region.
        size: u64,
    },
    /// The EDID's place, outside its own region, is in another one.
    #[error(
        "region {index}: an EDID of {len} bytes at {offset:#x} would be written to region {other}"
    )]
    Overlaps {
        /// The EDID region.
        index: RegionIndex,
        /// Where the EDID is to be written.
        offset: u32,
        /// Bytes of the EDID.
        len: usize,
        /// The region that is there.
        other: RegionIndex,
    },
    /// The device refused a step; the steps before it were taken.
    #[error("{step} failed: {error}; {}", told(*.link))]
    Step {
        /// The step.
        step: Step,
        /// What came of it.
        error: Box<Error>,
        /// What the device says of the cable after the attempts to plug it in again; `None` where
        /// it cannot be asked.
        link: Option<LinkState>,
    },
    /// The device took the size of the EDID and tells another one. The monitor is plugged in.
    #[error("region {index}: an EDID of {written} bytes was written, the device says {read}")]
    SizeLost {
        /// The EDID region.
        index: RegionIndex,
        /// The size that was written.
        written: u32,
        /// The size that the device tells.
        read: u32,
    },
    /// The device takes the request to plug the monitor in, and does not do it.
    #[error("region {index}: the link is {link} after {tries} tries to bring it up")]
    LinkStays {
        /// The EDID region.
        index: RegionIndex,
        /// What the device says of the cable.
        link: LinkState,
        /// Times that it was asked.
        tries: u32,
    },
}

/// A step of giving a guest another monitor, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step {
    /// The cable is pulled.
    Unplug,
    /// The size of the EDID is written.
    Size,
    /// The EDID is written.
    Blob,
    /// The cable is plugged in, and the device asked whether it is.
    Plug,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unplug => "unplugging",
            Self::Size => "writing the size",
            Self::Blob => "writing the bytes",
            Self::Plug => "plugging in",
        })
    }
}

fn told(link: Option<LinkState>) -> String {
    match link {
        Some(link) => format!("the link is {link}"),
        None => "the link can't be read".into(),
    }
}
