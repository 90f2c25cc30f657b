// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A framebuffer region from the time that it was attached: what was taken of it so far.

use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use super::reader::Reader;
use super::window::Window;
use crate::blit::{self, Layout};
use crate::damage::Damage;
use crate::device::{IrqIndex, PlaneType, RegionDevice, RegionIndex};
use crate::error::{Error, Result};
use crate::fb_region::{Command, FbRegionError as E, Op, PlaneEntry, SlotEntry, Status, layout};
use crate::geometry::{Point, Rect};
use crate::plane::{Buffer, MAX_CURSOR, Plane, PlaneError, PlaneState};
use crate::region::RegionInfo;
use crate::screen::Screen;

/// How long a capture is waited for.
pub(super) const CAPTURE_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Session {
    region: RegionInfo,
    reader: Reader,
    /// The last command's number.
    request: u32,
    /// What was last written; `None` if nothing was.
    demand: Option<u32>,
    primary: Target,
    cursor: Target,
    /// Each slot's memory, once it was used.
    windows: Vec<Option<Window>>,
    /// The memory that is drawn into, of a region without captures.
    live: Option<Window>,
    /// What the last look answered.
    state: PlaneState,
    /// Somebody else's capture that keeps the last slot: its slot and its request.
    in_the_way: Option<(u16, u32)>,
    damage: Damage,
    rects: Vec<Rect>,
}

/// A plane, and what was taken of it.
#[derive(Debug, Default)]
struct Target {
    have: Option<Have>,
    asked: Option<Asked>,
}

/// What a screen is a copy of.
#[derive(Clone, Copy, Debug)]
struct Have {
    frame: u64,
    generation: u64,
    layout: Layout,
    plane: Plane,
}

/// A capture that was asked for.
#[derive(Clone, Copy, Debug)]
struct Asked {
    request: u32,
    slot: u16,
    /// The frame that it must have, at least.
    frame: u64,
    /// When it was first waited for.
    since: Option<Instant>,
}

/// A picture that is there to be copied.
#[derive(Clone, Copy, Debug)]
struct Ready {
    plane: Plane,
    frame: u64,
    generation: u64,
}

impl Session {
    /// Attaches to `region`.
    ///
    /// # Errors
    ///
    /// What the device answers, and [`Error::FbRegion`] where the region is no use.
    pub(super) fn new<D: RegionDevice + ?Sized>(device: &D, region: &RegionInfo) -> Result<Self> {
        Ok(Self {
            region: region.clone(),
            reader: Reader::new(device, region)?,
            // By chance, so that nobody else's snapshot is taken for ours.
            request: RandomState::new().hash_one(()) as u32,
            demand: None,
            primary: Target::default(),
            cursor: Target::default(),
            windows: Vec::new(),
            live: None,
            state: PlaneState::Off,
            in_the_way: None,
            damage: Damage::default(),
            rects: Vec::new(),
        })
    }

    /// The interrupt that tells of frames, if there is one.
    pub(super) fn wake(&self) -> Option<IrqIndex> {
        self.reader.page().identity().wake
    }

