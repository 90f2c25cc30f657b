// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What stands between a network and the viewers of a screen, whatever their server speaks.
//!
//! ```text
//!  TCP ─► TlsStream ─► a server's protocol ─► name and password ─► Throttle ─► Passwords ─► viewer
//!         Identity                                                   │ too soon   │ wrong
//!                                                                    └──► refused ◄┘
//! ```
//!
//! [`Door`] is all of it as a [`Guard`](vfio_display_sinks::Guard), which servers are given. TLS 1.2
//! and 1.3 by `rustls`; a certificate of one's own, or one that is made on first use and known by
//! its [`Fingerprint`]. Passwords are kept as argon2id hashes. Wrong ones cost a network a delay
//! that grows, by a clock that the embedder may own.
//!
//! ```
//! use std::sync::{Arc, mpsc};
//! use vfio_display_door::{Door, Identity, Options, Passwords};
//! use vfio_display_sinks::{Credentials, Denied, Guard as _};
//!
//! let directory = tempfile::tempdir()?;
//! let file = directory.path().join("passwords");
//! Passwords::set(&file, Some("anna"), b"correct horse battery staple")?;
//!
//! let identity = Identity::kept_in(directory.path(), &["localhost".into()])?;
//! println!("sha256 {}", identity.fingerprint());
//! let passwords = Some(Passwords::read(&file)?);
//! let door = Door::start(Options { passwords, ..Options::new(identity) })?;
//!
//! // A server does this with what a viewer said.
//! let (sender, outcome) = mpsc::channel();
//! let credentials = Credentials { user: b"anna".into(), password: b"guess".to_vec().into() };
//! let done = Box::new(move |result| sender.send(result).unwrap());
//! door.check("192.0.2.1".parse()?, credentials, done)?;
//! assert_eq!(outcome.recv()?, Err(Denied::Wrong));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod door;
mod password;
mod stream;
mod throttle;
mod tls;

pub use crate::door::{Clock, Door, OnEntry, Options};
pub use crate::password::{LONGEST, PasswordError, Passwords};
pub use crate::stream::TlsStream;
pub use crate::throttle::{Patience, Throttle};
pub use crate::tls::{Fingerprint, Identity, TlsError};
