// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The server's thread: a runtime of its own, and a task for each who is connected.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use vfio_display_sinks::SocketFile;
use zbus::Guid;
use zbus::connection::{Builder, Connection};
use zbus::fdo::RequestNameFlags;
use zruntime::{AsyncIo, Shared as Mode, SharedRuntime, Task};

use crate::error::ConnectError;
use crate::input::Client;
use crate::listener::{self, Newcomer};
use crate::objects::{self, Scope};
use crate::server::Shared;
use crate::slot::Slot;
use crate::socket::Bounded;
use crate::wait::race;

/// The name that clients look for.
const NAME: &str = "org.qemu";

/// After a connection that could not be taken, as where there are no more fds.
const PAUSE: Duration = Duration::from_millis(100);

/// What the thread is to begin with.
#[derive(Debug)]
pub(crate) enum Order {
    /// A bus, the session's if there is no address; how it went is told.
    Bus {
        at: Option<String>,
        told: SyncSender<Result<(), ConnectError>>,
    },
    /// A socket that clients connect to.
    Socket(SocketFile),
    /// A client's connection.
    Peer(UnixStream),
    Listener(Newcomer),
}

/// Runs until the server stops.
pub(crate) async fn run(shared: Arc<Shared>, runtime: SharedRuntime) {
    let mut tasks: Vec<Task<(), Mode>> = Vec::new();
    loop {
        let ordered = shared.ordered.listen();
        for order in shared.take_orders() {
            tasks.retain(|task| !task.is_finished());
            tasks.push(begin(&shared, &runtime, order));
        }
        if shared.is_stopped() {
            break;
        }
        ordered.await;
    }
    // What they hold, fds and places, is let go of before the thread ends.
    for task in tasks {
        task.cancel().await;
    }
}

fn begin(shared: &Arc<Shared>, runtime: &SharedRuntime, order: Order) -> Task<(), Mode> {
    let (shared, on) = (Arc::clone(shared), runtime.clone());
    match order {
        Order::Bus { at, told } => {
            runtime.spawn("bus", async move { bus(shared, on, at, &told).await })
        }
        Order::Socket(file) => {
            runtime.spawn("socket", async move { socket(shared, on, file).await })
        }
        Order::Peer(stream) => runtime.spawn("peer", async move { peer(shared, on, stream).await }),
        Order::Listener(newcomer) => {
            runtime.spawn("listener", async move { listener::serve(shared, on, newcomer).await })
        }
    }
}

/// Is on a bus, in the queue of those who have QEMU's name, until the bus goes.
async fn bus(
    shared: Arc<Shared>,
    runtime: SharedRuntime,
    at: Option<String>,
    told: &SyncSender<Result<(), ConnectError>>,
) {
    let connect = connect_bus(&shared, at.as_deref());
    let connected = runtime.timeout(shared.options.limits.handshake, connect).await;
    let connected = connected.unwrap_or_else(|_| {
        Err(zbus::Error::from(std::io::Error::from(std::io::ErrorKind::TimedOut)))
    });
    let connection = match connected {
        Ok(connection) => {
            // Who asked waits for it.
            let _ = told.send(Ok(()));
            connection
        }
        Err(source) => {
            let _ = told.send(Err(ConnectError::Bus { at, source }));
            return;
        }
    };
    stay(&shared, &connection).await;
    shared.input.release_all();
}

async fn connect_bus(shared: &Arc<Shared>, at: Option<&str>) -> zbus::Result<Connection> {
    let builder = match at {
        Some(at) => Builder::address(at),
        None => Builder::session(),
    };
    let scope = Scope { shared: Arc::clone(shared), peer: None };
    let connection = objects::serve_on(builder, &scope).build().await?;
    // Behind other VMs, as QEMU does: clients ask the bus for all of the queue.
    connection.request_name_with_flags(NAME, RequestNameFlags::empty()).await?;
    Ok(connection)
}

/// Takes clients from a socket.
async fn socket(shared: Arc<Shared>, runtime: SharedRuntime, file: SocketFile) {
    let Ok(file) = AsyncIo::new_nonblocking(&runtime, file) else { return };
    loop {
        match file.read_with(SocketFile::accept).await {
            Ok(stream) => shared.order(Order::Peer(stream)),
            Err(_) => runtime.sleep(PAUSE).await,
        }
    }
}

/// Serves a client on a connection of its own, until it goes.
async fn peer(shared: Arc<Shared>, runtime: SharedRuntime, stream: UnixStream) {
    let limits = shared.options.limits;
    let Some(slot) = shared.peers.take(limits.peers) else { return };
    let number = shared.number();
    let scope = Scope { shared: Arc::clone(&shared), peer: Some(number) };
    let Ok(socket) = Bounded::new(&runtime, stream, limits.message) else { return };
    let builder = Builder::socket(socket).server(Guid::generate()).p2p();
    let handshake = objects::serve_on(builder, &scope).build();
    let held = Held { shared: &shared, client: Client::Peer(number), _slot: slot };
    if let Ok(Ok(connection)) = runtime.timeout(limits.handshake, handshake).await {
        stay(&shared, &connection).await;
    }
    drop(held);
}

/// What a client on a connection of its own has, until this is dropped.
struct Held<'a> {
    shared: &'a Shared,
    client: Client,
    _slot: Slot,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.input.release(&self.client);
    }
}

/// Until the connection is closed.
async fn stay(shared: &Shared, connection: &Connection) {
    let told = async {
        if objects::tell_sizes(shared, connection).await.is_err() {
            // Nobody to tell: what is left is to wait for its end.
            connection.closed().await;
        }
    };
    race(connection.closed(), told).await;
}
