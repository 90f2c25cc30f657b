// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The producer: for authors of devices. It keeps the page, and answers what is read and written
//! of it. The pixels are the device's own.
//!
//! Source: `docs/framebuffer-region.md`.
//!
//! Nothing here waits, allocates after [`Producer::new`], or takes longer than the page is long,
//! whatever a consumer writes.

mod config;
mod frame;

use std::ops::Range;

pub use self::config::{Config, ConfigError};
pub use self::frame::{Frame, Shown};
use super::layout::{self, Field, PAGE_LEN, damage, plane, slot};
use super::page::{PlaneEntry, Table, damage_in};
use super::status::{Command, Op, Status};
use crate::device::IrqIndex;
use crate::geometry::Rect;

/// Most slots of a [`Producer`].
const SLOTS: usize = layout::MAX_SLOTS as usize;

/// An access that the region does not allow: EINVAL to who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{len} bytes at {offset:#x} of the framebuffer region's page can't be {done}")]
pub struct BadAccess {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: usize,
    /// What was tried.
    pub done: &'static str,
}

/// A capture to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Index of the slot.
    pub slot: u16,
    /// The command.
    pub request: u32,
    /// Index of the plane.
    pub plane: u16,
    /// The frame and the generation that the plane has.
    frame: u64,
    generation: u64,
    /// Where to copy it, in the region.
    pub offset: u64,
    /// Bytes there.
    pub len: u64,
    /// The frame that the slot has of this plane, if that is some use.
    since: Option<u64>,
}

/// A slot's memory, as far as its producer knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holds {
    plane: u16,
    frame: u64,
    generation: u64,
    stride: u32,
}

/// One device's page.
#[derive(Clone, Debug)]
pub struct Producer {
    page: Box<[u8; PAGE_LEN]>,
    planes: Table,
    slots: Table,
    damage: Table,
    region_len: u64,
    /// What each slot's memory has.
    holds: [Option<Holds>; SLOTS],
    /// Whether something happened that a consumer wants to be woken for.
    news: bool,
}

