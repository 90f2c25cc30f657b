// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A connection to one client, that holds it to short messages.
//!
//! zbus makes room for as many bytes as a message says that it has, and the specification allows
//! 128 MiB. No client has that much to say to us.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;
use zbus::fdo::ConnectionCredentials;
use zruntime::{AsyncIo, Shared as Mode, SharedRuntime};

/// fds that a message may bring. A listener's is one; the kernel closes those beyond.
const FDS: usize = 4;

/// A socket whose client says at most so many bytes at a time.
#[derive(Debug)]
pub(crate) struct Bounded {
    io: Io,
    longest: usize,
}

type Io = Arc<AsyncIo<UnixStream, Mode>>;

impl Bounded {
    pub(crate) fn new(
        runtime: &SharedRuntime,
        stream: UnixStream,
        longest: usize,
    ) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { io: Arc::new(AsyncIo::new_nonblocking(runtime, stream)?), longest })
    }
}

impl Socket for Bounded {
    type ReadHalf = Reader;
    type WriteHalf = Writer;

    fn split(self) -> Split<Reader, Writer> {
        let Self { io, longest } = self;
        Split::new(Reader { io: Arc::clone(&io), longest }, Writer(io))
    }
}

#[derive(Debug)]
pub(crate) struct Reader {
    io: Io,
    longest: usize,
}

#[async_trait]
impl ReadHalf for Reader {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        if buffer.len() > self.longest {
            let told =
                format!("a message of {} bytes, and {} is the limit", buffer.len(), self.longest);
            return Err(io::Error::other(told));
        }
        self.io.read_with(|stream| receive(stream, buffer)).await
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(&self.io)
    }
}

#[derive(Debug)]
pub(crate) struct Writer(Io);

#[async_trait]
impl WriteHalf for Writer {
    async fn sendmsg(&mut self, buffer: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.0.write_with(|stream| send(stream, buffer, fds)).await
    }

    async fn close(&mut self) -> io::Result<()> {
        self.0.get_ref().shutdown(Shutdown::Both)
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }

    async fn peer_credentials(&mut self) -> io::Result<ConnectionCredentials> {
        credentials(&self.0)
    }
}

fn credentials(io: &Io) -> io::Result<ConnectionCredentials> {
    let peer = socket_peercred(io.get_ref())?;
    Ok(ConnectionCredentials::default()
        .set_unix_user_id(peer.uid.as_raw())
        .set_process_id(peer.pid.as_raw_pid().cast_unsigned()))
}

fn receive(stream: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let buffer = &mut [IoSliceMut::new(buffer)];
    let got = recvmsg(stream, buffer, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(given) = message {
            fds.extend(given);
        }
    }
    Ok((got.bytes, fds))
}

fn send(stream: &UnixStream, buffer: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(stream, &[IoSlice::new(buffer)], &mut control, SendFlags::NOSIGNAL)?)
}
