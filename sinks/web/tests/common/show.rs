// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A mock with a display before it and a VNC server behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use vfio_display::Display;
use vfio_display::geometry::Size;
use vfio_display::input::{BackChannel, Event, UiInfo};
use vfio_display::testing::{Mock, Personality, card::Card};
use vfio_display_vnc::{Handle, Options, VncServer};

#[derive(Debug, Default)]
pub struct Heard {
    pub events: Mutex<Vec<Event>>,
    pub sizes: Mutex<Vec<Size>>,
    viewers: Mutex<Option<usize>>,
}

impl BackChannel for Heard {
    fn input(&self, event: Event) {
        self.events.lock().unwrap().push(event);
    }

    fn ui_info(&self, info: UiInfo) {
        self.sizes.lock().unwrap().push(info.size);
    }

    fn viewers(&self, count: usize) {
        *self.viewers.lock().unwrap() = Some(count);
    }
}

impl Heard {
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.events.lock().unwrap())
    }
}

/// A running display. Its guest does nothing but what a test has it do.
pub struct Show {
    pub mock: Mock,
    pub heard: Arc<Heard>,
    pub handle: Handle,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Show {
    pub fn new(size: Size) -> Self {
        Self::with(size, Options { name: "mock".into(), ..Options::default() })
    }

    pub fn with(size: Size, options: Options) -> Self {
        let mock = Mock::new(Personality::WellBehaved, size).unwrap();
        mock.show_card(0).unwrap();
        let heard = Arc::<Heard>::default();
        let server = VncServer::start(options, Arc::clone(&heard) as _).unwrap();
        let handle = server.handle();
        let stop = Arc::<AtomicBool>::default();
        let thread = std::thread::spawn({
            let (mock, heard, stop) = (mock.clone(), Arc::clone(&heard), Arc::clone(&stop));
            move || poll(mock, server, &heard, &stop)
        });
        Self { mock, heard, handle, stop, thread: Some(thread) }
    }

    /// Frame `n` of the test card, which is what a viewer has to see then.
    pub fn card(&self, n: u64) -> (Size, Vec<u32>) {
        self.mock.show_card(n).unwrap();
        let size = self.mock.screen_size().unwrap();
        (size, Card::new(size, n).picture())
    }

    /// The size that was asked for last, once one was.
    pub fn asked(&self) -> Option<Size> {
        self.heard.sizes.lock().unwrap().last().copied()
    }
}

impl Drop for Show {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// As `vfio-display serve` does, in few words.
fn poll(mock: Mock, mut server: VncServer, heard: &Heard, stop: &AtomicBool) {
    let mut display = Display::new(mock).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        let viewers = heard.viewers.lock().unwrap().take();
        match viewers {
            Some(0) => display.park(),
            Some(_) => {
                display.refresh();
                display.watch(now);
            }
            None => {}
        }
        display.poll(now, &mut server).unwrap();
        std::thread::sleep(Duration::from_millis(3));
    }
}
