// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Every EDID is read by a decoder that we did not write: `edid-decode` of v4l-utils.

use std::io::Write;
use std::process::{Command, Stdio};

use vfio_display::edid::{Edid, Encoded, Limits};
use vfio_display::geometry::Size;

/// What `edid-decode --check --preferred-timings` prints.
fn decode(edid: &[u8]) -> String {
    let mut decoder = Command::new("edid-decode")
        .args(["--check", "--preferred-timings", "--skip-hex-dump", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Debian's package edid-decode");
    decoder.stdin.take().unwrap().write_all(edid).unwrap();
    let output = decoder.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The preferred mode where everything is read that edid-decode can: the last one that it tells.
fn preferred(report: &str) -> (Size, u32) {
    let (_, last) = report.rsplit_once("Preferred Video Timing").expect("a preferred timing");
    let words: Vec<_> = last.lines().nth(1).unwrap().split_whitespace().collect();
    let mode = words.iter().position(|word| word.contains('x')).unwrap();
    let (width, height) = words[mode].split_once('x').unwrap();
    let hertz: f64 = words[mode + 1].parse().unwrap();
    (Size::new(width.parse().unwrap(), height.parse().unwrap()), hertz.round() as u32)
}

/// Encodes and decodes; what is wrong goes to `wrong`.
fn check(edid: &Edid, limits: Limits, wrong: &mut Vec<String>) -> Encoded {
    let encoded = edid.encode(limits).unwrap();
    let report = decode(&encoded.bytes);
    let mut complain = |what: &str| {
        let tail = report.split_once("edid-decode SHA").map_or(&*report, |(_, tail)| tail);
        wrong.push(format!("{edid:?} within {limits:?}: {what}\n{tail}"));
    };
    if !report.contains("EDID conformity: PASS") {
        complain("does not conform");
    }
    let found = preferred(&report);
    if found != (encoded.size, encoded.refresh) {
        complain(&format!("prefers {found:?}, not {} at {}", encoded.size, encoded.refresh));
    }
    encoded
}

const SIZES: [(u32, u32); 40] = [
    (640, 480),
    (800, 600),
    (1024, 768),
    (1152, 864),
    (1280, 720),
    (1280, 800),
    (1280, 1024),
    (1366, 768),
    (1440, 900),
    (1600, 900),
    (1600, 1200),
    (1680, 1050),
    (1920, 1080),
    (1920, 1200),
    (1920, 1440),
    (2048, 1152),
    (2560, 1080),
    (2560, 1440),
    (2560, 1600),
    (3440, 1440),
    (3840, 1600),
    (3840, 2160),
    (4094, 4094),
    (4096, 2160),
    (5120, 1440),
    (5120, 2160),
    (5120, 2880),
    (7680, 4320),
    (16384, 16384),
    // Portrait.
    (600, 800),
    (1080, 1920),
    (2160, 3840),
    (2880, 5120),
    // As windows are left when somebody lets go of them.
    (64, 64),
    (333, 777),
    (1023, 767),
    (1367, 769),
    (1918, 1003),
    (4095, 64),
    (64, 16384),
];

#[test]
#[ignore = "needs edid-decode; cargo xtask test runs it"]
fn every_size_conforms_and_is_the_preferred_mode() {
    let mut wrong = Vec::new();
    for (width, height) in SIZES {
        let asked = Size::new(width, height);
        for max_bytes in [128, 256, 512, 1024] {
            let limits = Limits { max_bytes, ..Limits::default() };
            let encoded = check(&Edid::for_mode(asked), limits, &mut wrong);
            // And it is the one that was asked for, but for the rounding, or a note says why not.
            let even = Size::new(width & !1, height & !1);
            if max_bytes > 128 && encoded.size != even {
                wrong.push(format!("{} instead of {asked}", encoded.size));
            }
            if encoded.size != asked && encoded.notes.is_empty() {
                wrong.push(format!("{asked} became {} silently", encoded.size));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
#[ignore = "needs edid-decode; cargo xtask test runs it"]
fn rates_glass_names_and_limits_conform() {
    let mut wrong = Vec::new();
    let sizes = [(64, 64), (800, 600), (1920, 1080), (3840, 2160), (7680, 4320), (16384, 16384)];
    for (width, height) in sizes {
        let edid = Edid::for_mode(Size::new(width, height));
        for max_bytes in [128, 256, 384] {
            let limits = Limits { max_bytes, ..Limits::default() };
            for hertz in [24, 30, 50, 75, 120, 144, 240, 360, 500] {
                check(&edid.refresh(hertz), limits, &mut wrong);
            }
            let edid = edid.serial(4711).name("guest 17, screen 2");
            for glass in [(160, 90), (344, 193), (193, 344), (708, 398), (4000, 1000)] {
                check(&edid.millimetres(Size::new(glass.0, glass.1)), limits, &mut wrong);
            }
            for max in [(800, 600), (1920, 1440), (1920, 1200), (4096, 2304)] {
                let limits = Limits { max_width: Some(max.0), max_height: Some(max.1), ..limits };
                check(&edid, limits, &mut wrong);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
