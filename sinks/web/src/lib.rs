// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A web page for screens that change, and RFB over WebSocket for whoever has a page of their own.
//!
//! ```text
//!  browser ──HTTP──► WebServer: the page, who may come in ──┐            one thread
//!     └────WebSocket, which carries RFB─────────────────────┴─► VncServer ◄── Display
//! ```
//!
//! A [`WebServer`] shows what [`VncServer`](vfio_display_vnc::VncServer)s show: each is published
//! under a name, and viewers that come by WebSocket are handed to it. So there is one protocol and
//! one server, whatever a viewer is.
//!
//! Who has the link comes in, once; a cookie is what it comes back with. Requests have to be meant
//! for this server (`Host`) and WebSockets to come from its own page (`Origin`); the page loads
//! nothing from elsewhere. Requests, connections and the time they take are bounded
//! ([`Limits`]).
//!
//! No HTTP/2, no keep-alive, no compression: the page is 44 KB, once.
//!
//! ```
//! use std::io::{Read as _, Write as _};
//! use std::net::TcpStream;
//! use std::sync::Arc;
//! use vfio_display_vnc::VncServer;
//! use vfio_display_web::{Options, WebServer};
//!
//! let vnc = VncServer::start(Default::default(), Arc::new(()))?;
//! let web = WebServer::start(Options::default())?;
//! let at = web.listen_tcp("127.0.0.1:0".parse()?)?;
//! web.publish("vm1", "The first machine", vnc.handle());
//!
//! let link = web.link().expect("it listens");
//! let path = link.trim_start_matches(&format!("http://{at}")).to_owned();
//! let mut answer = String::new();
//! let mut stream = TcpStream::connect(at)?;
//! write!(stream, "GET {path} HTTP/1.1\r\nHost: {at}\r\n\r\n")?;
//! stream.read_to_string(&mut answer)?;
//! assert!(answer.starts_with("HTTP/1.1 303 See Other\r\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod authority;
mod connection;
mod displays;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod page;
mod request;
mod response;
mod routes;
mod server;
mod sessions;
mod visit;
mod websocket;
mod worker;

pub use crate::limits::Limits;
pub use crate::server::{Metrics, OnLink, Options, WebServer};
pub use vfio_display_sinks::Guard;
pub use vfio_display_vnc::ListenError;
