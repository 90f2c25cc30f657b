// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Extension blocks: CTA-861 for more modes, DisplayID for modes beyond the base block's reach.

use super::base::{GAMMA, MAKER, MODEL_YEAR, Monitor, PRODUCT};
use super::timing::{DETAILED, Timing};
use super::{BLOCK, checksum, seal};
use crate::geometry::Size;

/// A CTA-861 extension (CTA-861-G, 7.5) with the monitor's further modes; `None` without any.
///
/// No audio, no HDMI. What it says of colours is what a guest's driver needs to send each value
/// from 0 to 255, and to put the picture's edge at the screen's.
pub(super) fn cta(monitor: &Monitor) -> Option<[u8; BLOCK]> {
    /// Computer pictures are shown whole.
    const UNDERSCAN: u8 = 1 << 7;
    /// A data block with an extended tag, of two bytes.
    const EXTENDED: u8 = 7 << 5 | 2;
    /// Video capability: the range of RGB can be told, and every kind of mode is shown whole.
    const VIDEO_CAPABILITY: u8 = 0;
    const SELECTABLE_AND_WHOLE: u8 = 0b0100_1010;
    if monitor.common.is_empty() {
        return None;
    }
    let mut head = [2, 3, 0, UNDERSCAN, EXTENDED, VIDEO_CAPABILITY, SELECTABLE_AND_WHOLE];
    head[2] = head.len() as u8;
    let mut block = [0; BLOCK];
    block[..head.len()].copy_from_slice(&head);
    let fields = block[head.len()..BLOCK - 1].chunks_exact_mut(DETAILED);
    for (field, timing) in fields.zip(&monitor.common) {
        field.copy_from_slice(&timing.detailed(monitor.image(timing.active)));
    }
    seal(&mut block);
    Some(block)
}

/// A DisplayID 1.3 section in an EDID extension (tag 0x70), with `mode` as the preferred one.
///
/// Type I of 1.3 rather than type VII of 2.0: readers that know 2.0 know both.
pub(super) fn display_id(monitor: &Monitor, mode: &Timing) -> [u8; BLOCK] {
    const VERSION: u8 = 0x13;
    /// A display of its own, no part of something else.
    const STANDALONE: u8 = 3;
    let mut section = vec![VERSION, 0, STANDALONE, 0];
    let head = section.len();
    let blocks: [(u8, &[u8]); 4] = [
        (0x00, &product(monitor)),
        (0x01, &parameters(monitor, mode)),
        (0x03, &mode.display_id()),
        (0x0f, &INTERFACE),
    ];
    for (tag, data) in blocks {
        section.extend([tag, 0, data.len() as u8]);
        section.extend(data);
    }
    section[1] = (section.len() - head) as u8;
    section.push(checksum(&section));

    let mut block = [0; BLOCK];
    block[0] = 0x70;
    block[1..=section.len()].copy_from_slice(&section);
    seal(&mut block);
    block
}

/// Product identification (DisplayID 1.3, 4.1): as in the base block, without a name.
fn product(monitor: &Monitor) -> [u8; 12] {
    let mut bytes = [0; 12];
    bytes[..3].copy_from_slice(MAKER);
    bytes[3..5].copy_from_slice(&PRODUCT.to_le_bytes());
    bytes[5..9].copy_from_slice(&monitor.serial.to_le_bytes());
    // Week 255: the year is that of the model.
    bytes[9..11].copy_from_slice(&[0xff, (MODEL_YEAR - 2000) as u8]);
    bytes
}

/// Display parameters (DisplayID 1.3, 4.2).
fn parameters(monitor: &Monitor, mode: &Timing) -> [u8; 12] {
    /// Eight bits a colour, native and in all; as one less.
    const DEPTH: u8 = 0x77;
    let Size { width, height } = mode.active;
    let tenths = |millimetres: u32| (millimetres * 10) as u16;
    let words = [
        tenths(monitor.millimetres.width),
        tenths(monitor.millimetres.height),
        width as u16,
        height as u16,
    ];
    let mut bytes = [0; 12];
    for (field, word) in bytes.chunks_exact_mut(2).zip(words) {
        field.copy_from_slice(&word.to_le_bytes());
    }
    // Of the long side to the short one, as (value - 1) * 100; 3.55 is the most.
    let ratio = width.max(height) * 100 / width.min(height) - 100;
    bytes[8..].copy_from_slice(&[0, GAMMA, ratio.min(255) as u8, DEPTH]);
    bytes
}

/// Display interface (DisplayID 1.3, 4.14): DisplayPort of four lanes, version 1.4, RGB of eight
/// bits, no content protection, no spread spectrum.
const INTERFACE: [u8; 10] = [0xa4, 0x14, 0b10, 0, 0, 0, 0, 0, 0, 0];
