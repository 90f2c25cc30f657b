// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The mock itself: the driver's and the guest's side of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno as KernelErrno;

use super::card::Card;
use super::edid::{EdidRegion, EdidWrite};
use super::guest::bochs::{ENABLED, LFB, Register};
use super::mode::Mode;
use super::op::Op;
use super::personality::Personality;
use super::planes::KernelBug;
use super::state::State;
use crate::error::Errno;
use crate::format::PixelFormat;
use crate::geometry::{Point, Size};
use crate::uapi::PlaneInfo;

/// A mock mdev on real fds, that plays a driver with its quirks.
///
/// A clone is the same device: a test holds one and plays the guest, the library holds another
/// and is the host. As [`RegionDevice`] and [`GfxDevice`] it answers with the bytes and the errnos
/// that the driver would; [`AsFd`] lends the device's file, which can be mapped where the regions
/// say, as a real device's can.
///
/// [`RegionDevice`]: crate::device::RegionDevice
/// [`GfxDevice`]: crate::device::GfxDevice
#[derive(Clone, Debug)]
pub struct Mock {
    state: Arc<Mutex<State>>,
    file: Arc<OwnedFd>,
    personality: Personality,
}

impl Mock {
    /// A device of `personality` whose guest has set a mode of `size` pixels.
    ///
    /// # Errors
    ///
    /// What the kernel says of the memory for it, and those of [`set_mode`](Self::set_mode).
    pub fn new(personality: Personality, size: Size) -> io::Result<Self> {
        let mock = Self::without_guest(personality, size)?;
        if personality.plane_kind().is_some() {
            mock.set_mode(size)?;
        }
        Ok(mock)
    }

    /// A device of `personality`, made for `size` pixels, that no guest has touched: off, but
    /// for `mdpy`, which never is.
    ///
    /// # Errors
    ///
    /// What the kernel says of the memory for it; EINVAL for a side of 0 or above 65535.
    pub fn without_guest(personality: Personality, size: Size) -> io::Result<Self> {
        let sides = 1..=u32::from(u16::MAX);
        if !sides.contains(&size.width) || !sides.contains(&size.height) {
            return Err(KernelErrno::INVAL.into());
        }
        let state = State::new(personality, size)?;
        Ok(Self { file: Arc::clone(&state.file), state: Arc::new(Mutex::new(state)), personality })
    }

    /// The driver that it plays.
    pub const fn personality(&self) -> Personality {
        self.personality
    }

    /// The size that it was made for.
    pub fn native_size(&self) -> Size {
        self.state().native
    }

    /// `VFIO_DEVICE_RESET`. What the guest set is gone; `mdpy` shows its grey gradient.
    ///
    /// # Errors
    ///
    /// What the kernel says of the memory behind it.
    pub fn reset(&self) -> io::Result<()> {
        Ok(self.state().reset()?)
    }

    /// Sets a mode, in the part of the guest's driver, and turns the screen on.
    ///
    /// What the mode's memory holds is not cleared where the driver has one region for all modes.
    ///
    /// # Errors
    ///
    /// EINVAL for what this driver's guests cannot set: a size other than its own on `mdpy`, a
    /// format not among [`Personality::formats`]; ENOMEM where it does not fit the device.
    pub fn set_mode(&self, mode: impl Into<Mode>) -> io::Result<()> {
        let mode = mode.into();
        let Size { width, height } = mode.size();
        let mut state = self.state();
        let possible = self.personality.formats().contains(&mode.pixel_format())
            && (1..=u32::from(u16::MAX)).contains(&width)
            && (1..=u32::from(u16::MAX)).contains(&height)
            && (self.personality != Personality::Mdpy || mode == Mode::new(state.native));
        if !possible {
            return Err(KernelErrno::INVAL.into());
        }
        let Some(vbe) = &mut state.vbe else {
            return Ok(state.apply(mode)?);
        };
        let pixel = mode.format.bytes_per_pixel();
        let virt_width = width + mode.padding / pixel;
        let virt_width = u16::try_from(virt_width).map_err(|_| KernelErrno::INVAL)?;
        // Its registers have no word for anything but 32 bits of XRGB8888 in whole pixels.
        let plain = mode.format(PixelFormat::Xrgb8888).padding(0) == Mode::new(mode.size);
        if !plain || !mode.padding.is_multiple_of(pixel) {
            return Err(KernelErrno::INVAL.into());
        }
        for (register, value) in [
            (Register::Xres, width as u16),
            (Register::Yres, height as u16),
            (Register::Bpp, (pixel * 8) as u16),
            (Register::VirtWidth, virt_width),
            (Register::XOffset, 0),
            (Register::YOffset, 0),
            (Register::Enable, ENABLED | LFB),
        ] {
            vbe.set(register, value);
        }
        Ok(())
    }

