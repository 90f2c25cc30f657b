// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A VNC viewer of a few lines, from RFC 6143: Raw, DesktopSize, ExtendedDesktopSize. The crate
//! `vfio-display-vnc` has tests with viewers of other hands; this one is to look at the command.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use vfio_display::geometry::Size;

const DESKTOP_SIZE: i32 = -223;
const EXTENDED_DESKTOP_SIZE: i32 = -308;

/// Everything that is waited for comes sooner, also in an emulated machine.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A viewer that has every pixel that it was sent.
#[derive(Debug)]
pub(crate) struct Viewer {
    stream: Stream,
    pub(crate) size: Size,
    /// `0xffRRGGBB`; zero where nothing has been sent since the size changed.
    pub(crate) pixels: Vec<u32>,
    pub(crate) name: String,
    /// Updates that had pixels.
    pub(crate) updates: u32,
    /// The status of each answer to this viewer's wishes for another size.
    pub(crate) answers: Vec<u16>,
    requested: bool,
}

impl Stream {
    fn connect(address: &str) -> io::Result<Self> {
        match address.strip_prefix("unix:") {
            Some(path) => UnixStream::connect(path).map(Self::Unix),
            None => TcpStream::connect(address.trim_start_matches("vnc://")).map(Self::Tcp),
        }
    }

    fn set_patience(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Self::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u16(&mut self) -> io::Result<u16> {
        self.array().map(u16::from_be_bytes)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Viewer {
    /// Connects to an address as the command prints it, and says what it understands.
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let mut stream = Stream::connect(address)?;
        stream.set_patience(PATIENCE)?;
        assert_eq!(&stream.array::<12>()?, b"RFB 003.008\n");
        stream.write_all(b"RFB 003.008\n")?;
        assert_eq!(stream.array()?, [1, 1], "security None, and nothing else");
        stream.write_all(&[1])?;
        assert_eq!(stream.array()?, [0; 4], "security result");
        stream.write_all(&[1])?;
        let (width, height) = (stream.u16()?, stream.u16()?);
        stream.array::<16>()?;
        let mut name = vec![0; u32::from_be_bytes(stream.array()?) as usize];
        stream.read_exact(&mut name)?;
        let mut viewer = Self {
            stream,
            size: Size::default(),
            pixels: Vec::new(),
            name: String::from_utf8(name).expect("UTF-8"),
            updates: 0,
            answers: Vec::new(),
            requested: false,
        };
        viewer.resize(width, height);
        // 32 bits, little-endian, red at 16, green at 8, blue at 0.
        viewer.send(&[0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0])?;
        let mut encodings = vec![2, 0, 0, 3];
        for encoding in [0, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE] {
            encodings.extend(i32::to_be_bytes(encoding));
        }
        viewer.send(&encodings)?;
        viewer.request(false)?;
        Ok(viewer)
    }

    /// Reads until it is so, or panics with what was waited for.
    pub(crate) fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(self) {
            let (size, updates) = (self.size, self.updates);
            assert!(Instant::now() < end, "{what}: not so after {updates} updates, at {size}");
            let read = self.read(Duration::from_millis(100));
            read.unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }

    /// A key, by its X11 keysym.
    pub(crate) fn key(&mut self, keysym: u32, down: bool) {
        let mut message = vec![4, down.into(), 0, 0];
        message.extend(keysym.to_be_bytes());
        self.send(&message).expect("the server reads");
    }

    /// The pointer, with no button down.
    pub(crate) fn pointer(&mut self, x: u16, y: u16) {
        let ([x1, x0], [y1, y0]) = (x.to_be_bytes(), y.to_be_bytes());
        self.send(&[5, 0, x1, x0, y1, y0]).expect("the server reads");
    }

    /// Asks for another size, as one screen.
    pub(crate) fn set_desktop_size(&mut self, size: Size) {
        let side = |side: u32| u16::try_from(side).expect("a side").to_be_bytes();
        let ([w1, w0], [h1, h0]) = (side(size.width), side(size.height));
        let mut message = vec![251, 0, w1, w0, h1, h0, 1, 0];
        message.extend([0, 0, 0, 0, 0, 0, 0, 0, w1, w0, h1, h0, 0, 0, 0, 0]);
        self.send(&message).expect("the server reads");
    }

    /// Asks for the whole screen so many times and reads nothing of it.
    pub(crate) fn ask_and_never_read(&mut self, times: u32) {
        (0..times).for_each(|_| self.request(false).expect("the server reads"));
    }

    /// Reads one message, if one comes within `time`.
    pub(crate) fn read(&mut self, time: Duration) -> io::Result<()> {
        if !self.requested {
            self.request(true)?;
        }
        self.stream.set_patience(time)?;
        let kind = match self.stream.array::<1>() {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(());
            }
            kind => kind?[0],
        };
        self.stream.set_patience(PATIENCE)?;
        assert_eq!(kind, 0, "only updates were asked for");
        self.requested = false;
        self.stream.array::<1>()?;
        let mut pixels = false;
        for _ in 0..self.stream.u16()? {
            pixels |= self.read_rect()?;
        }
        self.updates += u32::from(pixels);
        Ok(())
    }

    /// Reads a rectangle; whether it had pixels.
    fn read_rect(&mut self) -> io::Result<bool> {
        let stream = &mut self.stream;
        let [x, y, width, height] = [stream.u16()?, stream.u16()?, stream.u16()?, stream.u16()?];
        match i32::from_be_bytes(stream.array()?) {
            0 => {
                let columns = usize::from(x)..usize::from(x) + usize::from(width);
                let mut bytes = vec![0; columns.len() * usize::from(height) * 4];
                stream.read_exact(&mut bytes)?;
                let rows = self.pixels.chunks_exact_mut(self.size.width as usize);
                let mut bytes = bytes.chunks_exact(4);
                for row in rows.skip(y.into()).take(height.into()) {
                    for (pixel, bytes) in row[columns.clone()].iter_mut().zip(&mut bytes) {
                        *pixel =
                            0xff00_0000 | u32::from_le_bytes(bytes.try_into().expect("4 bytes"));
                    }
                }
                assert_eq!(bytes.len(), 0, "the rectangle is inside the screen");
                return Ok(true);
            }
            DESKTOP_SIZE => self.resize(width, height),
            EXTENDED_DESKTOP_SIZE => {
                let [screens, ..] = stream.array::<4>()?;
                (0..screens).try_for_each(|_| stream.array::<16>().map(|_| ()))?;
                // Reason 1: it is about what this viewer asked for.
                if x == 1 {
                    self.answers.push(y);
                }
                if Size::new(width.into(), height.into()) != self.size {
                    self.resize(width, height);
                }
            }
            encoding => panic!("encoding {encoding} was not asked for"),
        }
        Ok(false)
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.size = Size::new(width.into(), height.into());
        self.pixels = vec![0; self.size.area() as usize];
    }

    fn request(&mut self, incremental: bool) -> io::Result<()> {
        self.requested = true;
        let mut message = vec![3, incremental.into(), 0, 0, 0, 0];
        message.extend((self.size.width as u16).to_be_bytes());
        message.extend((self.size.height as u16).to_be_bytes());
        self.send(&message)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }
}
