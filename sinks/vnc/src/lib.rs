// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VNC server.

mod client;
mod cursor;
mod deflate;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod handshake;
mod held;
mod keysym;
mod limits;
mod listener;
mod messages;
mod no_signal;
mod pixel_format;
mod raw;
mod region;
mod scancode;
mod screen;
mod server;
mod session;
#[cfg(test)]
mod testing;
mod tight;
mod tile;
mod update;
mod wire;
mod worker;
mod zrle;

pub use crate::client::Stream;
pub use crate::cursor::Shape;
pub use crate::error::{Error, ListenError};
pub use crate::limits::Limits;
pub use crate::messages::{Encoding, Encodings};
pub use crate::pixel_format::{Channel, PixelFormat};
pub use crate::region::{MAX_RECTS, Region};
pub use crate::server::{Notice, OnNotice, Options, VncServer};
pub use crate::session::{MAX_SIDE, Said, Session, Stage};
pub use crate::tile::Scratch;
