// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! An answer: a status, a body, and the headers that hold a browser to what the page needs.

use std::borrow::Cow;

/// What the page may do: load from here and nowhere else, and be in nobody's frame. Its pointer's
/// shape is a `data:` image.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; \
    form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Statuses that are answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Switching = 101,
    Ok = 200,
    SeeOther = 303,
    BadRequest = 400,
    Unauthorized = 401,
    Forbidden = 403,
    NotFound = 404,
    Method = 405,
    Timeout = 408,
    Misdirected = 421,
    Upgrade = 426,
    TooSoon = 429,
    TooLarge = 431,
    Unavailable = 503,
    Version = 505,
}

impl Status {
    const fn reason(self) -> &'static str {
        match self {
            Self::Switching => "Switching Protocols",
            Self::Ok => "OK",
            Self::SeeOther => "See Other",
            Self::BadRequest => "Bad Request",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::Method => "Method Not Allowed",
            Self::Timeout => "Request Timeout",
            Self::Misdirected => "Misdirected Request",
            Self::Upgrade => "Upgrade Required",
            Self::TooSoon => "Too Many Requests",
            Self::TooLarge => "Request Header Fields Too Large",
            Self::Unavailable => "Service Unavailable",
            Self::Version => "HTTP Version Not Supported",
        }
    }
}

/// What is sent back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: Status,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    body: Cow<'static, [u8]>,
}

impl Response {
    pub(crate) fn new(kind: &'static str, body: impl Into<Cow<'static, [u8]>>) -> Self {
        Self { status: Status::Ok, kind, headers: Vec::new(), body: body.into() }
    }

    /// A line of plain text about what is wrong.
    pub(crate) fn refusal(status: Status, why: &str) -> Self {
        let body = format!("{} {}: {why}\n", status as u16, status.reason());
        let response = Self::new("text/plain; charset=utf-8", body.into_bytes()).status(status);
        match status {
            Status::Method => response.header("Allow", "GET"),
            Status::Upgrade => response.header("Sec-WebSocket-Version", "13"),
            _ => response,
        }
    }

    pub(crate) fn status(mut self, status: Status) -> Self {
        self.status = status;
        self
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// As it goes over the wire. Nothing comes after it, but in a WebSocket.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let Self { status, kind, headers, body } = self;
        let mut head = format!("HTTP/1.1 {} {}\r\n", status as u16, status.reason());
        let mut put = |name: &str, value: &str| {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        };
        for (name, value) in &headers {
            put(name, value);
        }
        if status == Status::Switching {
            put("Upgrade", "websocket");
            put("Connection", "Upgrade");
        } else {
            put("Connection", "close");
            put("Content-Type", kind);
            put("Content-Length", &body.len().to_string());
            put("Cache-Control", "no-store");
            put("Content-Security-Policy", POLICY);
            put("X-Content-Type-Options", "nosniff");
            put("Referrer-Policy", "no-referrer");
            put("Cross-Origin-Opener-Policy", "same-origin");
            put("Cross-Origin-Embedder-Policy", "require-corp");
            put("Cross-Origin-Resource-Policy", "same-origin");
            put("X-Frame-Options", "DENY");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&body);
        bytes
    }
}
