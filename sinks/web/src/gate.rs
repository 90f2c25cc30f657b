// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Another way in than a link: what an embedder has of its own, such as a password.

use std::net::SocketAddr;
use std::time::Duration;

/// Judges who comes without a link. Called on the server's thread, so it must not take long.
pub trait Gate: Send + Sync {
    /// What a browser is told to ask its user for: a WWW-Authenticate header (RFC 9110, section
    /// 11.6.1), such as `Basic realm="screen"`.
    fn challenge(&self) -> String;

    /// Judges an Authorization header as it was sent.
    fn admit(&self, peer: SocketAddr, authorization: &str) -> Admission;
}

/// What a [`Gate`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Come in. A browser gets a cookie, and is not asked again.
    Granted,
    /// No; and the answer is held back for so long. Whoever waits for it holds one of
    /// [`Limits::connections`](crate::Limits::connections), and nobody waits for them.
    Refused {
        /// From the request to its answer.
        delay: Duration,
    },
}
