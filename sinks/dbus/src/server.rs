// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The server: a handle for the display's side, and a thread for the clients' side.

use std::fmt;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use vfio_display::input::BackChannel;
use vfio_display::sink::{Sink, SinkError, Takes};
use vfio_display::{Cursor, DmabufFrame, Frame};
use vfio_display_sinks::{Shape, SocketFile};
use zruntime::{Event, SharedRuntime};

use crate::error::{ConnectError, Error, Refused};
use crate::input::{Client, Input};
use crate::limits::Limits;
use crate::listener::Newcomer;
use crate::screen::Screen;
use crate::slot::Slots;
use crate::worker::{self, Order};

/// Something about a listener that an operator may want to read.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// It looks from now on.
    Came {
        /// Its number, counted from 1.
        listener: u64,
    },
    /// It is gone, or was let go of; or it never got through its handshake.
    Left {
        /// Its number.
        listener: u64,
        /// Why.
        why: Option<&'a Error>,
    },
}

/// Is told notices, on the server's thread.
pub type OnNotice = Arc<dyn Fn(&Notice<'_>) + Send + Sync>;

/// What a server is like, and what it says of the VM.
#[derive(Clone)]
pub struct Options {
    /// The VM's name; clients choose by it where several VMs are on a bus.
    pub name: String,
    /// The VM's UUID, in the usual form.
    pub uuid: String,
    /// The name of the screen.
    pub label: String,
    /// Where the device is in the guest, as `pci/0000/02.0`; empty where that is not known.
    pub device_address: String,
    /// Clients can't do anything but look.
    pub view_only: bool,
    /// A client may ask for another size of the screen.
    pub resize: bool,
    /// Listeners get dma-bufs as they are, where the device has them. There is no way to ask a
    /// listener whether it shows one: those that don't show nothing.
    pub dma_buf: bool,
    /// What clients are held to.
    pub limits: Limits,
    /// Who hears of listeners.
    pub on_notice: Option<OnNotice>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            name: "vfio-display".into(),
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            label: "VGA".into(),
            device_address: String::new(),
            view_only: false,
            resize: true,
            dma_buf: false,
            limits: Limits::default(),
            on_notice: None,
        }
    }
}

