// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Clients by hand, down to the bytes (D-Bus specification, "Message Protocol"): good ones, and
//! such as no library makes.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use vfio_display::Picture;
use vfio_display::geometry::Size;
use zbus::{Fd, Message};

use vfio_display_dbus::Limits;

use super::Desk;

const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;

/// A message as it came.
#[derive(Debug)]
pub struct Said {
    pub kind: u8,
    pub serial: u32,
    /// The header with its fields.
    pub header: Vec<u8>,
    pub body: Vec<u8>,
}

impl Said {
    /// Whether a field of the header is this text.
    pub fn has(&self, text: &str) -> bool {
        let field = [text.as_bytes(), b"\0"].concat();
        let length = (text.len() as u32).to_le_bytes();
        let field = [&length[..], &field].concat();
        self.header.windows(field.len()).any(|window| window == field)
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.body[at * 4..][..4].try_into().unwrap())
    }
}

/// One end of a connection, after its handshake as a client.
pub struct Raw {
    pub stream: UnixStream,
    fds: Vec<OwnedFd>,
}

impl Raw {
    /// Says who it is, and that it takes fds.
    pub fn handshake(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let user = rustix::process::geteuid().as_raw().to_string();
        let user: String = user.bytes().map(|digit| format!("{digit:02x}")).collect();
        stream.write_all(format!("\0AUTH EXTERNAL {user}\r\n").as_bytes())?;
        let mut told = |begin: &str| {
            let mut line = Vec::new();
            while !line.ends_with(b"\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                line.extend(byte);
            }
            assert!(line.starts_with(begin.as_bytes()), "{}", String::from_utf8_lossy(&line));
            Ok::<_, io::Error>(())
        };
        told("OK ")?;
        (&stream).write_all(b"NEGOTIATE_UNIX_FD\r\n")?;
        let mut stream = stream;
        let mut line = [0; 15];
        stream.read_exact(&mut line)?;
        assert_eq!(&line, b"AGREE_UNIX_FD\r\n");
        stream.write_all(b"BEGIN\r\n")?;
        Ok(Self { stream, fds: Vec::new() })
    }

    /// A client of a server, without a bus.
    pub fn client(desk: &Desk) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        desk.server.serve(theirs);
        Self::handshake(ours).unwrap()
    }

    /// Registers a listener; answers with its end of the connection, before its handshake.
    pub fn register(&mut self) -> Result<UnixStream, String> {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.register_fd(theirs.into())?;
        Ok(ours)
    }

    /// Registers whatever this is.
    pub fn register_fd(&mut self, fd: OwnedFd) -> Result<(), String> {
        let call = Message::method_call("/org/qemu/Display1/Console_0", "RegisterListener")
            .interface("org.qemu.Display1.Console")
            .build(&(Fd::from(fd.as_fd())))
            .unwrap();
        self.send(call.data(), &[fd]).unwrap();
        let mut answer = self.read().map_err(|error| error.to_string())?;
        while answer.kind == SIGNAL {
            answer = self.read().map_err(|error| error.to_string())?;
        }
        match answer.kind {
            RETURN => Ok(()),
            ERROR => Err(String::from_utf8_lossy(&answer.header).into_owned()),
            other => panic!("a message of type {other}"),
        }
    }

    fn send(&self, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<_> = fds.iter().map(|fd| fd.as_fd()).collect();
        let mut space = [MaybeUninit::uninit(); 64];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&fds)));
        let sent = sendmsg(&self.stream, &[IoSlice::new(bytes)], &mut control, SendFlags::empty())?;
        (&self.stream).write_all(&bytes[sent..])
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let mut space = [MaybeUninit::uninit(); 256];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let slice = &mut [IoSliceMut::new(bytes)];
            let got = recvmsg(&self.stream, slice, &mut control, RecvFlags::CMSG_CLOEXEC)?;
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(fds) = message {
                    self.fds.extend(fds);
                }
            }
            if got.bytes == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            bytes = &mut bytes[got.bytes..];
        }
        Ok(())
    }

    /// The next message.
    pub fn read(&mut self) -> io::Result<Said> {
        let mut header = vec![0; 16];
        self.fill(&mut header)?;
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
        let (kind, body, serial, fields) = (header[1], word(4), word(8), word(12));
        header.resize(16 + (fields as usize).next_multiple_of(8), 0);
        self.fill(&mut header[16..])?;
        let mut bytes = vec![0; body as usize];
        self.fill(&mut bytes)?;
        Ok(Said { kind, serial, header, body: bytes })
    }

    /// Answers a call: with nothing, or with a list of interfaces.
    pub fn answer(&mut self, call: &Said, interfaces: Option<&[&str]>) -> io::Result<()> {
        let mut body = Vec::new();
        let mut fields = vec![5, 1, b'u', 0];
        fields.extend(call.serial.to_le_bytes());
        if let Some(names) = interfaces {
            // A variant: its signature, then an array of strings, aligned to 4.
            fields.extend([8, 1, b'g', 0, 1, b'v', 0]);
            body.extend([2, b'a', b's', 0]);
            let mut list = Vec::new();
            for name in names {
                list.resize(list.len().next_multiple_of(4), 0);
                list.extend((name.len() as u32).to_le_bytes());
                list.extend(name.bytes().chain([0]));
            }
            body.extend((list.len() as u32).to_le_bytes());
            body.extend(list);
        }
        let mut message = vec![b'l', RETURN, 1, 1];
        message.extend((body.len() as u32).to_le_bytes());
        message.extend(1_u32.to_le_bytes());
        message.extend((fields.len() as u32).to_le_bytes());
        message.extend(fields);
        message.resize(message.len().next_multiple_of(8), 0);
        message.extend(body);
        self.stream.write_all(&message)
    }
}

