// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who comes in: from the listeners, through the handshake, to a place among the viewers.

use std::cmp::Reverse;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use vfio_display_sinks::{Denied, Stream};

use super::{ACCEPT_AGAIN, Worker};
use crate::client::Client;
use crate::error::Error;
use crate::gate::Gate;
use crate::server::Notice;
use crate::session::Session;

impl Worker {
    pub(super) fn accept(&mut self, index: usize, now: Instant) {
        // A few at a time: those that are here come first.
        for _ in 0..4 {
            match self.listeners[index].accept() {
                Ok((stream, from)) => self.add(stream, from),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.accept_at = Some(now + ACCEPT_AGAIN);
                    return;
                }
            }
        }
    }

    pub(super) fn add(&mut self, stream: Box<dyn Stream>, from: Option<SocketAddr>) {
        let options = &self.shared.options;
        self.next_id += 1;
        let id = self.next_id;
        options.note(Notice::Came { viewer: id });
        let session = Session::new(
            options.limits,
            Arc::clone(&options.name),
            options.resize && !options.view_only,
        );
        let gate = options.guard.clone().zip(from).map(|(guard, from)| Gate::new(guard, from));
        let now = Instant::now();
        let mut client = Client::new(id, stream, gate, session, options.limits, now);
        match client.send(now) {
            Ok(_) => self.clients.push(client),
            Err(error) => return self.leave(&mut client, Some(&error)),
        }
        self.make_room();
    }

    /// Sends one away who is amid his handshake, if there are too many: of the network that has most
    /// of them, first those who are not inside TLS, and of these the one who came first. So a flood
    /// makes room for itself, and whoever comes from elsewhere stays.
    fn make_room(&mut self) {
        let most = self.shared.options.limits.strangers;
        let strangers = || self.clients.iter().filter(|client| !client.is_looking());
        if strangers().count() <= most {
            return;
        }
        let of = |network| strangers().filter(|client| client.network() == network).count();
        let first =
            |client: &Client| (of(client.network()), client.tls().is_none(), Reverse(client.id));
        let oldest = (self.clients.iter().enumerate())
            .filter(|(_, client)| !client.is_looking())
            .max_by_key(|(_, client)| first(client));
        if let Some((index, _)) = oldest {
            self.dismiss(index, Error::TooManyStrangers(most));
        }
    }

    /// A viewer is through its handshake: whether there is a place for it.
    pub(super) fn admit(&mut self, index: usize, now: Instant) -> Result<(), Error> {
        let viewers = self.clients.iter().filter(|client| client.is_looking()).count() - 1;
        if viewers >= self.shared.options.limits.viewers {
            return Err(Error::TooManyViewers(viewers));
        }
        self.clients[index].enter(now);
        Ok(())
    }

    /// A password has been checked. Who sent it may be gone by now.
    pub(super) fn answer(&mut self, viewer: u64, verdict: Result<(), Denied>) {
        let Some(index) = self.clients.iter().position(|client| client.id == viewer) else {
            return;
        };
        if let Err(error) = self.clients[index].answer(verdict, Instant::now()) {
            self.dismiss(index, error);
        }
    }
}
