// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device in another process: the part of the vfio-user protocol that a display needs.
//!
//! ```no_run
//! use std::path::Path;
//!
//! use vfio_display::Display;
//! use vfio_display::vfio_user::{TIMEOUT, VfioUser};
//!
//! let device = VfioUser::connect(Path::new("/run/vm1/gpu.sock"), TIMEOUT)?;
//! let display = Display::new(device)?;
//! # Ok::<(), vfio_display::Error>(())
//! ```
//!
//! The server is as little trusted as a guest. Each answer is checked against what was asked, each
//! wait ends after a time-out, and a server that breaks the protocol is not read from any more.
//! The device does not come back through this handle then: connect again.
//!
//! A region counts as mappable only if its mapping stays whole whatever the server does: a memfd
//! that is sealed against shrinking. Any other is read by messages.
//!
//! Source: the vfio-user protocol specification, 0.9.1, as libvfio-user and QEMU speak it.

mod error;
mod file;
mod link;
mod message;
mod socket;
mod version;

use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::io::Errno;

pub use self::error::ProtocolError;
use self::link::{Ask, Failed, Link};
use self::message::Command;
use self::version::{MAJOR, MINOR};
use crate::device::{GfxDevice, IrqIndex, RegionDevice, RegionIndex};
use crate::error::{Call, Result};
use crate::region::{RegionFlags, RegionInfo};
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, IrqSet};

/// A time-out for those that have no better one: what QEMU waits for a vfio-user server.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// File descriptors that are taken with one message.
const MAX_FDS: usize = 8;
/// Bytes that go in one read or write, whatever a server offers.
const MAX_DATA: u64 = 1 << 20;

/// A device behind a vfio-user server's socket.
#[derive(Debug)]
pub struct VfioUser {
    link: Mutex<Link>,
}

/// An interrupt of a device, `struct vfio_irq_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IrqInfo {
    /// Its number.
    pub index: IrqIndex,
    /// What it can do, `VFIO_IRQ_INFO_…`.
    pub flags: u32,
    /// Its vectors; 0 where there is none.
    pub count: u32,
}

impl VfioUser {
    /// Connects to the server that listens at `path`, and agrees with it on a version.
    ///
    /// `timeout` bounds the connecting, and later each message with its answer.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) with what `connect(2)` says; [`Error::Gone`](crate::Error::Gone) where nothing is answered,
    /// as by a server that has a client already; [`Error::Protocol`](crate::Error::Protocol) where it makes no sense.
    pub fn connect(path: &Path, timeout: Duration) -> Result<Self> {
        let link = Link::connect(path, timeout)?;
        Ok(Self { link: Mutex::new(link) })
    }

