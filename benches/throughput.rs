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

/// Frames of which every other one differs in `percent` of its rows.
fn frames(size: Size, format: PixelFormat, percent: usize, cold: bool) -> (usize, Vec<Mapping>) {
    let len = size.area() as usize * format.bytes_per_pixel() as usize;
    let row_len = len / size.height as usize;
    let count = if cold { (COLD / len + 2) & !1 } else { 2 };
    let frame = |n: usize| {
        let mut bytes: Vec<u8> = (0..len).map(|at| ((at / 5) ^ (at >> 12)) as u8).collect();
        for (y, row) in bytes.chunks_exact_mut(row_len).enumerate() {
            if n % 2 == 1 && y % 100 < percent {
                row.iter_mut().for_each(|byte| *byte ^= 0x5a);
            }
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&bytes).expect("room for it");
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
            for percent in [0, 1, 10, 100] {
                let (len, frames) = frames(size, format, percent, cold);
                group.throughput(Throughput::Bytes(len as u64));
                for detection in [Detection::Verified, Detection::Sampled] {
                    let mut engine = Engine::new(size, format);
                    let mut turns = frames.iter().cycle();
                    let id = format!("{name} {format} {residence} {detection:?}");
                    group.bench_function(BenchmarkId::new(id, format!("{percent} %")), |bencher| {
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
