// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A device whose screen comes by a framebuffer region, and its guest.

use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::memory::{memfd, page_up, read_at, write_at};
use crate::device::{GfxDevice, IrqIndex, RegionDevice, RegionIndex};
use crate::error::{Call, Result};
use crate::fb_region::{self, Config, Live, Pending, Producer, Shown, Status, layout::PAGE_LEN};
use crate::format::{Modifier, PixelFormat};
use crate::geometry::{Point, Rect, Size};
use crate::region::{Capability, RegionFlags, RegionInfo};
use crate::sys::{Mapping, WritableMapping};
use crate::uapi::{DEVICE_FLAGS_PCI, DeviceInfo, PCI_CONFIG_REGION, REGION_TYPE_GFX};

/// Index of the framebuffer region.
pub const FB_REGION: RegionIndex = RegionIndex(9);
/// Index of the interrupt that tells of frames, behind those that every PCI device has.
pub const FB_IRQ: IrqIndex = IrqIndex(5);
/// The memory that the guest draws into.
const BAR: RegionIndex = RegionIndex(0);
/// Longest side of the cursor.
const CURSOR: u32 = 256;
const CURSOR_LEN: u64 = CURSOR as u64 * CURSOR as u64 * 4;
/// Regions lie a tebibyte apart, as in the kernel's own drivers.
const APART: u32 = 40;
/// Where configuration space names the region.
const CAPABILITY: usize = 0x40;

/// How such a device is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FbOptions {
    /// The largest screen.
    pub size: Size,
    /// Whether the region says its type; if not, configuration space names it.
    pub typed: bool,
    /// Whether memory can be mapped.
    pub mappable: bool,
    /// Whether an interrupt tells of frames.
    pub wake: bool,
}

impl FbOptions {
    /// A device by the book, with a screen of `size`.
    pub const fn new(size: Size) -> Self {
        Self { size, typed: true, mappable: true, wake: true }
    }
}

/// The device, its guest and its host, in one handle; clones are the same device.
///
/// The guest draws XRGB8888 into [memory](Self::memory) between [`begin`](Self::begin) and
/// [`commit`](Self::commit). Captures are made at once, or after the commit.
#[derive(Clone, Debug)]
pub struct FbMock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: FbOptions,
    /// BAR 0, then the framebuffer region, the page's place in it left empty.
    file: OwnedFd,
    bar_len: u64,
    config: [u8; 256],
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    producer: Producer,
    mode: Option<Size>,
    cursor: Option<(Size, Point, Option<Point>)>,
    /// The guest is in the middle of a frame.
    drawing: bool,
    held: bool,
    /// Something was drawn that nobody wanted a frame of.
    missed: bool,
    eventfd: Option<OwnedFd>,
    from: Mapping,
    to: WritableMapping,
    row: Vec<u8>,
    counts: FbCounts,
}

/// What the device did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FbCounts {
    /// Frames that were made.
    pub frames: u64,
    /// Captures that were made.
    pub captures: u64,
    /// Bytes that were copied for them.
    pub copied: u64,
}

impl FbMock {
    /// The device, its screen off.
    ///
    /// # Errors
    ///
    /// What memory is refused with.
    pub fn new(options: FbOptions) -> io::Result<Self> {
        let picture = options.size.area() * 4;
        let bar_len = page_up(picture) + CURSOR_LEN;
        let slot_len = page_up(picture.max(CURSOR_LEN));
        let wake = options.wake.then_some(FB_IRQ);
        let producer = Producer::new(&Config { wake, ..Config::new(slot_len) });
        let producer = producer.map_err(io::Error::other)?;
        let len = bar_len + producer.region_len();
        let file = memfd("fb-mock", len)?;
        let bytes = usize::try_from(len).map_err(|_| Errno::NOMEM)?;
        let state = State {
            producer,
            mode: None,
            cursor: None,
            drawing: false,
            held: false,
            missed: false,
            eventfd: None,
            from: Mapping::new(file.as_fd(), 0, bytes)?,
            to: WritableMapping::new(file.as_fd(), 0, bytes)?,
            row: Vec::new(),
            counts: FbCounts::default(),
        };
        let config = config_space(&options);
        let state = Mutex::new(state);
        Ok(Self { shared: Arc::new(Shared { options, file, bar_len, config, state }) })
    }

