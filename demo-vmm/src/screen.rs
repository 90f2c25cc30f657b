// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot display, looked at now and then.

use vfio_display::picture::Picture;
use vfio_display::ramfb::Ramfb;
use vm_memory::GuestMemoryMmap;

/// The machine's screen: a stable copy of what the guest shows.
#[derive(Debug)]
pub(crate) struct Screen {
    ramfb: Ramfb,
    picture: Picture,
}

impl Screen {
    pub(crate) fn new(ramfb: Ramfb) -> Self {
        Self { ramfb, picture: Picture::default() }
    }

    /// Takes a new copy. What the guest got wrong is printed, once.
    pub(crate) fn poll(&mut self, memory: &GuestMemoryMmap) {
        let plane = self.ramfb.poll(memory).unwrap_or_else(|error| {
            eprintln!("{error}");
            self.ramfb.plane()
        });
        let Some(plane) = plane else { return };
        if let Err(error) = plane.copy(memory, &mut self.picture) {
            eprintln!("{error}");
            self.ramfb.give_up();
        }
    }

    /// The last copy, while the display is on.
    pub(crate) fn picture(&self) -> Option<&Picture> {
        self.ramfb.plane().map(|_| &self.picture)
    }

    /// Grows with each mode that the guest sets.
    pub(crate) const fn generation(&self) -> u64 {
        self.ramfb.generation()
    }
}
