// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server with a display before it, and what its back-channel heard.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vfio_display::frame::Source;
use vfio_display::geometry::{Rect, Size};
use vfio_display::input::{BackChannel, Event, UiInfo};
use vfio_display::sink::{Sink, Takes};
use vfio_display::{Frame, Picture};
use vfio_display_dbus::{DbusServer, Limits, Notice, Options};

use super::pictures::{KINDS, Random, change, draw};

#[derive(Debug, Default)]
pub struct Heard {
    pub events: Mutex<Vec<Event>>,
    pub sizes: Mutex<Vec<UiInfo>>,
    pub viewers: Mutex<Vec<usize>>,
}

impl Heard {
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

impl BackChannel for Heard {
    fn input(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn ui_info(&self, info: UiInfo) {
        self.sizes.lock().unwrap().push(info);
    }

    fn viewers(&self, count: usize) {
        self.viewers.lock().unwrap().push(count);
    }
}

pub struct Desk {
    pub server: DbusServer,
    pub heard: Arc<Heard>,
    pub left: Arc<Mutex<Vec<String>>>,
    pub picture: Picture,
    generation: u64,
    takes: Takes,
}

impl Desk {
    pub fn new(size: Size, limits: Limits) -> Self {
        let left = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&left);
        let on_notice = move |notice: &Notice<'_>| {
            if let Notice::Left { why: Some(why), .. } = notice {
                log.lock().unwrap().push(why.to_string());
            }
        };
        let options =
            Options { limits, on_notice: Some(Arc::new(on_notice)), ..Options::default() };
        let heard = Arc::<Heard>::default();
        let server = DbusServer::start(options, Arc::clone(&heard) as _).unwrap();
        let (picture, takes) = (Picture::new(size), Takes { idle: true, ..Takes::default() });
        Self { server, heard, left, picture, generation: 1, takes }
    }

    /// As a display does at each look. After a change of who looks, all of it is new.
    pub fn show(&mut self, damage: &[Rect]) {
        let takes = self.server.takes();
        let whole = [self.picture.size().rect()];
        let damage = if takes == self.takes { damage } else { &whole };
        self.takes = takes;
        if takes.idle || damage.is_empty() {
            return;
        }
        let (picture, generation) = (&self.picture, self.generation);
        let frame = Frame { picture, damage, source: Source::Plane, generation };
        self.server.frame(&frame).unwrap();
    }

    /// As a display does when nothing has changed but who looks.
    pub fn look(&mut self) {
        self.show(&[]);
    }

    pub fn show_whole(&mut self) {
        self.show(&[self.picture.size().rect()]);
    }

    /// Another picture, of this size.
    pub fn set_mode(&mut self, size: Size, random: &mut Random) {
        self.picture = Picture::new(size);
        self.generation += 1;
        self.fill(random);
        self.show_whole();
    }

    /// Draws all over the picture, without showing it.
    pub fn fill(&mut self, random: &mut Random) {
        let Size { width, height } = self.picture.size();
        let kinds = KINDS.len() as u32;
        for (n, kind) in (0..).zip(KINDS) {
            let (y, next) = (height * n / kinds, height * (n + 1) / kinds);
            draw(&mut self.picture, Rect { x: 0, y, width, height: next - y }, kind, random);
        }
    }

    /// Changes a part and shows it.
    pub fn change(&mut self, random: &mut Random) {
        let rect = change(&mut self.picture, random);
        self.show(&[rect]);
    }

    /// Looks, as a display does, until something is so.
    pub fn look_until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(Instant::now() < end, "waited for: {what}");
            self.look();
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until it is so.
pub fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < end, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

pub fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}