impl Options {
    pub(crate) fn note(&self, notice: Notice<'_>) {
        if let Some(on_notice) = &self.on_notice {
            on_notice(&notice);
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("name", &self.name)
            .field("uuid", &self.uuid)
            .field("view_only", &self.view_only)
            .field("resize", &self.resize)
            .field("dma_buf", &self.dma_buf)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// What both sides have.
pub(crate) struct Shared {
    pub(crate) screen: Screen,
    pub(crate) input: Input,
    pub(crate) options: Options,
    /// Connections to the socket.
    pub(crate) peers: Slots,
    /// Listeners, those amid their handshake included.
    listeners: Slots,
    orders: Mutex<Vec<Order>>,
    pub(crate) ordered: Event,
    stopped: AtomicBool,
    numbers: AtomicU64,
}

impl Shared {
    pub(crate) fn order(&self, order: Order) {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner).push(order);
        self.ordered.notify(usize::MAX);
    }

    pub(crate) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// A number that nobody had, counted from 1.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Has a listener of `client` served, if there is a place for it.
    pub(crate) fn listen_to(&self, client: Client, stream: UnixStream) -> Result<(), Refused> {
        let most = self.options.limits.listeners;
        let Some(slot) = self.listeners.take(most) else {
            return Err(Refused::Failed(format!("{most} listeners are registered already")));
        };
        self.order(Order::Listener(Newcomer { id: self.number(), client, stream, slot }));
        Ok(())
    }
}

/// A server of `org.qemu.Display1`: a [`Sink`] for a display, and clients on the other side.
///
/// All clients are served by one thread, which ends when this is dropped. A listener that does not
/// read or answer holds nobody back.
pub struct DbusServer {
    shared: Arc<Shared>,
    /// What [`Sink::takes`] said last: whether frames are let go by.
    idle: AtomicBool,
    thread: Option<JoinHandle<()>>,
}

impl DbusServer {
    /// Starts the server's thread. Nobody can connect yet.
    ///
    /// What clients do goes to `back`, from the server's thread. It also hears how many listeners
    /// there are: when the first one comes, the display is to be polled again.
    ///
    /// # Errors
    ///
    /// There are no more fds, or threads.
    pub fn start(options: Options, back: Arc<dyn BackChannel>) -> io::Result<Self> {
        let limits = &options.limits;
        let shared = Arc::new(Shared {
            screen: Screen::default(),
            input: Input::new(back, options.view_only, limits.holders),
            peers: Slots::default(),
            listeners: Slots::default(),
            orders: Mutex::default(),
            ordered: Event::new(),
            stopped: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            options,
        });
        let (tell, told) = sync_channel(1);
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("dbus".into()).spawn(move || {
            // zbus looks for this one: the thread's own.
            zruntime::block_on(async {
                let runtime = SharedRuntime::current();
                let started = runtime.as_ref().map(drop).map_err(|error| error.kind().into());
                let _ = tell.send(started);
                if let Ok(runtime) = runtime {
                    worker::run(of_thread, runtime).await;
                }
            });
        })?;
        let started: io::Result<()> = told.recv().unwrap_or(Err(io::ErrorKind::Other.into()));
        started?;
        Ok(Self { shared, idle: AtomicBool::new(false), thread: Some(thread) })
    }

    /// Joins a bus, the session's where no address is given, and queues for the name `org.qemu`.
    /// Returns when clients can find it.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Bus`].
    pub fn join_bus(&self, at: Option<&str>) -> Result<(), ConnectError> {
        let (told, tells) = sync_channel(1);
        self.shared.order(Order::Bus { at: at.map(str::to_owned), told });
        tells.recv().unwrap_or(Err(ConnectError::Stopped))
    }

    /// Listens on a socket file that only this user can open (mode 0600), where each client has a
    /// connection of its own, without a bus. It is removed when the server is dropped. A file that
    /// a dead server left is replaced.
    ///
    /// # Errors
    ///
    /// [`ConnectError::Socket`]: something is at `path` that is not such a file, or it can't be
    /// made.
    pub fn listen_unix(&self, path: &Path) -> Result<(), ConnectError> {
        let failed = |source| ConnectError::Socket { at: path.display().to_string(), source };
        self.shared.order(Order::Socket(SocketFile::bind(path).map_err(failed)?));
        Ok(())
    }

    /// Serves a client on a connection of the embedder's own, as QEMU does with `add_client`.
    pub fn serve(&self, stream: UnixStream) {
        self.shared.order(Order::Peer(stream));
    }

    /// How many listeners there are now.
    pub fn listeners(&self) -> usize {
        self.shared.screen.listeners()
    }
}

impl Sink for DbusServer {
    fn takes(&self) -> Takes {
        let idle = self.listeners() == 0;
        if idle {
            // Until it is asked again, nothing that is shown is what the guest shows.
            self.shared.screen.forget();
        }
        self.idle.store(idle, Ordering::Release);
        Takes { cursor: true, idle, dmabuf: self.shared.options.dma_buf }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        if self.idle.load(Ordering::Acquire) {
            self.shared.screen.forget();
            return Ok(());
        }
        Ok(self.shared.screen.show(frame.picture, frame.damage)?)
    }

    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        let screen = &self.shared.screen;
        let is_new = |cursor: &&Cursor<'_>| cursor.shape_changed || screen.shape().is_none();
        let shape = cursor.filter(is_new).and_then(Shape::new).map(Arc::new);
        screen.set_cursor(cursor.map(|cursor| cursor.position), shape);
        Ok(())
    }

    fn dmabuf(&mut self, frame: &DmabufFrame<'_>) -> Result<bool, SinkError> {
        if self.idle.load(Ordering::Acquire) {
            self.shared.screen.forget();
        } else {
            self.shared.screen.show_dmabuf(frame);
        }
        Ok(true)
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        self.shared.screen.blank()?;
        if self.idle.load(Ordering::Acquire) {
            self.shared.screen.forget();
        }
        Ok(())
    }
}

impl Drop for DbusServer {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Release);
        self.shared.ordered.notify(usize::MAX);
        if let Some(thread) = self.thread.take() {
            // It panicked, if at all, on its own.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for DbusServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { options, .. } = &*self.shared;
        write!(f, "DbusServer {{ listeners: {}, {options:?} }}", self.listeners())
    }
}
