// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a device says of itself once.

use crate::device::{IrqIndex, PlaneType};
use crate::fb_region::error::FbRegionError;
use crate::fb_region::layout::{self, PAGE_LEN, damage, plane, slot};

/// What a device's framebuffer region has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Its planes, 1 to 8, one of them primary.
    pub planes: Vec<PlaneType>,
    /// Its slots, 2 to 8 of them.
    pub slots: u16,
    /// Bytes of each slot, whole pages.
    pub slot_len: u64,
    /// Damage records that are kept, 16 or more; [`Config::new`] takes all there is room for.
    pub damage_records: u16,
    /// The interrupt that tells of frames, if the device has one.
    pub wake: Option<IrqIndex>,
}

impl Config {
    /// A screen and a pointer, two slots of `slot_len` bytes, and as much damage as fits.
    pub fn new(slot_len: u64) -> Self {
        let planes = vec![PlaneType::Primary, PlaneType::Cursor];
        let tables = layout::HEADER_LEN as usize
            + planes.len() * usize::from(plane::LEN)
            + usize::from(layout::MIN_SLOTS * slot::LEN);
        let records = (PAGE_LEN - tables) / usize::from(damage::LEN);
        Self {
            planes,
            slots: layout::MIN_SLOTS,
            slot_len: slot_len.next_multiple_of(PAGE_LEN as u64),
            damage_records: records as u16,
            wake: None,
        }
    }
}

/// Why a [`Config`] can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("framebuffer region: {0}")]
pub struct ConfigError(#[from] FbRegionError);
