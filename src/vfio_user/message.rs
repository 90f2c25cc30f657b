// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The head of a message, and whether it answers what was asked.
//!
//! Layouts: vfio-user protocol specification, sections "Header" and "Commands". Little-endian.

use super::ProtocolError;
use crate::error::Errno;

/// Bytes of the head.
pub(super) const HEAD: usize = 16;

/// The bits of the flags that say what a message is.
const TYPE: u32 = 0xf;
const TYPE_COMMAND: u32 = 0;
const TYPE_REPLY: u32 = 1;
const NO_REPLY: u32 = 1 << 4;
const ERROR: u32 = 1 << 5;

/// What a client asks for. `VFIO_USER_…`.
///
/// A reset is 13, as libvfio-user, QEMU and rust-vmm have it; drafts of the specification said 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Command {
    Version = 1,
    DeviceGetInfo = 4,
    DeviceGetRegionInfo = 5,
    DeviceGetIrqInfo = 7,
    DeviceSetIrqs = 8,
    RegionRead = 9,
    RegionWrite = 10,
    DeviceReset = 13,
}

/// The head of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) id: u16,
    pub(super) command: u16,
    /// Bytes of the message, the head among them.
    pub(super) size: u32,
    flags: u32,
    error: u32,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    /// The answer, with so many bytes behind the head.
    Answer { len: usize },
    /// The answer "no".
    Refused(Errno),
    /// The server asks for something itself, with so many bytes behind the head.
    Request { len: usize, wants_reply: bool },
}

impl Head {
    /// A command with `len` bytes behind the head.
    pub(super) const fn command(id: u16, command: Command, len: u32) -> Self {
        Self { id, command: command as u16, size: HEAD as u32 + len, flags: 0, error: 0 }
    }

    /// The answer "no" to a command of the server's.
    pub(super) const fn refusal(&self, errno: Errno) -> Self {
        let error = errno.raw().unsigned_abs();
        Self { size: HEAD as u32, flags: TYPE_REPLY | ERROR, error, ..*self }
    }

    pub(super) fn parse(bytes: &[u8; HEAD]) -> Self {
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let [first, size, flags, error] = [word(0), word(4), word(8), word(12)];
        Self { id: first as u16, command: (first >> 16) as u16, size, flags, error }
    }

    pub(super) fn to_bytes(self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        bytes[0..2].copy_from_slice(&self.id.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.command.to_le_bytes());
        for (at, word) in [(4, self.size), (8, self.flags), (12, self.error)] {
            bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What this head is to one who asked `asked` and waits for `least` to `most` bytes behind
    /// the head. A request of the server's may have `most_asked`.
    pub(super) fn judge(
        &self,
        asked: &Self,
        (least, most): (usize, usize),
        most_asked: usize,
    ) -> Result<Incoming, ProtocolError> {
        let size = |least: usize, most: usize| {
            let len = (self.size as usize).checked_sub(HEAD);
            len.filter(|len| (least..=most).contains(len)).ok_or(ProtocolError::Size {
                command: self.command,
                size: self.size,
                least: least + HEAD,
                most: most + HEAD,
            })
        };
        match self.flags & TYPE {
            TYPE_COMMAND => {
                let wants_reply = self.flags & NO_REPLY == 0;
                Ok(Incoming::Request { len: size(0, most_asked)?, wants_reply })
            }
            TYPE_REPLY if (self.id, self.command) != (asked.id, asked.command) => {
                Err(ProtocolError::OtherReply {
                    asked: (asked.id, asked.command),
                    got: (self.id, self.command),
                })
            }
            TYPE_REPLY if self.flags & ERROR != 0 => {
                size(0, 0)?;
                Ok(Incoming::Refused(errno(self.error)))
            }
            TYPE_REPLY => Ok(Incoming::Answer { len: size(least, most)? }),
            _ => Err(ProtocolError::Type { flags: self.flags }),
        }
    }
}

/// The errno in an answer; EIO where it is none, as the specification lets a server leave it out.
fn errno(error: u32) -> Errno {
    match i32::try_from(error) {
        Ok(raw @ 1..4096) => Errno::from_raw(raw),
        _ => rustix::io::Errno::IO.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Head = Head::command(7, Command::RegionRead, 16);

    fn reply(change: impl FnOnce(&mut Head)) -> Result<Incoming, ProtocolError> {
        let mut head = Head { size: 24, flags: TYPE_REPLY, ..ASKED };
        change(&mut head);
        Head::parse(&head.to_bytes()).judge(&ASKED, (8, 16), 64)
    }

    #[test]
    fn an_answer_is_to_what_was_asked() {
        assert_eq!(reply(|_| {}), Ok(Incoming::Answer { len: 8 }));
        assert!(matches!(reply(|head| head.id = 8), Err(ProtocolError::OtherReply { .. })));
        assert!(matches!(reply(|head| head.command = 10), Err(ProtocolError::OtherReply { .. })));
        assert_eq!(reply(|head| head.flags = 2), Err(ProtocolError::Type { flags: 2 }));
    }

    #[test]
    fn sizes_are_bounded_on_both_sides() {
        for size in [0, 15, 16, 23, 33, u32::MAX] {
            let answer = reply(|head| head.size = size);
            let error = ProtocolError::Size { command: 9, size, least: 24, most: 32 };
            assert_eq!(answer, Err(error), "{size}");
        }
        assert_eq!(reply(|head| head.size = 32), Ok(Incoming::Answer { len: 16 }));
    }

    #[test]
    fn an_error_has_an_errno_or_is_eio() {
        for (error, errno) in [(22, 22), (0, 5), (4096, 5), (u32::MAX, 5)] {
            let answer = reply(|head| (head.size, head.flags, head.error) = (16, 0x21, error));
            assert_eq!(answer, Ok(Incoming::Refused(Errno::from_raw(errno))));
        }
        assert!(reply(|head| head.flags = 0x21).is_err(), "bytes behind an error");
    }

    #[test]
    fn a_request_is_told_from_an_answer() {
        let request = reply(|head| (head.flags, head.size) = (0, 80));
        assert_eq!(request, Ok(Incoming::Request { len: 64, wants_reply: true }));
        let quiet = reply(|head| (head.flags, head.size) = (NO_REPLY, 16));
        assert_eq!(quiet, Ok(Incoming::Request { len: 0, wants_reply: false }));
        assert!(reply(|head| (head.flags, head.size) = (0, 81)).is_err());
    }
}
