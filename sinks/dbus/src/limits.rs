// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How much of our memory and time clients may take.

use std::time::Duration;

/// What clients are held to. The defaults are far beyond what people and their viewers need.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Listeners at a time, those amid their handshake included; the next is refused.
    pub listeners: usize,
    /// Connections to the socket at a time; the next is closed.
    pub peers: usize,
    /// Clients that hold keys or buttons down at a time; those of the next are not taken.
    pub holders: usize,
    /// From a connection to the end of its handshake.
    pub handshake: Duration,
    /// From a call to a listener to its answer. A listener that takes longer is let go of.
    pub stall: Duration,
    /// Bytes of a message that a client sends; one that says it is longer ends its connection.
    pub message: usize,
    /// Bytes of pixels in a call, but for a whole screen's, which is one call.
    pub pixels: usize,
    /// The largest side of a screen that a client may ask for, in pixels.
    pub side: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            listeners: 32,
            peers: 32,
            holders: 64,
            handshake: Duration::from_secs(10),
            stall: Duration::from_secs(60),
            message: 64 << 10,
            pixels: 4 << 20,
            side: 16384,
        }
    }
}
