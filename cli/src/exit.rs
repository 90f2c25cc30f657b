// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Exit statuses: one for each thing that a script would handle differently.

use std::fmt;
use std::io;
use std::process::ExitCode;

use vfio_display::error::Call;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// Something that has no status of its own.
    Failed = 1,
    /// The command line makes no sense. The argument parser's own status.
    Usage = 2,
    /// No such device, process or display.
    NotFound = 3,
    /// The kernel does not permit it.
    NotPermitted = 4,
    /// Somebody else has the device, or its group can't be used.
    Busy = 5,
    /// The device has no display.
    NoDisplay = 6,
    /// The display was off until the time-out.
    Off = 7,
    /// The picture is there and can't be read here: its format, or a buffer for GPUs alone.
    Unreadable = 8,
    /// The device's description of its display makes no sense.
    Nonsense = 9,
    /// The device, or the process that has it, went away.
    Gone = 10,
    /// The output can't be written.
    Output = 11,
    /// Several displays, and the command line does not say which.
    Ambiguous = 12,
    /// Reading the display could upset the process that shows it.
    Conflict = 13,
}

/// What `--help` says of the statuses.
pub(crate) const HELP: &str = "\
Exit status:
   0  done                         7  display off until the time-out
   1  any other failure            8  picture not readable here (format, GPU-only buffer)
   2  wrong command line           9  the device's description makes no sense
   3  no such device or process   10  device or process went away
   4  not permitted               11  output not writable
   5  busy or not usable          12  several displays, say which
   6  no display on the device    13  would upset the process that shows it (--force)";

impl Status {
    /// What became of a file or a socket.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        use io::ErrorKind as K;
        match error.kind() {
            K::NotFound | K::NotADirectory => Self::NotFound,
            K::PermissionDenied => Self::NotPermitted,
            K::AddrInUse => Self::Busy,
            _ => Self::Failed,
        }
    }

    /// The word that stands for it in JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not-found",
            Self::NotPermitted => "not-permitted",
            Self::Busy => "busy",
            Self::NoDisplay => "no-display",
            Self::Off => "off",
            Self::Unreadable => "unreadable",
            Self::Nonsense => "nonsense",
            Self::Gone => "gone",
            Self::Output => "output",
            Self::Ambiguous => "ambiguous",
            Self::Conflict => "conflict",
        }
    }
}

/// A message for a person, with the status for a script.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    pub(crate) message: String,
    /// What to do about it, where there is something.
    pub(crate) hint: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: Status, message: impl fmt::Display) -> Self {
        Self { status, message: message.to_string(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says it on standard error, as JSON or as text, and ends with its status.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        if json {
            let report = serde_json::json!({
                "error": self.message,
                "kind": self.status.name(),
                "status": self.status as u8,
                "hint": self.hint,
            });
            eprintln!("{report}");
        } else {
            eprintln!("vfio-display: {}", self.message);
            if let Some(hint) = &self.hint {
                eprintln!("  {hint}");
            }
        }
        ExitCode::from(self.status as u8)
    }
}

impl From<vfio_display::Error> for Failure {
    fn from(error: vfio_display::Error) -> Self {
        use vfio_display::Error as E;
        let status = match &error {
            E::Protocol(_) => Status::Nonsense,
            E::Refused { call: Call::Connect, errno } => match errno.name() {
                Some("ENOENT" | "ECONNREFUSED") => Status::NotFound,
                Some("EACCES" | "EPERM") => Status::NotPermitted,
                _ => Status::Failed,
            },
            _ if error.is_gone() => Status::Gone,
            E::NoDisplay { .. } => Status::NoDisplay,
            E::Conflict { .. } => Status::Conflict,
            E::Unsupported(_) | E::NotMappable { .. } => Status::Unreadable,
            E::Plane(_) | E::Region { .. } | E::OutsideRegion { .. } | E::DmabufShort { .. } => {
                Status::Nonsense
            }
            _ => Status::Failed,
        };
        let failure = Self::new(status, &error);
        match error {
            E::NotMappable { len, .. } if len % 4096 != 0 => failure.hint(format!(
                "its size is no multiple of 4096 bytes: the kernel maps whole pages only; try \
                 another mode in the guest ({len} bytes are {} pages and a part)",
                len / 4096
            )),
            E::NotMappable { .. } => failure.hint(
                "the device's driver gives its pictures to GPUs alone; a picture can only be \
                 had by importing the dma-buf into one",
            ),
            E::Conflict { .. } => failure.hint("--force reads it all the same"),
            E::Unsupported(_) => failure
                .hint("the guest chose this format; another mode or colour depth may be readable"),
            _ => failure,
        }
    }
}
