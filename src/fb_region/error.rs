// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a producer can get wrong, in the order of the specification's table.

use super::layout::{MAGIC_VALUE, PAGE_LEN, VERSION};
use super::page::Live;
use super::status::Status;
use crate::plane::PlaneError;
use crate::region::RegionFlags;

/// What is wrong with a framebuffer region.
///
/// Source: `docs/framebuffer-region.md`, "What a consumer does".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FbRegionError {
    /// It has no room for the page.
    #[error("its {size} bytes are less than the page's {PAGE_LEN}")]
    Short {
        /// Bytes that it has.
        size: u64,
    },
    /// It can't be read and written.
    #[error("its flags {:#x} do not allow to read and to write it", flags.bits())]
    Access {
        /// What can be done with it.
        flags: RegionFlags,
    },
    /// It is something else.
    #[error("its magic is {found:#010x}, not {MAGIC_VALUE:#010x}")]
    Magic {
        /// What is there.
        found: u32,
    },
    /// It is of a version that this crate does not know.
    #[error("it is of version {major}.{minor}, and only {}.x is known", VERSION.0)]
    Version {
        /// Major version.
        major: u16,
        /// Minor version.
        minor: u16,
    },
    /// A number of the header is outside its range.
    #[error("{name} is {value:#x}, which is not within {least:#x} and {most:#x}")]
    Header {
        /// The number.
        name: &'static str,
        /// What it is.
        value: u64,
        /// The least that it may be.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A table is not where it can be.
    #[error("its table of {name}, {count} of {len} bytes at {offset:#x}, {why}")]
    Table {
        /// What is in the table.
        name: &'static str,
        /// Entries.
        count: u16,
        /// Bytes of each.
        len: u16,
        /// First byte.
        offset: u32,
        /// What is wrong.
        why: &'static str,
    },
    /// A slot is not where it can be.
    #[error("slot {index}, {len:#x} bytes at {offset:#x} of {size:#x}, {why}")]
    Slot {
        /// Its index.
        index: u16,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Bytes of the region.
        size: u64,
        /// What is wrong.
        why: &'static str,
    },
    /// A plane is of no type that there is.
    #[error("plane {index} is of type {found}, which is none")]
    PlaneType {
        /// Its index.
        index: u16,
        /// The type.
        found: u32,
    },
    /// There is not one screen.
    #[error("{count} of its planes are primary, not 1")]
    Primaries {
        /// Primary planes.
        count: usize,
    },
    /// What never changes did.
    #[error("byte {offset:#x} of the page, which never changes, was {was:#04x} and is {is:#04x}")]
    Identity {
        /// The first byte that differs.
        offset: usize,
        /// What it was.
        was: u8,
        /// What it is.
        is: u8,
    },
    /// It was in the middle of a change at every try.
    #[error("it was being changed at each of {tries} looks")]
    Unsteady {
        /// Looks.
        tries: u32,
    },
    /// A counter is smaller than it was.
    #[error("{name} went back from {from} to {to}")]
    Backwards {
        /// The counter.
        name: &'static str,
        /// What it was.
        from: u64,
        /// What it is.
        to: u64,
    },
    /// A plane or a snapshot of it is described as it cannot be.
    #[error("plane {index}: {error}")]
    Plane {
        /// Its index.
        index: u16,
        /// What is wrong.
        error: PlaneError,
    },
    /// A plane is said to be where it can't be.
    #[error(
        "plane {index}, {:#x} bytes at {:#x}, does not fit the {size:#x} bytes of region {}",
        live.len, live.offset, live.region
    )]
    Live {
        /// Its index.
        index: u16,
        /// Where it is said to be.
        live: Live,
        /// Bytes of that region.
        size: u64,
    },
    /// A plane can neither be captured nor read.
    #[error("plane {index} can neither be captured nor read where it is")]
    NoPixels {
        /// Its index.
        index: u16,
    },
    /// A capture is being made, and there is no picture before it.
    #[error("capture {request} is being made")]
    Pending {
        /// The command.
        request: u32,
    },
    /// A capture was refused, or failed.
    #[error("capture {request}: {status}")]
    Refused {
        /// The command.
        request: u32,
        /// Why.
        status: Status,
    },
    /// A status that is not in the table.
    #[error("capture {request} ended with status {status}, which is none")]
    Status {
        /// The command.
        request: u32,
        /// The status.
        status: u32,
    },
    /// A capture of something else than was asked for.
    #[error("capture {request} has {name} {found}, asked for was {wanted}")]
    Mismatch {
        /// The command.
        request: u32,
        /// What differs.
        name: &'static str,
        /// What it is.
        found: u64,
        /// What it had to be, at least.
        wanted: u64,
    },
    /// A capture that did not end.
    #[error("capture {request} was not made in time, and was cancelled")]
    Late {
        /// The command.
        request: u32,
    },
    /// Somebody else uses the region.
    #[error("the slot of capture {request} was taken for {found} while it was read")]
    Taken {
        /// The command.
        request: u32,
        /// Whose the slot is now.
        found: u32,
    },
}

impl FbRegionError {
    /// Whether the region is no use until it is attached anew. Otherwise the last picture is worth
    /// holding, and a later look may well work.
    pub const fn is_lasting(&self) -> bool {
        matches!(
            self,
            Self::Short { .. }
                | Self::Access { .. }
                | Self::Magic { .. }
                | Self::Version { .. }
                | Self::Header { .. }
                | Self::Table { .. }
                | Self::Slot { .. }
                | Self::PlaneType { .. }
                | Self::Primaries { .. }
                | Self::Identity { .. }
                | Self::NoPixels { .. }
        )
    }
}
