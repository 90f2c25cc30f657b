// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A poll beside what it could be instead, as lines of columns with tabs between them, which
//! `cargo xtask bench` makes the table of docs/performance.md of.
//!
//! All of a case are timed in turn, so that what else the machine does meets all of them, and a
//! ratio is the median of the ratios of the turns, with their quartiles.
#![allow(unsafe_code, reason = "pixman and libyuv are C libraries, and a thread is lent")]

mod bare;
mod others;
#[path = "../../tests/pixman/mod.rs"]
mod pixman;
mod rivals;
mod yuv;

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use pixman::Pixman;
use rivals::{Qemu, Tiles};
use vfio_display::convert::{self, Alpha};
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use vfio_display::testing::Engine;
use vfio_display::{Detection, Mapping};
use yuv::Yuv;

const FULL_HD: Size = Size::new(1920, 1080);
const ULTRA_HD: Size = Size::new(3840, 2160);

/// Frames in turn that are more than the caches hold: so many bytes, and two for each of those who
/// read them.
const COLD: usize = 256 << 20;
const FRAMES: usize = 20;
/// How long a case is measured for, after the first turns.
const TIME: Duration = Duration::from_millis(1500);
/// Turns that are not counted: the first polls take memory.
const FIRST: usize = 6;

/// What changes from frame to frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Nothing,
    Window1,
    Window10,
    Scattered10,
    All,
}

impl Change {
    const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "unchanged",
            Self::Window1 => "1 % window",
            Self::Window10 => "10 % window",
            Self::Scattered10 => "10 % scattered",
            Self::All => "all",
        }
    }

    /// Whether the pixel in column `x` of row `y` changes.
    fn touches(self, size: Size, x: usize, y: usize) -> bool {
        let (width, height) = (size.width as usize, size.height as usize);
        let window = |part: usize| {
            let (x, y) = (x.wrapping_sub(width / 3), y.wrapping_sub(height / 3));
            x < width * part / 1000 && y < height * part / 1000
        };
        match self {
            Self::Nothing => false,
            Self::Window1 => window(100),
            Self::Window10 => window(316),
            // Tiles of 16 pixels a side, one in ten of them without any order.
            Self::Scattered10 => (((x / 16) * 7919 + (y / 16) * 104_729) / 3).is_multiple_of(10),
            Self::All => true,
        }
    }
}

/// A frame in a file, mapped, and what it holds, for those who compare in memory of their own.
struct Source {
    mapping: Mapping,
    bytes: Vec<u8>,
}

