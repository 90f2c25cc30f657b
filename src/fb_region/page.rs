// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The page as a consumer reads it: bytes that a producer wrote, checked.

use std::ops::Range;

use super::error::FbRegionError;
use super::layout::{self, PAGE_LEN, damage, plane, slot};
use crate::device::{IrqIndex, PlaneType};
use crate::format::{Fourcc, Modifier};
use crate::geometry::{Point, Rect, Size};

/// Where a table of the page is; checked, so that all of it is inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) offset: u32,
    pub(crate) count: u16,
    pub(crate) len: u16,
}

impl Table {
    /// The bytes of the page that it takes.
    fn bytes(&self) -> Range<usize> {
        let start = self.offset as usize;
        start..start + usize::from(self.count) * usize::from(self.len)
    }

    /// The bytes of entry `index`.
    pub(crate) fn entry(&self, index: u16) -> Range<usize> {
        let start = self.offset as usize + usize::from(index) * usize::from(self.len);
        start..start + usize::from(self.len)
    }
}

/// What of the page never changes, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Minor version.
    pub minor: u16,
    /// [`layout::CAPTURE`] and its neighbours.
    pub features: u32,
    /// The interrupt that tells of frames, if there is one.
    pub wake: Option<IrqIndex>,
    pub(crate) planes: Table,
    pub(crate) slots: Table,
    pub(crate) damage: Table,
    /// Which of the planes is the screen.
    pub(crate) primary: u16,
    /// Which of them is the pointer, if one is.
    pub(crate) cursor: Option<u16>,
}

/// A page, all of it read in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    bytes: Box<[u8; PAGE_LEN]>,
    identity: Identity,
}

/// A plane as the page describes it. Nothing but its type is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaneEntry {
    /// Which layer it is.
    pub plane_type: PlaneType,
    /// Whether it shows anything; nothing else means anything if not.
    pub visible: bool,
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Layout of the pixels.
    pub modifier: Modifier,
    /// Pixels.
    pub size: Size,
    /// Where the guest draws them, if that can be read.
    pub live: Option<Live>,
    /// Its upper left corner on the screen.
    pub position: Point,
    /// The pixel that points.
    pub hotspot: Option<Point>,
    /// The last frame that changed it.
    pub frame: u64,
}

/// Where a plane's pixels are while the guest draws them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Live {
    /// Index of the region.
    pub region: u32,
    /// First byte in it.
    pub offset: u64,
    /// Bytes there.
    pub len: u64,
    /// Bytes from a row to the next.
    pub stride: u32,
}

/// A slot as the page describes it. Nothing but where it is is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotEntry {
    /// First byte in the region.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// The command that it is about.
    pub request: u32,
    /// What became of it.
    pub status: u32,
    /// The frame that it holds.
    pub frame: u64,
    /// That frame's generation.
    pub generation: u64,
    /// Index of the plane.
    pub plane: u32,
    /// Pixel format.
    pub fourcc: Fourcc,
    /// Layout of the pixels.
    pub modifier: Modifier,
    /// Pixels.
    pub size: Size,
    /// Bytes from a row to the next.
    pub stride: u32,
}

impl PlaneEntry {
    pub(crate) fn read(entry: &[u8]) -> Self {
        let flags = plane::FLAGS.get(entry);
        Self {
            // Checked when the page is attached, and never to change.
            plane_type: plane_type(plane::TYPE.get(entry)).unwrap_or(PlaneType::Overlay),
            visible: flags & plane::VISIBLE != 0,
            fourcc: Fourcc::from_raw(plane::FOURCC.get(entry)),
            modifier: Modifier::from_raw(plane::MODIFIER.get(entry)),
            size: Size::new(plane::WIDTH.get(entry), plane::HEIGHT.get(entry)),
            live: (flags & plane::LIVE != 0).then(|| Live {
                region: plane::REGION.get(entry),
                offset: plane::OFFSET.get(entry),
                len: plane::BYTES.get(entry),
                stride: plane::STRIDE.get(entry),
            }),
            position: Point::new(plane::X.get(entry), plane::Y.get(entry)),
            hotspot: (flags & plane::HAS_HOTSPOT != 0)
                .then(|| [plane::HOT_X.get(entry), plane::HOT_Y.get(entry)].map(i32::try_from))
                .and_then(|[x, y]| Some(Point::new(x.ok()?, y.ok()?))),
            frame: plane::FRAME.get(entry),
        }
    }
}

