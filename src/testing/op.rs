// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Calls to a device: counted, and scripted to fail.

use std::fmt;

use rustix::io::Errno as KernelErrno;

use crate::error::Errno;

/// A call that a device answers, whatever it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// [`RegionDevice::device_info`](crate::device::RegionDevice::device_info).
    DeviceInfo,
    /// [`RegionDevice::region_info`](crate::device::RegionDevice::region_info).
    RegionInfo,
    /// [`RegionDevice::read`](crate::device::RegionDevice::read).
    Read,
    /// [`RegionDevice::write`](crate::device::RegionDevice::write).
    Write,
    /// [`RegionDevice::map`](crate::device::RegionDevice::map).
    Map,
    /// [`GfxDevice::probe`](crate::device::GfxDevice::probe).
    Probe,
    /// [`GfxDevice::query_plane`](crate::device::GfxDevice::query_plane).
    QueryPlane,
    /// [`GfxDevice::export_dmabuf`](crate::device::GfxDevice::export_dmabuf).
    ExportDmabuf,
}

impl Op {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::DeviceInfo,
        Self::RegionInfo,
        Self::Read,
        Self::Write,
        Self::Map,
        Self::Probe,
        Self::QueryPlane,
        Self::ExportDmabuf,
    ];
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::DeviceInfo => "device info",
            Self::RegionInfo => "region info",
            Self::Read => "read",
            Self::Write => "write",
            Self::Map => "map",
            Self::Probe => "probe",
            Self::QueryPlane => "plane query",
            Self::ExportDmabuf => "dma-buf export",
        })
    }
}

/// Counts of calls, and which of the next ones fail.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    counts: [u64; Op::ALL.len()],
    /// Calls of a kind that fail from the next one on: how many, and with what.
    next: Vec<(Op, u32, Errno)>,
    /// Calls, counted over all kinds from 1, that fail.
    nth: Vec<(u64, Errno)>,
    gone: bool,
}

impl Script {
    /// Counts a call of `op`; `Some` where it is to fail.
    pub(super) fn enter(&mut self, op: Op) -> Option<KernelErrno> {
        self.counts[op as usize] += 1;
        if self.gone {
            return Some(KernelErrno::NODEV);
        }
        let total = self.total();
        let errno = match self.nth.iter().position(|&(call, _)| call == total) {
            Some(at) => self.nth.swap_remove(at).1,
            None => {
                let at = self.next.iter().position(|&(next, ..)| next == op)?;
                let (_, left, errno) = &mut self.next[at];
                let errno = *errno;
                *left -= 1;
                if *left == 0 {
                    self.next.remove(at);
                }
                errno
            }
        };
        Some(KernelErrno::from_raw_os_error(errno.raw()))
    }

    pub(super) fn count(&self, op: Op) -> u64 {
        self.counts[op as usize]
    }

    pub(super) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn fail_next(&mut self, op: Op, calls: u32, errno: Errno) {
        if calls > 0 {
            self.next.push((op, calls, errno));
        }
    }

    /// Fails the `nth` call from now on, the next one being 1.
    pub(super) fn fail_nth(&mut self, nth: u64, errno: Errno) {
        self.nth.push((self.total() + nth, errno));
    }

    /// Fails every call with ENODEV.
    pub(super) fn set_gone(&mut self) {
        self.gone = true;
    }
}
