// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display mock-device`: a device with a framebuffer region, in a process of its own.
//!
//! It is there for VMMs and for tests: a PCI display device behind a vfio-user socket, whose guest
//! draws one of a few scenes. The protocol is spoken by the `vfio_user` crate. One client is served
//! at a time; the next one waits for it to go.
//!
//! | region | | |
//! |---|---|---|
//! | 0, BAR 0 | | the picture as it is drawn, XRGB8888; can be mapped |
//! | 2, BAR 2 | 4 KiB | "VFMD", u32 width, u32 height |
//! | 7 | 256 bytes | PCI configuration space, with the capability that names region 9 |
//! | 9 | | the framebuffer region; its slots can be mapped |
//!
//! Interrupt 5, behind those of PCI, tells of frames.
//!
//! It is no server for production: the `vfio_user` crate trusts its client with the sizes of
//! messages, leaves the errno of a refused access out, and sends no capability but the mappable
//! areas, which is why configuration space names the region.

mod backend;
mod config_space;
mod guest;
pub(crate) mod scene;

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::{self, Thread};

use serde_json::json;
use tracing::{info, warn};
use vfio_display::testing::{FbMock, FbOptions};
use vfio_user::Server;

use self::backend::Backend;
use self::guest::Guest;
use crate::args::MockDevice;
use crate::dev::Dev;
use crate::exit::{Failure, Status};
use crate::output::say;
use crate::serve::{failed, signals};

/// Regions, by their indices.
const BAR0: u32 = 0;
const BAR2: u32 = 2;
/// Bytes of BAR 2.
const BAR2_LEN: u64 = 4096;

pub(crate) fn run(args: &MockDevice, json: bool) -> Result<(), Failure> {
    let mut signals = signals().map_err(|error| failed("signals can't be caught", error))?;
    let mock = FbMock::new(FbOptions { typed: false, ..FbOptions::new(args.size) });
    let mock = mock.map_err(|error| failed("the mock", error))?;
    let guest =
        Guest::new(mock.clone(), args.scene, args.fps).map_err(|e| failed("the mock", e))?;
    let listener = listen(&args.socket)?;
    let guest = start("guest", move || guest.run())?;
    let mut backend = Backend::new(mock, guest)?;
    let server = Server::from_owned_fd(listener.into(), true, backend::irqs(), backend.regions());
    start("clients", move || {
        loop {
            match server.run(&mut backend) {
                Ok(()) => info!("the client has gone"),
                Err(error) => warn!("the client was let go: {error}"),
            }
            backend.disconnected();
        }
    })?;

    let dev = Dev::VfioUser(args.socket.clone()).to_string();
    let told = if json { json!({ "device": dev }).to_string() } else { dev };
    say(&told)?;
    let ended = signals.read_exact(&mut [0]);
    let _ = fs::remove_file(&args.socket);
    ended.map_err(|error| failed("waiting", error))
}

/// Starts a thread that ends with the process.
fn start(name: &str, run: impl FnOnce() + Send + 'static) -> Result<Thread, Failure> {
    let started = thread::Builder::new().name(name.into()).spawn(run);
    Ok(started.map_err(|error| failed("a thread", error))?.thread().clone())
}

/// Listens at `path`, for its owner only. A socket that a killed process left there is replaced.
fn listen(path: &Path) -> Result<UnixListener, Failure> {
    let bound = match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path) => {
            fs::remove_file(path).and_then(|()| UnixListener::bind(path))
        }
        bound => bound,
    };
    let own =
        |listener| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map(|()| listener);
    bound.and_then(own).map_err(|error| {
        let status = match error.kind() {
            ErrorKind::AddrInUse => Status::Busy,
            ErrorKind::PermissionDenied => Status::NotPermitted,
            ErrorKind::NotFound => Status::NotFound,
            _ => Status::Failed,
        };
        Failure::new(status, format!("{}: {error}", path.display()))
    })
}

fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}
