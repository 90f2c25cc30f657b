// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A viewer written from RFC 6143 and rfbproto. It is strict: what a server must not do, fails.

use std::io::{self, Read, Write};

use flate2::{Decompress, FlushDecompress};

use super::format::{Format, XRGB};

pub const RAW: i32 = 0;
pub const TIGHT: i32 = 7;
pub const ZRLE: i32 = 16;
pub const DESKTOP_SIZE: i32 = -223;
pub const LAST_RECT: i32 = -224;
pub const CURSOR: i32 = -239;
pub const EXTENDED_KEY: i32 = -258;
pub const EXTENDED_DESKTOP_SIZE: i32 = -308;
pub const FENCE: i32 = -312;
pub const CONTINUOUS: i32 = -313;
pub const CURSOR_WITH_ALPHA: i32 = -314;

/// What was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// An update: rectangles of pixels, and their bytes.
    Update {
        rects: usize,
        bytes: usize,
    },
    Fence {
        flags: u32,
        payload: Vec<u8>,
    },
    EndOfContinuous,
    ColourMap,
}

pub struct Viewer<S> {
    pub stream: S,
    pub size: (usize, usize),
    pub format: Format,
    /// As numbers in the viewer's format.
    pub pixels: Vec<u32>,
    pub name: String,
    pub colour_map: Vec<[u16; 3]>,
    /// Width, height, hotspot, bytes.
    pub cursor: Option<(u16, u16, u16, u16, Vec<u8>)>,
    /// Reason and status of the sizes that were told, in order.
    pub sizes: Vec<(u16, u16)>,
    pub extended_key: bool,
    zrle: Decompress,
    tight: [Decompress; 4],
}

impl<S: Read + Write> Viewer<S> {
    /// Goes through the handshake of 3.8.
    pub fn connect(stream: S) -> io::Result<Self> {
        Self::connect_as(stream, b"RFB 003.008\n")
    }

    pub fn connect_as(mut stream: S, version: &[u8; 12]) -> io::Result<Self> {
        let mut greeting = [0; 12];
        stream.read_exact(&mut greeting)?;
        assert_eq!(&greeting, b"RFB 003.008\n");
        stream.write_all(version)?;
        if version == b"RFB 003.003\n" {
            assert_eq!(bytes::<4>(&mut stream)?, [0, 0, 0, 1]);
        } else {
            assert_eq!(bytes::<2>(&mut stream)?, [1, 1], "None, and nothing else");
            stream.write_all(&[1])?;
            if version == b"RFB 003.008\n" {
                assert_eq!(bytes::<4>(&mut stream)?, [0; 4]);
            }
        }
        Self::init(stream)
    }

    /// Goes on once it has been let in.
    pub fn init(mut stream: S) -> io::Result<Self> {
        stream.write_all(&[1])?;
        let (width, height) = (u16(&mut stream)?, u16(&mut stream)?);
        assert_eq!(bytes::<16>(&mut stream)?, XRGB.wire());
        let length = u32(&mut stream)?;
        let mut name = vec![0; length as usize];
        stream.read_exact(&mut name)?;
        let mut viewer = Self::after_handshake(stream, width, height);
        viewer.name = String::from_utf8(name).unwrap();
        Ok(viewer)
    }

    pub fn after_handshake(stream: S, width: u16, height: u16) -> Self {
        let mut viewer = Self {
            stream,
            size: (0, 0),
            format: XRGB,
            pixels: Vec::new(),
            name: String::new(),
            colour_map: Vec::new(),
            cursor: None,
            sizes: Vec::new(),
            extended_key: false,
            zrle: Decompress::new(true),
            tight: std::array::from_fn(|_| Decompress::new(true)),
        };
        viewer.resize(width, height);
        viewer
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.size = (width.into(), height.into());
        // No pixel that a server sends, so that one that it forgets is found.
        self.pixels = vec![0xdead_beef; self.size.0 * self.size.1];
    }

    pub fn set_format(&mut self, format: Format) -> io::Result<()> {
        self.format = format;
        self.send(&[&[0, 0, 0, 0], &format.wire()[..]].concat())
    }

    pub fn set_encodings(&mut self, encodings: &[i32]) -> io::Result<()> {
        let mut message = vec![2, 0];
        message.extend((encodings.len() as u16).to_be_bytes());
        encodings.iter().for_each(|encoding| message.extend(encoding.to_be_bytes()));
        self.send(&message)
    }

    pub fn request(&mut self, incremental: bool) -> io::Result<()> {
        let (width, height) = (self.size.0 as u16, self.size.1 as u16);
        self.request_area(incremental, [0, 0, width, height])
    }

    pub fn request_area(&mut self, incremental: bool, area: [u16; 4]) -> io::Result<()> {
        let mut message = vec![3, incremental.into()];
        area.iter().for_each(|value| message.extend(value.to_be_bytes()));
        self.send(&message)
    }

    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads until an update that has pixels.
    pub fn update(&mut self) -> io::Result<usize> {
        loop {
            match self.read()? {
                Told::Update { rects, bytes } if rects > 0 => return Ok(bytes),
                _ => {}
            }
        }
    }