    /// The size that the screen has for the guest; `None` is off.
    pub fn screen_size(&self) -> Option<Size> {
        self.state().screen_size()
    }

    /// Turns the screen off, in the part of the guest's driver. No effect on `mdpy`, which never
    /// is off.
    pub fn off(&self) {
        let mut state = self.state();
        match &mut state.vbe {
            Some(vbe) => vbe.set(Register::Enable, 0),
            None if self.personality == Personality::Mdpy => {}
            None => {
                state.mode = None;
                state.drop_framebuffers();
            }
        }
    }

    /// Shows framebuffer `slot` of the current mode, as a guest does that draws into another one
    /// than it shows. The first slot is 0.
    ///
    /// A slot keeps its pixels until the mode changes, and its dma-buf's id for as long as the
    /// driver would. Where the plane is a region there is one slot, and no effect.
    ///
    /// # Errors
    ///
    /// EINVAL where `mbochs` has no memory for it.
    pub fn flip_to(&self, slot: u16) -> io::Result<()> {
        let mut state = self.state();
        let Some(size) = state.screen_size() else {
            return Err(KernelErrno::NODEV.into());
        };
        let Some(vbe) = &mut state.vbe else {
            state.slot = usize::from(slot);
            return Ok(());
        };
        let before = vbe.clone();
        let stride = vbe.framebuffer().map_or(0, |(shape, _)| shape.stride);
        // Only a framebuffer that starts on a page can be exported.
        let rows = size.height.next_multiple_of(4096 >> stride.trailing_zeros().min(12));
        let row = u32::from(slot).checked_mul(rows);
        let row = row.and_then(|row| u16::try_from(row).ok()).ok_or(KernelErrno::INVAL)?;
        vbe.set(Register::YOffset, row);
        if vbe.framebuffer().is_none() {
            *vbe = before;
            return Err(KernelErrno::INVAL.into());
        }
        Ok(())
    }

    /// Draws a whole picture, each pixel `0x00RRGGBB`, in the format of the mode.
    ///
    /// # Errors
    ///
    /// ENODEV where the screen is off, EINVAL where the picture has another size than it.
    pub fn draw(&self, picture: &[u32]) -> io::Result<()> {
        let mut state = self.state();
        let size = state.screen_size().ok_or(KernelErrno::NODEV)?;
        if picture.len() as u64 != size.area() {
            return Err(KernelErrno::INVAL.into());
        }
        Ok(state.draw(0, picture)?)
    }

    /// Draws whole rows from row `first` on, each pixel `0x00RRGGBB`.
    ///
    /// # Errors
    ///
    /// ENODEV where the screen is off, EINVAL where they are not whole rows of it.
    pub fn draw_rows(&self, first: u32, rows: &[u32]) -> io::Result<()> {
        let mut state = self.state();
        let Size { width, height } = state.screen_size().ok_or(KernelErrno::NODEV)?;
        let count = rows.len() as u64 / u64::from(width);
        if rows.len() as u64 != count * u64::from(width)
            || u64::from(first) + count > u64::from(height)
        {
            return Err(KernelErrno::INVAL.into());
        }
        Ok(state.draw(first, rows)?)
    }

