// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio_ioctls::VfioDevice` as a way to lend the device fd.
//!
//! Only its fd is used: its own region table skips regions that it cannot query, so indices past
//! such a gap are off by one, and it sees none beyond `num_regions`, where displays are.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::Arc;

use vfio_ioctls::VfioDevice;

use super::Vfio;

/// A shared [`VfioDevice`], of which nothing but the fd is used.
#[derive(Clone)]
pub struct SharedVfioDevice(Arc<VfioDevice>);

impl std::fmt::Debug for SharedVfioDevice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SharedVfioDevice").field(&self.0.as_raw_fd()).finish()
    }
}

impl AsFd for SharedVfioDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        crate::sys::device_fd(&self.0)
    }
}

impl From<Arc<VfioDevice>> for Vfio<SharedVfioDevice> {
    fn from(device: Arc<VfioDevice>) -> Self {
        Self::new(SharedVfioDevice(device))
    }
}
