// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The structure in `etc/ramfb`, as numbers.

use crate::format::{Fourcc, PixelFormat};

/// Name of the fw_cfg file.
pub const FILE_NAME: &str = "etc/ramfb";

/// Its bytes. edk2 takes no other size.
pub const FILE_LEN: usize = 28;

/// Shortest side, in pixels, as in QEMU; the longest is [`MAX_SIDE`](crate::plane::MAX_SIDE).
pub const MIN_SIDE: u32 = 16;

/// `struct RAMFBCfg`, packed and big-endian on the wire: what a guest says, unchecked.
#[doc(alias = "RAMFBCfg")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Guest physical address of the first pixel.
    #[doc(alias = "addr")]
    pub address: u64,
    /// Pixel format, a DRM fourcc.
    pub fourcc: u32,
    /// None are defined: 0.
    pub flags: u32,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from a row to the next; 0 is a row's bytes.
    pub stride: u32,
}

impl Config {
    /// XRGB8888, which all known firmware writes, and nothing else: the rest is 0.
    pub const XRGB: Self = Self {
        address: 0,
        fourcc: PixelFormat::Xrgb8888.fourcc().raw(),
        flags: 0,
        width: 0,
        height: 0,
        stride: 0,
    };

    /// The numbers in the file's bytes.
    pub fn from_bytes(bytes: &[u8; FILE_LEN]) -> Self {
        let word = |at: usize| {
            u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            address: u64::from(word(0)) << 32 | u64::from(word(4)),
            fourcc: word(8),
            flags: word(12),
            width: word(16),
            height: word(20),
            stride: word(24),
        }
    }

    /// The file's bytes: what a guest writes.
    pub fn to_bytes(&self) -> [u8; FILE_LEN] {
        let mut bytes = [0; FILE_LEN];
        bytes[..8].copy_from_slice(&self.address.to_be_bytes());
        let words = [self.fourcc, self.flags, self.width, self.height, self.stride];
        for (to, from) in bytes[8..].chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&from.to_be_bytes());
        }
        bytes
    }

    /// The fourcc as one.
    pub(crate) const fn format(&self) -> Fourcc {
        Fourcc::from_raw(self.fourcc)
    }
}
