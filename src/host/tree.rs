// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bounded reads of sysfs and procfs.
//!
//! What stands there was written by drivers and by processes, of which some mean no good: a file
//! is read up to a limit, a directory listed up to a limit, and text that came from either is
//! shown without its control characters.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use rustix::fs::{Dir, Mode, OFlags, open};
use rustix::io::{Errno as Raw, Result};

/// Longest attribute that is read, in bytes. sysfs itself stops at a page.
pub(super) const MAX_FILE: usize = 64 << 10;
/// Most entries of a directory: a process table or an fd table beyond that is refused.
pub(super) const MAX_ENTRIES: usize = 1 << 18;

/// The first bytes of a file, at most `limit`.
pub(super) fn head(path: &Path, limit: usize) -> Result<Vec<u8>> {
    // Without NONBLOCK a fifo in the way would hold us up for ever.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::from(open(path, flags, Mode::empty())?);
    let mut bytes = Vec::new();
    file.take(limit as u64)
        .read_to_end(&mut bytes)
        .map_err(|error| Raw::from_io_error(&error).unwrap_or(Raw::IO))?;
    Ok(bytes)
}

/// An attribute as trimmed text.
///
/// # Errors
///
/// EFBIG where it has more than [`MAX_FILE`] bytes, or what the system said.
pub(super) fn text(path: &Path) -> Result<String> {
    let bytes = head(path, MAX_FILE + 1)?;
    if bytes.len() > MAX_FILE {
        return Err(Raw::FBIG);
    }
    Ok(String::from_utf8_lossy(&bytes).trim().to_owned())
}

/// An attribute of one line, shown without control characters; `None` where it says nothing.
pub(super) fn line(path: &Path) -> Option<String> {
    let text = text(path).ok()?;
    Some(clean(text.lines().next()?.trim())).filter(|line| !line.is_empty())
}

/// A number in an attribute: decimal, or hexadecimal after `0x`.
pub(super) fn number(path: &Path) -> Option<u32> {
    let text = text(path).ok()?;
    match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// Last component of where a link points, as of `driver` or `iommu_group`.
pub(super) fn link_name(path: &Path) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    Some(clean(&target.file_name()?.to_string_lossy()))
}

/// The names in a directory, sorted.
///
/// # Errors
///
/// E2BIG where it has more than [`MAX_ENTRIES`], or what the system said.
pub(super) fn names(path: &Path) -> Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt as _;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = Dir::new(open(path, flags, Mode::empty())?)?;
    let mut names = Vec::new();
    for entry in dir {
        let name = entry?.file_name().to_bytes().to_vec();
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            return Err(Raw::TOOBIG);
        }
        names.push(OsString::from_vec(name));
    }
    names.sort();
    Ok(names)
}

/// As [`names`]; what is not there has none.
pub(super) fn names_if_there(path: &Path) -> Result<Vec<OsString>> {
    match names(path) {
        Err(Raw::NOENT | Raw::NOTDIR) => Ok(Vec::new()),
        other => other,
    }
}

/// `text` fit for a terminal: a process may call itself by an escape sequence.
pub(super) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            c if c.is_control() => char::REPLACEMENT_CHARACTER,
            c => c,
        })
        .collect()
}
