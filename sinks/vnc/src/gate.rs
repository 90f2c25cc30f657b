// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer from elsewhere goes through, and what is written down of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use vfio_display_sinks::{Credentials, Denied, Done, Entry, Guard, Outcome, Stream};

use crate::entrance::Security;
use crate::error::Error;

/// A guard, and whom it looks at.
pub(crate) struct Gate {
    guard: Arc<dyn Guard>,
    pub(crate) from: SocketAddr,
    user: Option<Vec<u8>>,
    /// It has been written down as a viewer.
    entered: bool,
}

impl Gate {
    pub(crate) const fn new(guard: Arc<dyn Guard>, from: SocketAddr) -> Self {
        Self { guard, from, user: None, entered: false }
    }

    pub(crate) fn security(&self) -> Security {
        if self.guard.wants_password() { Security::X509Plain } else { Security::X509None }
    }

    pub(crate) fn secure(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>, Error> {
        Ok(self.guard.secure(stream)?)
    }

    pub(crate) fn check(&mut self, credentials: Credentials, done: Done) -> Result<(), Denied> {
        self.user = Some(credentials.user.clone());
        self.guard.check(self.from.ip(), credentials, done)
    }

    pub(crate) fn enter(&mut self, tls: Option<&'static str>, after: Duration) {
        if !self.entered {
            self.entered = true;
            self.audit(tls, after, Outcome::Entered);
        }
    }

    pub(crate) fn leave(&self, tls: Option<&'static str>, after: Duration, why: Option<&Error>) {
        let why: &dyn fmt::Display = why.map_or(&"the server stopped", |why| why);
        let outcome = if self.entered { Outcome::Left(why) } else { Outcome::Refused(why) };
        self.audit(tls, after, outcome);
    }

    fn audit(&self, tls: Option<&'static str>, after: Duration, outcome: Outcome<'_>) {
        let user = self.user.as_deref();
        let entry = Entry { protocol: "vnc", from: self.from, tls, user, outcome, after };
        self.guard.audit(&entry);
    }
}
