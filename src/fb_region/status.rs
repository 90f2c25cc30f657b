// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Commands, and what becomes of them.

use std::fmt;

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Status {
    /// No command since the reset.
    Free = 0,
    /// Being copied.
    Pending = 1,
    /// The slot holds the frame.
    Done = 2,
    /// By a command.
    Cancelled = 16,
    /// The plane is not visible.
    Hidden = 17,
    /// The picture does not fit the slot.
    NoRoom = 18,
    /// The device could not; another try may work.
    Failed = 19,
    /// There is no such plane.
    BadPlane = 20,
    /// The slot is pending.
    Busy = 21,
    /// There is no such slot.
    BadSlot = 22,
    /// Neither capture nor cancel, or a reserved bit is set.
    BadOp = 23,
    /// 0, or the cancelling of what is not there.
    BadRequest = 24,
}

impl Status {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::Free,
        Self::Pending,
        Self::Done,
        Self::Cancelled,
        Self::Hidden,
        Self::NoRoom,
        Self::Failed,
        Self::BadPlane,
        Self::Busy,
        Self::BadSlot,
        Self::BadOp,
        Self::BadRequest,
    ];

    /// The number on the page.
    pub const fn raw(self) -> u32 {
        self as u32
    }

    /// The status that a number stands for.
    pub fn from_raw(raw: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.raw() == raw)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Free => "no command since the reset",
            Self::Pending => "being copied",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Hidden => "the plane is not visible",
            Self::NoRoom => "the picture does not fit the slot",
            Self::Failed => "the device could not copy it",
            Self::BadPlane => "no such plane",
            Self::Busy => "the slot is busy",
            Self::BadSlot => "no such slot",
            Self::BadOp => "no such command",
            Self::BadRequest => "no such request",
        })
    }
}

/// What a consumer writes to [`layout::COMMAND`](super::layout::COMMAND).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The consumer's number for it, not 0.
    pub request: u32,
    /// What is to be done.
    pub op: Op,
    /// Index of the slot.
    pub slot: u8,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Copy the plane with this index into the slot.
    Capture(u8),
    /// Make no copy for the request any more.
    Cancel,
}

const CAPTURE: u8 = 1;
const CANCEL: u8 = 2;

impl Command {
    /// The register's value.
    pub const fn raw(self) -> u64 {
        let (op, plane) = match self.op {
            Op::Capture(plane) => (CAPTURE, plane),
            Op::Cancel => (CANCEL, 0),
        };
        let [a, b, c, d] = self.request.to_le_bytes();
        u64::from_le_bytes([a, b, c, d, op, plane, self.slot, 0])
    }

    /// The command that a value is; the second answer is its request, whatever it is.
    ///
    /// # Errors
    ///
    /// [`Status::BadOp`] and [`Status::BadRequest`].
    pub const fn from_raw(raw: u64) -> (Result<Self, Status>, u32) {
        let [a, b, c, d, op, plane, slot, reserved] = raw.to_le_bytes();
        let request = u32::from_le_bytes([a, b, c, d]);
        let op = match (op, plane) {
            (CAPTURE, plane) => Op::Capture(plane),
            (CANCEL, 0) => Op::Cancel,
            _ => return (Err(Status::BadOp), request),
        };
        let command = match (reserved, request) {
            (0, 1..) => Ok(Self { request, op, slot }),
            (0, 0) => Err(Status::BadRequest),
            _ => Err(Status::BadOp),
        };
        (command, request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_comes_back_as_it_was_written() {
        for op in [Op::Capture(0), Op::Capture(255), Op::Cancel] {
            for (request, slot) in [(1, 0), (u32::MAX, 255)] {
                let command = Command { request, op, slot };
                assert_eq!(Command::from_raw(command.raw()), (Ok(command), request));
            }
        }
        let raw = Command { request: 0x0403_0201, op: Op::Capture(6), slot: 7 }.raw();
        assert_eq!(raw.to_le_bytes(), [1, 2, 3, 4, 1, 6, 7, 0]);
    }

    #[test]
    fn what_is_no_command_says_why() {
        assert_eq!(Command::from_raw(0), (Err(Status::BadOp), 0));
        assert_eq!(Command::from_raw(1 << 32), (Err(Status::BadRequest), 0));
        assert_eq!(Command::from_raw(1 << 32 | 1 << 63 | 5), (Err(Status::BadOp), 5));
        assert_eq!(Command::from_raw(2 << 32 | 1 << 40 | 5), (Err(Status::BadOp), 5));
        assert_eq!(Command::from_raw(3 << 32 | 5), (Err(Status::BadOp), 5));
    }
}
