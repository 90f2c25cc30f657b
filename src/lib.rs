// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The screen of a VFIO device.

mod blit;
pub mod convert;
mod cursor;
pub mod damage;
pub mod device;
pub mod display;
pub mod dmabuf;
pub mod edid;
pub mod error;
pub mod format;
pub mod frame;
pub mod geometry;
#[cfg(feature = "host")]
pub mod host;
pub mod input;
pub mod picture;
pub mod plane;
pub mod quirk;
pub mod region;
mod scanout;
pub mod schedule;
mod screen;
pub mod sink;
pub mod survey;
mod sys;
#[cfg(feature = "testing")]
pub mod testing;
pub mod uapi;

pub use crate::display::{Display, Look, Poll, PollError};
pub use crate::error::{Errno, Error, Result};
pub use crate::frame::{Cursor, Frame};
pub use crate::picture::Picture;
pub use crate::sink::Sink;
pub use crate::sys::Mapping;
#[cfg(feature = "testing")]
pub use crate::sys::WritableMapping;