impl SlotEntry {
    fn read(entry: &[u8]) -> Self {
        Self {
            offset: slot::OFFSET.get(entry),
            len: slot::BYTES.get(entry),
            request: slot::REQUEST.get(entry),
            status: slot::STATUS.get(entry),
            frame: slot::FRAME.get(entry),
            generation: slot::GENERATION.get(entry),
            plane: slot::PLANE.get(entry),
            fourcc: Fourcc::from_raw(slot::FOURCC.get(entry)),
            modifier: Modifier::from_raw(slot::MODIFIER.get(entry)),
            size: Size::new(slot::WIDTH.get(entry), slot::HEIGHT.get(entry)),
            stride: slot::STRIDE.get(entry),
        }
    }
}

impl Page {
    /// Checks what was read of a region of `size` bytes.
    ///
    /// # Errors
    ///
    /// [`FbRegionError`], a [lasting](FbRegionError::is_lasting) one.
    pub fn new(bytes: Box<[u8; PAGE_LEN]>, size: u64) -> Result<Self, FbRegionError> {
        let identity = identity(&*bytes, size)?;
        Ok(Self { bytes, identity })
    }

    /// What never changes.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8; PAGE_LEN] {
        &self.bytes
    }

    /// Becomes what was read later, in `bytes`, which becomes what it was.
    ///
    /// # Errors
    ///
    /// [`FbRegionError::Identity`], and it stays as it is.
    pub fn replace(&mut self, bytes: &mut Box<[u8; PAGE_LEN]>) -> Result<(), FbRegionError> {
        let fixed = (0..layout::IDENTITY_LEN).chain(self.fixed_in_slots());
        for offset in fixed.chain(self.plane_types()) {
            let (was, is) = (self.bytes[offset], bytes[offset]);
            if was != is {
                return Err(FbRegionError::Identity { offset, was, is });
            }
        }
        std::mem::swap(&mut self.bytes, bytes);
        Ok(())
    }

    /// The bytes that say where each slot is.
    fn fixed_in_slots(&self) -> impl Iterator<Item = usize> + use<> {
        let table = self.identity.slots;
        (0..table.count).flat_map(move |index| {
            let start = table.entry(index).start;
            start..start + slot::REQUEST.offset
        })
    }

    /// The bytes that say what each plane is.
    fn plane_types(&self) -> impl Iterator<Item = usize> + use<> {
        let table = self.identity.planes;
        (0..table.count).flat_map(move |index| {
            let start = table.entry(index).start + plane::TYPE.offset;
            start..start + size_of::<u32>()
        })
    }

    /// Grows with each change.
    pub fn sequence(&self) -> u64 {
        layout::SEQUENCE.get(&*self.bytes)
    }

    /// Grows with each mode.
    pub fn generation(&self) -> u64 {
        layout::GENERATION.get(&*self.bytes)
    }

    /// The newest frame.
    pub fn frame(&self) -> u64 {
        layout::FRAME.get(&*self.bytes)
    }

    /// The last command that no slot answers for, and its status.
    pub fn refused(&self) -> (u32, u32) {
        (layout::REFUSED_REQUEST.get(&*self.bytes), layout::REFUSED_STATUS.get(&*self.bytes))
    }

    /// The planes, in the page's order.
    pub fn planes(&self) -> impl Iterator<Item = PlaneEntry> {
        (0..self.identity.planes.count).map(|index| self.plane(index))
    }

    /// Plane `index`, which is below their count.
    pub(crate) fn plane(&self, index: u16) -> PlaneEntry {
        PlaneEntry::read(&self.bytes[self.identity.planes.entry(index)])
    }

    /// The slots, in the page's order.
    pub fn slots(&self) -> impl Iterator<Item = SlotEntry> {
        (0..self.identity.slots.count).map(|index| self.slot(index))
    }

    /// Slot `index`, which is below their count.
    pub(crate) fn slot(&self, index: u16) -> SlotEntry {
        SlotEntry::read(&self.bytes[self.identity.slots.entry(index)])
    }

    /// What of plane `index` differs in frame `until` from what it was in frame `since`, both of one
    /// generation: rectangles as the producer wrote them. `None` is *too long ago*: all of it may.
    pub fn damage(
        &self,
        index: u16,
        since: u64,
        until: u64,
    ) -> Option<impl Iterator<Item = Rect> + '_> {
        let floor = layout::DAMAGE_FLOOR.get(&*self.bytes);
        if self.identity.features & layout::DAMAGE == 0 || since < floor {
            return None;
        }
        Some(damage_in(&self.bytes, self.identity.damage, index, since, until))
    }
}

