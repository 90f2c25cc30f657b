// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Devices to test against: a mock mdev with the quirks of real drivers, faults on purpose, a
//! test card, and the part of the guest.
//!
//! ```
//! use vfio_display::device::{GfxDevice as _, PlaneKind, PlaneType};
//! use vfio_display::geometry::Size;
//! use vfio_display::testing::{Mock, Personality};
//!
//! let mock = Mock::new(Personality::Region, Size::new(640, 480))?; // the driver and its guest
//! mock.show_card(0)?;
//! let device = mock.clone(); // the host
//! let info = device.query_plane(PlaneType::Primary, PlaneKind::Region)?;
//! assert_eq!((info.width, info.height), (640, 480));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What each personality plays
//!
//! | driver | what it does |
//! |---|---|
//! | `well-behaved` | dma-bufs that can be mapped, page-aligned sizes, ids that are never reused and gone (ENOENT) with their mode; a cursor with sign and hotspot; EDID in region 9 |
//! | `region` | the same out of regions 10 (screen) and 11 (cursor) |
//! | `mdpy` | 9 regions and the plane in region 16; every plane type answered with the screen; a size that is a power of two; mapped from the region's start only; reads and writes of it ignore the offset; never off, one mode; reset paints it grey |
//! | `mbochs` | ENOMEM at the first query of each mode and offset; ids by format, geometry and offset, kept for ever; mapping refused; off unless 32 bits and 64 pixels a side; sizes that are not page-aligned; export EINVAL where the start is not page-aligned, ENOENT for an unknown id; region answers longer than 48 bytes EINVAL; EDID registers that take anything; reads and writes of video memory two pages off; VBE registers in BAR 2 |
//! | `mbochs-rw` | the same, but mapping works |
//! | `gvt-g` | off leaves the answer untouched; EFAULT, EINVAL in turn at the first query after a mode change; a cursor's sign dropped, hotspot all ones for none; mapping refused; the smallest free id reused once a dma-buf is closed; overlay query EINVAL, unknown id EINVAL; sizes rounded to rows of tiles; EDID region of 128 bytes with its blob at 2048, size before blob |
//! | `nvidia` | 9 regions and the plane in region 9, whose info comes with the full-size call only; stride aligned to 128 and the width that it makes; black where stride times height is no multiple of 4096; off until a guest sets a mode |
//! | `vfio-pci` | region 8 EINVAL; plane queries ENOTTY |
//!
//! # Where it differs from them
//!
//! - `mmap(2)` of a dma-buf that cannot be mapped says EACCES; mbochs says EINVAL, GVT-g ENODEV.
//!   No file of user space has a size and says those.
//! - Without `/dev/udmabuf` a dma-buf is a sealed memfd: `DMA_BUF_IOCTL_SYNC` says ENOTTY. With
//!   it, and where it can be mapped, it is a real one, its size whole pages.
//! - A memfd cannot share pages with `mbochs`' video memory, so its dma-buf is brought up to date
//!   at each plane query and each `draw`, not at once. With udmabuf it is the same memory.
//! - `gvt-g` needs no KVM, and keeps its pixels linear whatever modifier a mode says.

mod answers;
pub mod card;
mod drawing;
mod edid;
mod encode;
mod engine;
mod faulty;
mod fb_mock;
pub mod guest;
mod layout;
mod memory;
mod mock;
mod mode;
mod op;
mod paint;
mod pci;
mod personality;
mod planes;
mod recorder;
pub mod rng;
pub mod rows;
mod scene;
mod state;
mod vbe;

pub use self::edid::EdidWrite;
pub use self::engine::Engine;
pub use self::faulty::Faulty;
pub use self::fb_mock::{FB_IRQ, FB_REGION, FbCounts, FbMock, FbOptions};
pub use self::mock::Mock;
pub use self::mode::Mode;
pub use self::op::Op;
pub use self::personality::{Personality, UnknownPersonality};
pub use self::planes::KernelBug;
pub use self::recorder::{Recorder, Shown, ShownCursor, ShownDmabuf};
pub use self::scene::Scene;
