// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a device says of each frame.

use super::Producer;
use crate::device::PlaneType;
use crate::fb_region::layout::{self, damage, plane};
use crate::fb_region::page::{Live, PlaneEntry};
use crate::format::{Fourcc, Modifier};
use crate::geometry::{Point, Rect, Size};

/// A frame that is being described.
///
/// Dropped, it is as if it had been published without what had not been said yet: a page in the
/// middle of a change is never left behind.
#[derive(Debug)]
pub struct Frame<'a> {
    pub(super) producer: &'a mut Producer,
    pub(super) number: u64,
    pub(super) is_new_mode: bool,
}

impl Frame<'_> {
    /// Plane `index` is this from now on. A plane that there is not is passed over.
    pub fn plane(&mut self, index: u16, shown: &Shown) {
        let Some(was) = self.producer.plane(index) else { return };
        let mode = |plane: &PlaneEntry| {
            (plane.visible, plane.size, plane.fourcc, plane.modifier, plane.live.map(|l| l.stride))
        };
        let entry = &mut self.producer.page[self.producer.planes.entry(index)];
        shown.write(entry);
        plane::FRAME.put(entry, self.number);
        let is = PlaneEntry::read(entry);
        self.is_new_mode |= was.plane_type != PlaneType::Cursor && mode(&was) != mode(&is);
    }

    /// `rect` of plane `index` differs from the frame before. One that is empty is passed over.
    pub fn damage(&mut self, index: u16, rect: Rect) {
        let Producer { page, planes, damage: table, .. } = &mut *self.producer;
        if index >= planes.count || rect.is_empty() {
            return;
        }
        let head = layout::DAMAGE_HEAD.get(&**page);
        let range = table.entry((head % u64::from(table.count)) as u16);
        let record = &mut page[range];
        let forgotten = damage::FRAME.get(record);
        damage::FRAME.put(record, self.number);
        damage::PLANE.put(record, index.into());
        damage::X.put(record, rect.x);
        damage::Y.put(record, rect.y);
        damage::WIDTH.put(record, rect.width);
        damage::HEIGHT.put(record, rect.height);
        layout::DAMAGE_HEAD.put(&mut **page, head + 1);
        let floor = layout::DAMAGE_FLOOR.get(&**page).max(forgotten);
        layout::DAMAGE_FLOOR.put(&mut **page, floor);
        plane::FRAME.put(&mut page[planes.entry(index)], self.number);
    }

    /// Ends the frame; answers its number.
    pub fn publish(self) -> u64 {
        self.number
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        if self.is_new_mode {
            self.producer.add(layout::GENERATION);
        }
        layout::FRAME.put(&mut *self.producer.page, self.number);
        self.producer.news = true;
        self.producer.close();
    }
}

/// What a plane shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// A picture.
    Picture {
        /// Pixel format.
        fourcc: Fourcc,
        /// Layout of the pixels.
        modifier: Modifier,
        /// Pixels.
        size: Size,
        /// Where they can be read while the guest draws them, if they can.
        live: Option<Live>,
        /// Its upper left corner on the screen.
        position: Point,
        /// The pixel that points, of a cursor.
        hotspot: Option<Point>,
    },
}

impl Shown {
    fn write(&self, entry: &mut [u8]) {
        let Self::Picture { fourcc, modifier, size, live, position, hotspot } = *self else {
            plane::FLAGS.put(entry, 0);
            return;
        };
        let has = |there: bool, flag| if there { flag } else { 0 };
        let flags = plane::VISIBLE
            | has(live.is_some(), plane::LIVE)
            | has(hotspot.is_some(), plane::HAS_HOTSPOT);
        plane::FLAGS.put(entry, flags);
        plane::FOURCC.put(entry, fourcc.raw());
        plane::MODIFIER.put(entry, modifier.raw());
        plane::WIDTH.put(entry, size.width);
        plane::HEIGHT.put(entry, size.height);
        let live = live.unwrap_or(Live { region: 0, offset: 0, len: 0, stride: 0 });
        plane::STRIDE.put(entry, live.stride);
        plane::OFFSET.put(entry, live.offset);
        plane::BYTES.put(entry, live.len);
        plane::REGION.put(entry, live.region);
        plane::X.put(entry, position.x);
        plane::Y.put(entry, position.y);
        let hotspot = hotspot.unwrap_or_default();
        plane::HOT_X.put(entry, hotspot.x.cast_unsigned());
        plane::HOT_Y.put(entry, hotspot.y.cast_unsigned());
    }
}