/// A listener that keeps what it is told.
pub struct Listener {
    pub raw: Raw,
    pub picture: Picture,
    pub interfaces: Vec<&'static str>,
    /// Memory that it was given.
    pub given: Vec<OwnedFd>,
    /// Bytes of what it was told.
    pub bytes: usize,
}

impl Listener {
    pub fn new(stream: UnixStream, interfaces: &[&'static str]) -> Self {
        let (raw, picture) = (Raw::handshake(stream).unwrap(), Picture::default());
        Self { raw, picture, interfaces: interfaces.to_vec(), given: Vec::new(), bytes: 0 }
    }

    /// Takes a call and answers it; whether there was one in time.
    pub fn turn(&mut self, patience: Duration) -> bool {
        self.raw.stream.set_read_timeout(Some(patience)).unwrap();
        let call = match self.raw.read() {
            Ok(call) => call,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(call.kind, CALL);
        self.bytes += call.header.len() + call.body.len();
        let interfaces = self.interfaces.clone();
        self.raw.answer(&call, call.has("Get").then_some(&interfaces)).unwrap();
        if call.has("Scanout") {
            self.picture = Picture::new(Size::new(call.word(0), call.word(1)));
            self.copy(&call.body[20..], 0, 0, call.word(0));
        } else if call.has("Update") {
            self.copy(&call.body[28..], call.word(0), call.word(1), call.word(2));
        }
        self.given.append(&mut self.raw.fds);
        true
    }

    fn copy(&mut self, bytes: &[u8], x: u32, y: u32, width: u32) {
        let rows = self.picture.rows_mut().skip(y as usize);
        for (row, bytes) in rows.zip(bytes.chunks_exact(width as usize * 4)) {
            let row = &mut row[x as usize..][..width as usize];
            for (pixel, bytes) in row.iter_mut().zip(bytes.chunks_exact(4)) {
                *pixel = u32::from_le_bytes(bytes.try_into().unwrap());
            }
        }
    }
}

/// Limits that are over soon.
pub fn short() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        stall: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// A listener, with the client that registered it.
pub fn listener(desk: &Desk, interfaces: &[&'static str]) -> (Raw, Listener) {
    let mut client = Raw::client(desk);
    let stream = client.register().unwrap();
    (client, Listener::new(stream, interfaces))
}

/// Looks and listens until both have the same picture.
pub fn assert_exact(desk: &mut Desk, listener: &mut Listener) {
    let start = Instant::now();
    while listener.picture != desk.picture {
        assert!(start.elapsed() < Duration::from_secs(30), "another picture");
        desk.look();
        listener.turn(Duration::from_millis(5));
    }
}
