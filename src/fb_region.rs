// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The framebuffer region: a page that describes a device's screen and says what changed, and
//! snapshots of it that do not tear.
//!
//! `docs/framebuffer-region.md` specifies it. A [`Display`](crate::Display) uses the region by
//! itself where a device has one, so a consumer needs nothing of this module. A device that wants
//! to offer one keeps a [`Producer`] behind its region.
//!
//! ```
//! use vfio_display::fb_region::{Config, Producer, Shown};
//! use vfio_display::format::{Modifier, PixelFormat};
//! use vfio_display::geometry::{Point, Rect, Size};
//!
//! let size = Size::new(640, 480);
//! let mut producer = Producer::new(&Config::new(4 * size.area()))?;
//! let mut frame = producer.begin();
//! frame.plane(0, &Shown::Picture {
//!     fourcc: PixelFormat::Xrgb8888.fourcc(),
//!     modifier: Modifier::LINEAR,
//!     size,
//!     live: None,
//!     position: Point::default(),
//!     hotspot: None,
//! });
//! frame.damage(0, size.rect());
//! frame.publish();
//! // Reads and writes of the region's first 4096 bytes go to `read` and `write`. After each
//! // write and each frame:
//! for pending in producer.pending().collect::<Vec<_>>() {
//!     // Copy the pixels of `pending.plane` to `pending.offset` of the region, then:
//!     producer.complete(&pending, Ok(4 * size.width));
//! }
//! # Ok::<(), vfio_display::fb_region::ConfigError>(())
//! ```

mod error;
mod find;
pub mod layout;
mod page;
mod producer;
mod read;
mod status;

pub use self::error::FbRegionError;
pub use self::find::{SUBTYPE, find, find_subtype, pci_capability};
pub use self::page::{Identity, Live, Page, PlaneEntry, SlotEntry};
pub use self::producer::{BadAccess, Config, ConfigError, Frame, Pending, Producer, Shown};
pub(crate) use self::read::{read_steady, sequence};
pub use self::status::{Command, Op, Status};
