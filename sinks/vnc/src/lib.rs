// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VNC server (RFB, RFC 6143) for a screen that changes by itself, as a guest's does.
//!
//! ```text
//!  Display ──Frame──► VncServer ──► two copies of the screen, at most        any thread
//!                                     │ damage        ▲ picture
//!                    ┌────────────────┘               │                      one thread
//!                    ▼                                │
//!  viewer ◄─bytes─ Session: what it lacks ──► update ─┴► ZRLE │ Tight │ Raw
//!     └────bytes──► Session ──events──► BackChannel
//! ```
//!
//! [`VncServer`] is a [`Sink`](vfio_display::Sink). It takes viewers from TCP, from a
//! socket file of mode 0600, or from the embedder, as any stream with an fd. Nothing is copied or
//! encoded while nobody looks. A viewer that is slow gets what is newest when it is ready, merged;
//! nothing is queued for it, and neither the display nor another viewer waits.
//!
//! [`Session`] is one viewer's protocol without sockets, threads or clock, for those who have
//! their own: bytes in, events and bytes out.
//!
//! Versions 3.3, 3.7 and 3.8; 8, 16 and 32 bits a pixel; DesktopSize, ExtendedDesktopSize with
//! SetDesktopSize, Cursor, Cursor With Alpha, LastRect, QEMU Extended Key Event, Fence and
//! ContinuousUpdates. All of it is lossless. The security type is None, for this machine or user
//! alone, or with [`Options::guard`] VeNCrypt X509None or X509Plain. No JPEG, no clipboard, no sound.
//!
//! ```
//! use std::net::TcpStream;
//! use std::io::Read;
//! use std::sync::Arc;
//! use vfio_display_vnc::{Options, VncServer};
//!
//! let server = VncServer::start(Options::default(), Arc::new(()))?;
//! let at = server.listen_tcp("127.0.0.1:0".parse()?)?;
//! // `display.poll(now, &mut server)` brings frames; a viewer is greeted without.
//! let mut greeting = [0; 12];
//! TcpStream::connect(at)?.read_exact(&mut greeting)?;
//! assert_eq!(&greeting, b"RFB 003.008\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod cursor;
mod deflate;
mod entrance;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod handle;
mod handshake;
mod held;
mod keysym;
mod limits;
mod listener;
mod messages;
mod pixel_format;
mod pixels;
mod raw;
mod region;
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

pub use crate::entrance::{Awaits, Security};
pub use crate::error::{Error, ListenError};
pub use crate::handle::Handle;
pub use crate::limits::Limits;
pub use crate::messages::{Encoding, Encodings};
pub use crate::pixel_format::{Channel, PixelFormat};
pub use crate::region::{MAX_RECTS, Region};
pub use crate::server::{Notice, OnNotice, Options, VncServer};
pub use crate::session::{MAX_SIDE, Said, Session, Stage};
pub use crate::tile::Scratch;
pub use vfio_display_sinks::{Credentials, Denied, Guard, Shape, Stream};
