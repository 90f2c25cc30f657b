// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Calls that open a VFIO device, by group and container or by cdev and iommufd,
//! `<linux/vfio.h>`; and `kcmp(2)`, which tells whether two fds are one open file.

use std::ffi::{CStr, c_void};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{Ioctl, IoctlOutput, Opcode, Setter, Updater, ioctl};

use super::vfio::op;

const GET_API_VERSION: Opcode = op(0);
const CHECK_EXTENSION: Opcode = op(1);
const SET_IOMMU: Opcode = op(2);
const GROUP_GET_STATUS: Opcode = op(3);
const GROUP_SET_CONTAINER: Opcode = op(4);
const GROUP_GET_DEVICE_FD: Opcode = op(6);
const DEVICE_BIND_IOMMUFD: Opcode = op(18);

/// The one version of the container interface, `VFIO_API_VERSION`.
pub(crate) const API_VERSION: i32 = 0;
const GROUP_FLAGS_VIABLE: u32 = 1;
const KCMP_FILE: libc::c_int = 0;

/// An IOMMU model of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Iommu {
    /// `VFIO_TYPE1_IOMMU`
    Type1 = 1,
    /// `VFIO_TYPE1v2_IOMMU`
    Type1V2 = 3,
}

/// `struct vfio_group_status`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct GroupStatus {
    argsz: u32,
    flags: u32,
}

/// `struct vfio_device_bind_iommufd`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct BindIommufd {
    argsz: u32,
    flags: u32,
    iommufd: i32,
    out_devid: u32,
}

/// Version of the interface of a container.
#[doc(alias = "VFIO_GET_API_VERSION")]
pub(crate) fn api_version(container: BorrowedFd<'_>) -> Result<i32> {
    // SAFETY: the opcode ignores its argument.
    unsafe { ioctl(container, Number::<GET_API_VERSION>(0)) }
}

/// Whether a container can use `iommu`.
#[doc(alias = "VFIO_CHECK_EXTENSION")]
pub(crate) fn supports(container: BorrowedFd<'_>, iommu: Iommu) -> Result<bool> {
    // SAFETY: the opcode takes the number of an extension in place of a pointer.
    let answer = unsafe { ioctl(container, Number::<CHECK_EXTENSION>(iommu as usize)) }?;
    Ok(answer > 0)
}

/// Chooses the IOMMU model of a container that has a group.
#[doc(alias = "VFIO_SET_IOMMU")]
pub(crate) fn set_iommu(container: BorrowedFd<'_>, iommu: Iommu) -> Result<()> {
    // SAFETY: the opcode takes the number of a model in place of a pointer.
    unsafe { ioctl(container, Number::<SET_IOMMU>(iommu as usize)) }.map(drop)
}

/// Whether no member of the group is in the hands of another driver.
#[doc(alias = "VFIO_GROUP_GET_STATUS")]
pub(crate) fn group_is_viable(group: BorrowedFd<'_>) -> Result<bool> {
    let mut status = GroupStatus { argsz: size_of::<GroupStatus>() as u32, flags: 0 };
    // SAFETY: the opcode takes a `vfio_group_status` of `argsz` bytes, which `status` is, and
    // any value is valid for its integers.
    unsafe { ioctl(group, Updater::<GROUP_GET_STATUS, _>::new(&mut status)) }?;
    Ok(status.flags & GROUP_FLAGS_VIABLE != 0)
}

/// Puts a group into a container.
#[doc(alias = "VFIO_GROUP_SET_CONTAINER")]
pub(crate) fn set_container(group: BorrowedFd<'_>, container: BorrowedFd<'_>) -> Result<()> {
    let container = container.as_raw_fd();
    // SAFETY: the opcode takes a pointer to an `i32` and writes nothing.
    unsafe { ioctl(group, Setter::<GROUP_SET_CONTAINER, i32>::new(container)) }
}

