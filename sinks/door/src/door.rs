// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! TLS, passwords and delays as one thing to put before servers.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use vfio_display_sinks::{Credentials, Denied, Done, Entry, Guard, Stream};

use crate::password::{LONGEST, Passwords};
use crate::stream::TlsStream;
use crate::throttle::{Patience, Throttle};
use crate::tls::Identity;

/// Passwords that wait to be checked.
const CHECKS: usize = 16;

/// Tells the time by which tries are counted.
pub type Clock = Arc<dyn Fn() -> Instant + Send + Sync>;

/// Hears of each connection.
pub type OnEntry = Arc<dyn Fn(&Entry<'_>) + Send + Sync>;

/// What a door is like.
#[derive(Clone)]
pub struct Options {
    /// Who the server is.
    pub identity: Identity,
    /// Who is let in; everybody without it, which is for this machine only.
    pub passwords: Option<Passwords>,
    /// How wrong ones are answered.
    pub patience: Patience,
    /// The time; [`Instant::now`], but in tests.
    pub clock: Clock,
    /// Who hears of each connection.
    pub on_entry: Option<OnEntry>,
}

impl Options {
    /// A door that everybody may pass who speaks TLS.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            passwords: None,
            patience: Patience::default(),
            clock: Arc::new(Instant::now),
            on_entry: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { identity, passwords, patience, .. } = self;
        let passwords = passwords.is_some();
        write!(f, "Options {{ {identity:?}, passwords: {passwords}, {patience:?} }}")
    }
}

/// What stands before the viewers of one server or several, which count tries together.
///
/// Passwords are checked by a thread of its own, one at a time: to check one is made to be slow,
/// and neither other viewers nor more than a core are to pay for it.
pub struct Door {
    options: Options,
    shared: Arc<Shared>,
    checks: Option<SyncSender<Check>>,
}

struct Shared {
    throttle: Mutex<Throttle>,
    clock: Clock,
}

struct Check {
    from: IpAddr,
    credentials: Credentials,
    done: Done,
}

impl Door {
    /// Starts the thread that checks passwords, if there are any.
    ///
    /// # Errors
    ///
    /// There are no more threads.
    pub fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            throttle: Mutex::new(Throttle::new(options.patience)),
            clock: Arc::clone(&options.clock),
        });
        let checks = match &options.passwords {
            Some(passwords) => {
                let (sender, receiver) = sync_channel(CHECKS);
                let (passwords, shared) = (passwords.clone(), Arc::clone(&shared));
                // It ends with the sender. Nobody waits for that: the last one to have the door may
                // be this very thread.
                thread::Builder::new()
                    .name("door".into())
                    .spawn(move || check_all(&receiver, &passwords, &shared))?;
                Some(sender)
            }
            None => None,
        };
        Ok(Self { options, shared, checks })
    }

    /// Who the server is.
    pub const fn identity(&self) -> &Identity {
        &self.options.identity
    }

    /// Puts TLS over a connection.
    ///
    /// # Errors
    ///
    /// There are no random numbers.
    pub fn accept<S: Stream>(&self, stream: S) -> io::Result<TlsStream<S>> {
        TlsStream::new(stream, &self.options.identity)
    }
}

impl Guard for Door {
    fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.accept(stream)?))
    }

    fn wants_password(&self) -> bool {
        self.checks.is_some()
    }

    fn check(&self, from: IpAddr, credentials: Credentials, done: Done) -> Result<(), Denied> {
        let checks = self.checks.as_ref().ok_or(Denied::Wrong)?;
        let now = (self.shared.clock)();
        self.shared.throttle().begin(from, now).map_err(Denied::TooSoon)?;
        if credentials.user.len() > LONGEST || credentials.password.len() > LONGEST {
            return Err(Denied::Wrong);
        }
        checks.try_send(Check { from, credentials, done }).map_err(|_| {
            self.shared.throttle().take_back(from, now);
            Denied::Busy
        })
    }

    fn audit(&self, entry: &Entry<'_>) {
        if let Some(on_entry) = &self.options.on_entry {
            on_entry(entry);
        }
    }
}

impl Shared {
    fn throttle(&self) -> MutexGuard<'_, Throttle> {
        self.throttle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_all(checks: &Receiver<Check>, passwords: &Passwords, shared: &Shared) {
    while let Ok(Check { from, credentials, done }) = checks.recv() {
        let right = passwords.verify(&credentials);
        drop(credentials);
        if right {
            let now = (shared.clock)();
            shared.throttle().take_back(from, now);
        }
        done(if right { Ok(()) } else { Err(Denied::Wrong) });
    }
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Door({:?})", self.options)
    }
}
