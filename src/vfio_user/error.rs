// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What can be wrong with a server's messages.

/// A message that breaks the protocol. No more is read from a server that sent one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The message is neither a command nor a reply.
    #[error("message with flags {flags:#x} is neither a command nor a reply")]
    Type {
        /// Its flags.
        flags: u32,
    },
    /// It answers something else than was asked.
    #[error(
        "reply to message {} with command {}, asked was message {} with command {}",
        got.0, got.1, asked.0, asked.1
    )]
    OtherReply {
        /// Message id and command that were sent.
        asked: (u16, u16),
        /// Message id and command that came back.
        got: (u16, u16),
    },
    /// It is said to have more bytes than there can be, or fewer than there must be.
    #[error("message of {size} bytes for command {command}, there must be {least} to {most}")]
    Size {
        /// The command that it is about.
        command: u16,
        /// Its bytes as its head says.
        size: u32,
        /// Bytes that there must be.
        least: usize,
        /// Bytes that there can be.
        most: usize,
    },
    /// A read or a write was answered for another place or length.
    #[error(
        "access of {} bytes at {:#x} of region {} answered as {} at {:#x} of region {}",
        asked.2, asked.1, asked.0, got.2, got.1, got.0
    )]
    OtherAccess {
        /// Region, offset and bytes that were asked for.
        asked: (u32, u64, u32),
        /// Region, offset and bytes that were answered.
        got: (u32, u64, u32),
    },
    /// An answer is about another interrupt.
    #[error("answer is about interrupt {got}, asked was {asked}")]
    OtherIrq {
        /// The interrupt's index that was asked about.
        asked: u32,
        /// The one that was answered.
        got: u32,
    },
    /// File descriptors came with a message that has none, or more than were taken.
    #[error("message came with more than {most} file descriptors")]
    Fds {
        /// How many there may be.
        most: usize,
    },
    /// The server speaks another version.
    #[error("server speaks version {major}.{minor}, asked was {}.{}", super::MAJOR, super::MINOR)]
    Version {
        /// Its major version.
        major: u16,
        /// Its minor version.
        minor: u16,
    },
    /// The server's capabilities can't be read.
    #[error("server's capabilities: {why}")]
    Capabilities {
        /// What is wrong with them.
        why: String,
    },
    /// The server asks and asks, and does not answer.
    #[error("{requests} requests of the server's in place of an answer")]
    Chatter {
        /// Requests that came.
        requests: u32,
    },
}