/// Opens the device `name` of a group.
#[doc(alias = "VFIO_GROUP_GET_DEVICE_FD")]
pub(crate) fn device_fd(group: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd> {
    // SAFETY: `GetDeviceFd` passes a pointer to a terminated string, as the opcode wants.
    unsafe { ioctl(group, GetDeviceFd { name }) }
}

/// Gives the device of a cdev an iommufd, which opens it.
#[doc(alias = "VFIO_DEVICE_BIND_IOMMUFD")]
pub(crate) fn bind_iommufd(device: BorrowedFd<'_>, iommufd: BorrowedFd<'_>) -> Result<()> {
    let mut bind = BindIommufd {
        argsz: size_of::<BindIommufd>() as u32,
        flags: 0,
        iommufd: iommufd.as_raw_fd(),
        out_devid: 0,
    };
    // SAFETY: the opcode takes a `vfio_device_bind_iommufd` of `argsz` bytes, which `bind` is,
    // and any value is valid for its integers.
    unsafe { ioctl(device, Updater::<DEVICE_BIND_IOMMUFD, _>::new(&mut bind)) }
}

/// Whether fd `a` of process `pid_a` and fd `b` of process `pid_b` are one open file.
///
/// ENOSYS where the kernel was built without `kcmp(2)`, EPERM where either may not be read.
pub(crate) fn same_file(pid_a: i32, a: i32, pid_b: i32, b: i32) -> Result<bool> {
    let long = libc::c_long::from;
    // SAFETY: the call takes five integers and touches no memory of ours.
    let order = unsafe {
        libc::syscall(libc::SYS_kcmp, long(pid_a), long(pid_b), long(KCMP_FILE), long(a), long(b))
    };
    if order < 0 {
        let error = std::io::Error::last_os_error();
        return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO));
    }
    Ok(order == 0)
}

/// An ioctl with a number for an argument and a number for an answer.
struct Number<const OPCODE: Opcode>(usize);

// SAFETY: the argument is a number that no kernel code dereferences, and the answer is the
// return value as it is.
unsafe impl<const OPCODE: Opcode> Ioctl for Number<OPCODE> {
    type Output = i32;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::without_provenance_mut(self.0)
    }

    unsafe fn output_from_ptr(answer: IoctlOutput, _: *mut c_void) -> Result<i32> {
        Ok(answer)
    }
}

struct GetDeviceFd<'a> {
    name: &'a CStr,
}

// SAFETY:
// - the pointer is to a terminated string that outlives the call, which only reads it;
// - a successful return value is a new fd of this process that nobody else knows of, made
//   close-on-exec by the kernel.
unsafe impl Ioctl for GetDeviceFd<'_> {
    type Output = OwnedFd;
    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        GROUP_GET_DEVICE_FD
    }

    fn as_ptr(&mut self) -> *mut c_void {
        self.name.as_ptr().cast_mut().cast()
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
    use std::mem::offset_of;
    use std::os::fd::AsFd as _;

    use vfio_bindings::bindings::vfio;

    use super::*;

    #[test]
    fn numbers_and_layouts_are_the_header_s() {
        // `VFIO_…` of the 6.12 header; vfio-bindings has the numbers only as functions.
        assert_eq!(GET_API_VERSION, 0x3B64);
        assert_eq!(CHECK_EXTENSION, 0x3B65);
        assert_eq!(SET_IOMMU, 0x3B66);
        assert_eq!(GROUP_GET_STATUS, 0x3B67);
        assert_eq!(GROUP_SET_CONTAINER, 0x3B68);
        assert_eq!(GROUP_GET_DEVICE_FD, 0x3B6A);
        assert_eq!(DEVICE_BIND_IOMMUFD, 0x3B76);
        assert_eq!(API_VERSION as u32, vfio::VFIO_API_VERSION);
        assert_eq!(Iommu::Type1 as u32, vfio::VFIO_TYPE1_IOMMU);
        assert_eq!(Iommu::Type1V2 as u32, vfio::VFIO_TYPE1v2_IOMMU);
        assert_eq!(GROUP_FLAGS_VIABLE, vfio::VFIO_GROUP_FLAGS_VIABLE);
        assert_eq!(size_of::<GroupStatus>(), size_of::<vfio::vfio_group_status>());
        // Newer headers have a token behind `out_devid`; `argsz` tells that ours has not.
        type Bind = vfio::vfio_device_bind_iommufd;
        assert_eq!(offset_of!(BindIommufd, iommufd), offset_of!(Bind, iommufd));
        assert_eq!(offset_of!(BindIommufd, out_devid), offset_of!(Bind, out_devid));
        assert_eq!(size_of::<BindIommufd>(), offset_of!(Bind, out_devid) + 4);
    }

    #[test]
    fn a_duplicate_is_the_same_file_and_a_second_open_is_not() {
        let us = std::process::id() as i32;
        let file = tempfile::NamedTempFile::new().unwrap();
        let a = std::fs::File::open(file.path()).unwrap();
        let twin = a.try_clone().unwrap();
        let other = std::fs::File::open(file.path()).unwrap();
        let same = |b: BorrowedFd<'_>| same_file(us, a.as_raw_fd(), us, b.as_raw_fd());
        if same(a.as_fd()) == Err(Errno::NOSYS) {
            eprintln!("kernel without kcmp(2): nothing to compare with");
            return;
        }
        assert_eq!(same(twin.as_fd()), Ok(true));
        assert_eq!(same(other.as_fd()), Ok(false));
        assert_eq!(same_file(us, a.as_raw_fd(), us, 9999), Err(Errno::BADF));
    }
}
