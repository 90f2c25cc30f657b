// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Why a server could not start, why a listener was let go of, and what a client is told.

use std::io;

/// Why a server is not where it was asked to be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// There is no such bus, or it does not take us.
    #[error("the bus{}: {source}", at.as_ref().map(|at| format!(" at {at}")).unwrap_or_default())]
    Bus {
        /// Its address; `None` for the session's.
        at: Option<String>,
        /// What went wrong.
        source: zbus::Error,
    },
    /// The socket could not be made.
    #[error("can't listen on {at}: {source}")]
    Socket {
        /// The path.
        at: String,
        /// What the system said.
        source: io::Error,
    },
    /// The server has been stopped.
    #[error("the server has been stopped")]
    Stopped,
}

/// Why a listener was let go of. It concerns that listener only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It did not get through the handshake, or answer a call, in time.
    #[error("no progress in {0}")]
    TimedOut(&'static str),
    /// It went away.
    #[error("the listener hung up")]
    HungUp,
    /// It sent something that is no D-Bus message, or its socket failed.
    #[error("the connection failed: {0}")]
    Connection(#[from] zbus::Error),
    /// The screen does not fit a message (64 MiB, D-Bus specification, "Message Format").
    #[error("a screen of {0} pixels fits no message; a listener that maps memory can have it")]
    TooLarge(vfio_display::geometry::Size),
}

/// What a client is told, by the names that QEMU gives its errors.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.qemu.Display1.Error")]
pub(crate) enum Refused {
    #[zbus(error)]
    Bus(zbus::Error),
    Failed(String),
    Invalid(String),
    Unsupported(String),
}
