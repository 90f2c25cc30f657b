// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The inner loop alone, for benches and tests: a scan without a device around it.

use crate::blit::{self, Detection, Kernel, Layout, Memory, Reading, Seen, Workers};
use crate::convert::Alpha;
use crate::damage::Damage;
use crate::format::PixelFormat;
use crate::geometry::Size;
use crate::picture::Picture;
use crate::screen::Screen;
use crate::sys::Mapping;

/// A screen that is copied out of a mapping.
#[derive(Debug)]
pub struct Engine {
    screen: Screen,
    layout: Layout,
    memory: Memory,
    workers: Option<Box<dyn Workers + Send>>,
}

impl Engine {
    /// For pixels of `format` in rows without padding.
    pub fn new(size: Size, format: PixelFormat) -> Self {
        let stride = size.width as usize * format.bytes_per_pixel() as usize;
        let layout = Layout { size, stride, format, alpha: Alpha::Ignore };
        Self { screen: Screen::default(), layout, memory: Memory::Cached, workers: None }
    }

    /// One for each kernel that this CPU has, the fastest first.
    pub fn each(size: Size, format: PixelFormat) -> impl Iterator<Item = Self> {
        Kernel::available().map(move |kernel| {
            let screen = Screen::with(Seen::with(kernel));
            Self { screen, ..Self::new(size, format) }
        })
    }

    /// Has it read as of memory of this kind.
    #[must_use]
    pub fn with_memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// Lends it threads.
    #[must_use]
    pub fn with_workers(mut self, workers: impl Workers + Send + 'static) -> Self {
        self.workers = Some(Box::new(workers));
        self
    }

    /// What hashes, as this CPU can.
    pub fn kernel(&self) -> String {
        self.screen.kernel()
    }

    /// Copies what changed in `mapping`, all damage having been shown.
    ///
    /// # Panics
    ///
    /// Where the mapping has not all of the rows.
    pub fn scan(&mut self, mapping: &Mapping, detection: Detection) {
        self.screen.shown();
        let workers = self.workers.as_ref().map(|workers| &**workers as &dyn Workers);
        let reading = Reading { workers, memory: self.memory, ..detection.into() };
        blit::copy_mapping(mapping, &self.layout, &mut self.screen, reading);
    }

    /// What the last scan found.
    pub const fn damage(&self) -> &Damage {
        self.screen.damage()
    }

    /// The screen.
    pub const fn picture(&self) -> &Picture {
        self.screen.picture()
    }

    /// Bytes that are kept to detect changes, those of the picture not among them.
    pub fn state_bytes(&self) -> usize {
        self.screen.state_bytes()
    }
}
