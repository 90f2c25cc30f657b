// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How much of our memory and time viewers may take.

use std::time::Duration;

/// What viewers are held to. The defaults are far beyond what people and their viewers need.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Viewers at a time. The next is closed at the end of its handshake.
    pub viewers: usize,
    /// Connections amid their handshake at a time; they take no viewer's place. Beyond it the oldest
    /// is closed of the network that has the most of them.
    pub strangers: usize,
    /// From connecting to the end of the handshake.
    pub handshake: Duration,
    /// The same for a viewer that is inside TLS and asked for a password, which a person types.
    pub password: Duration,
    /// Without the viewer taking a byte of what is there for it.
    pub stall: Duration,
    /// How long a viewer that comes first waits to be told the size of the screen, while the
    /// display wakes up and looks.
    pub first_frame: Duration,
    /// Bytes of a cut text. It is dropped as it arrives, and takes no memory.
    pub cut_text: u32,
    /// Entries of a SetEncodings.
    pub encodings: u16,
    /// Messages of a viewer in a second, but for requests for updates; beyond it what it sends
    /// waits in its socket.
    pub messages: u32,
    /// The largest side of a screen that a viewer may ask for, in pixels.
    pub side: u16,
    /// Bytes encoded ahead of what a viewer has taken. One piece of an update, of at most 512 KB
    /// and its headers, may come on top.
    pub ahead: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            viewers: 32,
            strangers: 32,
            handshake: Duration::from_secs(10),
            password: Duration::from_secs(120),
            stall: Duration::from_secs(60),
            first_frame: Duration::from_millis(500),
            cut_text: 1 << 20,
            encodings: 1024,
            messages: 2000,
            side: 16384,
            ahead: 64 << 10,
        }
    }
}
