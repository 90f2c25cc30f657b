// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Other people's viewers see exactly what is shown: still, after it moved, after a viewer asked for
//! another size, after a change of mode, in 32, 16 and 8 bits.
//!
//! They are not started without being asked for, since they need packages: gvncviewer,
//! tigervnc-viewer, xvfb, python3-venv, and vncdotool from PyPI.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::format::{BGR233, Format, RGB565, XRGB};
use common::server::Desk;
use common::{Kind, Random, change, draw};
use vfio_display::geometry::{Rect, Size};
use vfio_display::{Picture, input::BackChannel};
use vfio_display_vnc::Limits;
use vnc::{PixelFormat, VncClient, VncConnector, VncEncoding, VncEvent};

const FIRST: Size = Size::new(400, 300);
const PATIENCE: Duration = Duration::from_secs(15);

/// A desk that looks by itself, as a display would, and does as viewers ask.
struct Show {
    desk: Arc<Mutex<Desk>>,
    at: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    random: Random,
}

impl Show {
    fn new(seed: u64) -> Self {
        let desk = Desk::new(FIRST, Limits::default());
        let at = desk.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let (desk, stop) = (Arc::new(Mutex::new(desk)), Arc::<AtomicBool>::default());
        let thread = std::thread::spawn({
            let (desk, stop) = (Arc::clone(&desk), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    desk.lock().unwrap().look();
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        let mut show = Self { desk, at, stop, thread: Some(thread), random: Random(seed) };
        show.mode(FIRST);
        show
    }

    /// The guest sets a mode, and draws.
    fn mode(&mut self, size: Size) {
        let mut desk = self.desk.lock().unwrap();
        desk.picture = Picture::new(size);
        draw(&mut desk.picture, size.rect(), Kind::Smooth, &mut self.random);
        for _ in 0..12 {
            change(&mut desk.picture, &mut self.random);
        }
        desk.show_whole();
    }

    /// What viewers asked for since the last call is done, as a guest would that gets an EDID.
    fn obey(&mut self) -> bool {
        let asked = self.desk.lock().unwrap().heard.sizes.lock().unwrap().drain(..).last();
        asked.is_some_and(|size| {
            self.mode(size);
            true
        })
    }

    /// Small changes, faster than a screen shows them.
    fn moves(&mut self) {
        for _ in 0..150 {
            let mut desk = self.desk.lock().unwrap();
            let damage: Vec<Rect> = vec![change(&mut desk.picture, &mut self.random)];
            desk.show(&damage);
            drop(desk);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    fn picture(&self) -> Picture {
        self.desk.lock().unwrap().picture.clone()
    }

    /// Does it until the viewer shows what is shown; a viewer is late as networks are.
    fn settles(&self, what: &str, mut see: impl FnMut() -> Option<Picture>) {
        let want = self.picture();
        let end = Instant::now() + PATIENCE;
        let mut said;
        loop {
            match see() {
                Some(seen) if seen.size() != want.size() => {
                    said = format!("{} where {} is shown", seen.size(), want.size());
                }
                Some(seen) => {
                    let pairs = seen.pixels().iter().zip(want.pixels());
                    let wrong = pairs.filter(|(a, b)| (*a ^ *b) & 0xff_ffff != 0).count();
                    if wrong == 0 {
                        println!("{what}: exact, {}", want.size());
                        return;
                    }
                    said = format!("{wrong} of {} pixels are wrong", want.size().area());
                }
                None => said = "nothing to be seen".into(),
            }
            assert!(Instant::now() < end, "{what}: {said}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Ended with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

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
            all << 8 | value * 255 / max
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

/// A screen that is a file, and TigerVNC on it.
struct Tiger {
    _screen: Running,
    _viewer: Running,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Tiger {
    fn new(show: &Show, options: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        // It picks a number that is free, and says which when it is ready.
        let screen = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp", "-fbdir"])
            .arg(dir.path())
            .stdout(write)
            .stderr(Stdio::null())
            .spawn()
            .expect("xvfb is not installed");
        let screen = Running(screen);
        let mut number = String::new();
        BufReader::new(File::from(read)).read_line(&mut number).unwrap();
        let viewer = Command::new("xtigervncviewer")
            .env("DISPLAY", format!(":{}", number.trim()))
            .env("HOME", dir.path())
            .args(["-SecurityTypes=None", "-DotWhenNoCursor=0", "-AlertOnFatalError=0"])
            .args(options)
            .arg(format!("127.0.0.1::{}", show.at.port()))
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("tigervnc-viewer is not installed");
        let file = dir.path().join("Xvfb_screen0");
        Self { _screen: screen, _viewer: Running(viewer), file, _dir: dir }
    }

    /// What is in its window, wherever that is: the part of the screen that is most like `want`.
    fn sees(&self, want: &Picture) -> Option<Picture> {
        let screen = read_xwd(&std::fs::read(&self.file).ok()?)?;
        let size = want.size();
        let at = |x: u32, y: u32| {
            let mut part = Picture::new(size);
            for (to, from) in part.rows_mut().zip(screen.rows().skip(y as usize)) {
                to.copy_from_slice(&from[x as usize..][..size.width as usize]);
            }
            part
        };
        let like = |part: &Picture| {
            let pairs = part.pixels().iter().zip(want.pixels());
            pairs.filter(|(a, b)| (*a ^ *b) & 0xff_ffff == 0).count()
        };
        let places = (0..32).flat_map(|y| (0..4).map(move |x| (x, y)));
        places.map(|(x, y)| at(x, y)).max_by_key(like)
    }
}

/// An X window dump (X11/XWDFile.h): big-endian words, then colours, then pixels.
fn read_xwd(bytes: &[u8]) -> Option<Picture> {
    let word = |i: usize| Some(u32::from_be_bytes(bytes.get(4 * i..4 * i + 4)?.try_into().ok()?));
    let (width, height, little) = (word(4)?, word(5)?, word(7)? == 0);
    assert_eq!((word(11)?, little), (32, true));
    let start = word(0)? as usize + word(19)? as usize * 12;
    let rows = bytes.get(start..)?.chunks(word(12)? as usize);
    let mut picture = Picture::new(Size::new(width, height));
    for (row, from) in picture.rows_mut().zip(rows) {
        for (pixel, c) in row.iter_mut().zip(from.chunks_exact(4)) {
            *pixel = u32::from_le_bytes([c[0], c[1], c[2], 255]);
        }
    }
    Some(picture)
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

/// vnc-rs, which hands out rectangles.
struct Rust {
    client: VncClient,
    format: Format,
    size: (usize, usize),
    pixels: Vec<u32>,
}

impl Rust {
    async fn new(show: &Show, format: Format, encoding: VncEncoding) -> Self {
        let stream = tokio::net::TcpStream::connect(show.at).await.unwrap();
        let mut pixels = PixelFormat::bgra();
        (pixels.bits_per_pixel, pixels.depth) = (format.bits, format.depth);
        pixels.big_endian_flag = format.big.into();
        [pixels.red_max, pixels.green_max, pixels.blue_max] = format.rgb.map(|(max, _)| max);
        [pixels.red_shift, pixels.green_shift, pixels.blue_shift] =
            format.rgb.map(|(_, shift)| shift);
        let client = VncConnector::new(stream)
            .set_auth_method(async { Ok(String::new()) })
            .add_encoding(encoding)
            .add_encoding(VncEncoding::DesktopSizePseudo)
            .add_encoding(VncEncoding::ExtendedDesktopSizePseudo)
            .add_encoding(VncEncoding::LastRectPseudo)
            .set_pixel_format(pixels)
            .build()
            .unwrap()
            .try_start()
            .await
            .unwrap()
            .finish()
            .unwrap();
        Self { client, format, size: (0, 0), pixels: Vec::new() }
    }

    fn resize(&mut self, width: u16, height: u16) {
        self.size = (width.into(), height.into());
        self.pixels = vec![u32::MAX; self.size.0 * self.size.1];
    }

    /// Takes what comes, until that is what is shown.
    async fn settles(&mut self, show: &mut Show, what: &str) {
        let end = Instant::now() + PATIENCE;
        let mask = (1u64 << self.format.depth) - 1;
        let mut seen = usize::MAX;
        loop {
            show.obey();
            let _ = self.client.input(vnc::X11Event::Refresh).await;
            let wait = Duration::from_millis(20);
            while let Ok(event) = tokio::time::timeout(wait, self.client.recv_event()).await {
                self.take(event.unwrap_or_else(|error| panic!("{what}: {error}")));
            }
            let want = show.picture();
            let size = (want.size().width as usize, want.size().height as usize);
            if self.size == size {
                let pairs = self.pixels.iter().zip(want.pixels());
                let differs = |a: u32, b: u32| u64::from(a ^ self.format.pack(b)) & mask != 0;
                seen = pairs.filter(|(a, b)| differs(**a, **b)).count();
            }
            if seen == 0 {
                return println!("{what}: exact, {}", want.size());
            }
            assert!(Instant::now() < end, "{what}: {seen} pixels of {:?}", self.size);
        }
    }

    fn take(&mut self, event: VncEvent) {
        match event {
            VncEvent::SetResolution(screen) => self.resize(screen.width, screen.height),
            VncEvent::DesktopUpdate(update) => {
                if let Some(layout) = update.layout
                    && (usize::from(layout.width), usize::from(layout.height)) != self.size
                {
                    self.resize(layout.width, layout.height);
                }
            }
            VncEvent::RawImage(rect, data) => {
                let bytes = self.format.bytes();
                let (width, height) = (usize::from(rect.width), usize::from(rect.height));
                assert_eq!(data.len(), width * height * bytes);
                for (i, pixel) in data.chunks_exact(bytes).enumerate() {
                    let (x, y) = (usize::from(rect.x) + i % width, usize::from(rect.y) + i / width);
                    self.pixels[y * self.size.0 + x] = self.format.read(pixel);
                }
            }
            VncEvent::Error(error) => panic!("{error}"),
            _ => {}
        }
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
    let desk = Desk::new(FIRST, Limits::default());
    desk.heard.viewers(1);
    let mut random = Random(6);
    let mut picture = Picture::new(FIRST);
    draw(&mut picture, FIRST.rect(), Kind::Noise, &mut random);
    let few = through(&BGR233, &picture);
    let same = picture.pixels().iter().zip(few.pixels()).filter(|(a, b)| a == b).count();
    assert!(same < 2000, "{same} pixels of noise are among 256 colours");
    assert_eq!(through(&XRGB, &few), few);
}
