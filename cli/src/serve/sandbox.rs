// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What `serve` gives up once all that it needs is open.
//!
//! A viewer, a guest or a device that finds a hole in this program is then left with what a
//! running `serve` does: the user changes first, where one is named, while there is one thread.
//! Files come next, by landlock, before there are more threads, which inherit it. Last, when all
//! threads run and all sockets listen, the system calls of every thread, by seccomp.
//!
//! What each run still needs is told by its command line and its device: [`Needs`].

mod calls;
mod files;
#[cfg(debug_assertions)]
pub(super) mod forbidden;
mod user;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use tracing::info;
use vfio_display::host::Target;

use crate::args::{Address, Device, Serve};
use crate::dev::{Dev, OpenDevice};
use crate::exit::Failure;

use super::failed;
pub(crate) use user::User;

/// Where the device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    /// In this process: it makes its own dma-bufs.
    Mock,
    /// Behind a socket.
    Process,
    /// Behind a file of VFIO.
    Host,
    /// Displays come and go, behind files of VFIO and behind sockets.
    Any,
}

/// What is opened again when the device is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// A socket.
    Process,
    /// A device file.
    Device,
    /// A VMM is looked for, and into.
    Vmm,
}

/// What is still to be done after all is open.
#[derive(Debug)]
pub(super) struct Needs {
    device: Where,
    /// Who holds the device's dma-bufs, which is told by looking into processes.
    holders: bool,
    again: Option<Again>,
    /// A recording begins another file beside this one.
    record: Option<PathBuf>,
    /// Socket files are removed at the end.
    sockets: Vec<PathBuf>,
    dbus: bool,
    /// The page.
    web: bool,
    /// TLS and passwords.
    door: bool,
}

impl Needs {
    /// Those of one device; `door` is whether there is one.
    pub(super) fn new(args: &Serve, device: &Device, open: &OpenDevice, door: bool) -> Self {
        let (at, again) = match &device.dev {
            Dev::Mock { .. } => (Where::Mock, None),
            Dev::VfioUser(_) => (Where::Process, Some(Again::Process)),
            Dev::Host(Target::Device(_)) => (Where::Host, Some(Again::Device)),
            Dev::Host(_) => (Where::Host, Some(Again::Vmm)),
        };
        let vnc = args.vnc.as_ref().and_then(|at| match at {
            Address::Unix(path) => Some(path.clone()),
            Address::Tcp(_) => None,
        });
        Self {
            device: at,
            holders: open.driver_breaks && !device.force,
            again: again.filter(|_| args.reattach),
            record: args.record.clone().filter(|path| path.as_os_str() != "-"),
            sockets: vnc.into_iter().chain(args.dbus_p2p.clone()).collect(),
            dbus: args.by_dbus(),
            web: args.by_web(),
            door,
        }
    }

    /// What `serve --all` needs, with socket files in `dir`.
    pub(super) fn of_host(dir: &Path, door: bool) -> Self {
        Self {
            device: Where::Any,
            // Whether a driver breaks is not known before there is one.
            holders: true,
            again: Some(Again::Vmm),
            record: None,
            sockets: vec![dir.join("any")],
            dbus: false,
            web: true,
            door,
        }
    }

    /// Whether threads are begun.
    fn begins_threads(&self) -> bool {
        self.dbus || self.device == Where::Any
    }

    /// Whether files are opened to be read.
    fn opens(&self) -> bool {
        self.device == Where::Mock
            || self.holders
            || matches!(self.again, Some(Again::Device | Again::Vmm))
    }

    /// What is done that only root may, and not after another user is taken.
    fn of_root(&self) -> Option<&'static str> {
        if self.holders {
            return Some(
                "the driver breaks where others hold its dma-bufs, and who does only root sees",
            );
        }
        (matches!(self.again, Some(Again::Device | Again::Vmm)))
            .then_some("--reattach opens the device again")
    }
}

/// What confines the process; from here on the files that it can reach.
#[derive(Debug)]
pub(super) struct Sandbox {
    needs: Needs,
}

impl Sandbox {
    /// Has files refused that are not of `needs`.
    ///
    /// There must be no other thread yet: those that are begun later inherit it.
    pub(super) fn begin(needs: Needs) -> Result<Self, Failure> {
        let confined = files::confine(&needs)?;
        info!("files: {confined}");
        Ok(Self { needs })
    }

    /// Has every thread killed, and the process with it, that makes a system call which is not on
    /// its list, and takes the way to new privileges.
    pub(super) fn lock(self) -> Result<(), Failure> {
        // A backtrace is looked up in files, which is the end of the process from here on. A panic
        // is told, where there is somebody to tell, and ends what it always does.
        std::panic::set_hook(Box::new(|panic| {
            let _ = writeln!(io::stderr(), "vfio-display: {panic}");
        }));
        let count = calls::confine(&self.needs)
            .map_err(|error| failed("system calls can't be confined", error))?;
        info!("system calls: {count} are left");
        Ok(())
    }
}
