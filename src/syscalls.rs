// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The system calls that a [`Display`](crate::Display) makes, for the filter of an embedder.
//!
//! A VMM that confines its threads has a list of what each may call. These are the entries for the
//! thread that polls a display: whatever [`poll`](crate::Display::poll),
//! [`look`](crate::Display::look), [`set_edid`](crate::Display::set_edid),
//! [`set_wake`](crate::Display::set_wake), [`watch`](crate::Display::watch) and
//! [`park`](crate::Display::park) do after the device is open and the display is made. Tests run
//! them under a filter that has these and no other, and each entry away from it, one at a time.
//!
//! By number, since that is what a filter compares; `ioctl` further by its request, whose low 32
//! bits count. What is beside them: the sink's calls, the wait between two polls, and a `read` of
//! the eventfd that [`set_wake`](crate::Display::set_wake) was given.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition};
//! use seccompiler::{SeccompFilter, SeccompRule};
//! use vfio_display::syscalls;
//!
//! let mut rules = BTreeMap::new(); // those of the VMM's own
//! let parts = [syscalls::DEVICE, syscalls::DMABUF, syscalls::MEMORY];
//! for call in parts.into_iter().flatten() {
//!     rules.insert(call.number.into(), Vec::new());
//! }
//! let requests = syscalls::IOCTLS.iter().map(|ioctl| {
//!     let (request, is) = (ioctl.request.into(), SeccompCmpOp::Eq);
//!     let condition = SeccompCondition::new(1, SeccompCmpArgLen::Dword, is, request)?;
//!     SeccompRule::new(vec![condition])
//! });
//! rules.insert(syscalls::IOCTL.number.into(), requests.collect::<Result<_, _>>()?);
//! let arch = std::env::consts::ARCH.try_into()?;
//! let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
//! let filter = SeccompFilter::new(rules, kill, allow, arch)?;
//! # let _ = filter;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use rustix::ioctl::Opcode;

use crate::sys::{dmabuf, vfio};

/// A system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Syscall {
    /// Its name, as in `<asm/unistd.h>`.
    pub name: &'static str,
    /// Its number on this architecture.
    pub number: u32,
}

/// A request of [`IOCTL`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ioctl {
    /// Its name, as in its header.
    pub name: &'static str,
    /// Its number.
    pub request: u32,
}

const fn call(name: &'static str, x86_64: u32, aarch64: u32) -> Syscall {
    Syscall { name, number: if cfg!(target_arch = "x86_64") { x86_64 } else { aarch64 } }
}

#[allow(clippy::unnecessary_cast, reason = "rustix's libc backend has 64 bits for these 32")]
const fn ioctl(name: &'static str, request: Opcode) -> Ioctl {
    Ioctl { name, request: request as u32 }
}

/// `ioctl(2)`, with a request of [`IOCTLS`].
pub const IOCTL: Syscall = call("ioctl", 16, 29);

/// What a VFIO device is asked by, and a dma-buf.
pub const IOCTLS: &[Ioctl] = &[
    ioctl("VFIO_DEVICE_QUERY_GFX_PLANE", vfio::QUERY_GFX_PLANE),
    ioctl("VFIO_DEVICE_GET_GFX_DMABUF", vfio::GET_GFX_DMABUF),
    // `set_edid` looks for the region; also when a framebuffer region is first asked for.
    ioctl("VFIO_DEVICE_GET_INFO", vfio::GET_INFO),
    ioctl("VFIO_DEVICE_GET_REGION_INFO", vfio::GET_REGION_INFO),
    ioctl("VFIO_DEVICE_SET_IRQS", vfio::SET_IRQS),
    ioctl("DMA_BUF_IOCTL_SYNC", dmabuf::SYNC),
];

/// A VFIO device, [`Vfio`](crate::device::Vfio) over an fd: beside [`IOCTL`], regions that are
/// read, written and mapped.
pub const DEVICE: &[Syscall] = &[
    call("pread64", 17, 67),
    call("pwrite64", 18, 68),
    call("mmap", 9, 222),
    call("munmap", 11, 215),
    // The key of a new screen's hashes, where the thread has none yet.
    call("getrandom", 318, 278),
];

