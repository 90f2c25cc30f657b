// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The sample driver `contrib/kernel/vfbdemo`, and the part of its guest.

use std::path::Path;
use std::process::Command as Program;

use vfio_display::WritableMapping;
use vfio_display::device::{RegionDevice as _, RegionIndex};
use vfio_display::fb_region::layout::{self, Field, slot};
use vfio_display::fb_region::{Command, Op, Status, find};
use vfio_display::geometry::{Rect, Size};
use vfio_display::host::{Host, OnConflict, Opened};
use vfio_display::region::RegionInfo;
use vfio_display::testing::guest::map_bar;

use super::mdev::run;
use super::{Mdev, testbed};

/// A register of BAR 2: `contrib/kernel/vfbdemo/registers.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Register {
    CursorAt = 0x08,
    Enable = 0x10,
    Width = 0x14,
    Height = 0x18,
    Stride = 0x1c,
    CursorWidth = 0x30,
    CursorHeight = 0x34,
    CursorX = 0x38,
    CursorY = 0x3c,
    DamageX = 0x50,
    DamageY = 0x54,
    DamageWidth = 0x58,
    DamageHeight = 0x5c,
    Damage = 0x60,
    Draw = 0x64,
    Commit = 0x68,
    Delay = 0x70,
    Commits = 0x80,
    Frames = 0x84,
    Captures = 0x88,
    /// KiB.
    Copied = 0x8c,
    Wakes = 0x90,
}

/// [`Register::Enable`]: the screen is on.
pub(crate) const PRIMARY_ON: u32 = 1;
/// [`Register::Enable`]: there is a cursor.
pub(crate) const CURSOR_ON: u32 = 2;
/// [`Register::Commit`]: every pixel may have changed.
pub(crate) const COMMIT_ALL: u32 = 1;
/// [`Register::Commit`]: the cursor's pixels changed.
pub(crate) const COMMIT_CURSOR: u32 = 2;

/// Index of the screen in the table of planes.
pub(crate) const PRIMARY: u8 = 0;
/// Index of the pointer.
pub(crate) const CURSOR: u8 = 1;
/// Slots that the device has.
pub(crate) const SLOTS: u8 = 2;

/// An open device, held as a VMM holds it.
#[derive(Debug)]
pub(crate) struct Vfbdemo {
    pub(crate) device: Opened,
    pub(crate) region: RegionInfo,
    registers: RegionInfo,
}

/// The driver, put in where it is not, with memory for one device of the largest type.
pub(crate) fn load_vfbdemo() {
    if !Path::new("/sys/module/vfbdemo").exists() {
        let module = Path::new(&testbed("MODULES")).join("vfbdemo.ko");
        run(Program::new("insmod").arg(module).arg("max_mbytes=200"));
    }
}

impl Vfbdemo {
    pub(crate) fn open(mdev: &Mdev) -> Self {
        let name = mdev.uuid.parse().expect("a UUID");
        let device = Host::new().open(&name, OnConflict::Refuse).expect("vfbdemo opens");
        let region = find(&device).expect("it can be asked").expect("it has the region");
        let registers = device.region_info(RegionIndex(2)).expect("BAR 2 is there");
        Self { device, region, registers }
    }

    /// BAR 0, to draw into.
    pub(crate) fn memory(&self) -> WritableMapping {
        map_bar(&self.device, 0).expect("BAR 0 maps")
    }

    pub(crate) fn get(&self, register: Register) -> u32 {
        let mut bytes = [0; 4];
        self.device.read(&self.registers, register as u64, &mut bytes).expect("it can be read");
        u32::from_le_bytes(bytes)
    }

    pub(crate) fn set(&self, register: Register, value: u32) {
        let bytes = value.to_le_bytes();
        self.device.write(&self.registers, register as u64, &bytes).expect("it can be written");
    }

    /// Says that `rect` was drawn.
    pub(crate) fn damage(&self, rect: Rect) {
        self.set(Register::DamageX, rect.x);
        self.set(Register::DamageY, rect.y);
        self.set(Register::DamageWidth, rect.width);
        self.set(Register::DamageHeight, rect.height);
        self.set(Register::Damage, 1);
    }

    /// Shows `size` pixels from the start of memory on, with the next commit.
    pub(crate) fn mode(&self, size: Size) {
        self.set(Register::Width, size.width);
        self.set(Register::Height, size.height);
        self.set(Register::Stride, size.width * 4);
    }

    pub(crate) fn page(&self) -> Box<[u8; layout::PAGE_LEN]> {
        let mut page = Box::new([0; layout::PAGE_LEN]);
        self.device.read(&self.region, 0, &mut *page).expect("the page can be read");
        page
    }

    pub(crate) fn u64(&self, field: Field<u64>) -> u64 {
        field.get(&*self.page())
    }

    pub(crate) fn demand(&self, demand: u32) {
        let at = layout::DEMAND.offset as u64;
        self.device.write(&self.region, at, &demand.to_le_bytes()).expect("demand is taken");
    }

    pub(crate) fn command(&self, request: u32, op: Op, slot: u8) {
        self.raw_command(Command { request, op, slot }.raw());
    }

    pub(crate) fn raw_command(&self, command: u64) {
        let at = layout::COMMAND.offset as u64;
        self.device.write(&self.region, at, &command.to_le_bytes()).expect("a command is taken");
    }

    /// What the page says of a slot: request and status.
    pub(crate) fn slot(&self, index: u8) -> (u32, Status) {
        let page = self.page();
        let entry = slot_entry(&*page, index);
        let status = slot::STATUS.get(entry);
        let status = Status::from_raw(status).unwrap_or_else(|| panic!("status {status}"));
        (slot::REQUEST.get(entry), status)
    }

    /// The request that was refused last, and why.
    pub(crate) fn refused(&self) -> (u32, Status) {
        let page = self.page();
        let status = layout::REFUSED_STATUS.get(&*page);
        let status = Status::from_raw(status).unwrap_or_else(|| panic!("status {status}"));
        (layout::REFUSED_REQUEST.get(&*page), status)
    }

    /// The pixels that a slot holds, as it describes them.
    pub(crate) fn slot_pixels(&self, index: u8) -> Vec<u32> {
        let page = self.page();
        let entry = slot_entry(&*page, index);
        let len = u64::from(slot::STRIDE.get(entry)) * u64::from(slot::HEIGHT.get(entry));
        let mapping =
            self.device.map(&self.region, slot::OFFSET.get(entry), slot::BYTES.get(entry));
        let mut bytes = vec![0; len as usize];
        assert!(mapping.expect("a slot maps").copy_out(0, &mut bytes), "it fits the slot");
        bytes.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], p[3]])).collect()
    }
}

/// The bytes of a slot's entry.
pub(crate) fn slot_entry(page: &[u8], index: u8) -> &[u8] {
    entry(page, layout::SLOTS, index.into())
}

/// The bytes of an entry of a table of the page.
pub(crate) fn entry(page: &[u8], table: (Field<u32>, Field<u16>, Field<u16>), k: u64) -> &[u8] {
    let (offset, count, len) = (table.0.get(page), table.1.get(page), table.2.get(page));
    let k = usize::try_from(k % u64::from(count)).expect("a table of 65536 entries at most");
    &page[offset as usize + k * usize::from(len)..][..usize::from(len)]
}
