// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Updates a second, and CPU for one, against libvncserver on the same pictures in one run:
//!
//! `cargo run --release -p vfio-display-vnc --example throughput`
//!
//! It needs cc and libvncserver-dev. Both servers run as processes of their own and take turns; the
//! client is the same, and does not decode, so that it costs neither anything to speak of. It asks
//! for an update, the server is given the next frame, and the clock stops when the update is there.
//! So a rate is what one viewer on this machine can get, and no timer limits it.

#[path = "../../tests/common/format.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod format;
mod frames;
#[path = "../../tests/common/viewer.rs"]
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
mod viewer;

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use frames::Work;
use vfio_display::Frame;
use vfio_display::frame::Source;
use vfio_display::geometry::Size;
use vfio_display::sink::Sink;
use vfio_display_vnc::{Options, VncServer};
use viewer::{TIGHT, Viewer, ZRLE};

/// The lowest but one: what viewers on a local network ask for.
const COMPRESS_LEVEL_1: i32 = -255;
/// Short and many, so that what else the machine does hits both alike.
const ROUNDS: usize = 15;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, path] = &arguments[..]
        && role == "serve"
    {
        return serve(Path::new(path));
    }
    let turn = Duration::from_millis(match arguments.get(1) {
        Some(milliseconds) => milliseconds.parse()?,
        None => 300,
    });
    let dir = std::env::temp_dir().join(format!("vnc-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let result = compare(&dir, turn);
    std::fs::remove_dir_all(&dir)?;
    result
}

/// Our server, with a display that shows the next frame for each byte it reads.
fn serve(path: &Path) -> Result<()> {
    let frames = frames::read(path)?;
    let mut server = VncServer::start(Options::default(), Arc::new(()))?;
    let at = server.listen_tcp("127.0.0.1:0".parse()?)?;
    let mut show = |n: usize, whole: bool| {
        let (picture, damage) = &frames[n % frames.len()];
        let all = [picture.size().rect()];
        let damage = if whole { &all } else { &damage[..] };
        server.frame(&Frame { picture, damage, source: Source::Plane, generation: 1 })
    };
    let mut stdin = io::stdin().lock();
    let mut step = [0];
    for n in 0.. {
        show(n, n == 0).map_err(|error| error as Box<dyn Error>)?;
        if n == 0 {
            println!("{}", at.port());
        }
        if stdin.read(&mut step)? == 0 {
            break;
        }
    }
    Ok(())
}

struct Server {
    child: Child,
    steps: ChildStdin,
    port: u16,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let steps = child.stdin.take().ok_or("no stdin")?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
        Ok(Self { child, steps, port: line.trim().parse()? })
    }

    fn step(&mut self) -> io::Result<()> {
        self.steps.write_all(b"n")
    }

    /// CPU time of all of its threads.
    fn cpu(&self) -> Result<Duration> {
        let mut total = 0;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let stat = std::fs::read_to_string(task?.path().join("schedstat"))?;
            total += stat.split_whitespace().next().ok_or("schedstat")?.parse::<u64>()?;
        }
        Ok(Duration::from_nanos(total))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one turn gave.
#[derive(Clone, Copy, Debug, Default)]
struct Score {
    updates: f64,
    cpu_ms: f64,
    kilobytes: f64,
}

fn compare(dir: &Path, turn: Duration) -> Result<()> {
    let peer = build_peer(dir)?;
    println!("`cargo run --release -p vfio-display-vnc --example throughput`");
    println!();
    println!(
        "| size | pictures | encoding | updates/s | libvncserver | CPU ms an update | libvncserver | KB an update | libvncserver |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for size in [Size::new(1280, 720), Size::new(1920, 1080)] {
        for work in Work::ALL {
            let path = dir.join("frames");
            frames::write(&path, work, size)?;
            for (encoding, name) in [(ZRLE, "ZRLE"), (TIGHT, "Tight")] {
                let [ours, theirs] = both(&path, &peer, encoding, turn)?;
                println!(
                    "| {size} | {} | {name} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
                    work.name(),
                    ours.updates,
                    theirs.updates,
                    ours.cpu_ms,
                    theirs.cpu_ms,
                    ours.kilobytes,
                    theirs.kilobytes,
                );
            }
        }
    }
    Ok(())
}

fn build_peer(dir: &Path) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/libvncserver_peer.c");
    let peer = dir.join("peer");
    let mut cc = Command::new("cc");
    cc.arg("-O2").arg(source).arg("-o").arg(&peer).arg("-lvncserver");
    if !cc.status()?.success() {
        return Err("cc failed; is libvncserver-dev installed?".into());
    }
    Ok(peer)
}

/// Medians of both, who take turns.
fn both(path: &Path, peer: &Path, encoding: i32, turn: Duration) -> Result<[Score; 2]> {
    let ours = Server::start(Command::new(std::env::current_exe()?).arg("serve").arg(path))?;
    let theirs = Server::start(Command::new(peer).arg(path))?;
    let mut servers = [ours, theirs];
    let frames = frames::read(path)?;
    let mut clients = Vec::new();
    for server in &mut servers {
        check(server, &frames, encoding)?;
        clients.push(Client::connect(server, encoding)?);
    }
    let mut scores = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for ((server, client), scores) in servers.iter_mut().zip(&mut clients).zip(&mut scores) {
            scores.push(client.run(server, turn)?);
        }
    }
    Ok(scores.map(|scores| {
        let median = |of: fn(&Score) -> f64| {
            let mut values: Vec<f64> = scores.iter().map(of).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        let [updates, cpu_ms] = [median(|s| s.updates), median(|s| s.cpu_ms)];
        Score { updates, cpu_ms, kilobytes: median(|s| s.kilobytes) }
    }))
}

