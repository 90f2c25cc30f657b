// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `KVM_GET_DIRTY_LOG`.

use kvm_ioctls::VmFd;

use super::PageDamage;
use crate::error::Errno;
use crate::geometry::Rect;
use crate::ramfb::RamPlane;

/// A memory slot of the VM, as given to `KVM_SET_USER_MEMORY_REGION` with
/// `KVM_MEM_LOG_DIRTY_PAGES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub slot: u32,
    /// Guest physical address of its first byte.
    pub address: u64,
    /// Bytes.
    pub len: u64,
}

/// Damage out of KVM's dirty log.
///
/// Reading a slot's log clears it. Whoever else needs the log, as live migration does, has to
/// read it in one place and hand the words to [`PageDamage`].
#[derive(Debug)]
pub struct KvmDirtyLog {
    slots: Vec<Slot>,
    damage: PageDamage,
    page_size: u64,
}

impl KvmDirtyLog {
    /// For memory in these slots.
    pub fn new(slots: impl Into<Vec<Slot>>) -> Self {
        let page_size = rustix::param::page_size() as u64;
        Self { slots: slots.into(), damage: PageDamage::new(), page_size }
    }

    /// Adds to `rects` where `plane` was written since the last call. Only slots that it is in are
    /// read; the time goes by their sizes, a bit for each page, and by the pages that were written.
    ///
    /// The first time, and whenever the plane is another one, what the log says is not all: the
    /// picture is to be copied whole. Copy after this call, not before: what is written in between
    /// is then copied, and in the log once more.
    ///
    /// # Errors
    ///
    /// The errno of `KVM_GET_DIRTY_LOG`: ENOENT where a slot is not logged. The log may have been
    /// cleared in part, so the picture is to be copied whole.
    pub fn read(
        &mut self,
        vm: &VmFd,
        plane: &RamPlane,
        rects: &mut Vec<Rect>,
    ) -> Result<(), Errno> {
        self.damage.begin(plane);
        let end = plane.address() + plane.len();
        for slot in &self.slots {
            if slot.address >= end || slot.address.saturating_add(slot.len) <= plane.address() {
                continue;
            }
            let log = vm
                .get_dirty_log(slot.slot, slot.len as usize)
                .map_err(|error| Errno::from_raw(error.errno()))?;
            self.damage.add(plane, slot.address, self.page_size, &log);
        }
        self.damage.rects(rects);
        Ok(())
    }
}