    /// Reads one message.
    pub fn read(&mut self) -> io::Result<Told> {
        let [kind] = bytes(&mut self.stream)?;
        match kind {
            0 => self.read_update(),
            1 => {
                bytes::<3>(&mut self.stream)?;
                for _ in 0..u16(&mut self.stream)? {
                    let stream = &mut self.stream;
                    self.colour_map.push([u16(stream)?, u16(stream)?, u16(stream)?]);
                }
                Ok(Told::ColourMap)
            }
            150 => Ok(Told::EndOfContinuous),
            248 => {
                bytes::<3>(&mut self.stream)?;
                let flags = u32(&mut self.stream)?;
                let [length] = bytes(&mut self.stream)?;
                let mut payload = vec![0; length.into()];
                self.stream.read_exact(&mut payload)?;
                Ok(Told::Fence { flags, payload })
            }
            kind => panic!("a message of type {kind}"),
        }
    }

    fn read_update(&mut self) -> io::Result<Told> {
        bytes::<1>(&mut self.stream)?;
        let count = u16(&mut self.stream)?;
        let (mut rects, mut total, mut sizes) = (0, 0, 0);
        for _ in 0..count {
            let stream = &mut self.stream;
            let [x, y, width, height] = [u16(stream)?, u16(stream)?, u16(stream)?, u16(stream)?];
            let encoding = u32(stream)? as i32;
            let rect = [x, y, width, height].map(usize::from);
            if encoding >= 0 {
                assert!(rect[0] + rect[2] <= self.size.0, "{rect:?} of {:?}", self.size);
                assert!(rect[1] + rect[3] <= self.size.1, "{rect:?} of {:?}", self.size);
                assert!(width > 0 && height > 0);
                rects += 1;
            }
            match encoding {
                RAW => total += self.read_raw(rect)?,
                ZRLE => total += self.read_zrle(rect)?,
                TIGHT => total += self.read_tight(rect)?,
                DESKTOP_SIZE => {
                    self.resize(width, height);
                    sizes += 1;
                }
                EXTENDED_DESKTOP_SIZE => {
                    let [screens, ..] = bytes::<4>(stream)?;
                    assert_eq!(screens, 1);
                    bytes::<16>(stream)?;
                    self.sizes.push((x, y));
                    if (usize::from(width), usize::from(height)) != self.size {
                        self.resize(width, height);
                    }
                    sizes += 1;
                }
                LAST_RECT => break,
                CURSOR => {
                    let pixels = usize::from(width) * usize::from(height) * self.format.bytes();
                    let mask = usize::from(width).div_ceil(8) * usize::from(height);
                    let mut data = vec![0; pixels + mask];
                    stream.read_exact(&mut data)?;
                    self.cursor = Some((width, height, x, y, data));
                }
                CURSOR_WITH_ALPHA => {
                    assert_eq!(u32(stream)?, 0);
                    let mut data = vec![0; usize::from(width) * usize::from(height) * 4];
                    stream.read_exact(&mut data)?;
                    self.cursor = Some((width, height, x, y, data));
                }
                EXTENDED_KEY => self.extended_key = true,
                encoding => panic!("encoding {encoding}"),
            }
        }
        assert!(sizes == 0 || rects == 0, "a size comes alone");
        Ok(Told::Update { rects, bytes: total })
    }

    fn put(&mut self, x: usize, y: usize, pixel: u32) {
        self.pixels[y * self.size.0 + x] = pixel;
    }

    fn read_raw(&mut self, [x, y, width, height]: [usize; 4]) -> io::Result<usize> {
        let format = self.format;
        let mut data = vec![0; width * height * format.bytes()];
        self.stream.read_exact(&mut data)?;
        for (i, pixel) in data.chunks_exact(format.bytes()).enumerate() {
            self.put(x + i % width, y + i / width, format.read(pixel));
        }
        Ok(data.len())
    }

    fn read_zrle(&mut self, [x, y, width, height]: [usize; 4]) -> io::Result<usize> {
        let length = u32(&mut self.stream)? as usize;
        let mut data = vec![0; length];
        self.stream.read_exact(&mut data)?;
        let plain = inflate(&mut self.zrle, &data);
        let mut plain = plain.as_slice();
        for ty in (0..height).step_by(64) {
            for tx in (0..width).step_by(64) {
                let (w, h) = (64.min(width - tx), 64.min(height - ty));
                let tile = self.zrle_tile(&mut plain, w, h);
                assert_eq!(tile.len(), w * h);
                for (i, pixel) in tile.into_iter().enumerate() {
                    self.put(x + tx + i % w, y + ty + i / w, pixel);
                }
            }
        }
        assert!(plain.is_empty(), "{} bytes too many", plain.len());
        Ok(length)
    }

