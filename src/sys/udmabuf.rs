// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Real dma-bufs out of a memfd, `<linux/udmabuf.h>`.

use std::ffi::c_void;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, ioctl, opcode};

/// `struct udmabuf_create`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Create {
    memfd: u32,
    flags: u32,
    offset: u64,
    size: u64,
}

const _: () = assert!(size_of::<Create>() == 24);

/// `UDMABUF_CREATE`.
const CREATE: Opcode = opcode::write::<Create>(b'u', 0x42);
/// `UDMABUF_FLAGS_CLOEXEC`.
const CLOEXEC: u32 = 1;

/// A dma-buf of `size` bytes at `offset` of `memfd`, both multiples of the page size.
///
/// The memfd is sealed against shrinking, as the driver demands. ENOENT where there is no
/// `/dev/udmabuf`.
pub(crate) fn create(memfd: BorrowedFd<'_>, offset: u64, size: u64) -> Result<OwnedFd> {
    let device = open("/dev/udmabuf", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let memfd = u32::try_from(memfd.as_raw_fd()).map_err(|_| Errno::BADF)?;
    let create = Create { memfd, flags: CLOEXEC, offset, size };
    // SAFETY: `CreateDmabuf` passes a pointer to the struct that the opcode wants, see there.
    unsafe { ioctl(&device, CreateDmabuf { create }) }
}

struct CreateDmabuf {
    create: Create,
}

// SAFETY:
// - the pointer is to a `udmabuf_create`, which is all that the kernel reads; it writes nothing;
// - a successful return value is a new fd of this process that nobody else knows of.
unsafe impl Ioctl for CreateDmabuf {
    type Output = OwnedFd;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        CREATE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.create).cast()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
        if fd < 0 {
            return Err(Errno::BADF);
        }
        // SAFETY: the kernel just made this fd for us, so it is open and ours alone.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opcode_is_the_header_s() {
        assert_eq!(CREATE, 0x4018_7542);
    }
}
