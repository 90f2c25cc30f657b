// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Error numbers, by name and in words.

use std::{fmt, io};

/// An error number of the kernel, shown by its name and its text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// The errno with this number, as in `<errno.h>`.
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// Its number.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Its name in `<errno.h>`, for those that displays are known to answer.
    pub fn name(self) -> Option<&'static str> {
        use rustix::io::Errno as E;
        Some(match E::from_raw_os_error(self.0) {
            E::PERM => "EPERM",
            E::NOENT => "ENOENT",
            E::SRCH => "ESRCH",
            E::INTR => "EINTR",
            E::IO => "EIO",
            E::NXIO => "ENXIO",
            E::BADF => "EBADF",
            E::AGAIN => "EAGAIN",
            E::NOMEM => "ENOMEM",
            E::ACCESS => "EACCES",
            E::FAULT => "EFAULT",
            E::BUSY => "EBUSY",
            E::NODEV => "ENODEV",
            E::INVAL => "EINVAL",
            E::NFILE => "ENFILE",
            E::MFILE => "EMFILE",
            E::NOTTY => "ENOTTY",
            E::NOSYS => "ENOSYS",
            E::CONNREFUSED => "ECONNREFUSED",
            E::OPNOTSUPP => "EOPNOTSUPP",
            _ => return None,
        })
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = io::Error::from_raw_os_error(self.0).to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        match self.name() {
            Some(name) => write!(f, "{text} ({name})"),
            None => write!(f, "{text} (errno {})", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(errno.raw_os_error())
    }
}
