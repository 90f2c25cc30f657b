// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which version is spoken, and what the server can take. Section "VFIO_USER_VERSION".

use serde_json::Value;

use super::{MAX_DATA, MAX_FDS, ProtocolError};

/// The version that is asked for.
pub(super) const MAJOR: u16 = 0;
pub(super) const MINOR: u16 = 1;

/// Bytes of a version without its capabilities.
pub(super) const VERSION: usize = 4;
/// Bytes of capabilities that are taken. Real ones stay below 200.
pub(super) const MAX_CAPABILITIES: usize = 4096;

/// Bytes in one read or write where a server names no other number.
const DEFAULT_DATA: u64 = 1 << 20;
/// An access of 8 bytes is made in one piece.
const LEAST_DATA: u64 = 8;

/// What is proposed: the version, the capabilities and the NUL that ends them.
pub(super) fn proposal() -> Vec<u8> {
    let capabilities = serde_json::json!({
        "capabilities": { "max_msg_fds": MAX_FDS, "max_data_xfer_size": MAX_DATA },
    });
    let mut bytes = Vec::new();
    bytes.extend(MAJOR.to_le_bytes());
    bytes.extend(MINOR.to_le_bytes());
    bytes.extend(capabilities.to_string().bytes());
    bytes.push(0);
    bytes
}

/// Reads a server's answer; answers with the bytes that go in one read or write.
pub(super) fn parse(answer: &[u8]) -> Result<usize, ProtocolError> {
    let wrong = |why: &str| ProtocolError::Capabilities { why: why.to_owned() };
    let (version, data) =
        answer.split_first_chunk::<VERSION>().ok_or_else(|| wrong("no version before them"))?;
    let major = u16::from_le_bytes([version[0], version[1]]);
    let minor = u16::from_le_bytes([version[2], version[3]]);
    if major != MAJOR || minor > MINOR {
        return Err(ProtocolError::Version { major, minor });
    }
    let text = data.strip_suffix(b"\0").unwrap_or(data);
    if text.is_empty() {
        return Ok(DEFAULT_DATA.min(MAX_DATA) as usize);
    }
    let json: Value = serde_json::from_slice(text).map_err(|error| wrong(&error.to_string()))?;
    let most = match json.pointer("/capabilities/max_data_xfer_size") {
        None => DEFAULT_DATA,
        Some(number) => number
            .as_u64()
            .filter(|most| *most >= LEAST_DATA)
            .ok_or_else(|| wrong(&format!("max_data_xfer_size of {number:.40}")))?,
    };
    Ok(most.min(MAX_DATA) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(major: u16, minor: u16, text: &str) -> Result<usize, ProtocolError> {
        let version = [major.to_le_bytes(), minor.to_le_bytes()].concat();
        parse(&[&version, text.as_bytes()].concat())
    }

    #[test]
    fn what_a_server_can_take_is_kept_within_bounds() {
        assert_eq!(answer(0, 0, ""), Ok(1 << 20));
        assert_eq!(answer(0, 1, "{}\0"), Ok(1 << 20));
        let of =
            |n: &str| answer(0, 1, &format!(r#"{{"capabilities":{{"max_data_xfer_size":{n}}}}}"#));
        assert_eq!(of("4096"), Ok(4096));
        assert_eq!(of("18446744073709551615"), Ok(1 << 20));
        for bad in ["0", "7", "-1", "1e30", "\"4096\"", "null"] {
            assert!(matches!(of(bad), Err(ProtocolError::Capabilities { .. })), "{bad}");
        }
    }

    #[test]
    fn another_version_is_refused_by_its_number() {
        for (major, minor) in [(1, 0), (0, 2), (u16::MAX, 0)] {
            assert_eq!(answer(major, minor, ""), Err(ProtocolError::Version { major, minor }));
        }
    }

    #[test]
    fn capabilities_that_are_no_json_are_refused() {
        let deep = "[".repeat(4000);
        for text in ["{", "\0\0", "{}{}", "\u{fffd}", &deep] {
            assert!(matches!(answer(0, 1, text), Err(ProtocolError::Capabilities { .. })));
        }
        assert!(matches!(parse(&[0; 3]), Err(ProtocolError::Capabilities { .. })));
    }

    #[test]
    fn our_own_proposal_can_be_read() {
        assert_eq!(parse(&proposal()), Ok(MAX_DATA as usize));
    }
}
