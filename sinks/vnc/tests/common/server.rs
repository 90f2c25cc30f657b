// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server with a display before it, and what its back-channel heard.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use vfio_display::geometry::{Rect, Size};
use vfio_display::input::{BackChannel, Event, UiInfo};
use vfio_display::sink::{Sink, Takes};
use vfio_display::{Frame, Picture, frame::Source};
use vfio_display_vnc::{Limits, Options, VncServer};

use super::Viewer;

#[derive(Debug, Default)]
pub struct Heard {
    pub events: Mutex<Vec<Event>>,
    pub sizes: Mutex<Vec<Size>>,
    pub viewers: Mutex<Vec<usize>>,
}

impl BackChannel for Heard {
    fn input(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn ui_info(&self, info: UiInfo) {
        self.sizes.lock().unwrap().push(info.size);
    }

    fn viewers(&self, count: usize) {
        self.viewers.lock().unwrap().push(count);
    }
}

pub struct Desk {
    pub server: VncServer,
    pub heard: Arc<Heard>,
    pub left: Arc<Mutex<Vec<String>>>,
    pub picture: Picture,
    generation: u64,
    takes: Takes,
}

/// Limits that are over soon.
pub fn short() -> Limits {
    Limits {
        handshake: Duration::from_millis(300),
        stall: Duration::from_millis(500),
        first_frame: Duration::from_millis(50),
        ..Limits::default()
    }
}

impl Desk {
    pub fn new(size: Size, limits: Limits) -> Self {
        Self::with(size, Options { limits, ..Options::default() })
    }

    pub fn with(size: Size, options: Options) -> Self {
        let left = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&left);
        let on_notice = move |notice: &vfio_display_vnc::Notice<'_>| {
            if let vfio_display_vnc::Notice::Left { why: Some(why), .. } = notice {
                log.lock().unwrap().push(why.to_string());
            }
        };
        let options = Options { on_notice: Some(Arc::new(on_notice)), ..options };
        let heard = Arc::<Heard>::default();
        let server = VncServer::start(options, Arc::clone(&heard) as _).unwrap();
        let (picture, takes) = (Picture::new(size), Takes::default());
        Self { server, heard, left, picture, generation: 1, takes }
    }

    /// As a display does at each look.
    pub fn show(&mut self, damage: &[Rect]) {
        if self.server.takes().idle {
            return;
        }
        let (picture, generation) = (&self.picture, self.generation);
        let frame = Frame { picture, damage, source: Source::Plane, generation };
        self.server.frame(&frame).unwrap();
    }

    /// As a display does when nothing has changed but who looks.
    pub fn look(&mut self) {
        let takes = self.server.takes();
        if takes != self.takes {
            self.takes = takes;
            self.show_whole();
        }
    }

    pub fn show_whole(&mut self) {
        self.show(&[self.picture.size().rect()]);
    }

    pub fn stream(&self) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.server.serve(theirs).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ours
    }

    /// A viewer that has the picture.
    pub fn viewer(&mut self, encodings: &[i32]) -> Viewer<UnixStream> {
        let stream = self.stream();
        self.viewer_by(encodings, || Viewer::connect(stream).unwrap())
    }

    /// The same for one that connects as it likes.
    pub fn viewer_by<S: Read + Write + Send>(
        &mut self,
        encodings: &[i32],
        connect: impl FnOnce() -> Viewer<S> + Send,
    ) -> Viewer<S> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let mut viewer = connect();
                viewer.set_encodings(encodings).unwrap();
                viewer.request(false).unwrap();
                viewer.update().unwrap();
                viewer
            });
            while !thread.is_finished() {
                self.show_whole();
                std::thread::sleep(Duration::from_millis(1));
            }
            thread.join().unwrap()
        })
    }
}

/// Waits until it is so.
pub fn until(what: &str, so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < end, "waited for: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

pub fn fds() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of servers; those of the tests come and go.
pub fn threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm"));
    tasks.flatten().map(name).filter(|name| name.as_ref().is_ok_and(|n| n == "vnc\n")).count()
}

/// Memory of this process, in KB.
pub fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
