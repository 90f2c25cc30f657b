// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a listener costs at 1080p, in CPU time and in bytes on its socket: one screen that stands
//! still, one that is typed on, one that moves all over; by copies and by maps.
//!
//! `cargo run --release -p vfio-display-dbus --example cost`
//!
//! Both threads' CPU time counts: the display's, which copies what changed into the shared memory,
//! and the server's. The listener's is its own affair. It answers each call at once, so what is
//! shown faster than it takes it is merged.

#[path = "../tests/common/mod.rs"]
mod common;

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use common::raw::listener;
use common::{Desk, Random};
use vfio_display::geometry::{Rect, Size};
use vfio_display_dbus::Limits;

const SIZE: Size = Size::new(1920, 1080);
const RATE: u32 = 60;
const SECONDS: u32 = 5;

#[derive(Clone, Copy, Debug)]
enum Scene {
    Idle,
    /// A letter 10 times a second.
    Typing,
    /// All of it, each time.
    Motion,
}

/// CPU time of this process's thread of that name, in nanoseconds.
fn cpu(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs").flatten();
    let has = |path: &std::path::Path| {
        fs::read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let task = tasks.map(|task| task.path()).find(|path| has(path)).expect("the thread");
    let stat = fs::read_to_string(task.join("schedstat")).expect("schedstat");
    stat.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

fn measure(way: &str, interfaces: &[&'static str], scene: Scene) {
    let mut desk = Desk::new(SIZE, Limits::default());
    let (_client, mut listener) = listener(&desk, interfaces);
    let mut random = Random(1);
    desk.fill(&mut random);
    desk.look_until("a listener", |desk| desk.server.listeners() == 1);
    desk.look();
    // The first picture is not what is measured.
    while !(listener.picture == desk.picture || interfaces.len() + listener.given.len() == 2) {
        listener.turn(Duration::from_millis(20));
    }
    while listener.turn(Duration::from_millis(200)) {}
    let taken = listener.bytes;
    let stop = std::sync::atomic::AtomicBool::new(false);
    let (bytes, display, server) = thread::scope(|scope| {
        let listening = scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed)
                || listener.turn(Duration::from_millis(20))
            {
                listener.turn(Duration::from_millis(20));
            }
            listener.bytes - taken
        });
        let (mut display, server) = (0, cpu("dbus"));
        let start = Instant::now();
        for n in 0..RATE * SECONDS {
            let letter = Rect { x: 800 + n % 40 * 16, y: 512, width: 8, height: 16 };
            let damage = match scene {
                Scene::Idle => vec![],
                Scene::Typing if n % 6 == 0 => vec![letter],
                Scene::Typing => vec![],
                Scene::Motion => vec![SIZE.rect()],
            };
            let before = cpu("cost");
            desk.show(&damage);
            display += cpu("cost") - before;
            let next = start + Duration::from_secs(1) * (n + 1) / RATE;
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let server = cpu("dbus") - server;
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (listening.join().expect("it listens"), display, server)
    });
    let per_second = |nanoseconds: u64| nanoseconds as f64 / 1e7 / f64::from(SECONDS);
    println!(
        "{way:<5} {:<7} {:>6.2} % {:>6.2} % {:>12} bytes/s",
        format!("{scene:?}"),
        per_second(display),
        per_second(server),
        bytes / SECONDS as usize
    );
}

fn main() {
    println!("way   scene    display   server        socket");
    for (way, interfaces) in
        [("copy", &[][..]), ("map", &["org.qemu.Display1.Listener.Unix.Map"][..])]
    {
        for scene in [Scene::Idle, Scene::Typing, Scene::Motion] {
            measure(way, interfaces, scene);
        }
    }
}
