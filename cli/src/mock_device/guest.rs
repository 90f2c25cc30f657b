// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The guest of the mock device: it draws while somebody watches.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use vfio_display::WritableMapping;
use vfio_display::geometry::Rect;
use vfio_display::testing::FbMock;

use super::scene::Scene;

/// Longest wait for something to do. It is woken before that where there is.
const IDLE: Duration = Duration::from_secs(3600);

/// What draws, with its pixels.
pub(super) struct Guest {
    mock: FbMock,
    scene: Scene,
    /// From a frame to the next, at least.
    period: Duration,
    /// The number of the next frame.
    n: u64,
    picture: Vec<u32>,
    damage: Vec<Rect>,
    memory: WritableMapping,
    row: Vec<u8>,
}

impl Guest {
    /// A guest whose first frame fills the screen of `mock`.
    pub(super) fn new(mock: FbMock, scene: Scene, fps: u32) -> io::Result<Self> {
        let size = mock.native_size();
        let memory = mock.memory()?;
        let mut guest = Self {
            mock,
            scene,
            period: Duration::from_secs(1).checked_div(fps).unwrap_or_default(),
            n: 0,
            picture: vec![0; size.area() as usize],
            damage: Vec::new(),
            memory,
            row: Vec::new(),
        };
        guest.frame();
        guest.mock.set_mode(Some(size))?;
        Ok(guest)
    }

    /// Draws as often as somebody wants to see it, for ever. An
    /// [`unpark`](thread::Thread::unpark) tells it that what is wanted may have changed.
    pub(super) fn run(mut self) {
        let mut next = Instant::now();
        loop {
            let demand = self.mock.demand();
            let pause = match demand {
                0 => IDLE,
                _ if !self.scene.moves() => IDLE,
                _ => next.saturating_duration_since(Instant::now()),
            };
            if !pause.is_zero() {
                thread::park_timeout(pause);
                continue;
            }
            let wanted = Duration::from_secs(1000) / demand;
            next = (next + wanted.max(self.period)).max(Instant::now());
            self.frame();
        }
    }

    /// Draws the next frame, rectangle by rectangle, where a client may be looking.
    fn frame(&mut self) {
        let size = self.mock.native_size();
        self.damage.clear();
        self.scene.draw(self.n, size, &mut self.picture, &mut self.damage);
        self.n += 1;
        self.mock.begin();
        for rect in &self.damage {
            for y in rect.y..rect.y + rect.height {
                let at = y as usize * size.width as usize + rect.x as usize;
                let pixels = &self.picture[at..at + rect.width as usize];
                self.row.resize(4 * pixels.len(), 0);
                for (bytes, pixel) in self.row.chunks_exact_mut(4).zip(pixels) {
                    bytes.copy_from_slice(&pixel.to_le_bytes());
                }
                let inside = self.memory.copy_in(4 * at, &self.row);
                debug_assert!(inside, "{rect:?} lies in {size}");
            }
        }
        self.mock.commit(&self.damage);
    }
}
