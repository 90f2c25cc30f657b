// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! ramfb, the boot display: firmware takes a framebuffer from guest memory, and says where it is
//! by writing the file `etc/ramfb` of the fw_cfg device.
//!
//! ```text
//!  vCPU thread: fw_cfg ──► RamfbFile ─ ─ ─► Ramfb :poll loop
//!                          28 bytes         checked RamPlane ──► Picture
//! ```
//!
//! [`RamfbFile`] is the file's content: any fw_cfg device that can be written lends it the guest's
//! writes. [`Ramfb`] is the display: it looks at what was written when it is polled, checks it
//! against guest memory and copies pictures out.
//!
//! Source: `hw/display/ramfb.c` of QEMU, whose layout firmware goes by. QEMU acts on whatever
//! part of the structure was written; here a structure counts when all of it was.
//!
//! # Example
//!
//! ```
//! use vfio_display::picture::Picture;
//! use vfio_display::ramfb::{Config, Ramfb};
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 8 << 20)])?;
//! let mut ramfb = Ramfb::new();
//! let file = ramfb.file();
//!
//! // On the vCPU's thread, from the fw_cfg device:
//! let config = Config { address: 4 << 20, width: 1024, height: 768, ..Config::XRGB };
//! file.write(0, &config.to_bytes());
//!
//! // In the poll loop:
//! let mut picture = Picture::default();
//! if let Some(plane) = ramfb.poll(&memory)? {
//!     plane.copy(&memory, &mut picture)?;
//! }
//! assert_eq!(picture.size(), vfio_display::geometry::Size::new(1024, 768));
//! # Ok(())
//! # }
//! ```

mod config;
mod display;
mod file;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod plane;
mod state;

pub use config::{Config, FILE_LEN, FILE_NAME, MIN_SIDE};
pub use display::Ramfb;
pub use file::RamfbFile;
pub use plane::{RamPlane, RamfbError};
pub use state::StateError;
