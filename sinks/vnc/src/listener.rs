// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where viewers come from: TCP on loopback, and a socket file that only its owner can open.

use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};

use crate::client::Stream;
use crate::error::ListenError;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// The file is only there to be removed.
    Unix(UnixListener, #[expect(dead_code)] SocketFile),
}

/// A socket's file, removed with its listener: if it still is that socket's.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    inode: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|inode| inode == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|meta| (meta.dev(), meta.ino()))
}

impl Listener {
    /// Listens on an address of this machine that others can't reach.
    pub(crate) fn tcp(at: SocketAddr) -> Result<(Self, SocketAddr), ListenError> {
        if !at.ip().to_canonical().is_loopback() {
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
        let listen = || match bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(path) => {
                fs::remove_file(path)?;
                bind(path)
            }
            result => result,
        };
        let at = || path.display().to_string();
        listen().map_err(|source| ListenError::Io { at: at(), source })
    }

    /// The next viewer, if one waits.
    pub(crate) fn accept(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept()?;
                set_up(&stream)?;
                Ok(Box::new(stream))
            }
            Self::Unix(listener, _) => {
                let (stream, _) = listener.accept()?;
                stream.set_nonblocking(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener, _) => listener.as_fd(),
        }
    }
}

/// An update is one answer: it must not wait for the next. And a viewer that vanished while the
/// screen stood still is found out after three minutes.
fn set_up(stream: &TcpStream) -> io::Result<()> {
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(60))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(30))?;
    sockopt::set_tcp_keepcnt(stream, 4)?;
    Ok(())
}

/// The mode is set before there is a file, which then has it from its first moment: on Linux a
/// socket's file takes the mode of the socket.
fn bind(path: &Path) -> io::Result<Listener> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    let file = SocketFile { path: path.to_path_buf(), inode: inode(path)? };
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(Listener::Unix(UnixListener::from(socket), file))
}

/// Whether `path` is a socket whose owner is gone.
fn is_left_over(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket());
    let refused = |error: io::Error| error.kind() == ErrorKind::ConnectionRefused;
    is_socket && UnixStream::connect(path).is_err_and(refused)
}
