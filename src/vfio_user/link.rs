// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Messages and their answers, one at a time.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use super::message::{Command, HEAD, Head, Incoming};
use super::socket::{Deadline, Socket};
use super::version::{self, MAX_CAPABILITIES, VERSION};
use super::{MAX_DATA, MAX_FDS, ProtocolError};
use crate::error::{Call, Errno, Error, Result};

/// Bytes of a read or a write before its data, `struct vfio_user_region_access`.
const ACCESS: usize = 16;
/// Most bytes behind the head of a server's own request: a `DMA_WRITE` of all that it may send.
const MAX_REQUEST: usize = MAX_DATA as usize + ACCESS;
/// Requests that a server may make while it is asked something. A display has no need of any.
const MAX_REQUESTS: u32 = 64;

/// A connection, until something is wrong with it.
#[derive(Debug)]
pub(super) struct Link {
    /// The socket, or why there is none any more.
    socket: Result<Socket>,
    next_id: u16,
    timeout: Duration,
    max_data: usize,
}

/// A command to send.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    command: Command,
    parts: [&'a [u8]; 2],
    fd: Option<BorrowedFd<'a>>,
}

/// Why there is no answer.
pub(super) enum Failed {
    /// It is "no".
    Refused(Errno),
    /// There will be none.
    Over(Error),
}

impl Failed {
    /// The error of `call` having gone this way.
    pub(super) fn of(self, call: Call) -> Error {
        match self {
            Self::Refused(errno) => call.refused(errno),
            Self::Over(error) => error,
        }
    }
}

impl<'a> Ask<'a> {
    pub(super) const fn new(command: Command) -> Self {
        Self { command, parts: [&[], &[]], fd: None }
    }

    pub(super) const fn with(mut self, payload: &'a [u8]) -> Self {
        self.parts[0] = payload;
        self
    }

    pub(super) const fn with_fd(mut self, fd: Option<BorrowedFd<'a>>) -> Self {
        self.fd = fd;
        self
    }
}

impl Link {
    pub(super) fn connect(path: &Path, timeout: Duration) -> Result<Self> {
        Self::negotiate(Socket::connect(path, Deadline::new(timeout))?, timeout)
    }

    pub(super) fn new(socket: OwnedFd, timeout: Duration) -> Result<Self> {
        Self::negotiate(Socket::new(socket)?, timeout)
    }

    fn negotiate(socket: Socket, timeout: Duration) -> Result<Self> {
        let mut link = Self { socket: Ok(socket), next_id: 0, timeout, max_data: 0 };
        let proposal = version::proposal();
        let mut answer = [0; VERSION + MAX_CAPABILITIES];
        let ask = Ask::new(Command::Version).with(&proposal);
        let len = link
            .ask(ask, VERSION, [&mut answer, &mut []])
            .map_err(|failed| failed.of(Call::Connect))?;
        link.max_data = version::parse(&answer[..len])?;
        Ok(link)
    }

    /// The socket once more.
    pub(super) fn duplicate(&self) -> Result<OwnedFd> {
        self.socket.as_ref().map_err(Error::clone)?.duplicate()
    }

    /// Bytes that go in one read or write.
    pub(super) const fn max_data(&self) -> usize {
        self.max_data
    }

    pub(super) fn read(&mut self, region: u32, at: u64, buf: &mut [u8]) -> Result<(), Failed> {
        let asked = (region, at, buf.len() as u32);
        let access = access(asked);
        let mut echo = [0; ACCESS];
        let least = ACCESS + buf.len();
        self.ask(Ask::new(Command::RegionRead).with(&access), least, [&mut echo, buf])?;
        self.check_access(asked, &echo)
    }

    pub(super) fn write(&mut self, region: u32, at: u64, data: &[u8]) -> Result<(), Failed> {
        let asked = (region, at, data.len() as u32);
        let access = access(asked);
        let mut echo = [0; ACCESS];
        let ask = Ask { parts: [&access, data], ..Ask::new(Command::RegionWrite) };
        self.ask(ask, ACCESS, [&mut echo, &mut []])?;
        self.check_access(asked, &echo)
    }

