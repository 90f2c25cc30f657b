// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What can go wrong, kept apart by what a caller does about it.
//!
//! "The device said no" ([`Error::Refused`]) and "the device's answer makes no sense"
//! ([`Error::Plane`], [`Error::Region`]) are never the same error. No errno is dropped, and each
//! message names the object and the numbers, so that one line of a log is enough.

mod call;
mod errno;

use std::fmt;

pub use self::call::Call;
pub use self::errno::Errno;

use crate::device::{DmabufId, RegionIndex};
use crate::edid::EdidError;
use crate::fb_region::FbRegionError;
use crate::format::{Fourcc, Modifier, unsupported_name};
use crate::plane::PlaneError;
use crate::region::RegionError;

/// Short for a result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a device, of what it answered, or of what can be done with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The kernel, or whatever stands behind the device, refused a call.
    #[error("{call}: {errno}")]
    Refused {
        /// What was asked.
        call: Call,
        /// Why it was refused.
        errno: Errno,
    },
    /// The device described a plane that cannot be.
    #[error("plane: {0}")]
    Plane(#[from] PlaneError),
    /// The device described a region that cannot be.
    #[error("region {index}: {error}")]
    Region {
        /// The region asked about.
        index: RegionIndex,
        /// What is wrong with the answer.
        error: RegionError,
    },
    /// An access that does not lie in the region.
    #[error("region {index}: {len} bytes at {offset:#x} do not fit its {size} bytes")]
    OutsideRegion {
        /// The region.
        index: RegionIndex,
        /// First byte of the access.
        offset: u64,
        /// Bytes of the access.
        len: u64,
        /// Bytes of the region.
        size: u64,
    },
    /// The picture is in a format or a layout that this crate does not read.
    #[error("{0}")]
    Unsupported(Unsupported),
    /// The dma-buf's driver gives the CPU no access; only a GPU can import it.
    #[error("dma-buf {id} of {len} bytes can't be mapped by the CPU: {errno}")]
    NotMappable {
        /// The dma-buf.
        id: DmabufId,
        /// Its bytes. Where they are no multiple of the page size, that may be the reason.
        len: u64,
        /// What `mmap(2)` said.
        errno: Errno,
    },
    /// A dma-buf is smaller than the plane that it was described as.
    #[error("dma-buf {id} has {len} bytes, the plane in it needs {needed}")]
    DmabufShort {
        /// The dma-buf.
        id: DmabufId,
        /// Bytes from the first pixel to the last.
        needed: u64,
        /// Bytes that it has.
        len: u64,
    },
    /// More dma-bufs are in use at once than the cache holds.
    #[error("{held} dma-bufs of the device are in use, no more are taken")]
    TooManyDmabufs {
        /// dma-bufs that somebody still holds.
        held: usize,
    },
    /// The device has no display: it answers neither kind of plane query.
    #[error("no display: plane queries for dma-bufs ({dmabuf}) and for regions ({region}) refused")]
    NoDisplay {
        /// Why it does not offer dma-bufs.
        dmabuf: Errno,
        /// Why it does not offer regions.
        region: Errno,
    },
    /// The guest could not be given another monitor.
    #[error("EDID: {0}")]
    Edid(#[from] EdidError),
    /// The guest set up a boot display that cannot be.
    #[cfg(feature = "ramfb")]
    #[error("boot display: {0}")]
    Ramfb(#[from] crate::ramfb::RamfbError),
    /// The device's framebuffer region is not what it has to be, or not just now.
    #[error("framebuffer region: {0}")]
    FbRegion(#[from] FbRegionError),
    /// The device, or the process that it was borrowed from, is no longer there.
    #[error("the device is gone: {0}")]
    Gone(Gone),
    /// A dma-buf was not exported, because the device's driver breaks if somebody has it already.
    #[error("dma-buf {id} is not exported: {why}")]
    Conflict {
        /// The dma-buf.
        id: DmabufId,
        /// Who is in the way.
        why: Conflict,
    },
}

impl Error {
    /// Whether asking again soon may well work, and the last picture is worth holding.
    ///
    /// Real drivers refuse a plane query around a mode change (ENOMEM from mbochs, EFAULT or
    /// EINVAL from GVT-g), and a dma-buf that was just described may be gone when it is exported.
    pub fn is_transient(&self) -> bool {
        use rustix::io::Errno as E;
        let (call, errno) = match self {
            Self::Refused { call, errno } => (call, errno),
            Self::Edid(EdidError::Step { error, .. }) => return error.is_transient(),
            Self::FbRegion(error) => return !error.is_lasting(),
            _ => return false,
        };
        let errno = E::from_raw_os_error(errno.raw());
        match call {
            Call::QueryPlane { .. } | Call::ExportDmabuf(_) => matches!(
                errno,
                E::NOMEM | E::FAULT | E::INVAL | E::AGAIN | E::INTR | E::BUSY | E::NOENT
            ),
            _ => matches!(errno, E::AGAIN | E::INTR | E::BUSY),
        }
    }

    /// Whether the device will not come back through this handle.
    pub fn is_gone(&self) -> bool {
        use rustix::io::Errno as E;
        match self {
            Self::Gone(_) => true,
            Self::Refused { errno, .. } => {
                matches!(E::from_raw_os_error(errno.raw()), E::NODEV | E::NXIO)
            }
            Self::Edid(EdidError::Step { error, .. }) => error.is_gone(),
            _ => false,
        }
    }

    /// The errno behind the error, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } | Self::NotMappable { errno, .. } => Some(*errno),
            Self::Edid(EdidError::Step { error, .. }) => error.errno(),
            _ => None,
        }
    }
}

/// Why a device is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gone {
    /// The process that the device was borrowed from has exited.
    Exited {
        /// Its process id.
        pid: u32,
    },
}

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited { pid } => write!(f, "process {pid}, which had it open, has exited"),
        }
    }
}

