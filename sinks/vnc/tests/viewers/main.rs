// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Other people's viewers see exactly what is shown: still, after it moved, after a viewer asked for
//! another size, after a change of mode, in 32, 16 and 8 bits; and through TLS, with a password.
//!
//! They are not started without being asked for, since they need packages: gvncviewer,
//! libnss-wrapper, tigervnc-viewer, xvfb, python3-venv, and vncdotool from PyPI.

mod afar;
#[path = "../common/mod.rs"]
mod common;
mod rust;
mod show;
mod tiger;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::format::{BGR233, Format, RGB565, XRGB};
use common::{Kind, Random, draw};
use rust::Rust;
use show::{FIRST, PATIENCE, Running, Show};
use tiger::Tiger;
use vfio_display::Picture;
use vfio_display::geometry::Size;
use vnc::VncEncoding;

fn read_png(path: &Path) -> Option<Picture> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).ok()?)).read_info().ok()?;
    let mut bytes = vec![0; reader.output_buffer_size()?];
    let info = reader.next_frame(&mut bytes).ok()?;
    assert_eq!(info.bit_depth, png::BitDepth::Eight);
    let samples = info.color_type.samples();
    let mut picture = Picture::new(Size::new(info.width, info.height));
    for (row, from) in picture.rows_mut().zip(bytes.chunks(info.line_size)) {
        for (pixel, c) in row.iter_mut().zip(from.chunks(samples)) {
            *pixel = u32::from_be_bytes([255, c[0], c[1], c[2]]);
        }
    }
    Some(picture)
}

/// What is left of a picture in a format, in 24 bits again, as viewers widen it.
fn through(format: &Format, picture: &Picture) -> Picture {
    let mut seen = picture.clone();
    for pixel in seen.rows_mut().flatten() {
        let packed = format.pack(*pixel);
        *pixel = format.rgb.iter().fold(0xff, |all, (max, shift)| {
            let (value, max) = (packed >> shift & u32::from(*max), u32::from(*max));
            (all << 8) | (value * 255 / max)
        });
    }
    seen
}

/// vncdotool, driven by lines: a path to capture to.
fn vncdotool() -> PathBuf {
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vncdotool");
    let python = venv.join("bin/python");
    let has = |python: &Path| {
        let import = Command::new(python).args(["-c", "import vncdotool"]).status();
        import.is_ok_and(|status| status.success())
    };
    if !has(&python) {
        let run = |command: &mut Command| assert!(command.status().unwrap().success());
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
        run(Command::new(&python).args(["-m", "pip", "install", "-q", "vncdotool==1.4.2"]));
    }
    python
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn vncdotool_sees_it() {
    const SCRIPT: &str = "import sys\nfrom vncdotool import api\n\
        client = api.connect(sys.argv[1], timeout=30)\n\
        for line in sys.stdin:\n    client.captureScreen(line.strip())\n    print('ok', flush=True)\n\
        client.disconnect()\napi.shutdown()\n";
    let python = vncdotool();
    let mut show = Show::new(1);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shot.png");
    let mut child = Command::new(python)
        .args(["-c", SCRIPT, &format!("127.0.0.1::{}", show.at.port())])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut stdin = child.stdin.take().unwrap();
    let _child = Running(child);
    let mut capture = || {
        writeln!(stdin, "{}", path.display()).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), "ok");
        read_png(&path)
    };
    show.settles("still", &mut capture);
    show.moves();
    show.settles("after it moved", &mut capture);
    show.mode(Size::new(517, 389));
    show.settles("after a change of mode", &mut capture);
    show.mode(Size::new(320, 200));
    show.settles("after another", &mut capture);
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn gvnccapture_sees_it() {
    let mut show = Show::new(2);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("shot.png");
    let at = format!("127.0.0.1:{}", show.at.port() - 5900);
    let capture = || {
        let status = Command::new("gvnccapture").arg("-q").arg(&at).arg(&path).status();
        assert!(status.expect("gvncviewer is not installed").success());
        read_png(&path)
    };
    show.settles("still", capture);
    show.moves();
    show.settles("after it moved", capture);
    show.mode(Size::new(517, 389));
    show.settles("after a change of mode", capture);
}