/// Frames of which every other one has the change.
fn sources(size: Size, format: PixelFormat, change: Change, cold: bool) -> Vec<Source> {
    let pixel = format.bytes_per_pixel() as usize;
    let (row_len, height) = (size.width as usize * pixel, size.height as usize);
    let plain: Vec<u8> = (0..row_len * height).map(|at| ((at / 5) ^ (at >> 12)) as u8).collect();
    let mut changed = plain.clone();
    for (y, row) in changed.chunks_exact_mut(row_len).enumerate() {
        for (x, pixel) in row.chunks_exact_mut(pixel).enumerate() {
            if change.touches(size, x, y) {
                pixel.iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
        }
    }
    let frames = if cold { (COLD / plain.len() + 2).max(FRAMES) & !1 } else { 2 };
    let source = |n: usize| {
        let bytes = if n.is_multiple_of(2) { plain.clone() } else { changed.clone() };
        let mut file: File = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("room for it");
        let mapping = Mapping::new(file.as_fd(), 0, bytes.len()).expect("a mapping");
        Source { mapping, bytes }
    };
    (0..frames).map(source).collect()
}

/// Whether an argument names a part of it, or there is none.
fn is_asked_for(case: &str) -> bool {
    let mut asked =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    asked.peek().is_none() || asked.any(|asked| case.contains(&asked))
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The columns of `ours / theirs`: median and quartiles.
fn ratio(case: &str, name: &str, ours: &[f64], theirs: &[f64]) {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[ratios.len() * part / 4];
    println!("{case}\t{name}\t{:.4}\t{:.4}\t{:.4}", at(2), at(1), at(3));
}

/// One picture, one format, one change, in one place.
fn case(pixman: &Pixman, size: Size, format: PixelFormat, change: Change, cold: bool) {
    let residence = if cold { "cold" } else { "warm" };
    let name = format!("case\t{size}\t{format}\t{residence}\t{}", change.name());
    if !is_asked_for(&name) {
        return;
    }
    let sources = sources(size, format, change, cold);
    let (frames, len) = (sources.len(), sources[0].bytes.len());
    let pixel = format.bytes_per_pixel() as usize;
    let row_len = size.width as usize * pixel;
    let [mut verified, mut sampled] = [Engine::new(size, format), Engine::new(size, format)];
    // As on a CPU that has AES for no more than 16 bytes at a time.
    let is_narrow = |engine: &Engine| engine.kernel().contains("AesNi");
    let narrow = || Engine::each(size, format).find(is_narrow);
    let plain = (change, format) == (Change::Nothing, PixelFormat::Xrgb8888);
    let mut narrow = plain.then(narrow).flatten();
    let (mut qemu, mut tiles) = (Qemu::new(pixman, size), Tiles::new(len));
    // From the start of a line of the cache on.
    let mut copies = [vec![0_u8; len], vec![0; len + 64]];
    let start = copies[1].as_ptr().align_offset(64);
    // What is compared with, where there is no frame like it: not the same memory twice.
    let twins = [0, 1].map(|n| if cold { Vec::new() } else { sources[n].bytes.clone() });
    let mut times = [const { Vec::new() }; 10];
    let began = Instant::now();
    for turn in 0.. {
        // Far apart, and all of them with the change or all without it.
        let source = |of: usize| &sources[(turn + ((of * frames / 10) & !1)) % frames];
        let twin = if cold { &source(9).bytes } else { &twins[turn % 2] };
        let [copy, lines] = &mut copies;
        let took = [
            time(|| verified.scan(&source(0).mapping, Detection::Verified)),
            time(|| sampled.scan(&source(7).mapping, Detection::Sampled)),
            time(|| qemu.poll(&source(1).bytes, format, size)),
            time(|| tiles.poll(&source(2).bytes, row_len, pixel)),
            time(|| _ = black_box(rivals::read(black_box(&source(3).bytes)))),
            time(|| _ = black_box(source(4).bytes == *twin)),
            time(|| copy.copy_from_slice(black_box(&source(5).bytes))),
            time(|| _ = black_box(bare::pass(&source(6).bytes, row_len, None))),
            time(|| _ = bare::pass(&source(8).bytes, row_len, Some(&mut lines[start..][..len]))),
            time(|| {
                if let Some(narrow) = &mut narrow {
                    narrow.scan(&source(3).mapping, Detection::Verified);
                }
            }),
        ];
        black_box(&copies);
        if turn >= FIRST {
            times.iter_mut().zip(took).for_each(|(all, time)| all.push(time));
            if began.elapsed() > TIME {
                break;
            }
        }
    }
    let [all, some, qemu, tiles, read, compare, copied, pass, moved, narrowly] = &times;
    let narrowly = narrow.map(|_| ("verified, AES-NI", narrowly));
    for (detection, ours) in [("verified", all), ("sampled", some)].into_iter().chain(narrowly) {
        let case = format!("{name}\t{detection}");
        ratio(&case, "qemu/ours", qemu, ours);
        ratio(&case, "xxh3/ours", tiles, ours);
        ratio(&case, "ours/read", ours, read);
        ratio(&case, "ours/memcmp", ours, compare);
        ratio(&case, "ours/memcpy", ours, copied);
        ratio(&case, "ours/bare read", ours, pass);
        ratio(&case, "ours/bare copy", ours, moved);
    }
    if (change, cold) == (Change::Nothing, true) {
        let state = verified.state_bytes() as f64 / len as f64;
        println!("state\t{size}\t{format}\t{state:.5}");
    }
}

/// The decoders alone, on a band of rows that the second-level cache holds.
fn conversion(pixman: &Pixman, yuv: &Yuv, format: PixelFormat) {
    let size = Size::new(1920, 32);
    let area = size.area() as usize;
    let bytes: Vec<u8> = (0..area * 4).map(|at| (at * 7 + at / 251) as u8).collect();
    // From the start of a line of the cache on, as pictures are.
    let mut outs = [const { Vec::new() }; 3].map(|_: Vec<u32>| vec![0; area + 16]);
    let mut times = [const { Vec::new() }; 3];
    for turn in 0..200 {
        let [ours, theirs, third] = outs.each_mut().map(|out| {
            let start = out.as_ptr().align_offset(64);
            &mut out[start..][..area]
        });
        let row_len = size.width as usize * format.bytes_per_pixel() as usize;
        let decode = |from: &[u8], to: &mut [u32]| {
            let rows = from.chunks_exact(row_len).zip(to.chunks_exact_mut(size.width as usize));
            rows.for_each(|(from, to)| convert::row(format, Alpha::Ignore, from, to));
        };
        let from = black_box(&bytes[..]);
        // The first of each brings its memory into the cache.
        let took = [
            {
                decode(from, ours);
                time(|| decode(from, ours))
            },
            {
                let mut decode = || {
                    pixman.decode((format, Alpha::Ignore), (from, row_len), size, theirs);
                };
                decode();
                time(decode)
            },
            {
                assert!(yuv.decode(format, from, size, third), "libyuv has {format}");
                time(|| _ = yuv.decode(format, from, size, third))
            },
        ];
        black_box(&outs);
        if turn >= FIRST {
            times.iter_mut().zip(took).for_each(|(all, time)| all.push(time));
        }
    }
    let [ours, theirs, third] = &times;
    let case = format!("conversion\t{format}");
    ratio(&case, "pixman/ours", theirs, ours);
    ratio(&case, "libyuv/ours", third, ours);
}

fn main() {
    use PixelFormat as F;
    let pixman = Pixman::load().expect("libpixman-1-0 is installed");
    let yuv = Yuv::load().expect("libyuv0 is installed");
    println!("kernel\t{}", Engine::new(FULL_HD, F::Xrgb8888).kernel());
    let changes =
        [Change::Nothing, Change::Window1, Change::Window10, Change::Scattered10, Change::All];
    for size in [FULL_HD, ULTRA_HD] {
        for cold in [true, false] {
            for change in changes {
                case(&pixman, size, F::Xrgb8888, change, cold);
            }
        }
    }
    for format in [F::Xbgr8888, F::Rgb888, F::Rgb565, F::Xrgb2101010] {
        for change in [Change::Nothing, Change::All] {
            case(&pixman, FULL_HD, format, change, true);
        }
    }
    others::all(&pixman);
    for format in [F::Xbgr8888, F::Rgb888, F::Rgb565, F::Xrgb2101010] {
        conversion(&pixman, &yuv, format);
    }
}
