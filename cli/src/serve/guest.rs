// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The guest of a mock: it draws at its own pace, as a real one does.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::warn;
use vfio_display::input::Event;
use vfio_display::testing::{Mock, Scene};

/// From a frame to the next.
const FRAME: Duration = Duration::from_micros(16_667);
/// Events that may wait for the next frame; more are dropped, as a keyboard's buffer does.
const WAITING: usize = 256;

/// A thread that draws on a mock until this is dropped.
pub(super) struct Guest {
    events: Option<SyncSender<Event>>,
    thread: Option<JoinHandle<()>>,
}

impl Guest {
    pub(super) fn start(mock: Mock) -> io::Result<Self> {
        let (events, received) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("guest".into());
        let thread = thread.spawn(move || draw(mock, &received))?;
        Ok(Self { events: Some(events), thread: Some(thread) })
    }

    pub(super) fn input(&self, event: Event) {
        if let Some(events) = &self.events {
            // A full buffer drops it.
            let _ = events.try_send(event);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.events = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, it said so.
            let _ = thread.join();
        }
    }
}

fn draw(mock: Mock, events: &Receiver<Event>) {
    let mut scene = Scene::new(mock);
    let start = Instant::now();
    for n in 0.. {
        if let Err(error) = scene.show(n) {
            warn!("the mock's guest: {error}");
            return;
        }
        let next = start + FRAME * n as u32;
        loop {
            match events.recv_timeout(next.saturating_duration_since(Instant::now())) {
                Ok(event) => scene.input(event),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}
