// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Names of displays: of files and in links, and the same each time the VM is started.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use vfio_display::host::VmmDisplay;

/// What the name of a vfio-user server's socket ends with.
const SOCKET: &[u8] = b".sock";

/// The name of a VMM's display: its device's UUID or address, if that is known.
pub(super) fn of_vmm(display: &VmmDisplay) -> String {
    match display.device.as_ref().and_then(|path| path.file_name()) {
        Some(name) => escaped(name.as_bytes()),
        None => format!("pid-{}-{}", display.pid, display.n),
    }
}

/// The name of the display behind a socket file; `None` where the file is not named as one.
pub(super) fn of_socket(file: &OsStr) -> Option<String> {
    let name = file.as_bytes().strip_suffix(SOCKET)?;
    // What is being made has such a name until it is complete.
    (!name.is_empty() && !name.starts_with(b".")).then(|| escaped(name))
}

/// Different names stay different: what is not plain is written as in a URL, and so is its sign.
fn escaped(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:@+,".contains(&byte);
    let each = name.iter().map(|&byte| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    each.collect()
}

/// `name`, or the first of `name~2`, `name~3`, … that is not taken.
pub(super) fn unique(name: String, is_taken: impl Fn(&str) -> bool) -> String {
    if !is_taken(&name) {
        return name;
    }
    let mut others = (2_u64..).map(|n| format!("{name}~{n}"));
    others.find(|other| !is_taken(other)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(file: &[u8]) -> Option<String> {
        of_socket(OsStr::from_bytes(file))
    }

    #[test]
    fn a_socket_names_its_display() {
        assert_eq!(socket(b"vm-1.sock").as_deref(), Some("vm-1"));
        assert_eq!(socket(b"a b/%\n\xff.sock").as_deref(), Some("a%20b%2F%25%0A%FF"));
        for none in [&b".sock"[..], b".hidden.sock", b"vm1", b"vm1.socket", b"sock", b""] {
            assert_eq!(socket(none), None, "{none:?}");
        }
    }

    #[test]
    fn a_device_names_its_display() {
        let display = |device: Option<&str>| VmmDisplay {
            pid: 4711,
            n: 1,
            fd: 30,
            kinds: Vec::new(),
            device: device.map(Into::into),
        };
        assert_eq!(of_vmm(&display(Some("/sys/devices/pci/0000:65:00.4"))), "0000:65:00.4");
        assert_eq!(of_vmm(&display(None)), "pid-4711-1");
    }

    #[test]
    fn no_two_have_one_name() {
        let taken = ["a", "a~2"];
        let unique = |name: &str| unique(name.into(), |name| taken.contains(&name));
        assert_eq!((unique("a"), unique("b")), ("a~3".into(), "b".into()));
    }
}