    /// Draws frame `n` of the [test card](super::card). Where the screen is off the guest sets
    /// the mode that the device was made for first.
    ///
    /// # Errors
    ///
    /// As [`set_mode`](Self::set_mode).
    pub fn show_card(&self, n: u64) -> io::Result<()> {
        if self.screen_size().is_none() {
            self.set_mode(self.native_size())?;
        }
        let mut state = self.state();
        let size = state.screen_size().ok_or(KernelErrno::NODEV)?;
        let card = Card::new(size, n);
        // As many rows at a time as fit a cache.
        let step = (1_u32 << 18).div_ceil(size.width).min(size.height);
        let mut rows = vec![0; (step * size.width) as usize];
        for first in (0..size.height).step_by(step as usize) {
            let count = step.min(size.height - first);
            let rows = &mut rows[..(count * size.width) as usize];
            for (y, row) in (first..).zip(rows.chunks_exact_mut(size.width as usize)) {
                card.row(y, row);
            }
            state.draw(first, rows)?;
        }
        Ok(())
    }

    /// Gives the cursor a shape, each pixel `0xAARRGGBB`, and shows it.
    ///
    /// # Errors
    ///
    /// ENODEV where the driver has no cursor plane, EINVAL for a picture that has not `size`,
    /// or is larger than 256x256.
    pub fn set_cursor(&self, size: Size, picture: &[u32]) -> io::Result<()> {
        if !self.personality.has_cursor() {
            return Err(KernelErrno::NODEV.into());
        }
        let sides = 1..=256;
        if picture.len() as u64 != size.area()
            || !sides.contains(&size.width)
            || !sides.contains(&size.height)
        {
            return Err(KernelErrno::INVAL.into());
        }
        Ok(self.state().shape_cursor(size, picture)?)
    }

    /// Moves the top left corner of the cursor to `position`, which may be off the screen.
    pub fn move_cursor(&self, position: Point) {
        if let Some(cursor) = &mut self.state().cursor {
            cursor.position = position;
        }
    }

    /// Says which pixel of the cursor points.
    pub fn set_hotspot(&self, hotspot: Option<Point>) {
        if let Some(cursor) = &mut self.state().cursor {
            cursor.hotspot = hotspot;
        }
    }

    /// Hides the cursor until it gets a shape again.
    pub fn hide_cursor(&self) {
        if let Some(cursor) = &mut self.state().cursor {
            cursor.visible = false;
        }
    }

    /// The EDID as the guest sees it; `None` while the link is not up.
    pub fn edid(&self) -> Option<Vec<u8>> {
        let state = self.state();
        let edid = state.edid.as_ref().and_then(EdidRegion::seen_by_guest);
        edid.map(<[u8]>::to_vec)
    }

    /// The link state as the host last wrote it: 0 before that, 1 up, 2 down.
    pub fn link_state(&self) -> u32 {
        self.state().edid.as_ref().map_or(0, EdidRegion::link_state)
    }

    /// What the host wrote to the EDID region, in its order.
    pub fn edid_writes(&self) -> Vec<EdidWrite> {
        let state = self.state();
        let writes = state.edid.as_ref().map(EdidRegion::writes);
        writes.unwrap_or_default().to_vec()
    }

    /// Answers one plane query to come with `info`, whatever is asked. Answers queue up.
    pub fn script_plane(&self, info: PlaneInfo) {
        self.state().plane_answers.push_back(info);
    }

    /// Answers one region lookup to come with these bytes, whatever is asked. Answers queue up.
    ///
    /// As from a driver that has them ready: each of the lookup's two calls gets as many of the
    /// bytes as it has room for, and zeros behind them.
    pub fn script_region(&self, answer: impl Into<Vec<u8>>) {
        self.state().region_answers.push_back(answer.into());
    }

    /// Lets the next `calls` calls of `op` fail with `errno`.
    pub fn fail_next(&self, op: Op, calls: u32, errno: Errno) {
        self.state().script.fail_next(op, calls, errno);
    }

    /// Takes the device away: every call from now on fails with ENODEV.
    pub fn unplug(&self) {
        self.state().script.set_gone();
    }

    /// How often `op` was called, failed calls included.
    pub fn calls(&self, op: Op) -> u64 {
        self.state().script.count(op)
    }

    /// What the host did that the real driver and its kernel would not have survived.
    pub fn kernel_bugs(&self) -> Vec<KernelBug> {
        self.state().kernel_bugs()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A test that panicked is being reported already; the state is whole between calls.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Mock {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
