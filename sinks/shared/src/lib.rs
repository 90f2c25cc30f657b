// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the sinks of `vfio-display` that have viewers share, whatever they speak: the keyboard's
//! codes on the wire, what a viewer holds down, a copy of the pointer's shape, the connection, what
//! stands before viewers from other machines, and the socket file that only its owner can open.
//!
//! ```
//! use vfio_display::input::Event;
//! use vfio_display_sinks::{Held, scancode};
//!
//! let mut held = Held::default();
//! let code = scancode::key(0x1e).expect("the A key");
//! held.key(code, true, &mut |event| assert_eq!(event, Event::Key { code, down: true }));
//! // The viewer goes, and lets go of it.
//! held.release(&mut |event| assert_eq!(event, Event::Key { code, down: false }));
//! ```

mod guard;
mod held;
pub mod scancode;
mod shape;
mod socket_file;
mod stream;

pub use crate::guard::{Credentials, Denied, Done, Entry, Guard, Outcome, network};
pub use crate::held::Held;
pub use crate::shape::{Shape, unmultiplied};
pub use crate::socket_file::SocketFile;
pub use crate::stream::{Stream, set_up};
