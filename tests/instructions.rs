// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Instructions that a scan takes, counted by valgrind's callgrind: no clock, so no noise.
//!
//! valgrind knows neither AVX-512 nor VAES, so it is the AES-NI kernel that is counted, and as tests
//! are compiled. What a change of the code does to the others shows there all the same: they share
//! all but the width of a register.

use std::env;
use std::os::fd::AsFd as _;
use std::process::Command;

use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;
use vfio_display::testing::Engine;
use vfio_display::{Detection, Mapping, WritableMapping};

const SIZE: Size = Size::new(640, 360);
/// Names the case to the test when it runs itself in valgrind.
const CASE: &str = "VFIO_DISPLAY_INSTRUCTIONS";

/// What is scanned, and by what part of its bytes it differs from the frame before.
struct Case {
    name: &'static str,
    format: PixelFormat,
    detection: Detection,
    /// One row of this many has other bytes in each frame; 0 is none.
    changed: usize,
    /// Thousands of instructions, a tenth above what they are.
    limit: u64,
}

const fn case(
    name: &'static str,
    format: PixelFormat,
    detection: Detection,
    changed: usize,
    limit: u64,
) -> Case {
    Case { name, format, detection, changed, limit }
}

const CASES: [Case; 6] = [
    case("unchanged", PixelFormat::Xrgb8888, Detection::Verified, 0, 4735),
    case("unchanged, sampled", PixelFormat::Xrgb8888, Detection::Sampled, 0, 613),
    case("one row in ten", PixelFormat::Xrgb8888, Detection::Verified, 10, 4915),
    case("one row in ten, decoded", PixelFormat::Xbgr8888, Detection::Verified, 10, 5406),
    case("all", PixelFormat::Xrgb8888, Detection::Verified, 1, 5880),
    case("all, decoded", PixelFormat::Xbgr8888, Detection::Verified, 1, 9816),
];

/// Alone in a function that callgrind can be told of.
#[inline(never)]
fn counted_scan(engine: &mut Engine, mapping: &Mapping, detection: Detection) {
    engine.scan(mapping, detection);
}

/// A few frames, of which the last one's scan is counted.
fn scan(case: &Case) {
    let row_len = SIZE.width as usize * case.format.bytes_per_pixel() as usize;
    let len = row_len * SIZE.height as usize;
    let file = tempfile::tempfile().unwrap();
    file.set_len(len as u64).unwrap();
    let mapping = Mapping::new(file.as_fd(), 0, len).unwrap();
    let mut guest = WritableMapping::new(file.as_fd(), 0, len).unwrap();
    let mut engine = Engine::new(SIZE, case.format);
    for frame in 0..4 {
        for y in (0..SIZE.height as usize).filter(|y| case.changed != 0 && y % case.changed == 0) {
            assert!(guest.copy_in(y * row_len, &vec![frame as u8 + 1; row_len]));
        }
        if frame < 3 {
            engine.scan(&mapping, case.detection);
        } else {
            counted_scan(&mut engine, &mapping, case.detection);
        }
    }
    assert_eq!(engine.damage().is_empty(), case.changed == 0, "{}", case.name);
}

#[test]
#[ignore = "needs valgrind: cargo xtask test"]
fn a_scan_takes_no_more_instructions_than_it_did() {
    if let Ok(name) = env::var(CASE) {
        let case = CASES.iter().find(|case| case.name == name).expect("a case");
        return scan(case);
    }
    let dir = tempfile::tempdir().unwrap();
    let mut over = Vec::new();
    for case in &CASES {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--toggle-collect=*counted_scan*"])
            .arg(format!("--callgrind-out-file={}/out", dir.path().display()))
            .arg(env::current_exe().unwrap())
            .args(["--ignored", "--exact", "a_scan_takes_no_more_instructions_than_it_did"])
            .env(CASE, case.name)
            .output()
            .expect("valgrind is installed");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {said}", case.name);
        let count = said.lines().find_map(|line| line.split_once("Collected :"));
        let count: u64 = count.expect("a count").1.trim().parse().expect("a number");
        println!("{}: {} of {} thousand", case.name, count / 1000, case.limit);
        // Far below is a sign that nothing was counted, or that the limit is out of date.
        if count > case.limit * 1000 || count * 3 < case.limit * 1000 {
            over.push(format!("{}: {count}, limit {} thousand", case.name, case.limit));
        }
    }
    assert!(over.is_empty(), "{over:#?}");
}