/// As [`Show::settles`], for what is left of the picture in a format.
fn tiger_sees(show: &Show, tiger: &Tiger, format: &Format, what: &str) {
    let picture = show.picture();
    let want = through(format, &picture);
    show.settles(what, || {
        let seen = tiger.sees(&want)?;
        // The same where it should be, so that one comparison does for all formats.
        if seen.pixels().iter().zip(want.pixels()).all(|(a, b)| (*a ^ *b) & 0xff_ffff == 0) {
            return Some(picture.clone());
        }
        Some(seen)
    });
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn tigervnc_sees_it() {
    for encoding in ["ZRLE", "Tight", "Raw"] {
        let mut show = Show::new(3);
        let prefers = format!("-PreferredEncoding={encoding}");
        let options =
            ["-AutoSelect=0", "-FullColor=1", "-NoJPEG=1", "-DesktopSize=601x433", &prefers];
        let tiger = Tiger::new(&show, &options);
        let end = Instant::now() + PATIENCE;
        while !show.obey() {
            assert!(Instant::now() < end, "it asked for no size");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(show.picture().size(), Size::new(601, 433));
        tiger_sees(&show, &tiger, &XRGB, &format!("{encoding}, the size it asked for"));
        show.moves();
        tiger_sees(&show, &tiger, &XRGB, &format!("{encoding}, after it moved"));
        show.mode(Size::new(500, 350));
        tiger_sees(&show, &tiger, &XRGB, &format!("{encoding}, after a change of mode"));
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn tigervnc_sees_few_colours() {
    // Its levels: red, green, blue, in 8 bits.
    for (level, depth, rgb) in [
        (0, 3, [(1, 2), (1, 1), (1, 0)]),
        (1, 6, [(3, 4), (3, 2), (3, 0)]),
        (2, 8, [(7, 5), (7, 2), (3, 0)]),
    ] {
        let format = Format { bits: 8, depth, big: false, colour: true, rgb };
        let mut show = Show::new(4);
        let level = format!("-LowColorLevel={level}");
        let options =
            ["-AutoSelect=0", "-FullColor=0", &level, "-RemoteResize=0", "-PreferredEncoding=ZRLE"];
        let tiger = Tiger::new(&show, &options);
        tiger_sees(&show, &tiger, &format, &level);
        show.moves();
        tiger_sees(&show, &tiger, &format, &format!("{level}, after it moved"));
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn vnc_rs_sees_it() {
    let rgb565 = RGB565;
    let big = Format { big: true, ..RGB565 };
    let cases = [
        (XRGB, VncEncoding::Raw),
        (XRGB, VncEncoding::Zrle),
        (XRGB, VncEncoding::Tight),
        (rgb565, VncEncoding::Zrle),
        (rgb565, VncEncoding::Raw),
        (big, VncEncoding::Zrle),
        (BGR233, VncEncoding::Zrle),
        (BGR233, VncEncoding::Raw),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    for (format, encoding) in cases {
        runtime.block_on(async {
            let what = format!("{encoding:?} in {} bits", format.bits);
            let mut show = Show::new(5);
            let mut rust = Rust::new(&show, format, encoding).await;
            rust.settles(&mut show, &what).await;
            show.moves();
            rust.settles(&mut show, &format!("{what}, after it moved")).await;
            show.mode(Size::new(517, 389));
            rust.settles(&mut show, &format!("{what}, after a change of mode")).await;
            let client = rust.client.clone();
            let asks = tokio::spawn(async move { client.resize_desktop(640, 360).await });
            while show.picture().size() != Size::new(640, 360) {
                rust.settles(&mut show, &format!("{what}, while it asks for a size")).await;
            }
            rust.settles(&mut show, &format!("{what}, the size it asked for")).await;
            // It is told that the request was passed on, which it takes for a refusal.
            asks.abort();
        });
    }
}

#[test]
fn the_comparison_sees_a_pixel() {
    let mut random = Random(6);
    let mut picture = Picture::new(FIRST);
    draw(&mut picture, FIRST.rect(), Kind::Noise, &mut random);
    let few = through(&BGR233, &picture);
    let same = picture.pixels().iter().zip(few.pixels()).filter(|(a, b)| a == b).count();
    assert!(same < 2000, "{same} pixels of noise are among 256 colours");
    assert_eq!(through(&XRGB, &few), few);
}