    /// Says how many frames are wanted in 1000 seconds.
    pub(super) fn set_demand<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        demand: u32,
    ) -> Result<()> {
        if self.demand != Some(demand) {
            let offset = layout::DEMAND.offset as u64;
            device.write(&self.region, offset, &demand.to_le_bytes())?;
            self.demand = Some(demand);
        }
        Ok(())
    }

    /// Whether the screen is a copy of one frame.
    pub(super) const fn has_picture(&self) -> bool {
        self.primary.have.is_some()
    }

    /// Where the cursor is, and the pixel of it that points; `None` where there is none.
    pub(super) fn cursor(&self) -> Option<(Point, Option<Point>)> {
        let page = self.reader.page();
        let entry = page.plane(page.identity().cursor?);
        (entry.visible && self.cursor.have.is_some()).then_some((entry.position, entry.hotspot))
    }

    /// Makes `screen` a copy of the primary plane, and `shape` one of the cursor's.
    pub(super) fn look<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        now: Option<Instant>,
        screen: &mut Screen,
        shape: &mut Screen,
    ) -> Result<PlaneState> {
        let result = self.try_look(device, now, screen, shape);
        if let Err(error) = &result {
            self.reader.unsettle();
            if let Error::FbRegion(E::Backwards { .. } | E::Taken { .. }) = error {
                self.primary = Target::default();
                self.cursor = Target::default();
            }
        }
        result
    }

    fn try_look<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        now: Option<Instant>,
        screen: &mut Screen,
        shape: &mut Screen,
    ) -> Result<PlaneState> {
        if !self.reader.refresh(device, &self.region)? {
            return Ok(self.state.clone());
        }
        let identity = self.reader.page().identity();
        let (primary, cursor) = (identity.primary, identity.cursor);
        let primary = self.take(device, primary, now, screen)?;
        if let (Some(_), Some(index)) = (primary, cursor) {
            // A cursor that can't be had does not stop the screen.
            if let Err(error) = self.take(device, index, now, shape) {
                self.cursor = Target::default();
                if !matches!(error, Error::FbRegion(_) | Error::Unsupported(_)) {
                    return Err(error);
                }
            }
        }
        self.state = primary.map_or(PlaneState::Off, PlaneState::Live);
        if self.primary.asked.is_none() && self.cursor.asked.is_none() {
            self.reader.settle();
        }
        Ok(self.state.clone())
    }

    /// Brings `screen` up to date with plane `index`, as far as that goes without waiting. Answers
    /// what the screen is a copy of then, `None` where the plane is off.
    fn take<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: u16,
        now: Option<Instant>,
        screen: &mut Screen,
    ) -> Result<Option<Plane>> {
        // A capture that an earlier look asked for, then one that is asked for now.
        for _ in 0..2 {
            let page = self.reader.page();
            let entry = page.plane(index);
            if !entry.visible {
                *self.target(index) = Target::default();
                return Ok(None);
            }
            if page.identity().features & layout::CAPTURE == 0 {
                return self.take_live(device, index, &entry, screen).map(Some);
            }
            let asked = self.target(index).asked;
            match asked {
                Some(asked) => {
                    let slot = self.reader.page().slot(asked.slot);
                    self.finish(device, index, asked, &slot, now, screen)?;
                }
                None if self.is_fresh(index, &entry) => break,
                None => self.ask(device, index)?,
            }
        }
        match self.target(index).have {
            Some(have) => Ok(Some(have.plane)),
            None => Err(E::Pending { request: self.request }.into()),
        }
    }

    /// Whether the screen has all of what plane `index` shows.
    fn is_fresh(&mut self, index: u16, entry: &PlaneEntry) -> bool {
        let page = self.reader.page();
        let (frame, generation) = (entry.frame.min(page.frame()), page.generation());
        let have = self.target(index).have;
        have.is_some_and(|have| have.generation == generation && have.frame >= frame)
    }

    /// Asks for a capture of plane `index`, if there is a slot for it, and looks what became of it.
    fn ask<D: RegionDevice + ?Sized>(&mut self, device: &D, index: u16) -> Result<()> {
        let ours = [&self.primary, &self.cursor].map(|target| target.asked.map(|asked| asked.slot));
        let page = self.reader.page();
        let frame = page.frame();
        let others = || (0..).zip(page.slots()).filter(|(slot, _)| !ours.contains(&Some(*slot)));
        let free = others().find(|(_, slot)| slot.status != Status::Pending.raw());
        let Some((slot, _)) = free else {
            let Some((slot, entry)) = others().next() else { return Ok(()) };
            let in_the_way = Some((slot, entry.request));
            if self.in_the_way.replace((slot, entry.request)) == in_the_way {
                // Two looks long: whoever wanted it is gone.
                self.write(device, entry.request, Op::Cancel, slot)?;
            }
            return Ok(());
        };
        self.request = self.request.wrapping_add(1).max(1);
        let request = self.request;
        self.write(device, request, Op::Capture(index as u8), slot)?;
        self.target(index).asked = Some(Asked { request, slot, frame, since: None });
        self.in_the_way = None;
        self.reader.read(device, &self.region)
    }

    fn write<D: RegionDevice + ?Sized>(
        &self,
        device: &D,
        request: u32,
        op: Op,
        slot: u16,
    ) -> Result<()> {
        let command = Command { request, op, slot: slot as u8 };
        let offset = layout::COMMAND.offset as u64;
        device.write(&self.region, offset, &command.raw().to_le_bytes())
    }

    /// Looks what became of a capture, and copies it if it was made.
    fn finish<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: u16,
        asked: Asked,
        slot: &SlotEntry,
        now: Option<Instant>,
        screen: &mut Screen,
    ) -> Result<()> {
        let request = asked.request;
        if slot.request != request {
            self.target(index).asked = None;
            // A slot that does not know the request was reset, or the request was refused.
            return match self.reader.page().refused() {
                (refused, status) if refused == request => Err(ended(request, status)),
                _ => Ok(()),
            };
        }
        match Status::from_raw(slot.status) {
            Some(Status::Pending) => {
                let since = asked.since.or(now);
                self.target(index).asked = Some(Asked { since, ..asked });
                match (now, since) {
                    (Some(now), Some(since)) if now >= since + CAPTURE_TIME => {
                        self.target(index).asked = None;
                        self.write(device, request, Op::Cancel, asked.slot)?;
                        Err(E::Late { request }.into())
                    }
                    _ => Ok(()),
                }
            }
            Some(Status::Done) => {
                self.target(index).asked = None;
                self.copy_slot(device, index, asked, slot, screen)
            }
            _ => {
                self.target(index).asked = None;
                Err(ended(request, slot.status))
            }
        }
    }

    fn copy_slot<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: u16,
        asked: Asked,
        slot: &SlotEntry,
        screen: &mut Screen,
    ) -> Result<()> {
        let request = asked.request;
        let mismatch =
            |name, found, wanted| Error::from(E::Mismatch { request, name, found, wanted });
        if slot.plane != u32::from(index) {
            return Err(mismatch("plane", slot.plane.into(), index.into()));
        }
        let page = self.reader.page();
        let frame = slot.frame.min(page.frame());
        if frame < asked.frame {
            return Err(mismatch("frame", frame, asked.frame));
        }
        let entry = page.plane(index);
        let ready = Ready {
            plane: Plane {
                plane_type: entry.plane_type,
                size: slot.size,
                fourcc: slot.fourcc,
                modifier: slot.modifier,
                stride: slot.stride,
                len: u32::try_from(slot.len).unwrap_or(u32::MAX),
                buffer: Buffer::Region(self.region.index),
                position: entry.position,
                hotspot: entry.hotspot,
            },
            frame,
            generation: slot.generation,
        };
        let number = usize::from(asked.slot);
        if self.windows.len() <= number {
            self.windows.resize_with(number + 1, || None);
        }
        let window = match self.windows[number].take() {
            Some(window) => window,
            None => Window::new(device, self.region.clone(), slot.offset, slot.len)?,
        };
        let copied = self.copy(device, index, &ready, &window, screen);
        self.windows[number] = Some(window);
        copied?;
        let found = self.reader.slot_request(device, &self.region, asked.slot)?;
        if found != request {
            return Err(E::Taken { request, found }.into());
        }
        Ok(())
    }

    /// Copies a plane from where the guest draws it.
    fn take_live<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: u16,
        entry: &PlaneEntry,
        screen: &mut Screen,
    ) -> Result<Plane> {
        let live = entry.live.ok_or(E::NoPixels { index })?;
        if self.is_fresh(index, entry)
            && let Some(have) = self.target(index).have
        {
            return Ok(have.plane);
        }
        let page = self.reader.page();
        let ready = Ready {
            plane: Plane {
                plane_type: entry.plane_type,
                size: entry.size,
                fourcc: entry.fourcc,
                modifier: entry.modifier,
                stride: live.stride,
                len: u32::try_from(live.len).unwrap_or(u32::MAX),
                buffer: Buffer::Region(RegionIndex(live.region)),
                position: entry.position,
                hotspot: entry.hotspot,
            },
            frame: page.frame(),
            generation: page.generation(),
        };
        let kept = self.live.take().filter(|kept| kept.is(live.region, live.offset, live.len));
        let window = match kept {
            Some(window) => window,
            None => {
                let info = device.region_info(RegionIndex(live.region))?;
                if info.file_offset(live.offset, live.len).is_err() {
                    let size = info.size;
                    return Err(E::Live { index, live, size }.into());
                }
                Window::new(device, info, live.offset, live.len)?
            }
        };
        let copied = self.copy(device, index, &ready, &window, screen);
        self.live = Some(window);
        copied?;
        Ok(ready.plane)
    }

    /// Copies what of a picture differs from what the screen has.
    fn copy<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        index: u16,
        ready: &Ready,
        window: &Window,
        screen: &mut Screen,
    ) -> Result<()> {
        let Ready { plane, frame, generation } = *ready;
        plane.check().map_err(|error| E::Plane { index, error })?;
        let is_cursor = plane.plane_type == PlaneType::Cursor;
        if is_cursor && plane.size.width.max(plane.size.height) > MAX_CURSOR {
            return Err(E::Plane { index, error: PlaneError::Size(plane.size) }.into());
        }
        let layout = Layout::of(&plane)?;
        let have = self.target(index).have;
        let have = have.filter(|have| (have.generation, have.layout) == (generation, layout));
        self.damage.reset(plane.size);
        match have.and_then(|have| self.reader.page().damage(index, have.frame, frame)) {
            Some(rects) => rects.for_each(|rect| self.damage.mark_rect(rect)),
            None => self.damage.mark_rect(plane.size.rect()),
        }
        self.damage.rects(&mut self.rects);
        // Until all of it is copied the screen is of no frame.
        self.target(index).have = None;
        blit::copy_rects(|at, out| window.read(device, at, out), &layout, &self.rects, screen)?;
        self.target(index).have = Some(Have { frame, generation, layout, plane });
        Ok(())
    }

    fn target(&mut self, index: u16) -> &mut Target {
        if self.reader.page().identity().cursor == Some(index) {
            &mut self.cursor
        } else {
            &mut self.primary
        }
    }
}

/// The error of a capture that was not made.
fn ended(request: u32, status: u32) -> Error {
    match Status::from_raw(status) {
        Some(status) => E::Refused { request, status }.into(),
        None => E::Status { request, status }.into(),
    }
}
