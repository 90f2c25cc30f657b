// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display mock-device`: a device with a framebuffer region, in a process of its own.
//!
//! It is there for VMMs and for tests: a PCI display device behind a vfio-user socket, whose guest
//! draws one of a few scenes. The protocol is spoken by the `vfio_user` crate. One client is served
//! at a time; the next one waits for it to go.
//!
//! | region | | |
//! |---|---|---|
//! | 0, BAR 0 | 4 KiB | "VFMD", u32 width, u32 height; u64 frames drawn at 16 |
//! | 2, BAR 2 | | the picture as it is drawn, XRGB8888; can be mapped |
//! | 7 | 256 bytes | PCI configuration space, with the capability that names region 9 |
//! | 9 | | the framebuffer region; its slots can be mapped |
//!
//! Interrupt 5, behind those of PCI, tells of frames.

mod backend;
mod config_space;
mod device;
pub(crate) mod scene;

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;

use serde_json::json;
use tracing::{info, warn};
use vfio_display::uapi::PCI_NUM_REGIONS;
use vfio_user::Server;

use self::backend::Backend;
use self::device::Guest;
use crate::args::MockDevice;
use crate::dev::Dev;
use crate::exit::{Failure, Status};
use crate::output::say;
use crate::serve::{failed, signals};

/// Regions, by their indices.
const BAR0: u32 = 0;
const BAR2: u32 = 2;
const FB_REGION: u32 = PCI_NUM_REGIONS;
/// Bytes of BAR 0.
const BAR0_LEN: u64 = 4096;
/// The interrupt that tells of frames: the first one behind `VFIO_PCI_NUM_IRQS`.
const WAKE: u32 = 5;

pub(crate) fn run(args: &MockDevice, json: bool) -> Result<(), Failure> {
    let mut signals = signals().map_err(|error| failed("signals can't be caught", error))?;
    let (guest, shared) =
        Guest::new(args.scene, args.size, args.fps).map_err(|e| failed("the mock", e))?;
    let page = shared.lock().producer.mappable().start;
    let regions = backend::regions(guest.memory(), page);
    let mut backend = Backend::new(shared, args.size, guest.memory());
    let listener = listen(&args.socket)?;
    let server = Server::from_owned_fd(listener.into(), true, backend::irqs(), regions);
    let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = thread::Builder::new().name(name.into()).spawn(run);
        thread.map_err(|error| failed("a thread", error))
    };
    start("guest", Box::new(move || guest.run()))?;
    start(
        "clients",
        Box::new(move || {
            loop {
                match server.run(&mut backend) {
                    Ok(()) => info!("the client has gone"),
                    Err(error) => warn!("the client was let go: {error}"),
                }
                backend.disconnected();
            }
        }),
    )?;

    let dev = Dev::VfioUser(args.socket.clone()).to_string();
    let told = if json { json!({ "device": dev }).to_string() } else { dev };
    say(&told)?;
    // Both threads end with the process.
    let ended = signals.read_exact(&mut [0]);
    let _ = fs::remove_file(&args.socket);
    ended.map_err(|error| failed("waiting", error))
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
