// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The servers that a command line asks for, and where viewers find them.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Value, json};
use tracing::info;
use vfio_display_dbus::{ConnectError, DbusServer};
use vfio_display_door::{Door, Identity};
use vfio_display_sinks::Guard;
use vfio_display_vnc::{ListenError, VncServer};
use vfio_display_web::WebServer;

use super::back::Back;
use super::metrics::{Meter, Metrics};
use super::{failed, web};
use crate::args::{Address, Serve};
use crate::dev::Dev;
use crate::exit::{Failure, Status};

/// VNC's own port, and how many after a server's own are tried where none is asked for by name.
const PORT: u16 = 5900;
const PORTS: u16 = 100;

/// The name of the session's bus, among addresses.
const SESSION: &str = "session";

/// At least one of them.
pub(super) struct Servers {
    /// Also who comes by the web is its viewer.
    pub(super) vnc: Option<VncServer>,
    pub(super) dbus: Option<DbusServer>,
    _web: Option<WebServer>,
}

/// Where viewers find them.
#[derive(Debug, Default)]
pub(super) struct Told {
    dev: Option<String>,
    vnc: Option<String>,
    web: Option<String>,
    dbus: Option<String>,
    dbus_p2p: Option<String>,
    /// Who the servers are, for viewers to check.
    tls: Option<Identity>,
}

impl Told {
    /// A page of several displays.
    pub(super) fn page(link: String, door: Option<&Door>) -> Self {
        let tls = door.map(|door| door.identity().clone());
        Self { web: Some(link), tls, ..Self::default() }
    }

    pub(super) fn json(&self) -> Value {
        let Self { dev, vnc, web, dbus, dbus_p2p, tls } = self;
        let mut told = json!({});
        let device = ("device", dev);
        for (name, at) in
            [device, ("vnc", vnc), ("web", web), ("dbus", dbus), ("dbus_p2p", dbus_p2p)]
        {
            if let Some(at) = at {
                told[name] = json!(at);
            }
        }
        if let Some(tls) = tls {
            told["tls_fingerprint"] = json!(tls.fingerprint().to_string());
            told["tls_certificate"] = json!(tls.certificate_file());
        }
        told
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { vnc, web, dbus, dbus_p2p, tls, .. } = self;
        let by_tcp = [vnc, web].into_iter().flatten().cloned();
        let dbus = [dbus, dbus_p2p].into_iter().flatten().map(|at| format!("dbus {at}"));
        let tls = tls.iter().map(|tls| {
            format!("certificate {} sha256 {}", tls.certificate_file().display(), tls.fingerprint())
        });
        let lines: Vec<String> = by_tcp.chain(dbus).chain(tls).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// Starts what is asked for: VNC and the web page if nothing is. Links that follow the first one of
/// the page are printed as `json` says.
pub(super) fn start(
    args: &Serve,
    dev: &Dev,
    back: &Arc<Back>,
    door: Option<Arc<Door>>,
    meter: &Arc<Meter>,
    json: bool,
) -> Result<(Servers, Told), Failure> {
    let mut told = Told { dev: Some(dev.to_string()), ..Told::default() };
    let dbus = if args.by_dbus() { Some(start_dbus(args, dev, back, &mut told)?) } else { None };
    let (by_vnc, by_web) = (args.by_vnc(), args.by_web());
    told.tls = door.as_ref().map(|door| door.identity().clone());
    let guard = || door.clone().map(|door| door as Arc<dyn Guard>);
    let vnc = if by_vnc || by_web { Some(start_vnc(args, dev, back, guard())?) } else { None };
    if let (true, Some(vnc)) = (by_vnc, &vnc) {
        told.vnc = Some(listen(vnc, args.vnc.as_ref())?);
    }
    let web = match &vnc {
        Some(vnc) if by_web => {
            let (name, metrics) = (dev.to_string(), Metrics::default());
            metrics.appeared(&name, Arc::clone(meter));
            let render = Arc::new(move || metrics.render());
            let (server, link) = web::start(args, guard(), render, json)?;
            server.publish(&name, &name, vnc.handle());
            told.web = Some(link);
            Some(server)
        }
        _ => None,
    };
    Ok((Servers { vnc, dbus, _web: web }, told))
}

fn start_vnc(
    args: &Serve,
    dev: &Dev,
    back: &Arc<Back>,
    guard: Option<Arc<dyn Guard>>,
) -> Result<VncServer, Failure> {
    let options = vfio_display_vnc::Options {
        name: dev.to_string().into(),
        view_only: args.view_only,
        resize: args.resize,
        guard,
        on_notice: Some(Arc::new(|notice| info!("{notice:?}"))),
        ..Default::default()
    };
    VncServer::start(options, Back::of_server(back, 0))
        .map_err(|error| failed("the VNC server can't be started", error))
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
        None => first_free(PORT, |at| server.listen_tcp(at)).map(link),
    }
}

/// Listens on the first port from `first` on that is free.
pub(super) fn first_free(
    first: u16,
    listen: impl Fn(SocketAddr) -> Result<SocketAddr, ListenError>,
) -> Result<SocketAddr, Failure> {
    let mut taken = None;
    for port in first..first + PORTS {
        match listen(SocketAddr::from((Ipv4Addr::LOCALHOST, port))) {
            Err(ListenError::Io { source, at }) if source.kind() == io::ErrorKind::AddrInUse => {
                taken.get_or_insert(ListenError::Io { source, at });
            }
            done => return Ok(done?),
        }
    }
    let last = first + PORTS - 1;
    Err(taken.map_or_else(|| failed("no port", io::ErrorKind::AddrInUse.into()), Into::into))
        .map_err(|error: Failure| error.hint(format!("ports {first} to {last} are taken")))
}

fn link(at: SocketAddr) -> String {
    format!("vnc://{at}")
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Self {
        let status = match &error {
            ListenError::NotLoopback(_) => Status::Usage,
            ListenError::Io { source, .. } => Status::of_io(source),
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        let status = match &error {
            ConnectError::Socket { source, .. } => Status::of_io(source),
            ConnectError::Bus { .. } => Status::NotFound,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}
