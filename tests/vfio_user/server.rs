// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A vfio-user server that says what a test tells it to, right or wrong.

use std::io::{IoSlice, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vfio_display::Result;
use vfio_display::vfio_user::VfioUser;

pub(crate) const REPLY: u32 = 1;
pub(crate) const ERROR: u32 = 0x21;

/// What tests wait for an answer: long for a machine, short for a person.
pub(crate) const TIMEOUT: Duration = Duration::from_millis(300);

/// The server's end of a connection.
pub(crate) struct Server(pub(crate) UnixStream);

/// A message from the client.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) id: u16,
    pub(crate) command: u16,
    pub(crate) flags: u32,
    pub(crate) error: u32,
    pub(crate) payload: Vec<u8>,
}

impl Server {
    /// The next message; `None` once the client is gone.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let mut head = [0; 16];
        self.0.read_exact(&mut head).ok()?;
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let mut payload = vec![0; word(4) as usize - 16];
        self.0.read_exact(&mut payload).ok()?;
        let (id, command) = (word(0) as u16, (word(0) >> 16) as u16);
        Some(Message { id, command, flags: word(8), error: word(12), payload })
    }

    /// Sends bytes as they are; a client that hung up does not matter.
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        let _ = self.0.write_all(bytes);
    }

    /// Sends bytes with file descriptors.
    pub(crate) fn send_with(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(fds.is_empty() || control.push(SendAncillaryMessage::ScmRights(fds)));
        let sent = sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL);
        assert_eq!(sent, Ok(bytes.len()));
    }

    /// Answers a version message.
    pub(crate) fn greet(&mut self, major: u16, minor: u16, capabilities: &str) {
        let version = self.next().unwrap();
        assert_eq!(version.command, 1);
        let numbers = [major.to_le_bytes(), minor.to_le_bytes()].concat();
        self.send(&version.reply(&[&numbers, capabilities.as_bytes(), b"\0"].concat()));
    }
}

impl Message {
    /// The bytes of a message about this one.
    pub(crate) fn with_flags(&self, flags: u32, error: u32, payload: &[u8]) -> Vec<u8> {
        message(self.id, self.command, flags, error, payload)
    }

    /// The bytes of its answer.
    pub(crate) fn reply(&self, payload: &[u8]) -> Vec<u8> {
        self.with_flags(REPLY, 0, payload)
    }

    /// The u32 at `at` of the payload.
    pub(crate) fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// The bytes of a message with a head that tells the truth about its size.
pub(crate) fn message(id: u16, command: u16, flags: u32, error: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = [id.to_le_bytes(), command.to_le_bytes()].concat();
    for word in [16 + payload.len() as u32, flags, error] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// A client of a server that greets it and then does `script`.
pub(crate) fn serve(
    script: impl FnOnce(&mut Server) + Send + 'static,
) -> (Result<VfioUser>, JoinHandle<()>) {
    start(move |server| {
        server.greet(0, 1, r#"{"capabilities":{"max_data_xfer_size":4096}}"#);
        script(server);
    })
}

/// A client of a server that does `script` from the first message on.
pub(crate) fn start(
    script: impl FnOnce(&mut Server) + Send + 'static,
) -> (Result<VfioUser>, JoinHandle<()>) {
    let (client, server) = UnixStream::pair().unwrap();
    // No script is left waiting for a client that failed.
    server.set_read_timeout(Some(20 * TIMEOUT)).unwrap();
    let server = thread::spawn(move || script(&mut Server(server)));
    (VfioUser::new(client, TIMEOUT), server)
}

/// The words of a `vfio_region_info` of region 9, 64 KiB that can be read, written and mapped
/// from page 1 on.
pub(crate) fn region(size: u64, file_offset: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [64_u32, 15, 9, 32] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([size.to_le_bytes(), file_offset.to_le_bytes()].concat());
    // VFIO_REGION_INFO_CAP_SPARSE_MMAP version 1, one area.
    for word in [0x0001_0001_u32, 0, 1, 0] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend([4096_u64.to_le_bytes(), (size - 4096).to_le_bytes()].concat());
    bytes
}

/// Answers both calls of a region lookup, the second with `fds`.
pub(crate) fn answer_region(server: &mut Server, answer: &[u8], fds: &[OwnedFd]) {
    let short = server.next().unwrap();
    assert_eq!((short.command, short.word(0), short.word(8)), (5, 32, 9));
    server.send(&short.reply(&answer[..32]));
    let full = server.next().unwrap();
    assert_eq!((full.command, full.word(0) as usize), (5, answer.len()));
    let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
    server.send_with(&full.reply(answer), &fds);
}
