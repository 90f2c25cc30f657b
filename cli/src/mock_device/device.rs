// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The device: its page, its memory, and the guest that draws.
//!
//! The guest's thread alone has the pixels and all memory. What it shares with the thread that
//! answers the client is the page, and that lock is held for a few microseconds at a time.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use vfio_display::WritableMapping;
use vfio_display::device::{IrqIndex, PlaneType};
use vfio_display::fb_region::{Config, Live, Pending, Producer, Shown};
use vfio_display::format::{Modifier, PixelFormat};
use vfio_display::geometry::{Point, Rect, Size};

use super::scene::Scene;
use super::{BAR2, FB_REGION, WAKE};

/// Bytes of a pixel.
const PIXEL: u64 = 4;
/// Longest wait for something to do; nothing depends on it.
const IDLE: Duration = Duration::from_secs(3600);

/// What both threads know.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Something was written to the page.
    written: Condvar,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) producer: Producer,
    /// Where the client wants to be told of frames.
    pub(super) wake: Option<File>,
    /// Frames that the guest has drawn.
    pub(super) drawn: u64,
}

/// Memory that a client may map: it stays as long as it is.
#[derive(Debug)]
pub(super) struct Memory {
    pub(super) fd: Arc<OwnedFd>,
    pub(super) len: u64,
    mapping: WritableMapping,
}

/// The guest, with its pixels.
pub(super) struct Guest {
    shared: Arc<Shared>,
    scene: Scene,
    size: Size,
    /// From a frame to the next, at least.
    period: Duration,
    picture: Vec<u32>,
    /// The picture as it is drawn, in BAR 2.
    live: Memory,
    /// The page's place, which stays empty, and the slots.
    slots: Memory,
    damage: Vec<Rect>,
    stale: Vec<Rect>,
    row: Vec<u8>,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        // A page in the middle of a change is never left behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client wrote to the page.
    pub(super) fn written(&self) {
        self.written.notify_all();
    }
}

impl State {
    /// Tells the client that there is something to see, if there is and it wants to know.
    fn tell(&mut self) {
        if !self.producer.take_news() {
            return;
        }
        let Some(wake) = &self.wake else { return };
        // What the client sent may be no eventfd: nothing that would block is written to.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(wake, PollFlags::OUT)], Some(&now)) == Ok(1) {
            // A client that is gone is found out by its socket.
            let _ = rustix::io::write(wake, &1_u64.to_ne_bytes());
        }
    }
}

impl Memory {
    fn new(name: &str, len: u64) -> io::Result<Self> {
        let fd = memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len)?;
        fcntl_add_seals(&fd, SealFlags::SHRINK | SealFlags::GROW)?;
        let bytes = usize::try_from(len).map_err(|_| rustix::io::Errno::NOMEM)?;
        let mapping = WritableMapping::new(fd.as_fd(), 0, bytes)?;
        Ok(Self { fd: Arc::new(fd), len, mapping })
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        let inside = self.mapping.copy_in(at as usize, bytes);
        debug_assert!(inside, "{} bytes at {at} of {}", bytes.len(), self.len);
    }
}

