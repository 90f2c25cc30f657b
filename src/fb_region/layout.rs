// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where each field of the page is, shared by both ends.
//!
//! Source: `docs/framebuffer-region.md`, "The page". `tests/fb_region_header.rs` compares all of
//! it with `include/vfio_fb_region.h`.

use std::marker::PhantomData;

/// A little-endian number at a place of the page, or of an entry of one of its tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<T> {
    /// Its first byte.
    pub offset: usize,
    of: PhantomData<T>,
}

macro_rules! fields_of {
    ($($number:ty),*) => {$(
        impl Field<$number> {
            const fn at(offset: usize) -> Self {
                assert!(offset.is_multiple_of(size_of::<$number>()), "naturally aligned");
                Self { offset, of: PhantomData }
            }

            /// Its value in `bytes`.
            ///
            /// # Panics
            ///
            /// Where it does not lie inside.
            pub fn get(self, bytes: &[u8]) -> $number {
                let (number, _) = bytes[self.offset..].split_first_chunk().expect("a whole number");
                <$number>::from_le_bytes(*number)
            }

            /// Changes its value in `bytes`.
            ///
            /// # Panics
            ///
            /// As [`get`](Self::get).
            pub fn put(self, bytes: &mut [u8], value: $number) {
                let at = &mut bytes[self.offset..][..size_of::<$number>()];
                at.copy_from_slice(&value.to_le_bytes());
            }
        }
    )*};
}

fields_of!(u16, u32, i32, u64);

/// Bytes of the page, which comes first in the region and is never mapped.
pub const PAGE_LEN: usize = 4096;
/// Bytes of the header in version 1.0.
pub const HEADER_LEN: u32 = 0x100;
/// "VFBR".
pub const MAGIC_VALUE: u32 = u32::from_le_bytes(*b"VFBR");
/// The version that this crate writes, and the only major one that it reads.
pub const VERSION: (u16, u16) = (1, 0);
/// Bytes from the start of the page that never change.
pub const IDENTITY_LEN: usize = 0x40;

/// Features: captures can be asked for.
pub const CAPTURE: u32 = 1;
/// Features: damage is told.
pub const DAMAGE: u32 = 2;
/// Features: there is an interrupt.
pub const WAKE: u32 = 4;

/// Most planes.
pub const MAX_PLANES: u16 = 8;
/// Fewest slots, where there are any.
pub const MIN_SLOTS: u16 = 2;
/// Most slots.
pub const MAX_SLOTS: u16 = 8;
/// Fewest damage records, where there are any.
pub const MIN_DAMAGE: u16 = 16;

/// [`MAGIC_VALUE`].
pub const MAGIC: Field<u32> = Field::<u32>::at(0x00);
/// Major version.
pub const MAJOR: Field<u16> = Field::<u16>::at(0x04);
/// Minor version.
pub const MINOR: Field<u16> = Field::<u16>::at(0x06);
/// Where the header ends.
pub const HEADER: Field<u32> = Field::<u32>::at(0x08);
/// [`CAPTURE`], [`DAMAGE`], [`WAKE`].
pub const FEATURES: Field<u32> = Field::<u32>::at(0x0c);
/// Offset, count and length of an entry: the planes.
pub const PLANES: (Field<u32>, Field<u16>, Field<u16>) = table(0x10);
/// The same of the slots.
pub const SLOTS: (Field<u32>, Field<u16>, Field<u16>) = table(0x18);
/// The same of the damage records.
pub const DAMAGES: (Field<u32>, Field<u16>, Field<u16>) = table(0x20);
/// Interrupt index.
pub const WAKE_INDEX: Field<u32> = Field::<u32>::at(0x28);
/// Grows with each change; odd in the middle of one.
pub const SEQUENCE: Field<u64> = Field::<u64>::at(0x40);
/// Grows with each mode.
pub const GENERATION: Field<u64> = Field::<u64>::at(0x48);
/// The newest frame.
pub const FRAME: Field<u64> = Field::<u64>::at(0x50);
/// The oldest frame since which the damage is known.
pub const DAMAGE_FLOOR: Field<u64> = Field::<u64>::at(0x58);
/// Damage records ever written.
pub const DAMAGE_HEAD: Field<u64> = Field::<u64>::at(0x60);
/// The last command that no slot answers for.
pub const REFUSED_REQUEST: Field<u32> = Field::<u32>::at(0x68);
/// Its [status](super::Status).
pub const REFUSED_STATUS: Field<u32> = Field::<u32>::at(0x6c);
/// Written by the consumer: a [command](super::Command).
pub const COMMAND: Field<u64> = Field::<u64>::at(0x80);
/// Written by the consumer: frames wanted in 1000 seconds.
pub const DEMAND: Field<u32> = Field::<u32>::at(0x88);

const fn table(offset: usize) -> (Field<u32>, Field<u16>, Field<u16>) {
    (Field::<u32>::at(offset), Field::<u16>::at(offset + 4), Field::<u16>::at(offset + 6))
}

