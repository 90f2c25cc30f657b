// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The devices of vfio-user servers: socket files in a directory.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::names;
use super::slots::{Found, Source};
use crate::dev::Dev;

/// Files of a directory that are looked at, whatever they are.
const FILES: usize = 1 << 16;

/// The sockets in `dir` that are named as a device's, at most `most`.
pub(super) fn list(dir: &Path, most: usize) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)?.take(FILES) {
        let entry = entry?;
        let Some(name) = names::of_socket(&entry.file_name()) else { continue };
        // One that is gone by now is none.
        if entry.file_type().is_ok_and(|kind| kind.is_socket()) {
            let dev = Dev::VfioUser(entry.path());
            found.push(Found { source: Source::Socket(entry.file_name()), name, dev });
        }
        if found.len() == most {
            break;
        }
    }
    found.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn only_sockets_with_such_a_name_are_devices_and_not_without_end() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.sock", "a.sock", ".c.sock", "d.socket"] {
            drop(UnixListener::bind(dir.path().join(name)).unwrap());
        }
        fs::write(dir.path().join("e.sock"), "").unwrap();
        fs::create_dir(dir.path().join("f.sock")).unwrap();
        let names = |most| -> Vec<String> {
            list(dir.path(), most).unwrap().into_iter().map(|found| found.name).collect()
        };
        assert_eq!(names(10), ["a", "b"]);
        assert_eq!(names(1).len(), 1);
        assert!(list(&dir.path().join("none"), 10).is_err());
    }
}
