// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A stream socket whose every wait ends.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    connect, recvmsg, sendmsg, socket_with,
};

use super::{MAX_FDS, ProtocolError};
use crate::error::{Call, Error, Gone, Result};

/// Between two tries to connect to a server whose queue is full.
const PAUSE: Duration = Duration::from_millis(10);

/// The end of a wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadline {
    at: Option<Instant>,
    timeout: Duration,
}

impl Deadline {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { at: Instant::now().checked_add(timeout), timeout }
    }

    /// What is left of it. An error once that is nothing.
    fn left(&self) -> Result<Duration> {
        // A time-out too long for the clock is none.
        let left = self.at.map_or(Duration::MAX, |at| at.saturating_duration_since(Instant::now()));
        if left.is_zero() { Err(self.passed()) } else { Ok(left) }
    }

    fn passed(&self) -> Error {
        Error::Gone(Gone::Silent { timeout: self.timeout })
    }
}

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// A socket that is connected.
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        ioctl_fionbio(&fd, true).map_err(|errno| Call::Connect.refused(errno))?;
        Ok(Self { fd })
    }

    /// Connects to the socket at `path`.
    pub(super) fn connect(path: &Path, deadline: Deadline) -> Result<Self> {
        let refused = |errno| Call::Connect.refused(errno);
        let address = SocketAddrUnix::new(path).map_err(refused)?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None);
        let fd = fd.map_err(refused)?;
        loop {
            match connect(&fd, &address) {
                Ok(()) => return Ok(Self { fd }),
                // The queue of the listener is full; there is nothing to wait on for room in it.
                Err(Errno::AGAIN) => sleep(PAUSE.min(deadline.left()?)),
                Err(Errno::INTR) => {
                    deadline.left()?;
                }
                Err(errno) => return Err(refused(errno)),
            }
        }
    }

    /// Another fd of it.
    pub(super) fn duplicate(&self) -> Result<OwnedFd> {
        let fd = rustix::io::fcntl_dupfd_cloexec(&self.fd, 0);
        fd.map_err(|errno| Error::Gone(Gone::Broken { errno: errno.into() }))
    }

    /// Sends all of `parts`, and `fd` with their first byte.
    pub(super) fn send(
        &self,
        mut parts: [&[u8]; 3],
        mut fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<()> {
        while parts.iter().any(|part| !part.is_empty()) {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            let fds = fd.as_slice();
            if !fds.is_empty() {
                control.push(SendAncillaryMessage::ScmRights(fds));
            }
            let slices = parts.map(IoSlice::new);
            match sendmsg(&self.fd, &slices, &mut control, SendFlags::NOSIGNAL) {
                Ok(mut count) => {
                    fd = None;
                    for part in &mut parts {
                        let sent = count.min(part.len());
                        *part = &part[sent..];
                        count -= sent;
                    }
                }
                Err(errno) => self.wait(errno, PollFlags::OUT, deadline)?,
            }
        }
        Ok(())
    }

    /// Fills `buf`. File descriptors that come go to `fds`.
    pub(super) fn receive(
        &self,
        mut buf: &mut [u8],
        fds: &mut Vec<OwnedFd>,
        deadline: Deadline,
    ) -> Result<()> {
        while !buf.is_empty() {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut slices = [IoSliceMut::new(buf)];
            match recvmsg(&self.fd, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Ok(message) => {
                    for message in control.drain() {
                        if let RecvAncillaryMessage::ScmRights(came) = message {
                            fds.extend(came);
                        }
                    }
                    // What did not fit the kernel has closed.
                    if message.flags.contains(ReturnFlags::CTRUNC) || fds.len() > MAX_FDS {
                        return Err(ProtocolError::Fds { most: MAX_FDS }.into());
                    }
                    if message.bytes == 0 {
                        return Err(Error::Gone(Gone::Closed));
                    }
                    buf = &mut buf[message.bytes..];
                }
                Err(errno) => self.wait(errno, PollFlags::IN, deadline)?,
            }
        }
        Ok(())
    }

    /// Waits until what failed with `errno` may work.
    fn wait(&self, errno: Errno, events: PollFlags, deadline: Deadline) -> Result<()> {
        match errno {
            Errno::INTR => return deadline.left().map(drop),
            Errno::AGAIN => {}
            // Both are what the end of the peer looks like.
            Errno::CONNRESET | Errno::PIPE => return Err(Error::Gone(Gone::Closed)),
            errno => return Err(Error::Gone(Gone::Broken { errno: errno.into() })),
        }
        let left = Timespec::try_from(deadline.left()?).ok();
        match poll(&mut [PollFd::new(&self.fd, events)], left.as_ref()) {
            Ok(0) => Err(deadline.passed()),
            Ok(_) | Err(Errno::INTR) => deadline.left().map(drop),
            Err(errno) => Err(Error::Gone(Gone::Broken { errno: errno.into() })),
        }
    }
}
