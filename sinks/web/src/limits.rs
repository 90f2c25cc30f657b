// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How much of our memory and time strangers may take.

use std::time::Duration;

/// What connections are held to. The defaults are far beyond what browsers need.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections that have asked for nothing yet, or take their answer. For one more, that which
    /// has been here longest goes.
    pub connections: usize,
    /// From connecting to the end of a request, and from there to the end of the answer.
    pub request: Duration,
    /// Bytes of a request, all headers included.
    pub head: usize,
    /// How long what a client still sends after its answer is read, so that it gets to see it.
    pub linger: Duration,
    /// Bytes of a message of a WebSocket's client.
    pub message: usize,
    /// Browsers that may come back without a link. For one more, that which was seen last longest
    /// ago is forgotten.
    pub sessions: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            request: Duration::from_secs(10),
            head: 8 << 10,
            linger: Duration::from_secs(1),
            message: 256 << 10,
            sessions: 64,
        }
    }
}
