// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server behind a door, and a viewer's way through it, written from rfbproto. It is strict: what a
//! server must not offer, fails.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use vfio_display::geometry::Size;
use vfio_display_vnc::{Limits, Options};

use super::Viewer;
pub use super::door::{PASSWORD, TestDoor, Tls, USER};
use super::server::Desk;

pub const NONE: u32 = 260;
pub const PLAIN: u32 = 262;
/// A desk that is reached by TCP, through a door.
pub struct Guarded {
    pub desk: Desk,
    pub at: SocketAddr,
    pub door: TestDoor,
}

impl Guarded {
    pub fn new(size: Size, limits: Limits, password: bool) -> Self {
        let door = TestDoor::new(password);
        let guard = Some(Arc::clone(&door.door) as _);
        let desk = Desk::with(size, Options { limits, guard, ..Options::default() });
        let at = desk.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        Self { desk, at, door }
    }

    pub fn dial(&self) -> TcpStream {
        self.dial_from(1)
    }

    /// Connects from 127.0.0.`host`.
    pub fn dial_from(&self, host: u8) -> TcpStream {
        let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, host), 0));
        rustix::net::bind(&socket, &from).unwrap();
        rustix::net::connect(&socket, &self.at).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// All the way to the password, from 127.0.0.`host`.
    pub fn inside(&self, host: u8) -> Tls {
        let mut stream = self.dial_from(host);
        start_tls(&mut stream, b"RFB 003.008\n", PLAIN).unwrap();
        self.door.tls(stream)
    }

    /// All the way in, or why not.
    pub fn log_in(&self, host: u8, user: &str, password: &str) -> Result<Tls, String> {
        let mut tls = self.inside(host);
        say(&mut tls, user.as_bytes(), password.as_bytes()).unwrap();
        result(&mut tls)?;
        Ok(tls)
    }

    /// A viewer with the picture.
    pub fn viewer(&mut self, encodings: &[i32]) -> Viewer<Tls> {
        let tls = self.log_in(1, USER, PASSWORD).unwrap();
        self.desk.viewer_by(encodings, || Viewer::init(tls).unwrap())
    }
}

/// From the greeting to where TLS begins.
pub fn start_tls(stream: &mut TcpStream, version: &[u8; 12], subtype: u32) -> io::Result<()> {
    choose_vencrypt(stream, version)?;
    stream.write_all(&[0, 2])?;
    assert_eq!(take(stream)?, [0, 1], "it is served, with one subtype");
    assert_eq!(take(stream)?, subtype.to_be_bytes());
    stream.write_all(&subtype.to_be_bytes())?;
    assert_eq!(take(stream)?, [1]);
    Ok(())
}

pub fn choose_vencrypt(stream: &mut TcpStream, version: &[u8; 12]) -> io::Result<()> {
    assert_eq!(&take(stream)?, b"RFB 003.008\n");
    stream.write_all(version)?;
    assert_eq!(take(stream)?, [1, 19], "VeNCrypt, and nothing else");
    stream.write_all(&[19])?;
    assert_eq!(take(stream)?, [0, 2]);
    Ok(())
}

/// A name and a password.
pub fn say(stream: &mut impl Write, user: &[u8], password: &[u8]) -> io::Result<()> {
    let length = |bytes: &[u8]| (bytes.len() as u32).to_be_bytes();
    stream.write_all(&[&length(user)[..], &length(password), user, password].concat())?;
    stream.flush()
}

/// A SecurityResult: the reason, where it failed.
pub fn result(stream: &mut impl Read) -> Result<(), String> {
    match u32::from_be_bytes(take(stream).map_err(|error| error.to_string())?) {
        0 => Ok(()),
        1 => {
            let length = u32::from_be_bytes(take(stream).unwrap());
            let mut reason = vec![0; length as usize];
            stream.read_exact(&mut reason).unwrap();
            Err(String::from_utf8(reason).unwrap())
        }
        other => panic!("a SecurityResult of {other}"),
    }
}

pub fn take<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// It has been hung up, and said nothing more, but for an alert where TLS was to be.
pub fn is_over(mut stream: impl Read) {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => {}
        Err(error) => assert!(
            matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof),
            "{error}"
        ),
    }
    let alert = rest.len() == 7 && rest[0] == 0x15;
    assert!(rest.is_empty() || alert, "{rest:02x?}");
}
