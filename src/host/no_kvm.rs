// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! In place of the virtual machine, without feature `kvm`.

use std::os::fd::BorrowedFd;
use std::path::Path;

use super::opened::Note;

/// Never made.
#[derive(Debug)]
pub(super) enum Attachment {}

/// Notes that there is nothing to attach to.
pub(super) fn attach(_: &Path, _: BorrowedFd<'_>) -> Result<Attachment, Note> {
    Err(Note::WithoutKvm)
}