/// The records of plane `index` with `since < frame <= until`.
pub(crate) fn damage_in(
    bytes: &[u8; PAGE_LEN],
    table: Table,
    index: u16,
    since: u64,
    until: u64,
) -> impl Iterator<Item = Rect> + '_ {
    let head = layout::DAMAGE_HEAD.get(bytes);
    let written = head.min(table.count.into());
    (head - written..head).filter_map(move |number| {
        let record = &bytes[table.entry((number % u64::from(table.count)) as u16)];
        let frame = damage::FRAME.get(record);
        let rect = Rect {
            x: damage::X.get(record),
            y: damage::Y.get(record),
            width: damage::WIDTH.get(record),
            height: damage::HEIGHT.get(record),
        };
        let is_ours =
            damage::PLANE.get(record) == u32::from(index) && since < frame && frame <= until;
        is_ours.then_some(rect)
    })
}

fn plane_type(raw: u32) -> Option<PlaneType> {
    PlaneType::ALL.into_iter().find(|plane_type| plane_type.raw() == raw)
}

/// Checks what never changes.
fn identity(bytes: &[u8], size: u64) -> Result<Identity, FbRegionError> {
    use FbRegionError as E;
    if size < PAGE_LEN as u64 {
        return Err(E::Short { size });
    }
    let found = layout::MAGIC.get(bytes);
    if found != layout::MAGIC_VALUE {
        return Err(E::Magic { found });
    }
    let (major, minor) = (layout::MAJOR.get(bytes), layout::MINOR.get(bytes));
    if major != layout::VERSION.0 {
        return Err(E::Version { major, minor });
    }
    let header_len = layout::HEADER.get(bytes);
    within("header_len", header_len.into(), layout::HEADER_LEN.into(), PAGE_LEN as u64)?;
    let features = layout::FEATURES.get(bytes);

    let table =
        |name, fields: (layout::Field<u32>, layout::Field<u16>, layout::Field<u16>), len| {
            let (offset, count, entry) = fields;
            let table =
                Table { offset: offset.get(bytes), count: count.get(bytes), len: entry.get(bytes) };
            check_table(name, &table, header_len, len).map(|()| table)
        };
    let planes = table("planes", layout::PLANES, plane::LEN)?;
    let slots = table("slots", layout::SLOTS, slot::LEN)?;
    let damage = table("damage records", layout::DAMAGES, damage::LEN)?;
    within("plane_count", planes.count.into(), 1, layout::MAX_PLANES.into())?;
    let some = |feature, least: u16, most: u16| {
        if features & feature == 0 { (0, 0) } else { (u64::from(least), u64::from(most)) }
    };
    let (least, most) = some(layout::CAPTURE, layout::MIN_SLOTS, layout::MAX_SLOTS);
    within("slot_count", slots.count.into(), least, most)?;
    let (least, most) = some(layout::DAMAGE, layout::MIN_DAMAGE, PAGE_LEN as u16);
    within("damage_count", damage.count.into(), least, most)?;
    for (name, one, other) in
        [("planes", planes, slots), ("slots", slots, damage), ("damage records", damage, planes)]
    {
        let (a, b) = (one.bytes(), other.bytes());
        if !a.is_empty() && !b.is_empty() && a.start < b.end && b.start < a.end {
            return Err(table_error(name, &one, "overlaps another"));
        }
    }
    check_slots(bytes, &slots, size)?;
    let mut identity = Identity {
        minor,
        features,
        wake: (features & layout::WAKE != 0).then(|| IrqIndex(layout::WAKE_INDEX.get(bytes))),
        planes,
        slots,
        damage,
        primary: 0,
        cursor: None,
    };
    find_planes(bytes, &mut identity)?;
    Ok(identity)
}