    /// The largest screen.
    pub fn native_size(&self) -> Size {
        self.shared.options.size
    }

    /// The screen as it is; `None` while it is off.
    pub fn screen_size(&self) -> Option<Size> {
        self.state().mode
    }

    /// Configuration space.
    pub fn config_space(&self) -> &[u8; 256] {
        &self.shared.config
    }

    /// The file that is behind a region's memory, and where in it the region begins. The page is
    /// not in it.
    pub fn backing(&self, index: RegionIndex) -> Option<(BorrowedFd<'_>, u64)> {
        let file = self.shared.file.as_fd();
        match index {
            BAR => Some((file, 0)),
            FB_REGION => Some((file, self.shared.bar_len)),
            _ => None,
        }
    }

    /// What the guest draws into: BAR 0, the screen at its start, rows without padding.
    ///
    /// # Errors
    ///
    /// What `mmap(2)` says.
    pub fn memory(&self) -> io::Result<WritableMapping> {
        let len = usize::try_from(self.shared.bar_len).map_err(|_| Errno::NOMEM)?;
        Ok(WritableMapping::new(self.shared.file.as_fd(), 0, len)?)
    }

    /// The guest sets a mode, at most the native size, or turns the screen off.
    ///
    /// # Errors
    ///
    /// EINVAL for a mode that there is no memory for.
    pub fn set_mode(&self, mode: Option<Size>) -> io::Result<()> {
        let native = self.native_size();
        if mode.is_some_and(|m| m.area() == 0 || m.area() > native.area()) {
            return Err(Errno::INVAL.into());
        }
        let mut state = self.state();
        state.mode = mode;
        self.publish(&mut state, &[mode.unwrap_or_default().rect()]);
        Ok(())
    }

    /// The guest begins to draw: what is in memory is no frame until it says so.
    pub fn begin(&self) {
        self.state().drawing = true;
    }

    /// The guest has drawn a frame, in which `damage` differs from the one before.
    pub fn commit(&self, damage: &[Rect]) {
        let mut state = self.state();
        state.drawing = false;
        if state.producer.demand() > 0 {
            self.publish(&mut state, damage);
        } else {
            state.missed = true;
        }
    }

    /// The guest gives the cursor a shape of at most 256x256, each pixel `0xAARRGGBB`.
    ///
    /// # Errors
    ///
    /// EINVAL for a picture that has not `size`, or is larger.
    pub fn set_cursor(
        &self,
        size: Size,
        hotspot: Option<Point>,
        picture: &[u32],
    ) -> io::Result<()> {
        if picture.len() as u64 != size.area() || size.width.max(size.height) > CURSOR {
            return Err(Errno::INVAL.into());
        }
        let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        let mut state = self.state();
        write_at(&self.shared.file, &bytes, self.cursor_offset())?;
        let position = state.cursor.map_or(Point::default(), |(_, position, _)| position);
        state.cursor = Some((size, position, hotspot));
        self.publish_cursor(&mut state, Some(size.rect()));
        Ok(())
    }

    /// The guest moves the cursor's upper left corner.
    pub fn move_cursor(&self, to: Point) {
        let mut state = self.state();
        if let Some((_, position, _)) = &mut state.cursor {
            *position = to;
            self.publish_cursor(&mut state, None);
        }
    }

    /// The guest hides the cursor.
    pub fn hide_cursor(&self) {
        let mut state = self.state();
        state.cursor = None;
        self.publish_cursor(&mut state, None);
    }

    /// Makes no captures until told to again, as a device does that is slow.
    pub fn hold_captures(&self, held: bool) {
        let mut state = self.state();
        state.held = held;
        self.capture(&mut state);
    }

    /// Resets the device: the screen is off.
    pub fn reset(&self) {
        let mut state = self.state();
        (state.mode, state.cursor, state.drawing) = (None, None, false);
        let mut frame = state.producer.begin();
        frame.plane(0, &Shown::Nothing);
        frame.plane(1, &Shown::Nothing);
        frame.publish();
        state.producer.reset();
        state.notify();
    }

    /// Whoever watched has closed the device.
    pub fn disconnected(&self) {
        let mut state = self.state();
        state.producer.disconnected();
        state.eventfd = None;
    }

    /// What it did so far.
    pub fn counts(&self) -> FbCounts {
        self.state().counts
    }