impl Producer {
    /// The page of a device, on which nothing is shown.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] with what a consumer would find.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let count = |len: usize| u16::try_from(len).unwrap_or(u16::MAX);
        let planes = Table {
            offset: layout::HEADER_LEN,
            count: count(config.planes.len()),
            len: plane::LEN,
        };
        let after = |table: &Table| {
            table.offset.saturating_add(u32::from(table.count) * u32::from(table.len))
        };
        let slots = Table { offset: after(&planes), count: config.slots, len: slot::LEN };
        let damage =
            Table { offset: after(&slots), count: config.damage_records, len: damage::LEN };
        let memory = config.slot_len.saturating_mul(config.slots.into());
        let region_len = memory.saturating_add(PAGE_LEN as u64);
        let mut page = Box::new([0; PAGE_LEN]);
        let bytes = page.as_mut_slice();
        layout::MAGIC.put(bytes, layout::MAGIC_VALUE);
        layout::MAJOR.put(bytes, layout::VERSION.0);
        layout::MINOR.put(bytes, layout::VERSION.1);
        layout::HEADER.put(bytes, layout::HEADER_LEN);
        let wake = if config.wake.is_some() { layout::WAKE } else { 0 };
        layout::FEATURES.put(bytes, layout::CAPTURE | layout::DAMAGE | wake);
        layout::WAKE_INDEX.put(bytes, config.wake.map_or(0, |index| index.0));
        for (fields, table) in
            [(layout::PLANES, planes), (layout::SLOTS, slots), (layout::DAMAGES, damage)]
        {
            fields.0.put(bytes, table.offset);
            fields.1.put(bytes, table.count);
            fields.2.put(bytes, table.len);
        }
        // Tables that leave the page are found by the check below, which is the consumer's.
        for (index, plane_type) in (0..).zip(&config.planes) {
            if let Some(entry) = bytes.get_mut(planes.entry(index)) {
                plane::TYPE.put(entry, plane_type.raw());
            }
        }
        for index in 0..slots.count {
            if let Some(entry) = bytes.get_mut(slots.entry(index)) {
                let before = config.slot_len.saturating_mul(index.into());
                slot::OFFSET.put(entry, before.saturating_add(PAGE_LEN as u64));
                slot::BYTES.put(entry, config.slot_len);
            }
        }
        super::Page::new(page.clone(), region_len)?;
        let holds = [None; SLOTS];
        Ok(Self { page, planes, slots, damage, region_len, holds, news: false })
    }

    /// Bytes of the region: the page, and the slots behind it.
    pub const fn region_len(&self) -> u64 {
        self.region_len
    }

    /// The bytes of the region that may be mapped, for its `VFIO_REGION_INFO_CAP_SPARSE_MMAP`.
    pub const fn mappable(&self) -> Range<u64> {
        PAGE_LEN as u64..self.region_len
    }

    /// The interrupt that a consumer may be woken by.
    pub fn wake(&self) -> Option<IrqIndex> {
        let has = layout::FEATURES.get(&*self.page) & layout::WAKE != 0;
        has.then(|| IrqIndex(layout::WAKE_INDEX.get(&*self.page)))
    }

    /// Whether the interrupt is to be signalled now; answers once for each reason.
    pub fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.news)
    }

    /// Answers a read of the page.
    ///
    /// # Errors
    ///
    /// [`BadAccess`] outside the page.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), BadAccess> {
        let len = out.len();
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(len)?));
        let Some(bytes) = range.and_then(|range| self.page.get(range)) else {
            return Err(BadAccess { offset, len, done: "read" });
        };
        out.copy_from_slice(bytes);
        Ok(())
    }

    /// Takes a write to the page. What it asks for is in [`demand`](Self::demand) and in
    /// [`pending`](Self::pending) then.
    ///
    /// # Errors
    ///
    /// [`BadAccess`] for anything but the whole of a register that can be written.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), BadAccess> {
        let is = |at: usize| offset == at as u64;
        if let (true, Ok(raw)) = (is(layout::COMMAND.offset), data.try_into()) {
            self.command(u64::from_le_bytes(raw));
        } else if let (true, Ok(raw)) = (is(layout::DEMAND.offset), data.try_into()) {
            self.set_demand(u32::from_le_bytes(raw));
        } else {
            return Err(BadAccess { offset, len: data.len(), done: "written" });
        }
        Ok(())
    }

    /// Frames that the consumer wants in 1000 seconds; 0 says that nobody watches.
    pub fn demand(&self) -> u32 {
        layout::DEMAND.get(&*self.page)
    }

    /// Nobody watches any more: the consumer has closed the device.
    pub fn disconnected(&mut self) {
        self.open();
        self.free_slots();
        self.set_demand(0);
        self.close();
    }

    /// The newest frame.
    pub fn frame(&self) -> u64 {
        self.get(layout::FRAME)
    }

    /// Begins a frame. What it says takes effect when it is [published](Frame::publish).
    pub fn begin(&mut self) -> Frame<'_> {
        self.open();
        let number = self.frame() + 1;
        Frame { producer: self, number, is_new_mode: false }
    }

    /// The captures to be made, of the newest frame. The device copies the plane's pixels into the
    /// slot and says that it is [done](Self::complete), or leaves it for after the next frame.
    pub fn pending(&self) -> impl Iterator<Item = Pending> + '_ {
        (0..self.slots.count).filter_map(|index| {
            let entry = &self.page[self.slots.entry(index)];
            if slot::STATUS.get(entry) != Status::Pending.raw() {
                return None;
            }
            let plane = slot::PLANE.get(entry) as u16;
            let (frame, generation) = (self.frame(), self.get(layout::GENERATION));
            let holds = self.holds[usize::from(index)].filter(|holds| {
                (holds.plane, holds.generation) == (plane, generation)
                    && holds.frame >= self.get(layout::DAMAGE_FLOOR)
            });
            Some(Pending {
                slot: index,
                request: slot::REQUEST.get(entry),
                plane,
                frame,
                generation,
                offset: slot::OFFSET.get(entry),
                len: slot::BYTES.get(entry),
                since: holds.map(|holds| holds.frame),
            })
        })
    }

    /// What has to be copied into a slot that last had `stride`: rectangles of the plane. `None` is
    /// all of it.
    pub fn stale(&self, pending: &Pending, stride: u32) -> Option<impl Iterator<Item = Rect> + '_> {
        let holds = self.holds.get(usize::from(pending.slot)).copied().flatten();
        let since = pending.since.filter(|_| holds.is_some_and(|holds| holds.stride == stride))?;
        Some(damage_in(&self.page, self.damage, pending.plane, since, pending.frame))
    }

    /// Plane `index` as it is on the page; `None` where there is no such plane.
    pub fn plane(&self, index: u16) -> Option<PlaneEntry> {
        (index < self.planes.count).then(|| PlaneEntry::read(&self.page[self.planes.entry(index)]))
    }

    /// Ends a capture: with bytes from a row to the next for one that was made, and that fits its
    /// slot, or with [`Status::Failed`] or [`Status::NoRoom`]. Answers whether anybody still wanted
    /// it.
    pub fn complete(&mut self, pending: &Pending, result: Result<u32, Status>) -> bool {
        if pending.slot >= self.slots.count {
            return false;
        }
        let range = self.slots.entry(pending.slot);
        let entry = &self.page[range.clone()];
        // Whatever became of it, the slot's memory is no longer what it was.
        let holds = &mut self.holds[usize::from(pending.slot)];
        *holds = None;
        if slot::STATUS.get(entry) != Status::Pending.raw()
            || slot::REQUEST.get(entry) != pending.request
        {
            return false;
        }
        if let Ok(stride) = result {
            let Pending { plane, frame, generation, .. } = *pending;
            *holds = Some(Holds { plane, frame, generation, stride });
        }
        let plane = PlaneEntry::read(&self.page[self.planes.entry(pending.plane)]);
        self.open();
        let entry = &mut self.page[range];
        match result {
            Ok(stride) => {
                slot::FRAME.put(entry, pending.frame);
                slot::GENERATION.put(entry, pending.generation);
                slot::FOURCC.put(entry, plane.fourcc.raw());
                slot::MODIFIER.put(entry, plane.modifier.raw());
                slot::WIDTH.put(entry, plane.size.width);
                slot::HEIGHT.put(entry, plane.size.height);
                slot::STRIDE.put(entry, stride);
                slot::STATUS.put(entry, Status::Done.raw());
            }
            Err(status) => slot::STATUS.put(entry, status.raw()),
        }
        self.news = true;
        self.close();
        true
    }

    /// The device was reset.
    pub fn reset(&mut self) {
        self.open();
        self.free_slots();
        layout::DEMAND.put(&mut *self.page, 0);
        layout::REFUSED_REQUEST.put(&mut *self.page, 0);
        layout::REFUSED_STATUS.put(&mut *self.page, 0);
        self.forget_damage();
        self.add(layout::GENERATION);
        self.news = true;
        self.close();
    }

    /// No slot is about any request.
    fn free_slots(&mut self) {
        for index in 0..self.slots.count {
            let entry = &mut self.page[self.slots.entry(index)];
            entry[slot::REQUEST.offset..].fill(0);
        }
        self.holds = [None; SLOTS];
    }

    fn get(&self, field: Field<u64>) -> u64 {
        field.get(&*self.page)
    }

    fn add(&mut self, field: Field<u64>) {
        let next = field.get(&*self.page).saturating_add(1);
        field.put(&mut *self.page, next);
    }

    /// A change of the page begins, unless one is going on.
    fn open(&mut self) {
        if self.get(layout::SEQUENCE).is_multiple_of(2) {
            self.add(layout::SEQUENCE);
        }
    }

    /// It ends.
    fn close(&mut self) {
        self.add(layout::SEQUENCE);
    }

    /// What differs from any older frame is no longer known.
    fn forget_damage(&mut self) {
        let frame = self.frame();
        layout::DAMAGE_FLOOR.put(&mut *self.page, frame);
    }

    fn set_demand(&mut self, demand: u32) {
        let was = self.demand();
        layout::DEMAND.put(&mut *self.page, demand);
        if was == 0 && demand > 0 {
            // Frames that nobody wanted were not made: this one stands for all of them.
            self.open();
            self.add(layout::FRAME);
            self.forget_damage();
            for index in 0..self.planes.count {
                let frame = self.frame();
                plane::FRAME.put(&mut self.page[self.planes.entry(index)], frame);
            }
            self.news = true;
            self.close();
        }
    }

    fn command(&mut self, raw: u64) {
        let (command, request) = Command::from_raw(raw);
        let refused = match command {
            Ok(command) if u16::from(command.slot) >= self.slots.count => Some(Status::BadSlot),
            Ok(Command { op: Op::Capture(plane), slot, .. }) => {
                self.begin_capture(request, plane.into(), slot.into())
            }
            Ok(Command { op: Op::Cancel, slot, .. }) => self.cancel(request, slot.into()),
            Err(status) => Some(status),
        };
        if let Some(status) = refused {
            self.open();
            layout::REFUSED_REQUEST.put(&mut *self.page, request);
            layout::REFUSED_STATUS.put(&mut *self.page, status.raw());
            self.close();
        }
    }

    fn begin_capture(&mut self, request: u32, plane: u16, index: u16) -> Option<Status> {
        let range = self.slots.entry(index);
        if slot::STATUS.get(&self.page[range.clone()]) == Status::Pending.raw() {
            return Some(Status::Busy);
        }
        let status = match self.plane(plane) {
            None => Status::BadPlane,
            Some(plane) if !plane.visible => Status::Hidden,
            Some(_) => Status::Pending,
        };
        self.open();
        let entry = &mut self.page[range];
        slot::REQUEST.put(entry, request);
        slot::PLANE.put(entry, plane.into());
        slot::STATUS.put(entry, status.raw());
        self.close();
        None
    }

    fn cancel(&mut self, request: u32, index: u16) -> Option<Status> {
        let range = self.slots.entry(index);
        let entry = &self.page[range.clone()];
        if slot::REQUEST.get(entry) != request {
            return Some(Status::BadRequest);
        }
        if slot::STATUS.get(entry) == Status::Pending.raw() {
            self.open();
            slot::STATUS.put(&mut self.page[range], Status::Cancelled.raw());
            self.close();
        }
        None
    }
}
