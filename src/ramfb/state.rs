// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the guest did to the display, as bytes: for snapshots and for live migration.
//!
//! Layout of version 1, 96 bytes: `RAMFB\0`, version u16 little-endian; the file's 28 bytes; the
//! number of them that belong to a structure being written, u8; whether a whole structure waits
//! to be looked at, u8, and which, 28 bytes; whether a plane is shown, u8, and its configuration,
//! 28 bytes; one byte 0.

use super::config::{Config, FILE_LEN};
use super::display::Ramfb;
use super::file::Content;
use super::plane::{RamPlane, RamfbError};

const MAGIC: [u8; 6] = *b"RAMFB\0";
const VERSION: u16 = 1;

/// Where each part is.
const BYTES: usize = 8;
const BEGUN: usize = BYTES + FILE_LEN;
const WHOLE: usize = BEGUN + 1;
const PLANE: usize = WHOLE + 1 + FILE_LEN;
const LEN: usize = PLANE + 1 + FILE_LEN + 1;

/// Why a saved state was not taken over. The display is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// It does not begin with this module's mark.
    #[error("not a saved state of ramfb")]
    Magic,
    /// It is of a version that this crate does not read.
    #[error("a state of ramfb in version {0}, only version 1 is read")]
    Version(u16),
    /// It is too short, too long, or contradicts itself.
    #[error("a damaged state of ramfb")]
    Damaged,
    /// The plane in it cannot be.
    #[error("a state of ramfb with a plane that cannot be: {0}")]
    Plane(#[from] RamfbError),
}

impl Ramfb {
    /// The state, for [`restore`](Self::restore). The file is part of it.
    pub fn save(&self) -> Vec<u8> {
        let content = self.file().content();
        let plane = self.plane.map(|plane| plane.config().to_bytes());
        let mut state = Vec::with_capacity(LEN);
        state.extend(MAGIC);
        state.extend(VERSION.to_le_bytes());
        state.extend(content.bytes);
        state.push(content.begun as u8);
        for optional in [content.whole, plane] {
            state.push(optional.is_some().into());
            state.extend(optional.unwrap_or_default());
        }
        state.push(0);
        state
    }

    /// Takes over a state. Its plane is checked against guest memory at the next poll.
    ///
    /// # Errors
    ///
    /// [`StateError`], and the display is as it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        if !state.starts_with(&MAGIC) {
            return Err(StateError::Magic);
        }
        match state.get(6..8) {
            Some(&[low, high]) => match u16::from_le_bytes([low, high]) {
                VERSION => {}
                other => return Err(StateError::Version(other)),
            },
            _ => return Err(StateError::Damaged),
        }
        let state: &[u8; LEN] = state.try_into().map_err(|_| StateError::Damaged)?;
        let begun = usize::from(state[BEGUN]);
        if begun >= FILE_LEN || state[LEN - 1] != 0 {
            return Err(StateError::Damaged);
        }
        let whole = optional(state, WHOLE)?;
        let plane = optional(state, PLANE)?.map(|bytes| Config::from_bytes(&bytes));
        let plane = plane.as_ref().map(RamPlane::new).transpose()?;

        self.file().set_content(Content { bytes: part(state, BYTES), begun, whole });
        self.refused = None;
        self.unchecked = true;
        self.show(plane);
        Ok(())
    }
}

fn part(state: &[u8; LEN], at: usize) -> [u8; FILE_LEN] {
    let mut part = [0; FILE_LEN];
    part.copy_from_slice(&state[at..at + FILE_LEN]);
    part
}

fn optional(state: &[u8; LEN], at: usize) -> Result<Option<[u8; FILE_LEN]>, StateError> {
    match state[at] {
        0 => Ok(None),
        1 => Ok(Some(part(state, at + 1))),
        _ => Err(StateError::Damaged),
    }
}
