// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The servers that a command line asks for, and where viewers find them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::info;
use vfio_display_dbus::{ConnectError, DbusServer};
use vfio_display_vnc::{ListenError, VncServer};

use super::back::Back;
use super::failed;
use crate::args::{Address, Serve};
use crate::dev::Dev;
use crate::exit::{Failure, Status};

/// VNC's own port, and how many after it are tried where none is asked for by name.
const PORT: u16 = 5900;
const PORTS: u16 = 100;

/// The name of the session's bus, among addresses.
const SESSION: &str = "session";

/// One or two servers.
pub(super) struct Servers {
    pub(super) vnc: Option<VncServer>,
    pub(super) dbus: Option<DbusServer>,
}

/// Where viewers find them.
#[derive(Debug, Default)]
pub(super) struct Told {
    dev: String,
    vnc: Option<String>,
    dbus: Option<String>,
    dbus_p2p: Option<String>,
}

impl Told {
    pub(super) fn json(&self) -> Value {
        let mut told = json!({ "device": self.dev });
        for (name, at) in [("vnc", &self.vnc), ("dbus", &self.dbus), ("dbus_p2p", &self.dbus_p2p)] {
            if let Some(at) = at {
                told[name] = json!(at);
            }
        }
        told
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vnc, dbus, dbus_p2p, .. } = self;
        let dbus = [dbus, dbus_p2p].into_iter().flatten().map(|at| format!("dbus {at}"));
        let lines: Vec<String> = vnc.clone().into_iter().chain(dbus).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Starts what is asked for: VNC if nothing is.
pub(super) fn start(args: &Serve, dev: &Dev, back: &Arc<Back>) -> Result<(Servers, Told), Failure> {
    let mut told = Told { dev: dev.to_string(), ..Told::default() };
    let by_dbus = args.dbus.is_some() || args.dbus_p2p.is_some();
    let dbus = if by_dbus { Some(start_dbus(args, dev, back, &mut told)?) } else { None };
    let by_vnc = args.vnc.is_some() || !by_dbus;
    let vnc = if by_vnc { Some(start_vnc(args, dev, back, &mut told)?) } else { None };
    Ok((Servers { vnc, dbus }, told))
}

fn start_vnc(
    args: &Serve,
    dev: &Dev,
    back: &Arc<Back>,
    told: &mut Told,
) -> Result<VncServer, Failure> {
    let options = vfio_display_vnc::Options {
        name: dev.to_string().into(),
        view_only: args.view_only,
        resize: args.resize,
        on_notice: Some(Arc::new(|notice| info!("{notice:?}"))),
        ..Default::default()
    };
    let server = VncServer::start(options, Back::of_server(back, 0))
        .map_err(|error| failed("the VNC server can't be started", error))?;
    told.vnc = Some(listen(&server, args.vnc.as_ref())?);
    Ok(server)
}

fn start_dbus(
    args: &Serve,
    dev: &Dev,
    back: &Arc<Back>,
    told: &mut Told,
) -> Result<DbusServer, Failure> {
    let mut options = vfio_display_dbus::Options {
        name: dev.to_string(),
        view_only: args.view_only,
        resize: args.resize,
        dma_buf: args.dma_buf,
        on_notice: Some(Arc::new(|notice| info!("{notice:?}"))),
        ..Default::default()
    };
    if let Some(uuid) = dev.uuid() {
        options.uuid = uuid;
    }
    let server = DbusServer::start(options, Back::of_server(back, 1))
        .map_err(|error| failed("the D-Bus server can't be started", error))?;
    if let Some(path) = &args.dbus_p2p {
        server.listen_unix(path)?;
        told.dbus_p2p = Some(format!("unix:path={}", path.display()));
    }
    if let Some(at) = &args.dbus {
        server.join_bus(at.as_deref())?;
        told.dbus = Some(at.clone().unwrap_or_else(|| SESSION.into()));
    }
    Ok(server)
}

/// Listens, and answers with what to connect to, as a link where it can be one.
fn listen(server: &VncServer, address: Option<&Address>) -> Result<String, Failure> {
    match address {
        Some(Address::Unix(path)) => {
            server.listen_unix(path)?;
            Ok(format!("unix:{}", path.display()))
        }
        Some(Address::Tcp(at)) => Ok(link(server.listen_tcp(*at)?)),
        None => {
            let mut taken = None;
            for port in PORT..PORT + PORTS {
                let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
                match server.listen_tcp(at) {
                    Ok(at) => return Ok(link(at)),
                    Err(ListenError::Io { source, at })
                        if source.kind() == io::ErrorKind::AddrInUse =>
                    {
                        taken.get_or_insert(ListenError::Io { source, at });
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            let last = PORT + PORTS - 1;
            Err(taken
                .map_or_else(|| failed("no port", io::ErrorKind::AddrInUse.into()), Into::into))
            .map_err(|error: Failure| error.hint(format!("ports {PORT} to {last} are taken")))
        }
    }
}

fn link(at: SocketAddr) -> String {
    format!("vnc://{at}")
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let status = match &error {
            ListenError::NotLoopback(_) => Status::Usage,
            ListenError::Io { source, .. } => of_socket(source),
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let status = match &error {
            ConnectError::Socket { source, .. } => of_socket(source),
            ConnectError::Bus { .. } => Status::NotFound,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

/// The status of a socket that could not be made.
fn of_socket(error: &io::Error) -> Status {
    match error.kind() {
        io::ErrorKind::AddrInUse => Status::Busy,
        io::ErrorKind::PermissionDenied => Status::NotPermitted,
        io::ErrorKind::NotFound => Status::NotFound,
        _ => Status::Failed,
    }
}
