// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Requests over a plain socket.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// An answer, as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let first = found.next().map(|(_, value)| value.as_str());
        assert!(found.next().is_none(), "{name} is there twice");
        first
    }

    /// The cookie that it sets, as it is to be sent back.
    pub fn cookie(&self) -> Option<String> {
        self.header("Set-Cookie").map(|cookie| cookie.split(';').next().unwrap().to_owned())
    }
}

pub fn connect(at: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes, and reads the answer. `None` where the connection ended without one.
pub fn exchange(at: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = connect(at);
    // It may be answered before all of it is sent.
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

/// Reads an answer up to its end: the connection's, or that of a WebSocket's head.
pub fn read(stream: &mut impl Read) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => bytes.push(byte[0]),
            Ok(_) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    let head = String::from_utf8(bytes).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
    let headers = lines.map(|line| line.split_once(": ").unwrap());
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut answer = Answer { status, headers, body: String::new() };
    if status != 101 {
        // By TLS, a close_notify is owed as well: without one this is an error.
        stream.read_to_string(&mut answer.body).unwrap();
        let length = answer.header("Content-Length").unwrap().parse::<usize>().unwrap();
        assert_eq!(length, answer.body.len());
    }
    Some(answer)
}

/// A GET with the Host that a browser would send, and more headers.
pub fn get(at: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(at, request(&at.to_string(), target, headers).as_bytes()).expect("an answer")
}

pub fn request(host: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request + "\r\n"
}

/// The headers of a WebSocket's handshake.
pub const UPGRADE: [(&str, &str); 4] = [
    ("Upgrade", "websocket"),
    ("Connection", "Upgrade"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version", "13"),
];

/// Asks for a WebSocket; the stream goes on as one where the status is 101.
pub fn upgrade(
    at: SocketAddr,
    host: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> (Option<Answer>, TcpStream) {
    let mut stream = connect(at);
    let headers = [&UPGRADE, headers].concat();
    stream.write_all(request(host, target, &headers).as_bytes()).unwrap();
    (read(&mut stream), stream)
}
