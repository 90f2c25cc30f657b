// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! RDP: qemu-rdp attaches as it does to a QEMU, and FreeRDP on a screen of its own sees every pixel,
//! types and points.
//!
//! Not started without being asked for, since it needs packages (freerdp2-x11, xvfb, xdotool,
//! dbus-daemon, openssl) and a program, which `cargo xtask test` builds.

mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use common::desk::PATIENCE;
use common::{Bus, Desk, Random, until};
use tempfile::TempDir;
use vfio_display::Picture;
use vfio_display::geometry::{Point, Size};
use vfio_display::input::{BTN_LEFT, Event};
use vfio_display_dbus::Limits;

const SIZE: Size = Size::new(640, 480);
const USER: &str = "user";
const PASSWORD: &str = "password";

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that it ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}

/// qemu-rdp on the bus, at a port that is free.
fn rdp_server(bus: &Bus) -> (Running, u16) {
    let file = |name: &str| bus.directory.path().join(name);
    let (key, certificate) = (file("key.pem"), file("certificate.pem"));
    run(Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-keyout",
        ])
        .arg(&key)
        .arg("-out")
        .arg(&certificate));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    // Built by `cargo xtask test`, beside this crate's own programs.
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("peers/bin/qemu-rdp");
    let server = Command::new(&program)
        .args(["--dbus-address", &bus.address, "serve", "--bind-address"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--cert")
        .arg(&certificate)
        .arg("--key")
        .arg(&key)
        .stdout(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let server = Running(server);
    until("the RDP server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    until("its password", || {
        let set = Command::new("dbus-send")
            .arg(format!("--bus={}", bus.address))
            .args(["--print-reply", "--dest=org.QemuDisplay.RDP", "/org/qemu_display/rdp"])
            .arg("org.QemuDisplay.RDP.SetCredentials")
            .args([USER, PASSWORD, ""].map(|text| format!("string:{text}")))
            .output();
        set.expect("dbus-send is installed").status.success()
    });
    (server, port)
}

/// FreeRDP, over all of a screen that is a file.
struct Viewer {
    _screen: Running,
    _viewer: Running,
    display: String,
    file: PathBuf,
    _directory: TempDir,
}

impl Viewer {
    fn start(port: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (read, write) = std::io::pipe().unwrap();
        let screen = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0"])
            .arg(format!("{}x{}x24", SIZE.width, SIZE.height))
            .arg("-fbdir")
            .arg(directory.path())
            .stdout(write)
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let screen = Running(screen);
        let mut number = String::new();
        BufReader::new(read).read_line(&mut number).unwrap();
        let display = format!(":{}", number.trim());
        let log = File::create(directory.path().join("log")).unwrap();
        let viewer = Command::new("xfreerdp")
            .env("DISPLAY", &display)
            .env("HOME", directory.path())
            .args(["/cert:ignore", "/bpp:32", "-decorations", "-grab-keyboard", "/log-level:ERROR"])
            .arg(format!("/v:127.0.0.1:{port}"))
            .arg(format!("/u:{USER}"))
            .arg(format!("/p:{PASSWORD}"))
            .arg(format!("/size:{}x{}", SIZE.width, SIZE.height))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("xfreerdp is installed");
        let file = directory.path().join("Xvfb_screen0");
        let viewer = Running(viewer);
        Self { _screen: screen, _viewer: viewer, display, file, _directory: directory }
    }

    /// How many pixels of its screen differ from `picture`.
    fn differ(&self, picture: &Picture) -> usize {
        let dump = std::fs::read(&self.file).unwrap();
        // X11/XWDFile.h: big-endian words, then colours, then pixels.
        let word = |i: usize| u32::from_be_bytes(dump[4 * i..][..4].try_into().unwrap());
        assert_eq!((word(4), word(5), word(11)), (SIZE.width, SIZE.height, 32));
        let start = (word(0) + word(19) * 12) as usize;
        let shown = dump[start..].chunks(word(12) as usize).flat_map(|row| {
            row[..SIZE.width as usize * 4].chunks_exact(4).map(|p| [p[0], p[1], p[2]])
        });
        let wanted = picture.pixels().iter().map(|pixel| pixel.to_le_bytes());
        shown.zip(wanted).filter(|(a, b)| a[..] != b[..3]).count()
    }

    fn act(&self, orders: &[&str]) {
        run(Command::new("xdotool").env("DISPLAY", &self.display).args(orders));
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self._directory.path().join("log")).unwrap_or_default()
    }
}

#[test]
#[ignore = "needs qemu-rdp and FreeRDP: cargo xtask test installs them"]
fn freerdp_sees_every_pixel_types_and_points() {
    let (bus, mut desk) = (Bus::start(), Desk::new(SIZE, Limits::default()));
    desk.server.join_bus(Some(&bus.address)).unwrap();
    let mut random = Random(8);
    desk.fill(&mut random);
    // The size that it asks for before it looks is that of the screen before.
    let (_server, port) = rdp_server(&bus);
    let viewer = Viewer::start(port);
    for _ in 0..5 {
        let mut differ = usize::MAX;
        let start = std::time::Instant::now();
        while differ != 0 {
            desk.look();
            differ = if viewer.file.exists() { viewer.differ(&desk.picture) } else { usize::MAX };
            assert!(start.elapsed() < PATIENCE, "{differ} pixels differ\n{}", viewer.log());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for _ in 0..10 {
            desk.change(&mut random);
        }
    }
    desk.heard.take_events();
    viewer.act(&["mousemove", "123", "45", "click", "1", "key", "a"]);
    let (key, button) =
        (|down| Event::Key { code: 30, down }, |down| Event::Button { code: BTN_LEFT, down });
    let there = Event::Pointer { at: Point::new(123, 45), screen: SIZE };
    let mut events = Vec::new();
    until("what it did", || {
        events.extend(desk.heard.take_events());
        [there, button(true), button(false), key(true), key(false)]
            .iter()
            .all(|event| events.contains(event))
    });
}
