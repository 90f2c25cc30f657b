// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! QEMU's own display protocol, D-Bus `org.qemu.Display1`, for a screen that is no QEMU's: what
//! attaches to `qemu -display dbus` attaches to this.
//!
//! ```text
//!  Display ──Frame──► DbusServer ──► one copy of the screen, in a sealed memfd    any thread
//!                                      │ damage          ▲ pixels, or the fd
//!                     ┌────────────────┘                 │                        one thread
//!                     ▼                                  │
//!  listener ◄─calls─ what it lacks ──► Scanout, Update ──┴── ScanoutMap, UpdateMap
//!  client ───calls─► Console, Keyboard, Mouse ──events──► BackChannel
//! ```
//!
//! [`DbusServer`] is a [`Sink`](vfio_display::Sink). It is on a bus by the name `org.qemu`, or at a
//! socket file of mode 0600, or both. The objects are those of a QEMU with one console. A client
//! gives a socket to `Console.RegisterListener`, and on it is called with what changes: with
//! pixels, or with the memory that they are in, where it says that it can map that. Nothing is
//! copied while nobody looks. A listener that is slow gets what is newest when it is ready, merged;
//! neither the display nor another listener waits.
//!
//! ```
//! use std::os::unix::net::UnixStream;
//! use std::io::{BufRead as _, BufReader, Write as _};
//! use std::sync::Arc;
//! use vfio_display_dbus::{DbusServer, Options};
//!
//! let server = DbusServer::start(Options::default(), Arc::new(()))?;
//! let (ours, mut theirs) = UnixStream::pair()?;
//! server.serve(ours);
//! // `display.poll(now, &mut server)` brings frames; a client is greeted without.
//! theirs.write_all(b"\0AUTH\r\n")?;
//! let mut greeting = String::new();
//! BufReader::new(theirs).read_line(&mut greeting)?;
//! assert_eq!(greeting, "REJECTED EXTERNAL\r\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod input;
mod limits;
mod listener;
mod objects;
mod screen;
mod server;
mod slot;
mod socket;
mod surface;
mod wait;
mod worker;

pub use crate::error::{ConnectError, Error};
pub use crate::limits::Limits;
pub use crate::server::{DbusServer, Notice, OnNotice, Options};
