// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A viewer's stay, for the record of who came.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use vfio_display_sinks::{Entry, Guard, Outcome};

/// Is on record from when it is made until it is dropped.
pub(crate) struct Visit {
    guard: Arc<dyn Guard>,
    from: SocketAddr,
    tls: Option<&'static str>,
    since: Instant,
}

impl Visit {
    pub(crate) fn new(guard: Arc<dyn Guard>, from: SocketAddr, tls: Option<&'static str>) -> Self {
        let visit = Self { guard, from, tls, since: Instant::now() };
        visit.note(Outcome::Entered);
        visit
    }

    fn note(&self, outcome: Outcome<'_>) {
        let Self { guard, from, tls, since } = self;
        let (protocol, from, tls, after) = ("websocket", *from, *tls, since.elapsed());
        guard.audit(&Entry { protocol, from, tls, user: None, outcome, after });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        self.note(Outcome::Left(&"the connection is closed"));
    }
}
