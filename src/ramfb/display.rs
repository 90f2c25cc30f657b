// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot display itself.

use vm_memory::{Bytes, GuestAddress};

use super::config::{Config, FILE_LEN};
use super::file::RamfbFile;
use super::plane::{RamPlane, RamfbError};

/// A boot display.
///
/// A machine has one: there is one `etc/ramfb`. Where it has several screens, the one that owns
/// this value shows it; a second one's file is refused by the fw_cfg device, which has a file of
/// that name.
///
/// A poll without news costs one atomic read.
#[derive(Debug, Default)]
pub struct Ramfb {
    file: RamfbFile,
    /// Of [`RamfbFile::count`]; what is beyond has not been looked at.
    pub(super) seen: u64,
    pub(super) plane: Option<RamPlane>,
    /// The plane came out of a saved state and no memory has been seen yet.
    pub(super) unchecked: bool,
    /// The last structure that was refused, so that it is reported once however often the guest
    /// writes it.
    pub(super) refused: Option<[u8; FILE_LEN]>,
    generation: u64,
}

impl Ramfb {
    /// A display that is off until a guest writes its file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The file, to be put into a fw_cfg device under [`FILE_NAME`](super::FILE_NAME).
    pub fn file(&self) -> RamfbFile {
        self.file.clone()
    }

    /// Looks at what the guest wrote since the last poll, and says what is shown: `None` until
    /// there was a good configuration.
    ///
    /// # Errors
    ///
    /// [`RamfbError`] for a configuration that is refused, once; what was shown before still is,
    /// and is what the next poll answers.
    pub fn poll<M>(&mut self, memory: &M) -> Result<Option<RamPlane>, RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        self.check_restored(memory)?;
        let count = self.file.count();
        if count != self.seen {
            self.seen = count;
            if let Some(bytes) = self.file.take() {
                self.look_at(memory, bytes)?;
            }
        }
        Ok(self.plane)
    }

    fn look_at<M>(&mut self, memory: &M, bytes: [u8; FILE_LEN]) -> Result<(), RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        let checked = RamPlane::new(&Config::from_bytes(&bytes)).and_then(|plane| {
            let outside = RamfbError::Memory { address: plane.address(), len: plane.len() };
            plane.is_in(memory).then_some(plane).ok_or(outside)
        });
        match checked {
            Ok(plane) => {
                self.show(Some(plane));
                self.refused = None;
            }
            Err(_) if self.refused == Some(bytes) => {}
            Err(error) => {
                self.refused = Some(bytes);
                return Err(error);
            }
        }
        Ok(())
    }

    fn check_restored<M>(&mut self, memory: &M) -> Result<(), RamfbError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        if !std::mem::take(&mut self.unchecked) {
            return Ok(());
        }
        match self.plane {
            Some(plane) if !plane.is_in(memory) => {
                self.show(None);
                Err(RamfbError::Memory { address: plane.address(), len: plane.len() })
            }
            _ => Ok(()),
        }
    }

    /// What the last poll found.
    pub const fn plane(&self) -> Option<RamPlane> {
        self.plane
    }

    /// Grows whenever the guest sets a mode, be it the same again, and with each reset. A picture
    /// of another generation has nothing to do with the one before.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn show(&mut self, plane: Option<RamPlane>) {
        self.plane = plane;
        self.generation += 1;
    }

    /// Gives up the framebuffer, after its memory could not be read: memory of the guest was
    /// taken away. The display is off until the guest sets a mode.
    pub fn give_up(&mut self) {
        self.show(None);
    }

    /// What a reset of the machine does: the display is off, and the file is all zeros. To be
    /// called when the vCPUs stand still, together with the fw_cfg device's.
    pub fn reset(&mut self) {
        self.file.set_content(Default::default());
        self.seen = self.file.count();
        self.refused = None;
        self.unchecked = false;
        self.show(None);
    }
}
