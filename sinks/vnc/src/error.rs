// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Why a viewer was sent away, and why a server could not start.

use std::io;
use std::net::SocketAddr;

use vfio_display_sinks::Denied;

/// Why a viewer's connection can't go on. It concerns that viewer only.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first 12 bytes are not `RFB xxx.yyy\n` (RFC 6143, section 7.1.1).
    #[error("not an RFB client: it began with {0:02x?}")]
    NotRfb([u8; 12]),
    /// It chose a security type that was not offered (section 7.1.2).
    #[error("security type {0} was not offered")]
    SecurityType(u8),
    /// It speaks 3.3, which has no way to TLS.
    #[error("it speaks RFB 3.3, and TLS takes 3.7 or 3.8")]
    TooOldForTls,
    /// It speaks a version of VeNCrypt that is not served.
    #[error("VeNCrypt {0}.{1} is not served, 0.2 is")]
    VencryptVersion(u8, u8),
    /// It chose a subtype of VeNCrypt that was not offered.
    #[error("VeNCrypt subtype {0} was not offered")]
    Subtype(u32),
    /// It sent something where it had to wait for an answer: before TLS, or before it was let in.
    #[error("it went on without waiting for an answer")]
    OutOfTurn,
    /// Its password was wrong, or not looked at.
    #[error("{0}")]
    Denied(#[from] Denied),
    /// A message of a type that is unknown, or was not negotiated.
    #[error("message of unknown type {0}")]
    UnknownMessage(u8),
    /// A message that says it is longer than we accept.
    #[error("a {what} of {length}, and {limit} is the limit")]
    TooLong {
        /// Which message.
        what: &'static str,
        /// What it says; entries or bytes.
        length: u64,
        /// What is accepted, in the same unit.
        limit: u64,
    },
    /// A pixel format that makes no sense (section 7.4).
    #[error("pixel format: {0}")]
    PixelFormat(&'static str),
    /// It did not get through the handshake, or take a byte of an update, in time.
    #[error("no progress in {0}")]
    TimedOut(&'static str),
    /// There are as many viewers as the limit allows.
    #[error("{0} viewers are connected already")]
    TooManyViewers(usize),
    /// There are as many connections amid their handshake as the limit allows, and others have
    /// fewer of them.
    #[error("more than {0} connections are amid their handshake")]
    TooManyStrangers(usize),
    /// It went away.
    #[error("the viewer hung up")]
    HungUp,
    /// Its socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// Why a server does not listen where it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// Nothing protects the screen from others on the network.
    #[error(
        "{0} can be reached from other machines; without TLS and a password only loopback is served"
    )]
    NotLoopback(SocketAddr),
    /// The server has been stopped.
    #[error("the server has been stopped")]
    Stopped,
    /// The socket could not be made.
    #[error("can't listen on {at}: {source}")]
    Io {
        /// The address or path.
        at: String,
        /// What the system said.
        source: io::Error,
    },
}
