// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The server: a handle, and a thread for the connections.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use vfio_display_sinks::Guard;
use vfio_display_vnc::{Handle, ListenError};

use crate::displays::Displays;
use crate::limits::Limits;
use crate::sessions::Sessions;
use crate::worker::Worker;

/// Is told a link: a person may follow it, once.
pub type OnLink = Arc<dyn Fn(&str) + Send + Sync>;

/// Makes a text of numbers for Prometheus (exposition format 0.0.4).
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What a server is like.
#[derive(Clone, Default)]
pub struct Options {
    /// Names that it has beside its address, as a proxy before it may use: `NAME` or `NAME:PORT`.
    pub hosts: Vec<String>,
    /// Origins whose pages may connect as well, as `https://console.example`.
    pub origins: Vec<String>,
    /// What stands before it: TLS, and where it wants passwords another way in than a link. Without
    /// one that does, only loopback is listened on.
    pub guard: Option<Arc<dyn Guard>>,
    /// What connections are held to.
    pub limits: Limits,
    /// What `/metrics` says.
    pub metrics: Option<Metrics>,
    /// Hears of the next link once one was used, on the server's thread.
    pub on_link: Option<OnLink>,
}

impl Options {
    /// Connections are by TLS: links begin with https, and cookies stay with it.
    pub(crate) fn is_secure(&self) -> bool {
        self.guard.is_some()
    }

    /// What checks passwords, if that is a way in.
    pub(crate) fn passwords(&self) -> Option<&Arc<dyn Guard>> {
        self.guard.as_ref().filter(|guard| guard.wants_password())
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("hosts", &self.hosts)
            .field("origins", &self.origins)
            .field("guard", &self.guard.is_some())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What the server's handle and its thread share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) wake: OwnedFd,
    pub(crate) stop: AtomicBool,
    displays: Mutex<Displays>,
    sessions: Mutex<Sessions>,
    /// Those that the thread has not taken.
    listeners: Mutex<Vec<TcpListener>>,
    /// Where it listens first: what links lead to.
    at: Mutex<Option<SocketAddr>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    pub(crate) fn displays(&self) -> MutexGuard<'_, Displays> {
        lock(&self.displays)
    }

    pub(crate) fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.sessions)
    }

    pub(crate) fn take_listeners(&self) -> Vec<TcpListener> {
        std::mem::take(&mut lock(&self.listeners))
    }

    /// A browser sends the cookies of a host to each of its ports, so that servers side by side
    /// need names of their own.
    pub(crate) fn cookie_name(&self) -> String {
        let prefix = if self.options.is_secure() { "__Host-" } else { "" };
        let port = lock(&self.at).map_or(0, |at| at.port());
        format!("{prefix}vfio-display-{port}")
    }

    fn link(&self) -> Option<String> {
        let mut at = (*lock(&self.at))?;
        if at.ip().is_unspecified() {
            // All addresses, one of which is this machine's own name for itself.
            at.set_ip(if at.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        let scheme = if self.options.is_secure() { "https" } else { "http" };
        Some(format!("{scheme}://{at}/?token={}", self.sessions().token().as_str()))
    }

    /// Uses a link up. The next one is told.
    pub(crate) fn redeem(&self, token: &str) -> io::Result<bool> {
        let redeemed = self.sessions().redeem(token)?;
        if let (true, Some(on_link), Some(link)) = (redeemed, &self.options.on_link, self.link()) {
            on_link(&link);
        }
        Ok(redeemed)
    }

    pub(crate) fn wake(&self) {
        // Full would mean that it is woken anyhow.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

/// A web server for displays that VNC servers show.
///
/// One thread answers requests, and ends when this is dropped. What becomes a viewer is handed to
/// its VNC server, and stays.
pub struct WebServer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl WebServer {
    /// Starts the server's thread. Nobody can connect yet, and there is nothing to see.
    ///
    /// # Errors
    ///
    /// There are no more fds, threads, or random numbers.
    pub fn start(options: Options) -> io::Result<Self> {
        let sessions = Sessions::new(options.limits.sessions)?;
        let shared = Arc::new(Shared {
            options,
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            stop: AtomicBool::new(false),
            displays: Mutex::default(),
            sessions: Mutex::new(sessions),
            listeners: Mutex::default(),
            at: Mutex::default(),
        });
        let worker = Worker::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("web".into()).spawn(|| worker.run())?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Listens on a TCP port, any that is free where it is 0. Returns the address to connect to.
    ///
    /// # Errors
    ///
    /// [`ListenError::NotLoopback`], unless [`Options::guard`] wants passwords; [`ListenError::Io`]
    /// where the port is taken.
    pub fn listen_tcp(&self, at: SocketAddr) -> Result<SocketAddr, ListenError> {
        if self.shared.options.passwords().is_none() && !at.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback(at));
        }
        let listen = || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            let at = listener.local_addr()?;
            Ok((listener, at))
        };
        let failed = |source| ListenError::Io { at: at.to_string(), source };
        let (listener, at) = listen().map_err(failed)?;
        lock(&self.shared.at).get_or_insert(at);
        lock(&self.shared.listeners).push(listener);
        self.shared.wake();
        Ok(at)
    }

    /// Shows a display, by a name for addresses and a title for people. One of the same name goes;
    /// those who look at it stay until its server stops.
    pub fn publish(&self, name: &str, title: &str, server: Handle) {
        self.shared.displays().publish(name, title, server);
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Shows it no more; whether there was one of this name.
    pub fn withdraw(&self, name: &str) -> bool {
        self.shared.displays().withdraw(name)
    }

    /// A link that lets a person in, once. It is the same until it is used; `None` where nothing is
    /// listened on.
    pub fn link(&self) -> Option<String> {
        self.shared.link()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.shared.wake();
        if let Some(thread) = self.thread.take() {
            // It panicked, if at all, on its own.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for WebServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let displays = self.shared.displays();
        write!(f, "WebServer {{ {displays:?}, {:?} }}", self.shared.options)
    }
}