    /// As [`connect`](Self::connect), over a stream socket that is connected already.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub fn new(socket: impl Into<OwnedFd>, timeout: Duration) -> Result<Self> {
        let link = Link::new(socket.into(), timeout)?;
        Ok(Self { link: Mutex::new(link) })
    }

    /// The connection as an fd of its own, which hangs up (`POLLRDHUP`) when the server closes it:
    /// for an event loop, which reads nothing from it. While it is open, so is the connection.
    ///
    /// # Errors
    ///
    /// Why there is no connection any more.
    pub fn connection(&self) -> Result<OwnedFd> {
        self.link().duplicate()
    }

    /// Resets the device.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) where it can't be, and as for every call.
    #[doc(alias = "VFIO_DEVICE_RESET")]
    pub fn reset(&self) -> Result<()> {
        let ask = Ask::new(Command::DeviceReset);
        self.link().ask(ask, 0, [&mut [], &mut []]).map_err(|e| e.of(Call::Reset))?;
        Ok(())
    }

    /// What interrupt `index` is.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`](crate::Error::Refused) where there is none, and as for every call.
    #[doc(alias = "VFIO_DEVICE_GET_IRQ_INFO")]
    pub fn irq_info(&self, index: IrqIndex) -> Result<IrqInfo> {
        let ask = words([16, 0, index.0, 0]);
        let mut answer = [0; 16];
        let mut link = self.link();
        link.ask(
            Ask::new(Command::DeviceGetIrqInfo).with(&ask),
            answer.len(),
            [&mut answer, &mut []],
        )
        .map_err(|e| e.of(Call::IrqInfo(index)))?;
        let [flags, got, count] = [4, 8, 12].map(|at| word(&answer, at));
        if got != index.0 {
            return Err(link.broken(ProtocolError::OtherIrq { asked: index.0, got }));
        }
        Ok(IrqInfo { index, flags, count })
    }

    /// What region `index` is, with the file that it can be mapped from.
    fn region(&self, index: RegionIndex) -> Result<(RegionInfo, Option<OwnedFd>)> {
        let mut link = self.link();
        let (mut file, mut failed) = (None, None);
        let info = RegionInfo::query(index, |answer| {
            let mut head = [0; 32];
            head[..4].copy_from_slice(&(answer.len() as u32).to_le_bytes());
            head[8..12].copy_from_slice(&index.0.to_le_bytes());
            let ask = Ask::new(Command::DeviceGetRegionInfo).with(&head);
            match link.ask_for_file(ask, head.len(), answer) {
                Ok(fd) => file = fd,
                Err(error) => {
                    // The caller of the closure takes an errno; the error itself goes around it.
                    failed = Some(error);
                    return Err(Errno::IO);
                }
            }
            Ok(())
        });
        match failed {
            Some(error) => Err(error.of(Call::RegionInfo(index))),
            None => Ok((info?, file)),
        }
    }

    /// Reads or writes in pieces that the server takes, each an exchange by `step`.
    fn pieces(
        &self,
        call: Call,
        len: usize,
        mut step: impl FnMut(&mut Link, Range<usize>) -> Result<(), Failed>,
    ) -> Result<()> {
        let mut link = self.link();
        let most = link.max_data();
        for start in (0..len).step_by(most) {
            step(&mut link, start..len.min(start + most)).map_err(|e| e.of(call))?;
        }
        Ok(())
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        // A link is told that it is broken before anything else can see it so.
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RegionDevice for VfioUser {
    fn device_info(&self) -> Result<DeviceInfo> {
        let ask = words([16, 0, 0, 0]);
        let mut answer = [0; 16];
        self.link()
            .ask(Ask::new(Command::DeviceGetInfo).with(&ask), answer.len(), [&mut answer, &mut []])
            .map_err(|e| e.of(Call::DeviceInfo))?;
        let [argsz, flags, num_regions, num_irqs] = [0, 4, 8, 12].map(|at| word(&answer, at));
        Ok(DeviceInfo { argsz, flags, num_regions, num_irqs })
    }

    /// As [`RegionDevice::region_info`]; a region whose mapping a server could cut short is
    /// [mappable](RegionFlags::MMAP) no more.
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let (mut info, file) = self.region(index)?;
        let end = info.offset + info.size;
        if file.is_none_or(|file| file::stays_whole(&file, end).is_err()) {
            info.flags.remove(RegionFlags::MMAP);
        }
        Ok(info)
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = buf.len();
        let call = Call::Read { index: region.index, offset, len: len as u64 };
        region.file_offset(offset, len as u64)?;
        self.pieces(call, len, |link, piece| {
            link.read(region.index.0, offset + piece.start as u64, &mut buf[piece])
        })
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len();
        let call = Call::Write { index: region.index, offset, len: len as u64 };
        region.file_offset(offset, len as u64)?;
        self.pieces(call, len, |link, piece| {
            link.write(region.index.0, offset + piece.start as u64, &data[piece])
        })
    }

    /// As [`RegionDevice::map`], with EOPNOTSUPP where the server sends no file, EPERM where the
    /// file can shrink, and ENXIO where it is too short. What counts is the file and the place in
    /// it that the server names now.
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        let refused = |errno| Call::Map { index: region.index, offset, len }.refused(errno);
        let (info, file) = self.region(region.index)?;
        let bytes = info.mappable_len(offset, len)?;
        let file = file.ok_or_else(|| refused(Errno::OPNOTSUPP))?;
        let start = info.offset + offset;
        file::stays_whole(&file, start + len).map_err(refused)?;
        Mapping::new(file.as_fd(), start, bytes).map_err(refused)
    }

    fn set_eventfd(&self, index: IrqIndex, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let ask = words(IrqSet::trigger(index.0, eventfd.map(|fd| fd.as_raw_fd())).head());
        let ask = Ask::new(Command::DeviceSetIrqs).with(&ask).with_fd(eventfd);
        self.link()
            .ask(ask, 0, [&mut [], &mut []])
            .map_err(|failed| failed.of(Call::SetIrqs(index)))?;
        Ok(())
    }
}

/// vfio-user has no plane queries: each is answered as by a device without a display.
impl GfxDevice for VfioUser {}

fn words<const N: usize>(words: [u32; N]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn word(bytes: &[u8; 16], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
