// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A request: as much of HTTP/1.1 (RFC 9112) as a page and a WebSocket need. Everything that is not
//! that is refused, with a status.

use data_encoding::BASE64;
use vfio_display_sinks::Credentials;
use zeroize::Zeroizing;

use crate::response::Status;

/// Headers of a request; browsers send some 15, and proxies add a few.
const MAX_HEADERS: usize = 64;

/// The head of a request, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) path: String,
    query: String,
    pub(crate) host: String,
    pub(crate) origin: Option<String>,
    cookies: Vec<String>,
    authorization: Option<String>,
    pub(crate) upgrade: Option<Upgrade>,
}

/// That it asks for a WebSocket (RFC 6455, section 4.2.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Upgrade {
    pub(crate) key: String,
    pub(crate) version: String,
    pub(crate) protocols: Vec<String>,
}

/// What the bytes so far are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Head {
    /// The beginning of a request.
    Partial,
    /// A request, and its length.
    Whole(Box<Request>, usize),
    /// Nothing that we answer otherwise.
    Refused(Status),
}

impl Request {
    /// Parses what has been read of a connection.
    pub(crate) fn parse(bytes: &[u8], limit: usize) -> Head {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut head = httparse::Request::new(&mut headers);
        let length = match head.parse(bytes) {
            Ok(httparse::Status::Complete(length)) if length <= limit => length,
            Ok(httparse::Status::Partial) if bytes.len() < limit => return Head::Partial,
            Ok(_) | Err(httparse::Error::TooManyHeaders) => {
                return Head::Refused(Status::TooLarge);
            }
            Err(_) => return Head::Refused(Status::BadRequest),
        };
        if head.version != Some(1) {
            return Head::Refused(Status::Version);
        }
        match Self::check(&head) {
            Ok(request) => Head::Whole(Box::new(request), length),
            Err(status) => Head::Refused(status),
        }
    }

    fn check(head: &httparse::Request<'_, '_>) -> Result<Self, Status> {
        let mut request = Self::default();
        let mut host = None;
        let (mut upgrade, mut connection) = (false, false);
        let mut socket = Upgrade::default();
        for header in head.headers.iter() {
            let value = str::from_utf8(header.value).map_err(|_| Status::BadRequest)?.trim();
            let once = |slot: &mut Option<String>| match slot.replace(value.to_owned()) {
                None => Ok(()),
                Some(_) => Err(Status::BadRequest),
            };
            match header.name.to_ascii_lowercase().as_str() {
                "host" => once(&mut host)?,
                "origin" => once(&mut request.origin)?,
                "authorization" => once(&mut request.authorization)?,
                "cookie" => request.cookies.extend(list(value, ';')),
                "upgrade" => {
                    upgrade |= list(value, ',').any(|v| v.eq_ignore_ascii_case("websocket"));
                }
                "connection" => {
                    connection |= list(value, ',').any(|v| v.eq_ignore_ascii_case("upgrade"));
                }
                "sec-websocket-key" => socket.key = value.to_owned(),
                "sec-websocket-version" => socket.version = value.to_owned(),
                "sec-websocket-protocol" => socket.protocols.extend(list(value, ',')),
                // Where a body ends is what proxies and servers differ about; none is wanted.
                "transfer-encoding" => return Err(Status::BadRequest),
                "content-length" if value != "0" => return Err(Status::BadRequest),
                _ => {}
            }
        }
        if head.method != Some("GET") {
            return Err(Status::Method);
        }
        let target = head.path.unwrap_or_default();
        if !target.starts_with('/') {
            return Err(Status::BadRequest);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        (request.path, request.query) = (path.to_owned(), query.to_owned());
        request.host = host.ok_or(Status::BadRequest)?;
        request.upgrade = (upgrade && connection).then_some(socket);
        Ok(request)
    }

    /// The value of a name in the query, decoded; the first, where there are several.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value)?;
        percent_decoded(value)
    }

    /// A name and a password, as HTTP Basic has them (RFC 7617).
    pub(crate) fn credentials(&self) -> Option<Credentials> {
        let (scheme, sent) = self.authorization.as_deref()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(BASE64.decode(sent.trim().as_bytes()).ok()?);
        let at = pair.iter().position(|byte| *byte == b':')?;
        Some(Credentials { user: pair[..at].to_vec(), password: pair[at + 1..].to_vec().into() })
    }

