// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What stands before viewers who come by TCP, as the command line asks for it.

use std::env;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};
use vfio_display_door::{Door, Identity, Options, PasswordError, Passwords, TlsError};
use vfio_display_sinks::{Entry, Outcome};

use super::failed;
use crate::args::{Address, Remote, Serve};
use crate::exit::{Failure, Status};

/// The target of the record of who came.
pub(crate) const AUDIT: &str = "audit";

/// The credential that a service manager may pass.
const CREDENTIAL: &str = "vfio-display.password";

const HOW: &str = "set a password with `vfio-display passwd FILE`, then --allow-remote \
    --password-file FILE";

/// Whether to listen on an address: on one that other machines can reach only if that was asked for.
fn permit(remote: &Remote, at: SocketAddr) -> Result<(), Failure> {
    if remote.allow_remote || at.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let why = format!("{at} can be reached from other machines");
    Err(Failure::new(Status::Usage, why).hint(HOW))
}

/// What is asked for, with all files that it takes: TLS, and a password if there is one.
pub(super) fn read(args: &Serve) -> Result<Option<Options>, Failure> {
    let remote = &args.remote;
    let vnc = args.vnc.iter().filter_map(|at| match at {
        Address::Tcp(at) => Some(*at),
        Address::Unix(_) => None,
    });
    for at in vnc.chain(args.web.flatten()) {
        permit(remote, at)?;
    }
    let passwords = match (&remote.password_file, credential()) {
        (Some(path), _) => Some(Passwords::read(path)?),
        (None, Some(path)) => Some(Passwords::read_credential(&path)?),
        (None, None) => None,
    };
    if remote.allow_remote && passwords.is_none() {
        return Err(Failure::new(Status::Usage, "--allow-remote takes a password").hint(HOW));
    }
    let by_tcp = args.by_vnc() || args.by_web();
    let wanted = remote.tls || remote.tls_cert.is_some() || passwords.is_some();
    if !by_tcp || !wanted {
        return Ok(None);
    }
    let identity = match (&remote.tls_cert, &remote.tls_key) {
        (Some(cert), Some(key)) => Identity::from_files(cert, key)?,
        _ => Identity::kept_in(&state_directory()?, &names())?,
    };
    let on_entry = Some(Arc::new(|entry: &Entry<'_>| audit(entry)) as _);
    Ok(Some(Options { passwords, on_entry, ..Options::new(identity) }))
}

/// Starts the thread that checks passwords.
pub(super) fn start(options: Options) -> Result<Arc<Door>, Failure> {
    Door::start(options).map(Arc::new).map_err(|error| failed("the door", error))
}

fn audit(entry: &Entry<'_>) {
    match entry.outcome {
        Outcome::Refused(_) => warn!(target: AUDIT, "{entry}"),
        Outcome::Entered | Outcome::Left(_) => info!(target: AUDIT, "{entry}"),
    }
}

fn credential() -> Option<PathBuf> {
    let path = Path::new(&env::var_os("CREDENTIALS_DIRECTORY")?).join(CREDENTIAL);
    path.exists().then_some(path)
}

/// Where a certificate is kept that was made on first use: as systemd says, or as a person's own
/// programs do.
fn state_directory() -> Result<PathBuf, Failure> {
    let of = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directories) = env::var_os("STATE_DIRECTORY") {
        // With several, they are separated as paths are.
        if let Some(first) = env::split_paths(&directories).next() {
            return Ok(first);
        }
    }
    let state = of("XDG_STATE_HOME").or_else(|| Some(of("HOME")?.join(".local/state")));
    match state {
        Some(state) => Ok(state.join("vfio-display")),
        None => Err(Failure::new(Status::Usage, "there is no place to keep a certificate")
            .hint("set HOME or STATE_DIRECTORY, or give --tls-cert and --tls-key")),
    }
}

/// What viewers may call this machine: its name, and the addresses that it is found at.
fn names() -> Vec<String> {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // A certificate takes no other names.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
    let host = Some(host.trim().to_owned()).filter(|h| !h.is_empty() && h.chars().all(plain));
    let here: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    // Documentation's own, which nobody has: the way to them is the way out.
    let out = ["192.0.2.1:9", "[2001:db8::1]:9"].into_iter().filter_map(outward);
    let mut names: Vec<String> = host.into_iter().chain(["localhost".into()]).collect();
    names.extend(here.into_iter().chain(out).map(|ip| ip.to_string()));
    names.dedup();
    names
}

/// The address that packets to `to` would come from. None is sent.
fn outward(to: &str) -> Option<IpAddr> {
    let to: SocketAddr = to.parse().ok()?;
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    socket.local_addr().ok().map(|at| at.ip())
}

impl From<PasswordError> for Failure {
    fn from(error: PasswordError) -> Self {
        let status = match &error {
            PasswordError::File { source, .. } => Status::of_io(source),
            PasswordError::Readable { .. } => Status::NotPermitted,
            PasswordError::Refused(_) => Status::Usage,
            _ => Status::Failed,
        };
        let hint = matches!(error, PasswordError::Empty(_));
        let failure = Self::new(status, error);
        if hint { failure.hint("set one with `vfio-display passwd FILE`") } else { failure }
    }
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        let status = match &error {
            TlsError::File { source, .. } => Status::of_io(source),
            TlsError::Readable { .. } => Status::NotPermitted,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}
