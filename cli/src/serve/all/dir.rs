// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The directory with a socket for each display.

use std::env;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tracing::info;

use crate::exit::{Failure, Status};

/// Where systemd says that a service's sockets belong.
const VARIABLE: &str = "RUNTIME_DIRECTORY";
const DEFAULT: &str = "/run/vfio-display";

/// What the name of a display's socket ends with.
pub(super) const EXTENSION: &str = "vnc";

/// A directory that is ours alone, as long as this lives.
#[derive(Debug)]
pub(super) struct SocketDir {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl SocketDir {
    /// Makes it where it is not there, and removes what a process before this one left in it.
    pub(super) fn claim(path: Option<PathBuf>) -> Result<Self, Failure> {
        let path = path.unwrap_or_else(|| default(env::var_os(VARIABLE)));
        let failed = |error: io::Error| {
            Failure::new(Status::of_io(&error), format!("{}: {error}", path.display()))
        };
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(error)),
            _ => {}
        }
        let lock = File::open(&path).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|errno| match errno {
            rustix::io::Errno::WOULDBLOCK => {
                let told = "another serve --all has its sockets here";
                Failure::new(Status::Busy, format!("{}: {told}", path.display()))
            }
            errno => failed(errno.into()),
        })?;
        sweep(&path).map_err(failed)?;
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// Of several directories, which colons part, the first one.
fn default(variable: Option<std::ffi::OsString>) -> PathBuf {
    let variable = variable.as_deref().map(env::split_paths);
    let first = variable.and_then(|mut paths| paths.next());
    first.filter(|path| path.is_absolute()).unwrap_or_else(|| DEFAULT.into())
}

/// Removes the sockets of displays that nobody listens on any more.
fn sweep(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
        let is_display = path.extension().is_some_and(|extension| extension == EXTENSION);
        if is_display && entry?.is_socket() {
            let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
            if UnixStream::connect(&path).is_err_and(refused) {
                info!("{}: left by a process that has ended", path.display());
                fs::remove_file(&path)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_service_has_its_sockets_where_systemd_says() {
        assert_eq!(default(None), Path::new(DEFAULT));
        assert_eq!(default(Some("/run/a:/run/b".into())), Path::new("/run/a"));
        assert_eq!(default(Some("".into())), Path::new(DEFAULT));
    }

    #[test]
    fn one_at_a_time_and_what_is_left_over_goes() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("sockets");
        let dir = SocketDir::claim(Some(path.clone())).unwrap();
        let second = SocketDir::claim(Some(path.clone())).unwrap_err();
        assert_eq!(second.status, Status::Busy);
        drop(dir);
        drop(UnixListener::bind(path.join("dead.vnc")).unwrap());
        drop(UnixListener::bind(path.join("dead.other")).unwrap());
        let _alive = UnixListener::bind(path.join("alive.vnc")).unwrap();
        fs::write(path.join("file.vnc"), "").unwrap();
        let _dir = SocketDir::claim(Some(path.clone())).unwrap();
        let left = ["dead.vnc", "dead.other", "alive.vnc", "file.vnc"];
        assert_eq!(left.map(|name| path.join(name).exists()), [false, true, true, true]);
        let nowhere = SocketDir::claim(Some(path.join("no/such"))).unwrap_err();
        assert_eq!(nowhere.status, Status::NotFound);
    }
}
