// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The fw_cfg device of QEMU, for any VMM.
//!
//! Firmware asks it what the machine is made of, and tells it where things are: ACPI tables,
//! option ROMs and kernels go in, the framebuffer of a boot display comes out. This crate is the
//! device alone. It opens nothing, starts no thread, and knows no display.
//!
//! ```text
//!  guest ──► bus ──► FwCfg ──► items: bytes, generated, or written by the guest
//!            ports,   │
//!            MMIO     └── DMA in and out of guest memory (vm-memory)
//! ```
//!
//! Source of every layout: `docs/specs/fw_cfg.rst` of QEMU, and its `hw/nvram/fw_cfg.c` where the
//! text is silent. `<linux/qemu_fw_cfg.h>` has the same numbers.
//!
//! # Example
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::sync::Arc;
//! use vfio_display_fw_cfg::{FwCfg, Item};
//! use vm_memory::{GuestAddress, GuestMemoryMmap};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 1 << 20)])?;
//! let written = Arc::new(AtomicBool::new(false));
//! let notice = Arc::clone(&written);
//!
//! let mut fw_cfg = FwCfg::new();
//! fw_cfg.add_file("etc/boot-fail-wait", Item::bytes(u32::MAX.to_le_bytes()))?;
//! fw_cfg.add_file("etc/notes", Item::writable([0; 28], move |_offset, _bytes| {
//!     notice.store(true, Ordering::Release);
//! }))?;
//!
//! // On the exits of a vCPU; ports 0x510 to 0x51b are offsets 0 to 11.
//! fw_cfg.pio_write(&memory, 0, &[0, 0]);
//! let mut letter = [0];
//! fw_cfg.pio_read(1, &mut letter);
//! assert_eq!(letter, *b"Q");
//! # Ok(())
//! # }
//! ```
//!
//! # Not hot-pluggable
//!
//! A guest reads the directory once, early, and remembers keys and sizes; nothing in the
//! interface tells it that there are more. So once it has selected the directory,
//! [`FwCfg::add_file`] is an error until [`FwCfg::reset`].
//!
//! # Trust
//!
//! The guest is not trusted. Any sequence of accesses is answered, in time and memory that are
//! bounded by the length that the guest asked for and by its own memory; what it may not do is
//! kept for [`FwCfg::take_report`], counted.

#[cfg(feature = "vm-device")]
mod bus;
mod device;
mod dma;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod item;
mod registers;
mod state;

#[cfg(feature = "vm-device")]
pub use crate::bus::BusDevice;
pub use crate::device::{FwCfg, MAX_FILES};
pub use crate::error::{AddError, GuestError, Report, RestoreError};
pub use crate::item::Item;
pub use crate::registers::{MMIO_LEN, PIO_BASE, PIO_LEN, key};
