// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a confined process must not be able to do, tried by it: for tests, and in no release.

use std::env;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::panic::catch_unwind;

/// Names what to try.
const TRY: &str = "VFIO_DISPLAY_TEST_FORBIDDEN";

/// Tries what the environment names, and says how it went, if there is somebody left to.
pub(in crate::serve) fn attempt() {
    let Ok(what) = env::var(TRY) else { return };
    let result = match what.split_once(':').unwrap_or((&what, "")) {
        ("read", path) => fs::read(path).map(drop),
        ("create", path) => File::create(path).map(drop),
        ("ioctl", _) => rustix::io::ioctl_fionread(io::stdin()).map(drop).map_err(Into::into),
        ("exec", path) => {
            // The standard library calls others before it.
            let path = CString::new(path).expect("no NUL");
            nix::unistd::execv(&path, &[&path]).map(drop).map_err(Into::into)
        }
        ("panic", _) => {
            catch_unwind(|| panic!("as was asked")).map_err(|_| io::Error::other("it was caught"))
        }
        _ => panic!("{TRY}={what}"),
    };
    eprintln!("{what}: {result:?}");
}