/// Finds the screen and the pointer among the planes.
fn find_planes(bytes: &[u8], identity: &mut Identity) -> Result<(), FbRegionError> {
    let mut count = 0;
    for index in (0..identity.planes.count).rev() {
        let found = plane::TYPE.get(&bytes[identity.planes.entry(index)]);
        match plane_type(found) {
            Some(PlaneType::Primary) => (identity.primary, count) = (index, count + 1),
            Some(PlaneType::Cursor) => identity.cursor = Some(index),
            Some(PlaneType::Overlay) => {}
            None => return Err(FbRegionError::PlaneType { index, found }),
        }
    }
    if count == 1 { Ok(()) } else { Err(FbRegionError::Primaries { count }) }
}

fn within(name: &'static str, value: u64, least: u64, most: u64) -> Result<(), FbRegionError> {
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(FbRegionError::Header { name, value, least, most })
    }
}

fn table_error(name: &'static str, table: &Table, why: &'static str) -> FbRegionError {
    let Table { offset, count, len } = *table;
    FbRegionError::Table { name, count, len, offset, why }
}

fn check_table(
    name: &'static str,
    table: &Table,
    header_len: u32,
    entry: u16,
) -> Result<(), FbRegionError> {
    let error = |why| Err(table_error(name, table, why));
    if table.count == 0 {
        return Ok(());
    }
    if table.len < entry {
        return error("has entries that are too short");
    }
    if !table.offset.is_multiple_of(8) || !table.len.is_multiple_of(8) {
        return error("is not aligned to 8 bytes");
    }
    if table.offset < header_len {
        return error("starts inside the header");
    }
    let bytes = u64::from(table.count) * u64::from(table.len);
    if u64::from(table.offset) + bytes > PAGE_LEN as u64 {
        return error("leaves the page");
    }
    Ok(())
}

fn check_slots(bytes: &[u8], table: &Table, size: u64) -> Result<(), FbRegionError> {
    let place = |index| {
        let entry = &bytes[table.entry(index)];
        (slot::OFFSET.get(entry), slot::BYTES.get(entry))
    };
    for index in 0..table.count {
        let (offset, len) = place(index);
        let error = |why| Err(FbRegionError::Slot { index, offset, len, size, why });
        let page = PAGE_LEN as u64;
        if !offset.is_multiple_of(page) || !len.is_multiple_of(page) {
            return error("is not whole pages");
        }
        if offset < page {
            return error("has a byte of the page");
        }
        let Some(end) = offset.checked_add(len).filter(|&end| end <= size) else {
            return error("leaves the region");
        };
        let overlaps = |(other, bytes): (u64, u64)| other < end && offset < other + bytes;
        // Those before it have been checked, so their end does not wrap.
        if (0..index).map(place).any(overlaps) {
            return error("overlaps another");
        }
    }
    Ok(())
}
