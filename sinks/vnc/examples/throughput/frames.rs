// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is shown: sequences of frames that both servers read from the same file.
//!
//! All numbers are u32, little-endian: width, height, number of frames, 0; for each frame the
//! number of damaged rectangles and 16 times x, y, width, height; then the pixels of each frame.
//! The damage of a frame is against the one before it, that of the first against the last.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};

const RECTS: usize = 16;
pub(crate) const FRAMES: u32 = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Typing,
    Scrolling,
    Motion,
}

impl Work {
    pub(crate) const ALL: [Self; 3] = [Self::Typing, Self::Scrolling, Self::Motion];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Typing => "typing",
            Self::Scrolling => "scrolling",
            Self::Motion => "full motion",
        }
    }
}

/// splitmix64 of a number, so that each place has its own, always the same.
const fn hash(n: u64) -> u64 {
    let z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

const PAPER: u32 = 0xff1e_1e2e;
const INKS: [u32; 5] = [0xffcd_d6f4, 0xffcd_d6f4, 0xff89_b4fa, 0xffa6_e3a1, 0xfff3_8ba8];

/// A pixel of a page of text: characters of 8x16 with soft edges, words, lines of any length, some
/// in colour. `line` may be any, so the page can scroll.
fn text(x: u32, line: u32, row: u32) -> u32 {
    let (column, dx) = (x / 8, x % 8);
    let seed = hash(u64::from(line) << 32);
    let length = 20 + (seed % 90) as u32;
    let letter = hash((u64::from(line) << 32) | (u64::from(column) + 1));
    if column >= length || letter.is_multiple_of(6) || !(3..13).contains(&row) || dx == 7 {
        return PAPER;
    }
    let ink = INKS[(hash(seed ^ u64::from(column / 9)) % 5) as usize];
    // One of 60 characters, each with its own strokes.
    match hash(letter % 60 * 1000 + u64::from(row * 8 + dx)) % 8 {
        0 | 1 => ink,
        2 => 0xff00_0000 | ((ink & 0x00fe_fefe) / 2 + (PAPER & 0x00fe_fefe) / 2),
        _ => PAPER,
    }
}

/// Like film: soft shapes that move, with grain.
fn motion(x: u32, y: u32, frame: u32) -> u32 {
    let (fx, fy, t) = (x as f32, y as f32, frame as f32 * 0.35);
    let wave = |a: f32, b: f32, c: f32| ((fx * a + fy * b + t * c).sin() * 100.0 + 120.0) as u32;
    let grain = hash(u64::from(frame) << 48 | u64::from(y) << 24 | u64::from(x));
    let part = |value: u32, shift: u32| (value + (grain >> shift) as u32 % 6).min(255);
    0xff00_0000
        | part(wave(0.011, 0.003, 1.0), 0) << 16
        | part(wave(-0.004, 0.013, 1.7), 8) << 8
        | part(wave(0.007, -0.009, 2.3), 16)
}

fn pixel(work: Work, size: Size, x: u32, y: u32, frame: u32) -> u32 {
    let page = |scrolled: u32| text(x, y / 16 + scrolled, y % 16);
    let window = window(size);
    match work {
        Work::Motion => motion(x, y, frame),
        Work::Scrolling if inside(window, x, y) => page(frame),
        Work::Scrolling => page(5000),
        // A line below the middle that grows by two characters a frame.
        Work::Typing if y / 16 == size.height / 32 => {
            if x / 8 < 10 + 2 * frame {
                text(x, 77, y % 16)
            } else {
                PAPER
            }
        }
        Work::Typing => page(100),
    }
}

fn inside(rect: Rect, x: u32, y: u32) -> bool {
    (rect.x..rect.x + rect.width).contains(&x) && (rect.y..rect.y + rect.height).contains(&y)
}

/// The window that scrolls: three quarters of the screen either way.
fn window(size: Size) -> Rect {
    let (width, height) = (size.width / 32 * 24, size.height / 64 * 48);
    Rect { x: size.width / 64 * 8, y: size.height / 128 * 16, width, height }
}

fn damage(work: Work, size: Size, frame: u32) -> Vec<Rect> {
    let y = size.height / 32 * 16;
    match work {
        Work::Motion => vec![size.rect()],
        Work::Scrolling => vec![window(size)],
        // From the last to the first the line is wiped.
        Work::Typing if frame == 0 => vec![Rect { x: 80, y, width: 16 * FRAMES, height: 16 }],
        Work::Typing => vec![Rect { x: 80 + 16 * (frame - 1), y, width: 16, height: 16 }],
    }
}

pub(crate) fn write(path: &Path, work: Work, size: Size) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    for value in [size.width, size.height, FRAMES, 0] {
        out.write_all(&value.to_le_bytes())?;
    }
    for frame in 0..FRAMES {
        let mut rects = damage(work, size, frame);
        out.write_all(&(rects.len() as u32).to_le_bytes())?;
        rects.resize(RECTS, Rect::default());
        for value in rects.iter().flat_map(|r| [r.x, r.y, r.width, r.height]) {
            out.write_all(&value.to_le_bytes())?;
        }
    }
    for frame in 0..FRAMES {
        for y in 0..size.height {
            for x in 0..size.width {
                out.write_all(&pixel(work, size, x, y, frame).to_le_bytes())?;
            }
        }
    }
    out.flush()
}

pub(crate) type Frames = Vec<(Picture, Vec<Rect>)>;

pub(crate) fn read(path: &Path) -> io::Result<Frames> {
    let mut bytes = Vec::new();
    File::open(path)?.read_to_end(&mut bytes)?;
    let mut values = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut next = || values.next().ok_or(io::ErrorKind::UnexpectedEof);
    let size = Size::new(next()?, next()?);
    let count = next()?;
    next()?;
    let mut frames = Vec::new();
    for _ in 0..count {
        let used = next()? as usize;
        let mut rects = Vec::new();
        for _ in 0..RECTS {
            rects.push(Rect { x: next()?, y: next()?, width: next()?, height: next()? });
        }
        rects.truncate(used);
        frames.push((Picture::new(size), rects));
    }
    for (picture, _) in &mut frames {
        for pixel in picture.rows_mut().flatten() {
            *pixel = next()?;
        }
    }
    Ok(frames)
}
