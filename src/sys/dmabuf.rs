// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! CPU access to a dma-buf, `<linux/dma-buf.h>`.

use std::os::fd::BorrowedFd;

use rustix::io::{Errno, Result, retry_on_intr};
use rustix::ioctl::{Opcode, Setter, ioctl, opcode};

/// `DMA_BUF_IOCTL_SYNC`.
pub(crate) const SYNC: Opcode = opcode::write::<u64>(b'b', 0);
const SYNC_READ: u64 = 1;
const SYNC_END: u64 = 1 << 2;

/// Runs `read` between the start and the end of CPU access for reading.
///
/// A file that is no dma-buf, as the memfds that stand in for one, needs no bracket: its ENOTTY
/// is taken for that.
pub(crate) fn cpu_read<T>(fd: BorrowedFd<'_>, read: impl FnOnce() -> T) -> Result<T> {
    if !sync(fd, SYNC_READ)? {
        return Ok(read());
    }
    let result = read();
    sync(fd, SYNC_READ | SYNC_END)?;
    Ok(result)
}

fn sync(fd: BorrowedFd<'_>, flags: u64) -> Result<bool> {
    let answer = retry_on_intr(|| {
        // SAFETY: the opcode takes a pointer to a `dma_buf_sync`, one u64, and writes nothing.
        unsafe { ioctl(fd, Setter::<SYNC, u64>::new(flags)) }
    });
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::NOTTY) => Ok(false),
        Err(errno) => Err(errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_opcode_is_the_header_s() {
        assert_eq!(SYNC, 0x4008_6200);
    }
}