impl Guest {
    /// A guest whose screen has `size` pixels, and the device that it draws on.
    pub(super) fn new(scene: Scene, size: Size, fps: u32) -> io::Result<(Self, Arc<Shared>)> {
        let bytes = size.area() * PIXEL;
        let mut config = Config::new(bytes);
        config.planes = vec![PlaneType::Primary];
        config.wake = Some(IrqIndex(WAKE));
        let producer = Producer::new(&config).map_err(io::Error::other)?;
        let live = Memory::new("vfio-display-bar2", bytes.next_power_of_two())?;
        let slots = Memory::new("vfio-display-slots", producer.region_len())?;
        let state = State { producer, wake: None, drawn: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), written: Condvar::new() });
        let mut guest = Self {
            shared: Arc::clone(&shared),
            scene,
            size,
            period: Duration::from_secs(1).checked_div(fps).unwrap_or_default(),
            picture: vec![0; size.area() as usize],
            live,
            slots,
            damage: Vec::new(),
            stale: Vec::new(),
            row: Vec::with_capacity(size.width as usize * PIXEL as usize),
        };
        guest.set_mode();
        Ok((guest, shared))
    }

    /// The memory of BAR 2 and of the framebuffer region.
    pub(super) fn memory(&self) -> [&Memory; 2] {
        [&self.live, &self.slots]
    }

    /// Draws as often as somebody wants to see it, and captures when told to, for ever.
    pub(super) fn run(mut self) -> ! {
        let mut next = Instant::now();
        loop {
            self.capture();
            let state = self.shared.lock();
            let pause = match state.producer.demand() {
                0 => IDLE,
                _ if !self.scene.moves() => IDLE,
                _ => next.saturating_duration_since(Instant::now()),
            };
            if !pause.is_zero() {
                if state.producer.pending().next().is_none() {
                    drop(self.shared.written.wait_timeout(state, pause));
                }
                continue;
            }
            let wanted = Duration::from_secs(1000) / state.producer.demand().max(1);
            drop(state);
            next = (next + wanted.max(self.period)).max(Instant::now());
            self.frame();
        }
    }

    /// Shows the first frame.
    fn set_mode(&mut self) {
        self.draw(0);
        let Size { width, height } = self.size;
        let shown = Shown::Picture {
            fourcc: PixelFormat::Xrgb8888.fourcc(),
            modifier: Modifier::LINEAR,
            size: self.size,
            live: Some(Live {
                region: BAR2,
                offset: 0,
                len: self.size.area() * PIXEL,
                stride: width * PIXEL as u32,
            }),
            position: Point::default(),
            hotspot: None,
        };
        let mut state = self.shared.lock();
        state.drawn = 1;
        let mut frame = state.producer.begin();
        frame.plane(0, &shown);
        frame.damage(0, Rect { x: 0, y: 0, width, height });
        frame.publish();
    }

    /// Draws the next frame and shows it.
    fn frame(&mut self) {
        let n = self.shared.lock().drawn;
        self.draw(n);
        let mut state = self.shared.lock();
        state.drawn += 1;
        let mut frame = state.producer.begin();
        for rect in &self.damage {
            frame.damage(0, *rect);
        }
        frame.publish();
        state.tell();
    }

    /// Draws frame `n`, row by row, where a client may be looking.
    fn draw(&mut self, n: u64) {
        self.damage.clear();
        self.scene.draw(n, self.size, &mut self.picture, &mut self.damage);
        for rect in &self.damage {
            copy(&self.picture, self.size, *rect, &mut self.row, &mut self.live, 0);
        }
    }

    /// Copies the picture to where the client wants it. It is that of the newest frame: nobody
    /// else draws.
    fn capture(&mut self) {
        loop {
            let state = self.shared.lock();
            let Some(pending) = state.producer.pending().next() else { return };
            let stride = self.size.width * PIXEL as u32;
            self.stale.clear();
            match state.producer.stale(&pending, stride) {
                Some(rects) => self.stale.extend(rects),
                None => {
                    let Size { width, height } = self.size;
                    self.stale.push(Rect { x: 0, y: 0, width, height });
                }
            }
            drop(state);
            let Pending { offset, .. } = pending;
            for rect in &self.stale {
                copy(&self.picture, self.size, *rect, &mut self.row, &mut self.slots, offset);
            }
            let mut state = self.shared.lock();
            state.producer.complete(&pending, Ok(stride));
            state.tell();
        }
    }
}

/// Copies `rect` of the picture to where it lies in a picture at `offset` of `memory`.
fn copy(
    picture: &[u32],
    size: Size,
    rect: Rect,
    bytes: &mut Vec<u8>,
    memory: &mut Memory,
    offset: u64,
) {
    let right = rect.x.saturating_add(rect.width).min(size.width);
    for y in rect.y..rect.y.saturating_add(rect.height).min(size.height) {
        let row = y as usize * size.width as usize;
        let Some(pixels) = picture.get(row + rect.x as usize..row + right as usize) else {
            return;
        };
        bytes.clear();
        bytes.extend(pixels.iter().flat_map(|pixel| pixel.to_le_bytes()));
        memory.put(offset + (row as u64 + u64::from(rect.x)) * PIXEL, bytes);
    }
}

const _: () = assert!(FB_REGION != BAR2);