    /// Frames wanted in 1000 seconds.
    pub fn demand(&self) -> u32 {
        self.state().producer.demand()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked is being reported already; the state is whole between calls.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor_offset(&self) -> u64 {
        self.shared.bar_len - CURSOR_LEN
    }

    fn publish(&self, state: &mut State, damage: &[Rect]) {
        let shown = state.mode.map_or(Shown::Nothing, |size| {
            self.picture(PixelFormat::Xrgb8888, size, 0, Point::default(), None)
        });
        let mut frame = state.producer.begin();
        frame.plane(0, &shown);
        for rect in damage {
            frame.damage(0, *rect);
        }
        frame.publish();
        self.published(state);
    }

    fn publish_cursor(&self, state: &mut State, damage: Option<Rect>) {
        let shown = state.cursor.map_or(Shown::Nothing, |(size, position, hotspot)| {
            let offset = self.cursor_offset();
            self.picture(PixelFormat::Argb8888, size, offset, position, hotspot)
        });
        let mut frame = state.producer.begin();
        frame.plane(1, &shown);
        if let Some(rect) = damage {
            frame.damage(1, rect);
        }
        frame.publish();
        self.published(state);
    }

    fn published(&self, state: &mut State) {
        state.missed = false;
        state.counts.frames += 1;
        self.capture(state);
        state.notify();
    }

    fn picture(
        &self,
        format: PixelFormat,
        size: Size,
        offset: u64,
        position: Point,
        hotspot: Option<Point>,
    ) -> Shown {
        let live = Live { region: BAR.0, offset, len: size.area() * 4, stride: size.width * 4 };
        Shown::Picture {
            fourcc: format.fourcc(),
            modifier: Modifier::LINEAR,
            size,
            live: Some(live),
            position,
            hotspot,
        }
    }

    /// Makes the captures that are wanted, if what is in memory is a frame.
    fn capture(&self, state: &mut State) {
        if state.drawing || state.held {
            return;
        }
        let pending: Vec<Pending> = state.producer.pending().collect();
        for pending in pending {
            let result = state.copy(&pending, self.shared.bar_len);
            if result.is_ok() {
                state.counts.captures += 1;
            }
            state.producer.complete(&pending, result);
        }
    }
}

impl State {
    /// Copies what a slot has not of a plane yet. Answers the slot's stride.
    fn copy(&mut self, pending: &Pending, bar_len: u64) -> Result<u32, Status> {
        let plane = self.producer.plane(pending.plane).ok_or(Status::Failed)?;
        let live = plane.live.ok_or(Status::Failed)?;
        if live.len > pending.len {
            return Err(Status::NoRoom);
        }
        let all = plane.size.rect();
        let rects: Vec<Rect> = match self.producer.stale(pending, live.stride) {
            Some(stale) => stale.collect(),
            None => vec![all],
        };
        for rect in rects {
            let stride = u64::from(live.stride);
            self.row.resize(rect.width as usize * 4, 0);
            for y in rect.y..rect.y + rect.height {
                let at = u64::from(y) * stride + u64::from(rect.x) * 4;
                let copied = self.from.copy_out((live.offset + at) as usize, &mut self.row)
                    && self.to.copy_in((bar_len + pending.offset + at) as usize, &self.row);
                if !copied {
                    return Err(Status::Failed);
                }
                self.counts.copied += self.row.len() as u64;
            }
        }
        Ok(live.stride)
    }