    fn check_access(&mut self, asked: (u32, u64, u32), echo: &[u8; ACCESS]) -> Result<(), Failed> {
        if *echo == access(asked) {
            return Ok(());
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *echo;
        let got = (
            u32::from_le_bytes([i, j, k, l]),
            u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            u32::from_le_bytes([m, n, o, p]),
        );
        Err(Failed::Over(self.broken(ProtocolError::OtherAccess { asked, got })))
    }

    /// Asks, and fills `into` with what lies behind the answer's head: at least `least` bytes, at
    /// most as many as there is room for. Answers with how many.
    pub(super) fn ask(
        &mut self,
        ask: Ask<'_>,
        least: usize,
        into: [&mut [u8]; 2],
    ) -> Result<usize, Failed> {
        let mut fds = Vec::new();
        let len = self.exchange(ask, least, into, &mut fds)?;
        if fds.is_empty() {
            Ok(len)
        } else {
            Err(Failed::Over(self.broken(ProtocolError::Fds { most: 0 })))
        }
    }

    /// As [`ask`](Self::ask), with a file that comes with the answer. Servers send one for each
    /// mappable area; they are the same file, and the first one is kept.
    pub(super) fn ask_for_file(
        &mut self,
        ask: Ask<'_>,
        least: usize,
        into: &mut [u8],
    ) -> Result<Option<OwnedFd>, Failed> {
        let mut fds = Vec::with_capacity(MAX_FDS);
        self.exchange(ask, least, [into, &mut []], &mut fds)?;
        Ok(fds.into_iter().next())
    }

    /// Takes note that nothing more will be read from this server, and why.
    pub(super) fn broken(&mut self, error: impl Into<Error>) -> Error {
        let error = error.into();
        self.socket = Err(error.clone());
        error
    }

    fn exchange(
        &mut self,
        ask: Ask<'_>,
        least: usize,
        into: [&mut [u8]; 2],
        fds: &mut Vec<OwnedFd>,
    ) -> Result<usize, Failed> {
        let socket = self.socket.as_ref().map_err(|error| Failed::Over(error.clone()))?;
        let len = ask.parts.iter().map(|part| part.len()).sum::<usize>();
        let head = Head::command(self.next_id, ask.command, len as u32);
        self.next_id = self.next_id.wrapping_add(1);
        let deadline = Deadline::new(self.timeout);
        match exchange(socket, &head, ask, (least, into), fds, deadline) {
            Ok(Ok(len)) => Ok(len),
            Ok(Err(errno)) => Err(Failed::Refused(errno)),
            Err(error) => Err(Failed::Over(self.broken(error))),
        }
    }
}

/// Sends `asked` and waits for its answer, "no" being one, whatever the server asks meanwhile.
fn exchange(
    socket: &Socket,
    asked: &Head,
    ask: Ask<'_>,
    (least, [first, second]): (usize, [&mut [u8]; 2]),
    fds: &mut Vec<OwnedFd>,
    deadline: Deadline,
) -> Result<Result<usize, Errno>> {
    let most = first.len() + second.len();
    socket.send([&asked.to_bytes(), ask.parts[0], ask.parts[1]], ask.fd, deadline)?;
    for _ in 0..MAX_REQUESTS {
        let mut head = [0; HEAD];
        socket.receive(&mut head, fds, deadline)?;
        let head = Head::parse(&head);
        match head.judge(asked, (least, most), MAX_REQUEST)? {
            Incoming::Answer { len } => {
                let (first_len, second_len) =
                    (len.min(first.len()), len.saturating_sub(first.len()));
                socket.receive(&mut first[..first_len], fds, deadline)?;
                socket.receive(&mut second[..second_len], fds, deadline)?;
                return Ok(Ok(len));
            }
            Incoming::Refused(errno) => return Ok(Err(errno)),
            Incoming::Request { len, wants_reply } => {
                skip(socket, len, fds, deadline)?;
                fds.clear();
                if wants_reply {
                    let no = head.refusal(rustix::io::Errno::OPNOTSUPP.into());
                    socket.send([&no.to_bytes(), &[], &[]], None, deadline)?;
                }
            }
        }
    }
    Err(ProtocolError::Chatter { requests: MAX_REQUESTS }.into())
}

/// Reads `len` bytes that nobody wants.
fn skip(socket: &Socket, mut len: usize, fds: &mut Vec<OwnedFd>, deadline: Deadline) -> Result<()> {
    let mut scratch = [0; 4096];
    while len > 0 {
        let piece = len.min(scratch.len());
        socket.receive(&mut scratch[..piece], fds, deadline)?;
        len -= piece;
    }
    Ok(())
}

fn access((region, offset, count): (u32, u64, u32)) -> [u8; ACCESS] {
    let mut bytes = [0; ACCESS];
    bytes[..8].copy_from_slice(&offset.to_le_bytes());
    bytes[8..12].copy_from_slice(&region.to_le_bytes());
    bytes[12..].copy_from_slice(&count.to_le_bytes());
    bytes
}
