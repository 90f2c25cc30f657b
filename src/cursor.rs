// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The pointer: a layer of its own, with a shape, a place and a pixel that points.

use crate::blit::Detection;
use crate::device::{GfxDevice, PlaneKind, PlaneType};
use crate::error::Result;
use crate::frame::Cursor;
use crate::geometry::{Point, Rect, Size};
use crate::picture::Picture;
use crate::plane::{MAX_CURSOR, Plane, PlaneState};
use crate::scanout::Scanout;
use crate::screen::Screen;

/// The cursor plane of a device, as it was last seen.
#[derive(Debug)]
pub(crate) struct CursorLayer {
    scanout: Scanout,
    shape: Screen,
    at: Option<Place>,
    /// What the sink was last told, `None` before the first time.
    told: Option<Option<Place>>,
    /// Whether the device's answers are no use; it is not asked again then until a reset.
    given_up: bool,
}

/// Where a cursor is and what of it points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    position: Point,
    hotspot: Point,
}

impl CursorLayer {
    pub(crate) fn new() -> Self {
        Self {
            scanout: Scanout::new(),
            shape: Screen::default(),
            at: None,
            told: None,
            given_up: false,
        }
    }

    pub(crate) fn reset(&mut self) {
        self.scanout.reset();
        self.at = None;
        self.given_up = false;
        self.forget();
    }

    /// Has the sink told everything again.
    pub(crate) fn forget(&mut self) {
        self.told = None;
        self.shape.refresh();
    }

    /// The screen is none of the device's: no cursor belongs to it.
    pub(crate) fn hide(&mut self) {
        self.at = None;
    }

    /// Looks at the cursor beside `primary`. One that can't be had just now stays as it was.
    ///
    /// An error that no later look will mend is answered once: there is no cursor from then on,
    /// so that it does not stand in the screen's way.
    pub(crate) fn look<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        kind: PlaneKind,
        primary: &Plane,
    ) -> Result<()> {
        if self.given_up {
            return Ok(());
        }
        let result = self.copy(device, kind, primary).or_else(|error| {
            if error.is_transient() || error.is_gone() { Ok(()) } else { Err(error) }
        });
        if result.is_err() {
            self.given_up = true;
            self.at = None;
        }
        result
    }

    fn copy<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        kind: PlaneKind,
        primary: &Plane,
    ) -> Result<()> {
        match PlaneState::query(device, PlaneType::Cursor, kind)? {
            PlaneState::Live(plane) if is_cursor(&plane, primary) => {
                self.scanout.copy(device, &plane, &mut self.shape, Detection::Verified.into())?;
                self.put(Some((plane.position, plane.hotspot)));
            }
            PlaneState::Live(_) | PlaneState::Off => self.at = None,
            PlaneState::Transient(_) | PlaneState::Gone(_) => {}
        }
        Ok(())
    }

    /// A copy of the shape, for whoever takes it elsewhere than from a plane query.
    pub(crate) const fn shape_mut(&mut self) -> &mut Screen {
        &mut self.shape
    }

    /// The cursor is at `position`, and `hotspot` of it points; `None` for no cursor.
    pub(crate) fn put(&mut self, at: Option<(Point, Option<Point>)>) {
        self.at = at.map(|(position, hotspot)| place(position, hotspot, &self.shape));
    }

    /// Whether the sink has to be told something.
    pub(crate) fn is_news(&self) -> bool {
        let shape_changed = self.at.is_some() && !self.shape.damage().is_empty();
        self.told != Some(self.at) || shape_changed
    }

    /// The cursor as a sink is told it.
    pub(crate) fn cursor(&self) -> Option<Cursor<'_>> {
        self.at.map(|Place { position, hotspot }| Cursor {
            shape: self.shape.picture(),
            hotspot,
            position,
            shape_changed: !self.shape.damage().is_empty(),
        })
    }

    /// The sink knows.
    pub(crate) fn told(&mut self) {
        self.told = Some(self.at);
        if self.at.is_some() {
            self.shape.shown();
        }
    }

    /// The part of a screen of `size` that the cursor covers.
    pub(crate) fn area(&self, size: Size) -> Rect {
        self.at
            .map_or(Rect::default(), |at| covered(at.position, self.shape.picture().size(), size))
    }

    /// Draws the cursor over `picture`.
    pub(crate) fn blend(&self, picture: &mut Picture) {
        let Some(Place { position, .. }) = self.at else { return };
        let area = self.area(picture.size());
        if area.is_empty() {
            // Beside the screen: the differences below would be negative.
            return;
        }
        let shape = self.shape.picture();
        for y in area.y..area.y + area.height {
            // Inside the area, so inside both pictures: neither difference is negative.
            let row = (i64::from(y) - i64::from(position.y)) as usize;
            let column = (i64::from(area.x) - i64::from(position.x)) as usize;
            let width = area.width as usize;
            let over = shape.rows().nth(row).unwrap_or_default();
            let under = &mut picture.row_mut(y as usize)[area.x as usize..][..width];
            for (under, over) in under.iter_mut().zip(&over[column..][..width]) {
                *under = blend(*over, *under);
            }
        }
    }
}

