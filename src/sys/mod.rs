// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The system calls that need `unsafe`, each a safe function on a borrowed fd.
//!
//! An ioctl is unsafe once, where it is defined here, and mapped memory is handed out only as
//! copies. Nothing above this module says `unsafe`, so a reviewer of memory safety reads this
//! directory and no other. Numbers that come back are not judged here.

#![allow(unsafe_code, reason = "this module is where the crate's system calls are")]

pub(crate) mod cpu;
pub(crate) mod dmabuf;
mod mapping;
#[cfg(feature = "host")]
pub(crate) mod open;
mod span;
#[cfg(feature = "testing")]
pub(crate) mod udmabuf;
pub(crate) mod vfio;

pub use mapping::{Mapping, WritableMapping};
pub(crate) use span::Span;

/// Borrows the fd of a `VfioDevice`, which lends it only as a number.
#[cfg(feature = "vfio-ioctls")]
pub(crate) fn device_fd(device: &vfio_ioctls::VfioDevice) -> std::os::fd::BorrowedFd<'_> {
    use std::os::fd::AsRawFd as _;
    // SAFETY: the device keeps its fd open until it is dropped, and the result lives no longer
    // than the borrow of the device.
    unsafe { std::os::fd::BorrowedFd::borrow_raw(device.as_raw_fd()) }
}