/// Planes that are dma-bufs: their length, what keeps them whole, and their end.
pub const DMABUF: &[Syscall] = &[call("lseek", 8, 62), call("fcntl", 72, 25), call("close", 3, 57)];

/// A device that `host` borrowed: each call asks first whether its process lives.
pub const BORROWED: &[Syscall] = &[call("ppoll", 271, 73)];

/// A device that `host` opened or borrowed and whose driver breaks where others hold its dma-bufs
/// (mbochs): those others, by `/proc`, before an export. Files are opened
/// to be read only.
pub const HOLDERS: &[Syscall] = &[
    #[cfg(target_arch = "x86_64")]
    call("open", 2, 0),
    #[cfg(target_arch = "aarch64")]
    call("openat", 0, 56),
    call("fstat", 5, 80),
    call("statx", 332, 291),
    call("getdents64", 217, 61),
    call("lseek", 8, 62),
    call("read", 0, 63),
    #[cfg(target_arch = "x86_64")]
    call("readlink", 89, 0),
    #[cfg(target_arch = "aarch64")]
    call("readlinkat", 0, 78),
    call("flock", 73, 32),
    call("kcmp", 312, 272),
    call("getpid", 39, 172),
];

/// A device in another process, `vfio_user`.
pub const VFIO_USER: &[Syscall] = &[
    call("sendmsg", 46, 211),
    call("recvmsg", 47, 212),
    call("ppoll", 271, 73),
    // Where the kernel's clock is none that a process reads by itself.
    call("clock_gettime", 228, 113),
    // Whether a file that came is whole and stays so.
    call("fcntl", 72, 25),
    call("fstat", 5, 80),
    call("fstatfs", 138, 44),
    call("close", 3, 57),
];

/// The memory of pictures, as glibc's allocator has it from the kernel. Another may call others.
pub const MEMORY: &[Syscall] = &[
    call("brk", 12, 214),
    call("mmap", 9, 222),
    call("munmap", 11, 215),
    call("mremap", 25, 216),
    call("mprotect", 10, 226),
    // Its lock, where another thread has it.
    call("futex", 202, 98),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_header_s() {
        let theirs = [
            ("brk", libc::SYS_brk),
            ("clock_gettime", libc::SYS_clock_gettime),
            ("close", libc::SYS_close),
            ("fcntl", libc::SYS_fcntl),
            ("flock", libc::SYS_flock),
            ("fstat", libc::SYS_fstat),
            ("fstatfs", libc::SYS_fstatfs),
            ("futex", libc::SYS_futex),
            ("getdents64", libc::SYS_getdents64),
            ("getpid", libc::SYS_getpid),
            ("getrandom", libc::SYS_getrandom),
            ("ioctl", libc::SYS_ioctl),
            ("kcmp", libc::SYS_kcmp),
            ("lseek", libc::SYS_lseek),
            ("mmap", libc::SYS_mmap),
            ("mprotect", libc::SYS_mprotect),
            ("mremap", libc::SYS_mremap),
            ("munmap", libc::SYS_munmap),
            #[cfg(target_arch = "x86_64")]
            ("open", libc::SYS_open),
            #[cfg(target_arch = "aarch64")]
            ("openat", libc::SYS_openat),
            ("ppoll", libc::SYS_ppoll),
            ("pread64", libc::SYS_pread64),
            ("pwrite64", libc::SYS_pwrite64),
            ("read", libc::SYS_read),
            #[cfg(target_arch = "x86_64")]
            ("readlink", libc::SYS_readlink),
            #[cfg(target_arch = "aarch64")]
            ("readlinkat", libc::SYS_readlinkat),
            ("recvmsg", libc::SYS_recvmsg),
            ("sendmsg", libc::SYS_sendmsg),
            ("statx", libc::SYS_statx),
        ];
        let parts = [DEVICE, DMABUF, BORROWED, HOLDERS, VFIO_USER, MEMORY, &[IOCTL]];
        for ours in parts.into_iter().flatten() {
            let theirs = theirs.iter().find(|(name, _)| *name == ours.name);
            assert_eq!(theirs.map(|(_, number)| *number), Some(ours.number.into()), "{ours:?}");
        }
    }
}
