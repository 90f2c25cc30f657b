// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bytes of a frame a second, by size, change, residence and format: `cargo bench --bench throughput`.
//!
//! For work on the engine. What it is beside other things is in `cargo xtask bench`.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use vfio_display::testing::Engine;
use vfio_display::{Detection, Mapping};

/// Frames in turn that are more than the caches hold.
const COLD: usize = 256 << 20;

const SIZES: [(&str, Size); 4] = [
    ("720p", Size::new(1280, 720)),
    ("1080p", Size::new(1920, 1080)),
    ("4K", Size::new(3840, 2160)),
    ("8K", Size::new(7680, 4320)),
];

/// What of a frame differs from the one before, by name.
const CHANGES: [&str; 5] = ["0", "1 %", "10 % window", "10 % scattered", "full"];

/// Whether the pixel in column `x` of row `y` is one of those that change. A window is as much of the
/// width as of the height; a scattered change is tiles of 16 pixels a side.
fn changes(change: &str, size: Size, x: usize, y: usize) -> bool {
    let (width, height) = (size.width as usize, size.height as usize);
    let window = |part: usize| x < width * part / 1000 && y < height * part / 1000;
    match change {
        "1 %" => window(100),
        "10 % window" => window(316),
        "10 % scattered" => (((x / 16) * 7919 + (y / 16) * 104_729) / 3).is_multiple_of(10),
        "full" => true,
        _ => false,
    }
}

/// Frames of which every other one is changed.
fn frames(size: Size, format: PixelFormat, change: &str, cold: bool) -> (usize, Vec<Mapping>) {
    let pixel = format.bytes_per_pixel() as usize;
    let len = size.area() as usize * pixel;
    let plain: Vec<u8> = (0..len).map(|at| ((at / 5) ^ (at >> 12)) as u8).collect();
    let mut changed = plain.clone();
    for (at, bytes) in changed.chunks_exact_mut(pixel).enumerate() {
        let (x, y) = (at % size.width as usize, at / size.width as usize);
        if changes(change, size, x, y) {
            bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
        }
    }
    let count = if cold { (COLD / len + 2) & !1 } else { 2 };
    let frame = |n: usize| {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(if n % 2 == 1 { &changed } else { &plain }).expect("room for it");
        Mapping::new(file.as_fd(), 0, len).expect("a mapping")
    };
    (len, (0..count).map(frame).collect())
}

fn poll(criterion: &mut Criterion) {
    use PixelFormat as F;
    let mut group = criterion.benchmark_group("poll");
    group.warm_up_time(Duration::from_millis(200)).measurement_time(Duration::from_secs(1));
    group.sample_size(10);
    let sizes = SIZES.map(|(name, size)| (name, size, F::Xrgb8888));
    let formats = [F::Xbgr8888, F::Rgb888, F::Rgb565, F::Xrgb2101010];
    for (name, size, format) in
        sizes.into_iter().chain(formats.map(|format| ("1080p", Size::new(1920, 1080), format)))
    {
        for (cold, residence) in [(true, "cold"), (false, "warm")] {
            for change in CHANGES {
                let (len, frames) = frames(size, format, change, cold);
                group.throughput(Throughput::Bytes(len as u64));
                for detection in [Detection::Verified, Detection::Sampled] {
                    let mut engine = Engine::new(size, format);
                    let mut turns = frames.iter().cycle();
                    let id = format!("{name} {format} {residence} {detection:?}");
                    group.bench_function(BenchmarkId::new(id, change), |bencher| {
                        bencher.iter(|| engine.scan(turns.next().expect("frames"), detection));
                    });
                }
            }
        }
    }
    group.finish();
}

criterion_group!(benches, poll);
criterion_main!(benches);