    /// The cookies of this name.
    pub(crate) fn cookies<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.cookies.iter().filter_map(|pair| pair.split_once('='));
        pairs.filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// The entries of a list, as they are but for spaces around.
fn list(value: &str, separator: char) -> impl Iterator<Item = String> + '_ {
    value.split(separator).map(|entry| entry.trim().to_owned()).filter(|entry| !entry.is_empty())
}

/// `None` where it is not UTF-8, or a sign is half there.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                (high << 4 | low) as u8
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// `text` for a query.
pub(crate) fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let each = |byte: u8| match byte {
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8 << 10;

    fn request(head: &str) -> Result<Request, Status> {
        match Request::parse(head.replace('\n', "\r\n").as_bytes(), LIMIT) {
            Head::Whole(request, length) => {
                assert_eq!(length, head.replace('\n', "\r\n").len());
                Ok(*request)
            }
            Head::Refused(status) => Err(status),
            Head::Partial => panic!("{head:?} is whole"),
        }
    }

    #[test]
    fn what_a_browser_sends() {
        let found = request(
            "GET /?display=vm%201&token=a+b HTTP/1.1\nHost: localhost:6080\n\
             Cookie: a=1; vfio=xyz\nCookie: vfio=abc\nAccept: */*\n\n",
        )
        .unwrap();
        assert_eq!((found.path.as_str(), found.host.as_str()), ("/", "localhost:6080"));
        assert_eq!(found.parameter("display").as_deref(), Some("vm 1"));
        assert_eq!(found.parameter("token").as_deref(), Some("a b"));
        assert_eq!(found.parameter("other"), None);
        assert_eq!(found.cookies("vfio").collect::<Vec<_>>(), ["xyz", "abc"]);
        assert!(found.upgrade.is_none());
    }

    #[test]
    fn what_a_websocket_sends() {
        let found = request(
            "GET /websockify HTTP/1.1\nHost: h\nUpgrade: WebSocket\nConnection: keep-alive, Upgrade\n\
             Sec-WebSocket-Key: k\nSec-WebSocket-Version: 13\nSec-WebSocket-Protocol: a, binary\n\n",
        )
        .unwrap();
        let upgrade = found.upgrade.unwrap();
        assert_eq!((upgrade.key.as_str(), upgrade.version.as_str()), ("k", "13"));
        assert_eq!(upgrade.protocols, ["a", "binary"]);
    }

    #[test]
    fn what_is_refused() {
        for (head, status) in [
            ("POST / HTTP/1.1\nHost: h\n\n", Status::Method),
            ("HEAD / HTTP/1.1\nHost: h\n\n", Status::Method),
            ("GET / HTTP/1.0\nHost: h\n\n", Status::Version),
            ("GET / HTTP/2.0\nHost: h\n\n", Status::BadRequest),
            ("GET / HTTP/1.1\n\n", Status::BadRequest),
            ("GET / HTTP/1.1\nHost: a\nHost: b\n\n", Status::BadRequest),
            ("GET http://h/ HTTP/1.1\nHost: h\n\n", Status::BadRequest),
            ("GET / HTTP/1.1\nHost: h\nContent-Length: 5\n\n", Status::BadRequest),
            ("GET / HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n", Status::BadRequest),
            ("GET / HTTP/1.1\nHost : h\n\n", Status::BadRequest),
            ("\u{1}\u{3}\u{1}\n\n", Status::BadRequest),
        ] {
            assert_eq!(request(head), Err(status), "{head:?}");
        }
    }

    #[test]
    fn what_is_too_much() {
        let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "x".repeat(LIMIT));
        assert_eq!(Request::parse(long.as_bytes(), LIMIT), Head::Refused(Status::TooLarge));
        let cut = &long.as_bytes()[..LIMIT - 1];
        assert_eq!(Request::parse(cut, LIMIT), Head::Partial);
        let many = format!("GET / HTTP/1.1\nHost: h\n{}\n", "a: b\n".repeat(64));
        assert_eq!(request(&many), Err(Status::TooLarge));
    }

    #[test]
    fn names_go_there_and_back() {
        for name in ["vm1", "a b&c=d/ü?#%", ""] {
            assert_eq!(percent_decoded(&percent_encoded(name)).as_deref(), Some(name));
        }
        assert_eq!(percent_decoded("%4"), None);
        assert_eq!(percent_decoded("%ff"), None);
        assert_eq!(percent_decoded("%+1"), None);
    }
}
