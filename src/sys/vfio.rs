// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! ioctls on a VFIO device fd, `<linux/vfio.h>`.

use std::ffi::c_void;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::{FdFlags, Result, fcntl_setfd};
use rustix::ioctl::{Ioctl, IoctlOutput, NoArg, Opcode, Updater, ioctl, opcode};

use crate::uapi::{DeviceInfo, IrqSet, PlaneInfo, REGION_HEAD_BYTES, VFIO_BASE, VFIO_TYPE};

/// Opcode of the VFIO ioctl `number` places after the first.
pub(super) const fn op(number: u8) -> Opcode {
    opcode::none(VFIO_TYPE, VFIO_BASE + number)
}

pub(crate) const GET_INFO: Opcode = op(7);
pub(crate) const GET_REGION_INFO: Opcode = op(8);
pub(crate) const SET_IRQS: Opcode = op(10);
const RESET: Opcode = op(11);
pub(crate) const QUERY_GFX_PLANE: Opcode = op(14);
pub(crate) const GET_GFX_DMABUF: Opcode = op(15);

/// What the device is and how many regions it admits to.
#[doc(alias = "VFIO_DEVICE_GET_INFO")]
pub(crate) fn device_info(fd: BorrowedFd<'_>) -> Result<DeviceInfo> {
    let mut info = DeviceInfo { argsz: size_of::<DeviceInfo>() as u32, ..Default::default() };
    // SAFETY: the opcode takes a `vfio_device_info` of at least `argsz` bytes, which `info` is,
    // and its fields are integers, for which any value the kernel writes is valid.
    unsafe { ioctl(fd, Updater::<GET_INFO, _>::new(&mut info)) }?;
    Ok(info)
}

/// Fills `answer`, which starts with a `vfio_region_info`, for region `index`.
///
/// The caller chooses the length: [`REGION_HEAD_BYTES`] first, then exactly what came back in
/// `argsz`, because there are drivers that refuse any larger struct.
#[doc(alias = "VFIO_DEVICE_GET_REGION_INFO")]
pub(crate) fn region_info(fd: BorrowedFd<'_>, index: u32, answer: &mut [u8]) -> Result<()> {
    assert!(answer.len() >= REGION_HEAD_BYTES, "room for struct vfio_region_info");
    let argsz = u32::try_from(answer.len()).map_err(|_| rustix::io::Errno::INVAL)?;
    answer.fill(0);
    answer[0..4].copy_from_slice(&argsz.to_ne_bytes());
    answer[8..12].copy_from_slice(&index.to_ne_bytes());
    // SAFETY: `RegionInfo` passes a buffer whose length stands in its `argsz`, see there.
    unsafe { ioctl(fd, RegionInfo { answer }) }
}

/// Asks about a plane; `info` carries the question and takes the answer.
#[doc(alias = "VFIO_DEVICE_QUERY_GFX_PLANE")]
pub(crate) fn query_gfx_plane(fd: BorrowedFd<'_>, info: &mut PlaneInfo) -> Result<()> {
    info.argsz = size_of::<PlaneInfo>() as u32;
    // SAFETY: the opcode takes a `vfio_device_gfx_plane_info` of at most `argsz` bytes, which
    // `info` is, and its fields are integers, for which any value the kernel writes is valid.
    unsafe { ioctl(fd, Updater::<QUERY_GFX_PLANE, _>::new(info)) }
}

/// Exports the dma-buf `id` as a new fd, made close-on-exec, which drivers do not do.
#[doc(alias = "VFIO_DEVICE_GET_GFX_DMABUF")]
pub(crate) fn get_gfx_dmabuf(fd: BorrowedFd<'_>, id: u32) -> Result<OwnedFd> {
    // SAFETY: `GetGfxDmabuf` passes a pointer to a `u32`, as the opcode wants, see there.
    let dmabuf = unsafe { ioctl(fd, GetGfxDmabuf { id }) }?;
    fcntl_setfd(&dmabuf, FdFlags::CLOEXEC)?;
    Ok(dmabuf)
}

/// Has `eventfd` signalled by interrupt 0 of `index`, or none any more.
#[doc(alias = "VFIO_DEVICE_SET_IRQS")]
pub(crate) fn set_eventfd(
    fd: BorrowedFd<'_>,
    index: u32,
    eventfd: Option<BorrowedFd<'_>>,
) -> Result<()> {
    let mut irqs = IrqSet::trigger(index, eventfd.map(|fd| fd.as_raw_fd()));
    // SAFETY: the opcode takes a `vfio_irq_set` of `argsz` bytes, which `irqs` is, the fd that
    // DATA_EVENTFD announces included, and the kernel keeps no pointer to it.
    unsafe { ioctl(fd, Updater::<SET_IRQS, _>::new(&mut irqs)) }
}

/// Resets the device.
#[doc(alias = "VFIO_DEVICE_RESET")]
#[cfg_attr(not(feature = "testing"), expect(dead_code, reason = "only tests reset a device"))]
pub(crate) fn reset(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: the opcode takes no argument.
    unsafe { ioctl(fd, NoArg::<RESET>::new()) }
}

struct RegionInfo<'a> {
    answer: &'a mut [u8],
}

// SAFETY:
// - the pointer is to a live, exclusively borrowed buffer of at least `vfio_region_info`'s size;
// - its `argsz` is the buffer's length, and the kernel writes no byte beyond `argsz`;
// - the output is `()`, so nothing is made from the return value or the pointer.
unsafe impl Ioctl for RegionInfo<'_> {
    type Output = ();
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        GET_REGION_INFO
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.answer.as_mut_ptr().cast()
    }

    unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> Result<()> {
        Ok(())
    }
}

struct GetGfxDmabuf {
    id: u32,
}

// SAFETY:
// - the pointer is to a `u32`, which is all that the kernel reads, and it writes nothing;
// - a successful return value is a new fd of this process that nobody else knows of.
unsafe impl Ioctl for GetGfxDmabuf {
    type Output = OwnedFd;
    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        GET_GFX_DMABUF
    }

    fn as_ptr(&mut self) -> *mut c_void {
        (&raw mut self.id).cast()
    }

    unsafe fn output_from_ptr(fd: IoctlOutput, _: *mut c_void) -> Result<OwnedFd> {
        if fd < 0 {
            return Err(rustix::io::Errno::BADF);
        }
        // SAFETY: the kernel just made this fd for us, so it is open and ours alone.
        Ok(unsafe { OwnedFd::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opcodes_are_the_header_s() {
        assert_eq!(GET_INFO, 0x3B6B);
        assert_eq!(GET_REGION_INFO, 0x3B6C);
        assert_eq!(SET_IRQS, 0x3B6E);
        assert_eq!(RESET, 0x3B6F);
        assert_eq!(QUERY_GFX_PLANE, 0x3B72);
        assert_eq!(GET_GFX_DMABUF, 0x3B73);
    }
}
