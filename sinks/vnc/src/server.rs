// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The server: a handle for the display's side, and a thread for the viewers' side.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rustix::event::{EventfdFlags, eventfd};
use vfio_display::input::BackChannel;
use vfio_display::notice;
use vfio_display::sink::{Sink, SinkError, Takes};
use vfio_display::{Cursor, Frame};

use crate::error::{Error, ListenError};
use crate::handle::Handle;
use crate::limits::Limits;
use crate::listener::Listener;
use crate::screen::Screen;
use crate::worker::{Order, Shared, Worker};
use vfio_display_sinks::{Guard, Shape, Stream};

/// Something about a viewer that an operator may want to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// It has connected.
    Came {
        /// Its number, counted from 1.
        viewer: u64,
    },
    /// It is gone, or was sent away.
    Left {
        /// Its number.
        viewer: u64,
        /// Why; `None` where the server stopped.
        why: Option<&'a Error>,
    },
}

/// Is told notices, on the server's thread.
pub type OnNotice = Arc<dyn Fn(&Notice<'_>) + Send + Sync>;

/// What a server is like.
#[derive(Clone)]
pub struct Options {
    /// The title of a viewer's window.
    pub name: Arc<str>,
    /// Viewers can't do anything but look.
    pub view_only: bool,
    /// A viewer may ask for another size of the screen.
    pub resize: bool,
    /// What viewers are held to.
    pub limits: Limits,
    /// What stands before viewers who come by TCP. Without it only loopback is listened on.
    pub guard: Option<Arc<dyn Guard>>,
    /// Who hears of viewers.
    pub on_notice: Option<OnNotice>,
}

impl Default for Options {
    fn default() -> Self {
        let limits = Limits::default();
        let name = "vfio-display".into();
        Self { name, view_only: false, resize: true, limits, guard: None, on_notice: None }
    }
}

impl Options {
    fn wants_password(&self) -> bool {
        self.guard.as_ref().is_some_and(|guard| guard.wants_password())
    }

    pub(crate) fn note(&self, notice: Notice<'_>) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(&notice);
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, view_only, resize, limits, guard, .. } = self;
        let guard = guard.is_some();
        write!(
            f,
            "Options {{ name: {name:?}, view_only: {view_only}, resize: {resize}, guard: {guard}, \
             {limits:?} }}"
        )
    }
}

/// A VNC server: a [`Sink`] for a display, and viewers on the other side.
///
/// All viewers are served by one thread, which ends when this is dropped. One is enough to be as
/// fast as a core is, and it is a bound: viewers take no more than that from the guest, one set of
/// working memory does for all, and there is one thing to join. A viewer that doesn't read holds
/// nobody back, since nothing here ever waits for a socket.
pub struct VncServer {
    shared: Arc<Shared>,
    /// What [`Sink::takes`] said last: whether frames are let go by.
    idle: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl VncServer {
    /// Starts the server's thread. Nobody can connect yet.
    ///
    /// What viewers do goes to `back`, from the server's thread. It also hears how many are
    /// looking: when the first one comes, the display is to be polled again.
    ///
    /// # Errors
    ///
    /// There are no more fds, or threads.
    pub fn start(options: Options, back: Arc<dyn BackChannel>) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            screen: Screen::default(),
            orders: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            woken: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            viewers: AtomicUsize::new(0),
            signal: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            draws_cursor: AtomicBool::new(true),
            back,
            options,
        });
        // So that there is something to see and a size to name before the first frame.
        let nothing = notice::no_signal(notice::SIZE);
        shared.screen.show(&nothing, &[notice::SIZE.rect()]);
        shared.screen.forget();
        let worker = Worker::new(Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("vnc".into()).spawn(|| worker.run())?;
        Ok(Self { shared, idle: AtomicBool::new(false), thread: Some(thread) })
    }

    /// Listens on a TCP port, any that is free where it is 0. Returns the address to connect to.
    /// Addresses that other machines can reach take [`Options::guard`], with a password.
    ///
    /// # Errors
    ///
    /// [`ListenError::NotLoopback`]; [`ListenError::Io`] where the port is taken.
    pub fn listen_tcp(&self, at: SocketAddr) -> Result<SocketAddr, ListenError> {
        let (listener, at) = Listener::tcp(at, self.shared.options.wants_password())?;
        self.shared.order(Order::Listen(listener)).map_err(|_| ListenError::Stopped)?;
        Ok(at)
    }

    /// Listens on a socket file that only this user can open (mode 0600). It is removed when the
    /// server is dropped. A file that a dead server left is replaced.
    ///
    /// # Errors
    ///
    /// [`ListenError::Io`]: something is at `path` that is not such a file, or it can't be made.
    pub fn listen_unix(&self, path: &Path) -> Result<(), ListenError> {
        let listener = Listener::unix(path)?;
        self.shared.order(Order::Listen(listener)).map_err(|_| ListenError::Stopped)
    }

    /// Serves a viewer on a connection of the embedder's own: a socket, one end of a socket pair,
    /// or TLS over one. It is made non-blocking here. Nothing stands before this viewer.
    ///
    /// # Errors
    ///
    /// The fd can't be made non-blocking.
    pub fn serve(&self, stream: impl Stream + 'static) -> io::Result<()> {
        self.handle().serve(Box::new(stream))
    }

    /// What brings viewers from elsewhere, and may outlive the server.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// How many are looking now.
    pub fn viewers(&self) -> usize {
        self.shared.viewers.load(Ordering::Acquire)
    }

    /// Bytes that viewers took so far, those that are gone included.
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }
}

impl Sink for VncServer {
    fn takes(&self) -> Takes {
        let idle = self.viewers() == 0;
        if idle {
            // Until it is asked again, nothing that is shown is what the guest shows.
            self.shared.screen.forget();
        }
        self.idle.store(idle, Ordering::Release);
        Takes { cursor: self.shared.draws_cursor.load(Ordering::Acquire), idle, dmabuf: false }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        self.shared.signal.store(true, Ordering::Release);
        if self.idle.load(Ordering::Acquire) {
            self.shared.screen.forget();
            return Ok(());
        }
        self.shared.screen.show(frame.picture, frame.damage);
        self.shared.wake();
        Ok(())
    }

    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        // A viewer draws it where its own pointer is, so only the shape is of interest.
        let same = cursor.is_some_and(|cursor| !cursor.shape_changed);
        if !self.shared.draws_cursor.load(Ordering::Acquire)
            || same && self.shared.screen.cursor().is_some()
        {
            return Ok(());
        }
        self.shared.screen.set_cursor(cursor.and_then(Shape::new).map(Arc::new));
        self.shared.wake();
        Ok(())
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        self.shared.signal.store(false, Ordering::Release);
        let size = self.shared.screen.last_size();
        let picture = notice::no_signal(size);
        self.shared.screen.show(&picture, &[size.rect()]);
        if self.idle.load(Ordering::Acquire) {
            self.shared.screen.forget();
        }
        self.shared.wake();
        Ok(())
    }
}

impl Drop for VncServer {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // It panicked, if at all, on its own.
            let _ = thread.join();
        }
        self.shared.take_orders();
    }
}

impl fmt::Debug for VncServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { options, .. } = &*self.shared;
        write!(f, "VncServer {{ viewers: {}, {options:?} }}", self.viewers())
    }
}