/// Whether what the device answered is a cursor at all: there are drivers that answer any query
/// with the screen.
fn is_cursor(plane: &Plane, primary: &Plane) -> bool {
    plane.buffer != primary.buffer && plane.size.width.max(plane.size.height) <= MAX_CURSOR
}

fn place(position: Point, hotspot: Option<Point>, shape: &Screen) -> Place {
    let size = shape.picture().size();
    let inside = |spot: &Point| spot.x < size.width as i32 && spot.y < size.height as i32;
    // Without one, the corner points, as with every arrow.
    Place { position, hotspot: hotspot.filter(inside).unwrap_or_default() }
}

/// The part of a screen that a cursor of size `shape` at `position` covers.
fn covered(position: Point, shape: Size, screen: Size) -> Rect {
    let span = |at: i32, len: u32, limit: u32| {
        let start = i64::from(at).clamp(0, limit.into());
        let end = (i64::from(at) + i64::from(len)).clamp(start, limit.into());
        (start as u32, (end - start) as u32)
    };
    let (x, width) = span(position.x, shape.width, screen.width);
    let (y, height) = span(position.y, shape.height, screen.height);
    Rect { x, y, width, height }
}

/// `over`, whose colours are multiplied by its alpha, drawn on the opaque pixel `under`.
fn blend(over: u32, under: u32) -> u32 {
    let keep = 255 - (over >> 24);
    let channel = |shift: u32| {
        let product = (under >> shift & 0xff) * keep;
        // Division by 255, rounded.
        let rounded = product + 128;
        let kept = (rounded + (rounded >> 8)) >> 8;
        ((over >> shift & 0xff) + kept).min(255) << shift
    };
    0xff00_0000 | channel(16) | channel(8) | channel(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_part_on_the_screen_is_covered() {
        let screen = Size::new(100, 50);
        let area = |x, y| covered(Point::new(x, y), Size::new(10, 10), screen);
        assert_eq!(area(5, 6), Rect { x: 5, y: 6, width: 10, height: 10 });
        assert_eq!(area(-4, 45), Rect { x: 0, y: 45, width: 6, height: 5 });
        assert!(area(-10, 0).is_empty() && area(100, 0).is_empty());
        assert!(area(i32::MIN, i32::MAX).is_empty());
    }

    #[test]
    fn a_cursor_beside_the_screen_is_not_drawn() {
        let mut cursor = CursorLayer::new();
        let layout = crate::blit::Layout {
            size: Size::new(4, 4),
            stride: 16,
            format: crate::format::PixelFormat::Argb8888,
            alpha: crate::convert::Alpha::Keep,
        };
        crate::blit::copy_rows(&[0xff; 64], &layout, cursor.shape_mut());
        for (x, y) in [(20, 3), (-9, 3), (3, 20), (3, -9), (20, 20), (i32::MIN, i32::MAX)] {
            let mut screen = Picture::new(Size::new(10, 10));
            cursor.put(Some((Point::new(x, y), None)));
            cursor.blend(&mut screen);
            assert_eq!(screen, Picture::new(Size::new(10, 10)), "{x}, {y}");
        }
        let mut screen = Picture::new(Size::new(10, 10));
        cursor.put(Some((Point::new(8, -3), None)));
        cursor.blend(&mut screen);
        assert_eq!(screen.pixels().iter().filter(|pixel| **pixel != 0).count(), 2);
    }

    #[test]
    fn alpha_is_exact_at_its_ends() {
        assert_eq!(blend(0, 0xff12_3456), 0xff12_3456);
        assert_eq!(blend(0xff65_4321, 0xff12_3456), 0xff65_4321);
        assert_eq!(blend(0x8000_0000, 0xffff_ffff), 0xff7f_7f7f);
    }
}