    fn notify(&mut self) {
        if self.producer.take_news()
            && let Some(eventfd) = &self.eventfd
        {
            // One that is full would block the writer, and is signalled already.
            let mut ready = [PollFd::new(eventfd, PollFlags::OUT)];
            if poll(&mut ready, Some(&Timespec::default())) == Ok(1) {
                let _ = rustix::io::write(eventfd, &1_u64.to_ne_bytes());
            }
        }
    }
}

/// Configuration space of nobody's device, which names the region if the region itself does not.
fn config_space(options: &FbOptions) -> [u8; 256] {
    let mut config = [0; 256];
    config[..4].copy_from_slice(&[0x34, 0x12, 0x5d, 0xd1]);
    config[0x04] = 2;
    // Display controller, other.
    config[0x0a..0x0c].copy_from_slice(&[0x80, 0x03]);
    config[0x2c..0x30].copy_from_slice(&[0xf4, 0x1a, 0x00, 0x11]);
    if !options.typed {
        config[0x06] = 0x10;
        config[0x34] = CAPABILITY as u8;
        let capability = fb_region::pci_capability(FB_REGION, 0);
        config[CAPABILITY..][..capability.len()].copy_from_slice(&capability);
    }
    config
}

impl RegionDevice for FbMock {
    fn device_info(&self) -> Result<DeviceInfo> {
        Ok(DeviceInfo {
            argsz: size_of::<DeviceInfo>() as u32,
            flags: DEVICE_FLAGS_PCI,
            num_regions: FB_REGION.0 + 1,
            num_irqs: FB_IRQ.0 + 1,
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let (readable, both) = (RegionFlags::READ, RegionFlags::READ | RegionFlags::WRITE);
        let memory = if self.shared.options.mappable { both | RegionFlags::MMAP } else { both };
        let region = |flags, size| RegionInfo {
            index,
            flags,
            size,
            offset: u64::from(index.0) << APART,
            capabilities: Vec::new(),
        };
        let mut info = match index {
            BAR => region(memory, self.shared.bar_len),
            RegionIndex(PCI_CONFIG_REGION) => region(readable, self.shared.config.len() as u64),
            FB_REGION => region(memory, self.state().producer.region_len()),
            RegionIndex(index) if index < FB_REGION.0 => region(RegionFlags::empty(), 0),
            _ => return Err(Call::RegionInfo(index).refused(Errno::INVAL)),
        };
        if index == FB_REGION {
            if self.shared.options.mappable {
                let areas: Vec<Range<u64>> = vec![self.state().producer.mappable()];
                info.capabilities.push(Capability::SparseMmap(areas));
            }
            if self.shared.options.typed {
                let (kind, subtype) = (REGION_TYPE_GFX, fb_region::SUBTYPE);
                info.capabilities.push(Capability::Type { kind, subtype });
            }
            if !info.capabilities.is_empty() {
                info.flags |= RegionFlags::CAPS;
            }
        }
        Ok(info)
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = buf.len() as u64;
        let call = Call::Read { index: region.index, offset, len };
        region.file_offset(offset, len)?;
        if region.index == FB_REGION && offset < PAGE_LEN as u64 {
            let read = self.state().producer.read(offset, buf);
            return read.map_err(|_| call.refused(Errno::INVAL));
        }
        if region.index == RegionIndex(PCI_CONFIG_REGION) {
            let Some(bytes) = self.shared.config.get(offset as usize..(offset + len) as usize)
            else {
                return Err(call.refused(Errno::INVAL));
            };
            buf.copy_from_slice(bytes);
            return Ok(());
        }
        let (file, start) = self.backing(region.index).ok_or_else(|| call.refused(Errno::INVAL))?;
        read_at(file, buf, start + offset).map_err(|errno| call.refused(errno))
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        let call = Call::Write { index: region.index, offset, len };
        region.file_offset(offset, len)?;
        match region.index {
            FB_REGION => {
                let mut state = self.state();
                let written = state.producer.write(offset, data);
                written.map_err(|_| call.refused(Errno::INVAL))?;
                if state.missed && !state.drawing && state.producer.pending().next().is_some() {
                    let size = state.mode.unwrap_or_default();
                    self.publish(&mut state, &[size.rect()]);
                }
                self.capture(&mut state);
                state.notify();
                Ok(())
            }
            BAR => write_at(&self.shared.file, data, offset).map_err(|errno| call.refused(errno)),
            _ => Err(call.refused(Errno::INVAL)),
        }
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        let call = Call::Map { index: region.index, offset, len };
        let bytes = region.mappable_len(offset, len)?;
        let (file, start) = self.backing(region.index).ok_or_else(|| call.refused(Errno::INVAL))?;
        Mapping::new(file, start + offset, bytes).map_err(|errno| call.refused(errno))
    }

    fn set_eventfd(&self, index: IrqIndex, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        let call = Call::SetIrqs(index);
        if index != FB_IRQ || !self.shared.options.wake {
            return Err(call.refused(Errno::INVAL));
        }
        let eventfd = eventfd.map(|fd| fd.try_clone_to_owned()).transpose();
        self.state().eventfd = eventfd.map_err(|_| call.refused(Errno::MFILE))?;
        Ok(())
    }
}

/// It answers no plane queries.
impl GfxDevice for FbMock {}
