// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where viewers come from: TCP, and a socket file that only its owner can open.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use vfio_display_sinks::{SocketFile, Stream, set_up};

use crate::error::ListenError;

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(SocketFile),
}

impl Listener {
    /// Listens on an address; on one that others can reach only if viewers have to show a password.
    pub(crate) fn tcp(at: SocketAddr, guarded: bool) -> Result<(Self, SocketAddr), ListenError> {
        if !guarded && !at.ip().to_canonical().is_loopback() {
            return Err(ListenError::NotLoopback(at));
        }
        let listen = || {
            let listener = TcpListener::bind(at)?;
            listener.set_nonblocking(true)?;
            let at = listener.local_addr()?;
            Ok((Self::Tcp(listener), at))
        };
        listen().map_err(|source| ListenError::Io { at: at.to_string(), source })
    }

    /// Listens on a socket file of mode 0600. One that nobody listens on any more is replaced.
    pub(crate) fn unix(path: &Path) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Io { at: path.display().to_string(), source };
        SocketFile::bind(path).map(Self::Unix).map_err(failed)
    }

    /// The next viewer, if one waits, and where it comes from, unless that is this machine's owner.
    pub(crate) fn accept(&self) -> io::Result<(Box<dyn Stream>, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept()?;
                set_up(&stream)?;
                Ok((Box::new(stream), Some(from)))
            }
            Self::Unix(file) => Ok((Box::new(file.accept()?), None)),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(file) => file.as_fd(),
        }
    }
}