    fn zrle_tile(&self, from: &mut &[u8], width: usize, height: usize) -> Vec<u32> {
        let format = self.format;
        let take = |from: &mut &[u8], count: usize| {
            let (taken, rest) = from.split_at(count);
            *from = rest;
            taken.to_vec()
        };
        let cpixel = |from: &mut &[u8]| format.read_cpixel(&take(from, format.cpixel_bytes()));
        let run = |from: &mut &[u8]| {
            let mut length = 1;
            loop {
                let byte = take(from, 1)[0];
                length += usize::from(byte);
                if byte != 255 {
                    return length;
                }
            }
        };
        let area = width * height;
        match take(from, 1)[0] {
            0 => (0..area).map(|_| cpixel(from)).collect(),
            1 => vec![cpixel(from); area],
            count @ 2..=16 => {
                let palette: Vec<u32> = (0..count).map(|_| cpixel(from)).collect();
                let bits = if count == 2 {
                    1
                } else if count <= 4 {
                    2
                } else {
                    4
                };
                let mut tile = Vec::new();
                for _ in 0..height {
                    let row = take(from, (width * bits).div_ceil(8));
                    for x in 0..width {
                        let shift = 8 - bits - x * bits % 8;
                        let index = usize::from(row[x * bits / 8] >> shift) & ((1 << bits) - 1);
                        tile.push(palette[index]);
                    }
                }
                tile
            }
            128 => {
                let mut tile = Vec::new();
                while tile.len() < area {
                    let pixel = cpixel(from);
                    let length = run(from);
                    tile.extend(std::iter::repeat_n(pixel, length));
                }
                tile
            }
            count @ 130..=255 => {
                let palette: Vec<u32> = (128..count).map(|_| cpixel(from)).collect();
                let mut tile = Vec::new();
                while tile.len() < area {
                    let index = take(from, 1)[0];
                    let length = if index & 128 != 0 { run(from) } else { 1 };
                    let pixel = palette[usize::from(index & 127)];
                    tile.extend(std::iter::repeat_n(pixel, length));
                }
                tile
            }
            kind => panic!("a tile of type {kind}"),
        }
    }

    fn read_tight(&mut self, [x, y, width, height]: [usize; 4]) -> io::Result<usize> {
        assert!(width <= 2048);
        let format = self.format;
        let bpp = format.tpixel_bytes();
        let [control] = bytes(&mut self.stream)?;
        assert_eq!(control & 15, 0, "no stream has to be reset");
        if control >> 4 == 8 {
            let mut pixel = vec![0; bpp];
            self.stream.read_exact(&mut pixel)?;
            let pixel = format.read_tpixel(&pixel);
            (0..width * height).for_each(|i| self.put(x + i % width, y + i / width, pixel));
            return Ok(bpp);
        }
        assert!(control < 128, "JPEG was not asked for");
        let filter = if control & 64 != 0 { bytes::<1>(&mut self.stream)?[0] } else { 0 };
        let mut palette = Vec::new();
        if filter == 1 {
            let [count] = bytes(&mut self.stream)?;
            let mut data = vec![0; (usize::from(count) + 1) * bpp];
            self.stream.read_exact(&mut data)?;
            palette.extend(data.chunks_exact(bpp).map(|p| format.read_tpixel(p)));
            assert!(palette.len() > 1);
        } else {
            assert_eq!(filter, 0);
        }
        let row = match palette.len() {
            0 => width * bpp,
            2 => width.div_ceil(8),
            _ => width,
        };
        let length = row * height;
        let mut plain = vec![0; length];
        let mut read = length;
        if length < 12 {
            self.stream.read_exact(&mut plain)?;
        } else {
            read = 0;
            for shift in [0, 7, 14] {
                let [byte] = bytes(&mut self.stream)?;
                let more = shift < 14 && byte & 128 != 0;
                read |= usize::from(if shift < 14 { byte & 127 } else { byte }) << shift;
                if !more {
                    break;
                }
            }
            let mut data = vec![0; read];
            self.stream.read_exact(&mut data)?;
            plain = inflate(&mut self.tight[usize::from(control >> 4 & 3)], &data);
            assert_eq!(plain.len(), length);
        }
        for (dy, row) in plain.chunks_exact(row).enumerate() {
            for dx in 0..width {
                let pixel = match palette.len() {
                    0 => format.read_tpixel(&row[dx * bpp..][..bpp]),
                    2 => palette[usize::from(row[dx / 8] >> (7 - dx % 8) & 1)],
                    _ => palette[usize::from(row[dx])],
                };
                self.put(x + dx, y + dy, pixel);
            }
        }
        Ok(read)
    }
}

fn inflate(stream: &mut Decompress, data: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(1 << 16);
    let start = stream.total_in();
    loop {
        let fed = (stream.total_in() - start) as usize;
        stream.decompress_vec(&data[fed..], &mut plain, FlushDecompress::Sync).unwrap();
        let fed = (stream.total_in() - start) as usize;
        if fed == data.len() && plain.len() < plain.capacity() {
            return plain;
        }
        plain.reserve(1 << 16);
    }
}

fn bytes<const N: usize>(stream: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u16(stream: &mut impl Read) -> io::Result<u16> {
    bytes(stream).map(u16::from_be_bytes)
}

fn u32(stream: &mut impl Read) -> io::Result<u32> {
    bytes(stream).map(u32::from_be_bytes)
}
