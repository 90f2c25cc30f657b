// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From connecting to ServerInit (RFC 6143, sections 7.1 to 7.3).

use vfio_display::geometry::Size;

use crate::error::Error;
use crate::pixel_format::PixelFormat;
use crate::wire::{put_pixels, put_u32};

/// What we say first: the newest version there is.
pub(crate) const GREETING: &[u8; 12] = b"RFB 003.008\n";

/// The security type None (section 7.2.1).
pub(crate) const NONE: u8 = 1;

/// What the viewer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V3,
    V7,
    V8,
}

impl Version {
    /// Any other number of the right form is to be taken for 3.3 (section 7.1.1).
    pub(crate) fn parse(bytes: &[u8; 12]) -> Result<Self, Error> {
        let digits = |range: std::ops::Range<usize>| bytes[range].iter().all(u8::is_ascii_digit);
        let form = bytes.starts_with(b"RFB ") && bytes[7] == b'.' && bytes[11] == b'\n';
        if !form || !digits(4..7) || !digits(8..11) {
            return Err(Error::NotRfb(*bytes));
        }
        Ok(match &bytes[4..11] {
            b"003.007" => Self::V7,
            b"003.008" => Self::V8,
            _ => Self::V3,
        })
    }
}

/// The viewer's choice among the one that is offered. Appends what it is told where it is another.
pub(crate) fn check_choice(
    version: Version,
    chosen: u8,
    offered: u8,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    if chosen == offered {
        return Ok(());
    }
    put_failure(version, "this security type was not offered", out);
    Err(Error::SecurityType(chosen))
}

/// Appends the result of None: only 3.8 hears of it.
pub(crate) fn put_none_result(version: Version, out: &mut Vec<u8>) {
    if version == Version::V8 {
        put_u32(out, 0);
    }
}

/// Appends a SecurityResult (section 7.1.3): that it failed, and, for 3.8, why.
pub(crate) fn put_failure(version: Version, why: &str, out: &mut Vec<u8>) {
    put_u32(out, 1);
    if version == Version::V8 {
        put_reason(why, out);
    }
}

pub(crate) fn put_reason(why: &str, out: &mut Vec<u8>) {
    put_u32(out, why.len() as u32);
    out.extend_from_slice(why.as_bytes());
}

/// Appends ServerInit (section 7.3.2).
pub(crate) fn put_server_init(size: Size, name: &str, out: &mut Vec<u8>) {
    put_pixels(out, size.width);
    put_pixels(out, size.height);
    PixelFormat::XRGB8888.write(out);
    put_u32(out, name.len() as u32);
    out.extend_from_slice(name.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let version = |text: &[u8; 12]| Version::parse(text).ok();
        assert_eq!(version(b"RFB 003.008\n"), Some(Version::V8));
        assert_eq!(version(b"RFB 003.007\n"), Some(Version::V7));
        for old in [b"RFB 003.003\n", b"RFB 003.005\n", b"RFB 003.889\n", b"RFB 000.000\n"] {
            assert_eq!(version(old), Some(Version::V3));
        }
        for other in [b"RFB 003.008 ", b"GET / HTTP/1", b"RFB 003,008\n", b"RFB 0x3.008\n"] {
            assert_eq!(version(other), None);
        }
    }

    #[test]
    fn the_one_that_is_offered_or_nothing() {
        let answer = |version, chosen, offered| {
            let mut out = Vec::new();
            let result = check_choice(version, chosen, offered, &mut out);
            (result.is_ok(), out)
        };
        for offered in [1, 19] {
            assert_eq!(answer(Version::V8, offered, offered), (true, vec![]));
            for chosen in [0, 2, 16, 20 - offered, 255] {
                let (ok, out) = answer(Version::V8, chosen, offered);
                assert!(!ok && out.starts_with(&[0, 0, 0, 1]) && out.len() > 8);
                assert_eq!(answer(Version::V7, chosen, offered), (false, vec![0, 0, 0, 1]));
            }
        }
    }
}
