// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is shown, and whether a viewer sees it.

use std::net::SocketAddr;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vfio_display::Picture;
use vfio_display::geometry::{Rect, Size};
use vfio_display_vnc::Limits;

use crate::common::server::Desk;
use crate::common::{Kind, Random, change, draw};

pub(crate) const FIRST: Size = Size::new(400, 300);
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// A desk that looks by itself, as a display would, and does as viewers ask.
pub(crate) struct Show {
    desk: Arc<Mutex<Desk>>,
    pub(crate) at: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
    random: Random,
}

impl Show {
    pub(crate) fn new(seed: u64) -> Self {
        let desk = Desk::new(FIRST, Limits::default());
        let at = desk.server.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::of(desk, at, seed)
    }

    /// The same of a desk that listens already.
    pub(crate) fn of(desk: Desk, at: SocketAddr, seed: u64) -> Self {
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
    pub(crate) fn mode(&mut self, size: Size) {
        let mut desk = self.desk.lock().unwrap();
        desk.picture = Picture::new(size);
        draw(&mut desk.picture, size.rect(), Kind::Smooth, &mut self.random);
        for _ in 0..12 {
            change(&mut desk.picture, &mut self.random);
        }
        desk.show_whole();
    }

    /// What viewers asked for since the last call is done, as a guest would that gets an EDID.
    pub(crate) fn obey(&mut self) -> bool {
        let asked = self.desk.lock().unwrap().heard.sizes.lock().unwrap().drain(..).next_back();
        asked.is_some_and(|size| {
            self.mode(size);
            true
        })
    }

    /// Small changes, faster than a screen shows them.
    pub(crate) fn moves(&mut self) {
        for _ in 0..150 {
            let mut desk = self.desk.lock().unwrap();
            let damage: Vec<Rect> = vec![change(&mut desk.picture, &mut self.random)];
            desk.show(&damage);
            drop(desk);
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    pub(crate) fn picture(&self) -> Picture {
        self.desk.lock().unwrap().picture.clone()
    }

    /// Does it until the viewer shows what is shown; a viewer is late as networks are.
    pub(crate) fn settles(&self, what: &str, mut see: impl FnMut() -> Option<Picture>) {
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
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