/// An entry of the table of planes.
pub mod plane {
    use super::Field;

    /// Bytes in version 1.0.
    pub const LEN: u16 = 0x50;
    /// Flags: it shows something.
    pub const VISIBLE: u32 = 1;
    /// Flags: its pixels can be read where the guest draws them.
    pub const LIVE: u32 = 2;
    /// Flags: it has a hotspot.
    pub const HAS_HOTSPOT: u32 = 4;

    /// As [`PlaneType::raw`](crate::device::PlaneType::raw).
    pub const TYPE: Field<u32> = Field::<u32>::at(0x00);
    /// [`VISIBLE`], [`LIVE`], [`HAS_HOTSPOT`].
    pub const FLAGS: Field<u32> = Field::<u32>::at(0x04);
    /// Pixel format.
    pub const FOURCC: Field<u32> = Field::<u32>::at(0x08);
    /// Pixels in a row.
    pub const WIDTH: Field<u32> = Field::<u32>::at(0x0c);
    /// Rows.
    pub const HEIGHT: Field<u32> = Field::<u32>::at(0x10);
    /// Live: bytes from a row to the next.
    pub const STRIDE: Field<u32> = Field::<u32>::at(0x14);
    /// Layout of the pixels.
    pub const MODIFIER: Field<u64> = Field::<u64>::at(0x18);
    /// Live: first byte in the region.
    pub const OFFSET: Field<u64> = Field::<u64>::at(0x20);
    /// Live: bytes.
    pub const BYTES: Field<u64> = Field::<u64>::at(0x28);
    /// Live: index of the region.
    pub const REGION: Field<u32> = Field::<u32>::at(0x30);
    /// Left edge on the screen.
    pub const X: Field<i32> = Field::<i32>::at(0x38);
    /// Upper edge on the screen.
    pub const Y: Field<i32> = Field::<i32>::at(0x3c);
    /// The pixel that points.
    pub const HOT_X: Field<u32> = Field::<u32>::at(0x40);
    /// The pixel that points.
    pub const HOT_Y: Field<u32> = Field::<u32>::at(0x44);
    /// The last frame that changed it.
    pub const FRAME: Field<u64> = Field::<u64>::at(0x48);
}

/// An entry of the table of slots.
pub mod slot {
    use super::Field;

    /// Bytes in version 1.0.
    pub const LEN: u16 = 0x50;

    /// First byte in the region.
    pub const OFFSET: Field<u64> = Field::<u64>::at(0x00);
    /// Bytes.
    pub const BYTES: Field<u64> = Field::<u64>::at(0x08);
    /// The command that it is about.
    pub const REQUEST: Field<u32> = Field::<u32>::at(0x10);
    /// What became of it.
    pub const STATUS: Field<u32> = Field::<u32>::at(0x14);
    /// The frame that it holds.
    pub const FRAME: Field<u64> = Field::<u64>::at(0x18);
    /// That frame's generation.
    pub const GENERATION: Field<u64> = Field::<u64>::at(0x20);
    /// Index of the plane.
    pub const PLANE: Field<u32> = Field::<u32>::at(0x28);
    /// Pixel format.
    pub const FOURCC: Field<u32> = Field::<u32>::at(0x2c);
    /// Pixels in a row.
    pub const WIDTH: Field<u32> = Field::<u32>::at(0x30);
    /// Rows.
    pub const HEIGHT: Field<u32> = Field::<u32>::at(0x34);
    /// Bytes from a row to the next.
    pub const STRIDE: Field<u32> = Field::<u32>::at(0x38);
    /// Layout of the pixels.
    pub const MODIFIER: Field<u64> = Field::<u64>::at(0x40);
}

/// A damage record.
pub mod damage {
    use super::Field;

    /// Bytes in version 1.0.
    pub const LEN: u16 = 0x20;

    /// The frame that brought it.
    pub const FRAME: Field<u64> = Field::<u64>::at(0x00);
    /// Index of the plane.
    pub const PLANE: Field<u32> = Field::<u32>::at(0x08);
    /// First column.
    pub const X: Field<u32> = Field::<u32>::at(0x0c);
    /// First row.
    pub const Y: Field<u32> = Field::<u32>::at(0x10);
    /// Columns.
    pub const WIDTH: Field<u32> = Field::<u32>::at(0x14);
    /// Rows.
    pub const HEIGHT: Field<u32> = Field::<u32>::at(0x18);
}

/// The vendor-specific PCI capability that names the region.
pub mod pci {
    use super::Field;

    /// Id of vendor-specific capabilities.
    pub const ID: u8 = 0x09;
    /// Bytes of the capability.
    pub const LEN: u8 = 16;
    /// Version of the capability.
    pub const VERSION: u8 = 1;
    /// [`MAGIC_VALUE`](super::MAGIC_VALUE) again.
    pub const SIGNATURE: Field<u32> = Field::<u32>::at(0x04);
    /// Index of the region.
    pub const REGION: Field<u32> = Field::<u32>::at(0x08);
}