/// Why a dma-buf must not be exported from a driver that breaks on a second export.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Conflict {
    /// Other processes hold dma-bufs of the device: a VMM that shows its display itself.
    Held {
        /// The driver.
        driver: &'static str,
        /// The processes.
        pids: Vec<u32>,
    },
    /// Another process exports from this device by this crate.
    Exporting {
        /// The process that opened the device.
        pid: u32,
    },
    /// It could not be found out whether anybody is.
    Unknown {
        /// Why not.
        errno: Errno,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held { driver, pids } => write!(
                f,
                "process {} holds dma-bufs of {driver}, and a second export of one breaks that \
                 driver; let it stop showing the display, or force the export",
                pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
            ),
            Self::Exporting { pid } => write!(
                f,
                "another process exports dma-bufs of the device that process {pid} opened, and \
                 a second export of one breaks its driver"
            ),
            Self::Unknown { errno } => {
                write!(f, "who else holds dma-bufs of the device could not be found out: {errno}")
            }
        }
    }
}

/// A pixel format with its layout, or either alone, that this crate cannot read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The format.
    pub fourcc: Fourcc,
    /// The layout.
    pub modifier: Modifier,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fourcc, modifier } = self;
        if !modifier.is_linear() {
            let raw = modifier.raw();
            write!(f, "layout {modifier} (modifier {raw:#018x}) of format {fourcc} ")?;
            return f.write_str("is not linear and not read");
        }
        write!(f, "format {fourcc} ({:#010x}", fourcc.raw())?;
        if let Some(name) = unsupported_name(*fourcc) {
            write!(f, ", {name}")?;
        }
        f.write_str(") is not read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::{PlaneKind, PlaneType};

    fn query(errno: rustix::io::Errno) -> Error {
        Call::QueryPlane { plane: PlaneType::Primary, kind: PlaneKind::Dmabuf }.refused(errno)
    }

    #[test]
    fn a_message_names_the_call_its_numbers_and_the_errno() {
        assert_eq!(
            query(rustix::io::Errno::NOMEM).to_string(),
            "QUERY_GFX_PLANE of the primary plane as a dma-buf: Cannot allocate memory (ENOMEM)"
        );
        let fourcc = Fourcc::new(b"C8  ");
        let error = Error::Unsupported(Unsupported { fourcc, modifier: Modifier::LINEAR });
        assert_eq!(
            error.to_string(),
            "format C8   (0x20203843, 8-bit palette, whose colours the device does not tell) \
             is not read"
        );
    }

    #[test]
    fn transient_gone_and_the_rest_are_told_apart() {
        use rustix::io::Errno as E;
        for errno in [E::NOMEM, E::FAULT, E::INVAL] {
            assert!(query(errno).is_transient() && !query(errno).is_gone());
        }
        assert!(query(E::NODEV).is_gone() && !query(E::NODEV).is_transient());
        assert!(!query(E::NOTTY).is_transient() && !query(E::NOTTY).is_gone());
        assert!(!Call::RegionInfo(RegionIndex(16)).refused(E::INVAL).is_transient());
    }
}