/// That a viewer which does decode sees the first frame exactly.
fn check(server: &Server, frames: &frames::Frames, encoding: i32) -> Result<()> {
    let mut viewer = connect(server, encoding)?;
    viewer.request(false)?;
    viewer.update()?;
    let want = frames[0].0.pixels().iter().map(|pixel| pixel & 0xff_ffff);
    if want.eq(viewer.pixels.iter().map(|pixel| pixel & 0xff_ffff)) {
        return Ok(());
    }
    Err("another picture than was shown".into())
}

/// Goes through the handshake. It takes whatever a server offers beside None.
fn connect(server: &Server, encoding: i32) -> Result<Viewer<TcpStream>> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port))?;
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 12])?;
    stream.write_all(b"RFB 003.008\n")?;
    let mut count = [0];
    stream.read_exact(&mut count)?;
    stream.read_exact(&mut vec![0; count[0].into()])?;
    stream.write_all(&[1])?;
    stream.read_exact(&mut [0; 4])?;
    stream.write_all(&[1])?;
    let mut init = [0; 24];
    stream.read_exact(&mut init)?;
    let number = |at: usize| u16::from_be_bytes([init[at], init[at + 1]]);
    stream.read_exact(&mut vec![0; number(22).into()])?;
    let mut viewer = Viewer::after_handshake(stream, number(0), number(2));
    viewer.set_format(format::XRGB)?;
    viewer.set_encodings(&[encoding, COMPRESS_LEVEL_1])?;
    Ok(viewer)
}

/// A viewer that finds the end of each update, and looks at nothing in it.
struct Client {
    stream: TcpStream,
    size: (usize, usize),
    buffer: Vec<u8>,
    unread: std::ops::Range<usize>,
    bytes: usize,
}

impl Client {
    fn connect(server: &Server, encoding: i32) -> Result<Self> {
        let viewer = connect(server, encoding)?;
        let Viewer { stream, size, .. } = viewer;
        let mut client = Self { stream, size, buffer: vec![0; 1 << 20], unread: 0..0, bytes: 0 };
        client.request(false)?;
        client.update()?;
        Ok(client)
    }

    fn run(&mut self, server: &mut Server, turn: Duration) -> Result<Score> {
        self.bytes = 0;
        let (start, cpu) = (Instant::now(), server.cpu()?);
        let mut updates = 0u32;
        while start.elapsed() < turn {
            self.request(true)?;
            server.step()?;
            self.update()?;
            updates += 1;
        }
        let (took, cpu) = (start.elapsed(), server.cpu()? - cpu);
        let updates = f64::from(updates);
        Ok(Score {
            updates: updates / took.as_secs_f64(),
            cpu_ms: cpu.as_secs_f64() * 1000.0 / updates,
            kilobytes: self.bytes as f64 / 1000.0 / updates,
        })
    }

    fn request(&mut self, incremental: bool) -> io::Result<()> {
        let mut message = vec![3, incremental.into(), 0, 0, 0, 0];
        for value in [self.size.0, self.size.1] {
            message.extend((value as u16).to_be_bytes());
        }
        self.stream.write_all(&message)
    }

    fn update(&mut self) -> io::Result<()> {
        let head = self.take::<4>()?;
        assert_eq!(head[0], 0, "only updates were asked for");
        for _ in 0..u16::from_be_bytes([head[2], head[3]]) {
            let rect = self.take::<12>()?;
            let [width, height] = [4, 6].map(|at| u16::from_be_bytes([rect[at], rect[at + 1]]));
            match i32::from_be_bytes([rect[8], rect[9], rect[10], rect[11]]) {
                ZRLE => {
                    let length = u32::from_be_bytes(self.take()?);
                    self.skip(length as usize)?;
                }
                TIGHT => self.skip_tight(width.into(), height.into())?,
                viewer::LAST_RECT => break,
                other => panic!("encoding {other}"),
            }
        }
        Ok(())
    }

    fn skip_tight(&mut self, width: usize, height: usize) -> io::Result<()> {
        let [control] = self.take()?;
        if control >> 4 == 8 {
            return self.skip(3);
        }
        let mut row = width * 3;
        if control & 64 != 0 && self.take::<1>()?[0] == 1 {
            let colours = usize::from(self.take::<1>()?[0]) + 1;
            self.skip(colours * 3)?;
            row = if colours == 2 { width.div_ceil(8) } else { width };
        }
        if row * height < 12 {
            return self.skip(row * height);
        }
        let mut length = 0;
        for shift in [0, 7, 14] {
            let byte = usize::from(self.take::<1>()?[0]);
            length |= (if shift < 14 { byte & 127 } else { byte }) << shift;
            if byte & 128 == 0 {
                break;
            }
        }
        self.skip(length)
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            self.fill()?;
            *byte = self.buffer[self.unread.start];
            self.unread.start += 1;
        }
        self.bytes += N;
        Ok(bytes)
    }

    fn skip(&mut self, mut count: usize) -> io::Result<()> {
        self.bytes += count;
        while count > 0 {
            self.fill()?;
            let step = count.min(self.unread.len());
            self.unread.start += step;
            count -= step;
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.unread.is_empty() {
            let length = self.stream.read(&mut self.buffer)?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.unread = 0..length;
        }
        Ok(())
    }
}
