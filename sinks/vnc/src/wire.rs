// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Numbers of the protocol, and how they are put on the wire: big-endian (RFC 6143, section 7).

use vfio_display::geometry::Rect;

/// Encoding and pseudo-encoding numbers: RFC 6143 sections 7.7 and 7.8, and the community's notes
/// (rfbproto) for those below -239.
pub(crate) mod encoding {
    pub(crate) const RAW: i32 = 0;
    pub(crate) const TIGHT: i32 = 7;
    pub(crate) const ZRLE: i32 = 16;
    pub(crate) const DESKTOP_SIZE: i32 = -223;
    pub(crate) const LAST_RECT: i32 = -224;
    pub(crate) const CURSOR: i32 = -239;
    /// Compression level 9, the highest; level 0 is -256.
    pub(crate) const COMPRESS_LEVEL_9: i32 = -247;
    pub(crate) const COMPRESS_LEVEL_0: i32 = -256;
    pub(crate) const QEMU_EXTENDED_KEY: i32 = -258;
    pub(crate) const EXTENDED_DESKTOP_SIZE: i32 = -308;
    pub(crate) const FENCE: i32 = -312;
    pub(crate) const CONTINUOUS_UPDATES: i32 = -313;
    pub(crate) const CURSOR_WITH_ALPHA: i32 = -314;
}

/// Message types that a server sends.
pub(crate) mod server {
    pub(crate) const FRAMEBUFFER_UPDATE: u8 = 0;
    pub(crate) const SET_COLOUR_MAP_ENTRIES: u8 = 1;
    pub(crate) const END_OF_CONTINUOUS_UPDATES: u8 = 150;
    pub(crate) const FENCE: u8 = 248;
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A coordinate. A session's size is at most 65535, and all rectangles lie in it.
pub(crate) fn put_pixels(out: &mut Vec<u8>, value: u32) {
    put_u16(out, u16::try_from(value).unwrap_or(u16::MAX));
}

/// The head of a FramebufferUpdate (section 7.6.1).
pub(crate) fn put_update(out: &mut Vec<u8>, rectangles: usize) {
    out.extend_from_slice(&[server::FRAMEBUFFER_UPDATE, 0]);
    put_u16(out, u16::try_from(rectangles).unwrap_or(u16::MAX));
}

/// The head of a rectangle in it.
pub(crate) fn put_rect(out: &mut Vec<u8>, rect: Rect, encoding: i32) {
    for value in [rect.x, rect.y, rect.width, rect.height] {
        put_pixels(out, value);
    }
    out.extend_from_slice(&encoding.to_be_bytes());
}
