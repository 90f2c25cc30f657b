// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The screen of a VFIO device: a vGPU, a mediated device, anything that answers
//! `VFIO_DEVICE_QUERY_GFX_PLANE`.
//!
//! ```text
//!  kernel ──► device ──► plane ──► scanout ──► damage ──► frame ──► sink      time ──► schedule
//!             an fd,     checked   region or    tiles,     lent      yours
//!             a mock     numbers   dma-buf      rectangles
//! ```
//!
//! From below to above:
//!
//! - [`device`]: the seam below. [`RegionDevice`](device::RegionDevice) and
//!   [`GfxDevice`](device::GfxDevice), and [`Vfio`](device::Vfio) over any fd that you have.
//! - [`region`], [`plane`]: what a device says of itself, unchecked numbers made checked types.
//! - [`dmabuf`], [`convert`], [`damage`]: pixels, in 15 formats, and what of them changed.
//! - [`frame`], [`sink`], [`input`]: the seam above, and the way back.
//! - [`Display`]: all of it behind [`poll`](Display::poll), at times that [`schedule`] tells.
//! - `vfio_user`: a device in another process, behind a socket.
//! - `ramfb`, `dirty_log`: the boot display, in guest memory, and what a guest's CPUs drew there.
//! - [`survey`], [`quirk`]: for authors of drivers. `host`: for a command. `testing`: for tests.
//! - `syscalls`: what all of this asks of the kernel, for a filter.
//!
//! ```
//! # #[cfg(feature = "testing")] {
//! use vfio_display::geometry::Size;
//! use vfio_display::testing::{Mock, Personality};
//! use vfio_display::{Display, Look};
//!
//! let device = Mock::new(Personality::Mdpy, Size::new(640, 480))?;
//! let mut display = Display::new(device)?;
//! let Look::Live(plane, picture) = display.look()? else { panic!("it is on") };
//! assert_eq!(plane.fourcc.to_string(), "XR24");
//! assert_eq!(picture.size(), Size::new(640, 480));
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! It starts no thread, sets no timer and reads no clock. It opens no device unless you ask
//! `host` to. What a device says is checked before it is used, and memory that others write is
//! copied out, never borrowed. It reads linear RGB; of other formats it hands on the dma-buf.
//!
//! # Features
//!
//! None is on by default. `vfio-ioctls` lends the fd of a `VfioDevice`, `host` lists, opens and
//! borrows devices, `kvm` attaches those to a KVM VFIO device and reads KVM's dirty log, `ramfb` is
//! the boot display, `vfio-user` attaches devices of other processes, `testing` is the mock.

mod blit;
mod capture;
pub mod convert;
mod cursor;
pub mod damage;
pub mod device;
#[cfg(feature = "ramfb")]
pub mod dirty_log;
pub mod display;
pub mod dmabuf;
pub mod edid;
pub mod error;
pub mod fb_region;
mod font;
pub mod format;
pub mod frame;
pub mod geometry;
#[cfg(feature = "host")]
pub mod host;
pub mod input;
pub mod notice;
pub mod picture;
pub mod plane;
pub mod quirk;
#[cfg(feature = "ramfb")]
pub mod ramfb;
pub mod region;
mod scanout;
pub mod schedule;
mod screen;
pub mod sink;
pub mod survey;
mod sys;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub mod syscalls;
#[cfg(feature = "testing")]
pub mod testing;
pub mod uapi;
#[cfg(feature = "vfio-user")]
pub mod vfio_user;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub use crate::blit::fuzz as blit_fuzz;
pub use crate::blit::{Band, Detection, Memory, Scanner, Visitor, Workers};
pub use crate::display::{Display, Look, Poll, PollError};
pub use crate::dmabuf::DmabufFrame;
pub use crate::error::{Errno, Error, Result};
pub use crate::frame::{Cursor, Frame};
pub use crate::picture::Picture;
pub use crate::sink::Sink;
pub use crate::sys::{Mapping, WritableMapping};
