// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A poll beside what it could be instead: reading, comparing and copying a frame, and QEMU's way.
//!
//! `cargo bench --bench poll`. All are timed in turn, so that what else the machine does meets all
//! of them, and a ratio is the median of the ratios of the turns, with their quartiles. Frames come out
//! of memory, not out of a cache.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Instant;

use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use vfio_display::testing::Engine;
use vfio_display::{Detection, Mapping, convert};

/// Pixels of a piece that QEMU compares and copies at a time.
const PIECE: usize = 16;

/// A frame in a file, mapped, and what it holds.
struct Source {
    mapping: Mapping,
    bytes: Vec<u8>,
}

impl Source {
    fn new(bytes: Vec<u8>) -> Self {
        let mut file: File = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("room for it");
        let mapping = Mapping::new(file.as_fd(), 0, bytes.len()).expect("a mapping");
        Self { mapping, bytes }
    }
}

/// QEMU's display of a region, from its description: all is dirty at each refresh, a format of its
/// own is converted whole, and then each line is compared with a second surface piece by piece.
fn qemu(bytes: &[u8], format: PixelFormat, width: usize, surface: &mut [u32], work: &mut [u32]) {
    let row_len = width * format.bytes_per_pixel() as usize;
    for (y, row) in bytes.chunks_exact(row_len).enumerate() {
        let shown = &mut surface[y * width..][..width];
        if format == PixelFormat::Xrgb8888 {
            let (row, _) = row.as_chunks::<{ 4 * PIECE }>();
            for (piece, shown) in row.iter().zip(shown.as_chunks_mut::<PIECE>().0) {
                let piece: [u32; PIECE] = std::array::from_fn(|at| {
                    let at = at * 4;
                    u32::from_le_bytes([piece[at], piece[at + 1], piece[at + 2], piece[at + 3]])
                });
                if piece != *shown {
                    *shown = piece;
                }
            }
        } else {
            let work = &mut work[y * width..][..width];
            convert::row(format, convert::Alpha::Ignore, row, work);
            let pieces = work.as_chunks::<PIECE>().0.iter();
            for (piece, shown) in pieces.zip(shown.as_chunks_mut::<PIECE>().0) {
                if piece != shown {
                    *shown = *piece;
                }
            }
        }
    }
}

fn sum(bytes: &[u8]) -> u64 {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().fold(0, |sum: u64, word| sum.wrapping_add(u64::from_le_bytes(*word)))
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64()
}

/// The quartiles of `ours / theirs`.
fn ratio(name: &str, ours: &[f64], theirs: &[f64]) {
    let mut ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    ratios.sort_by(f64::total_cmp);
    let at = |part: usize| ratios[ratios.len() * part / 4];
    print!("  {name} {:.3} ({:.3} to {:.3})", at(2), at(1), at(3));
}

/// One line of the table: a case, its turns, and the time of a scan as part of each other's.
fn case(size: Size, format: PixelFormat, change: usize, detection: Detection) {
    let width = size.width as usize;
    let len = width * size.height as usize * format.bytes_per_pixel() as usize;
    // Frames in turn that are more than the caches hold.
    let frames = ((256 << 20) / len + 2) & !1;
    let sources: Vec<Source> = (0..frames)
        .map(|n| {
            let mut bytes: Vec<u8> = (0..len).map(|at| ((at / 5) ^ (at >> 12)) as u8).collect();
            // Every other frame differs in the first `change` percent of its rows.
            bytes[..len * change / 100].iter_mut().for_each(|byte| *byte ^= n as u8 & 1);
            Source::new(bytes)
        })
        .collect();
    let mut engine = Engine::new(size, format);
    let mut surface = vec![0_u32; width * size.height as usize];
    let (mut work, mut copy) = (surface.clone(), vec![0_u8; len]);
    let [mut ours, mut theirs, mut read, mut compare, mut copied] = [const { Vec::new() }; 5];
    let turns = 4 * frames;
    for turn in 0..turns + 8 {
        let source = |of: usize| &sources[(turn + of * 2) % frames];
        let times = [
            time(|| engine.scan(&source(0).mapping, detection)),
            time(|| qemu(&source(1).bytes, format, width, &mut surface, &mut work)),
            time(|| _ = black_box(sum(black_box(&source(2).bytes)))),
            time(|| _ = black_box(source(3).bytes == source(5).bytes)),
            time(|| copy.copy_from_slice(black_box(&source(4).bytes))),
        ];
        black_box(&copy);
        if turn >= 8 {
            let all = [&mut ours, &mut theirs, &mut read, &mut compare, &mut copied];
            all.into_iter().zip(times).for_each(|(all, time)| all.push(time));
        }
    }
    print!("{size} {format} {change} % {detection:?}:");
    ratio("qemu/ours", &theirs, &ours);
    ratio("ours/read", &ours, &read);
    ratio("ours/memcmp", &ours, &compare);
    ratio("ours/memcpy", &ours, &copied);
    println!("  state {:.2} %", engine.state_bytes() as f64 * 100.0 / len as f64);
}

fn main() {
    let (full, ultra) = (Size::new(1920, 1080), Size::new(3840, 2160));
    let engine = Engine::new(full, PixelFormat::Xrgb8888);
    println!("kernel: {}", engine.kernel());
    for (detection, change) in [
        (Detection::Verified, 0),
        (Detection::Sampled, 0),
        (Detection::Verified, 1),
        (Detection::Sampled, 1),
        (Detection::Verified, 10),
        (Detection::Verified, 100),
    ] {
        case(full, PixelFormat::Xrgb8888, change, detection);
    }
    for format in [PixelFormat::Xbgr8888, PixelFormat::Rgb888] {
        case(full, format, 0, Detection::Verified);
    }
    case(ultra, PixelFormat::Xrgb8888, 0, Detection::Verified);
    case(ultra, PixelFormat::Xrgb8888, 0, Detection::Sampled);
}
