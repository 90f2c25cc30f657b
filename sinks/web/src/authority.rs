// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whether a request is meant for this server, and comes from its own page.
//!
//! A browser sends what a page of another site asks for with the cookies of this one; and a name of
//! that site may be made to mean 127.0.0.1 once the page has been loaded (DNS rebinding). The first
//! shows in `Origin`, the second in `Host`.

use std::net::{IpAddr, SocketAddr};

/// Whether `host`, as in a request's header, names this server. An address does where the connection
/// came in at it, whatever its port: what forwards ports, as SSH does, changes them. Loopback is one
/// machine by any of its names.
pub(crate) fn is_ours(host: &str, local: SocketAddr, names: &[String]) -> bool {
    if names.iter().any(|name| name.eq_ignore_ascii_case(host)) {
        return true;
    }
    let Some(name) = without_port(host) else { return false };
    if names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
        return true;
    }
    let local = local.ip().to_canonical();
    match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        Ok(ip) if ip.is_ipv6() != name.starts_with('[') => false,
        Ok(ip) => {
            let ip = ip.to_canonical();
            ip == local || ip.is_loopback() && local.is_loopback()
        }
        Err(_) => local.is_loopback() && name.eq_ignore_ascii_case("localhost"),
    }
}

/// The name in `NAME`, `NAME:PORT`, `[V6]` and `[V6]:PORT`.
fn without_port(host: &str) -> Option<&str> {
    let end = if host.starts_with('[') { host.find(']')? + 1 } else { 0 };
    let (name, port) = match host[end..].find(':') {
        Some(at) => (&host[..end + at], &host[end + at + 1..]),
        None => (host, ""),
    };
    let digits = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (digits && !name.is_empty()).then_some(name)
}

/// Whether a page of `origin` is one that `host` serves, or one that was named. A proxy may have
/// taken TLS off, so both schemes are as good; unless `secure`.
pub(crate) fn may_connect(origin: &str, host: &str, secure: bool, origins: &[String]) -> bool {
    if origins.iter().any(|known| known.eq_ignore_ascii_case(origin)) {
        return true;
    }
    let of = match origin.split_once("://") {
        Some(("https", of)) => of,
        Some(("http", of)) if !secure => of,
        _ => return false,
    };
    of.eq_ignore_ascii_case(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let names = ["console.example".to_owned(), "other.example:8443".to_owned()];
        let at = |local: &str, host: &str| is_ours(host, local.parse().unwrap(), &names);
        for host in ["127.0.0.1:6080", "localhost", "LOCALHOST:8080", "[::1]:6080", "127.0.0.1"] {
            assert!(at("127.0.0.1:6080", host), "{host}");
            assert!(at("[::1]:6080", host), "{host}");
            assert!(!at("192.0.2.7:6080", host), "{host}");
        }
        for host in ["console.example", "Console.Example:443", "other.example:8443"] {
            assert!(at("127.0.0.1:6080", host) && at("192.0.2.7:6080", host), "{host}");
        }
        assert!(at("192.0.2.7:6080", "192.0.2.7:6080"));
        assert!(at("[2001:db8::1]:6080", "[2001:db8::1]:6080"));
        assert!(at("[::ffff:192.0.2.7]:6080", "192.0.2.7:6080"));
        for host in [
            "",
            ":6080",
            "evil.example",
            "evil.example:6080",
            "localhost.evil.example",
            "other.example",
            "localhost:x",
            "localhost:6080:1",
            "192.0.2.8",
            "::1",
            "[::1",
            "[127.0.0.1]",
            "console.example.evil.example",
            "user@localhost",
        ] {
            assert!(!at("127.0.0.1:6080", host), "{host}");
        }
    }

    #[test]
    fn origins() {
        let named = ["https://console.example".to_owned()];
        let may = |origin, secure| may_connect(origin, "localhost:6080", secure, &named);
        assert!(may("http://localhost:6080", false));
        assert!(may("https://localhost:6080", false) && may("https://localhost:6080", true));
        assert!(may("https://console.example", true));
        for origin in [
            "null",
            "",
            "http://localhost",
            "http://localhost:6081",
            "http://localhost:6080.evil.example",
            "http://evil.example",
            "file://localhost:6080",
            "http://console.example",
        ] {
            assert!(!may(origin, false), "{origin}");
        }
        assert!(!may("http://localhost:6080", true), "without TLS");
    }
}
