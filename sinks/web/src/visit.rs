// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is written down of those who come through a guard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use vfio_display_sinks::{Entry, Guard, Outcome};

use crate::sessions::User;

/// A connection, for the record: one line when it is refused or never asks for anything, one when it
/// becomes a viewer's, and one when that is gone. Files of the page are no visit.
pub(crate) struct Visit {
    guard: Arc<dyn Guard>,
    pub(crate) from: SocketAddr,
    since: Instant,
    pub(crate) tls: Option<&'static str>,
    pub(crate) user: User,
    stage: Stage,
}

enum Stage {
    /// It has not been answered.
    Stranger,
    /// It was answered, and that is not worth a line.
    Answered,
    Viewer,
}

impl Visit {
    pub(crate) const fn new(guard: Arc<dyn Guard>, from: SocketAddr, since: Instant) -> Self {
        Self { guard, from, since, tls: None, user: None, stage: Stage::Stranger }
    }

    /// It gets what it asks for.
    pub(crate) fn answered(&mut self) {
        self.stage = Stage::Answered;
    }

    /// It does not, and hears `why`.
    pub(crate) fn refused(&mut self, why: &str) {
        self.write_down(Outcome::Refused(&why));
        self.stage = Stage::Answered;
    }

    /// It is a viewer from now on.
    pub(crate) fn enters(&mut self) {
        self.write_down(Outcome::Entered);
        self.stage = Stage::Viewer;
    }

    fn write_down(&self, outcome: Outcome<'_>) {
        self.guard.audit(&Entry {
            protocol: "web",
            from: self.from,
            tls: self.tls,
            user: self.user.as_deref(),
            outcome,
            after: self.since.elapsed(),
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        match self.stage {
            Stage::Stranger => self.write_down(Outcome::Refused(&"no request that made sense")),
            Stage::Answered => {}
            Stage::Viewer => self.write_down(Outcome::Left(&"the connection has ended")),
        }
    }
}
