// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What viewers do, on its way from the server's thread to the loop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};
use tracing::warn;
use vfio_display::input::{BackChannel, Event, UiInfo};

use super::guest::Guest;

/// Servers that there can be.
const SERVERS: usize = 2;

/// What has come since it was last taken. Only the newest of each counts, so it can't grow.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) viewers: Option<usize>,
    /// A server that had no viewer has one.
    pub(super) newcomer: bool,
    pub(super) input: bool,
    pub(super) ui_info: Option<UiInfo>,
}

/// The back-channel of this command.
pub(super) struct Back {
    news: Mutex<News>,
    /// Of each server.
    viewers: Mutex<[usize; SERVERS]>,
    wake: OwnedFd,
    /// Where input goes: to a mock's guest. A VFIO device has no way in for it.
    guest: Option<Guest>,
    dev: String,
    refused: AtomicBool,
}

impl Back {
    pub(super) fn new(guest: Option<Guest>, dev: &str) -> io::Result<Self> {
        Ok(Self {
            news: Mutex::default(),
            viewers: Mutex::default(),
            wake: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
            guest,
            dev: dev.to_owned(),
            refused: AtomicBool::new(false),
        })
    }

    /// Takes what has come.
    pub(super) fn take(&self) -> News {
        // Nothing to read is no news.
        let _ = rustix::io::read(&self.wake, &mut [0; 8]);
        std::mem::take(&mut *lock(&self.news))
    }

    pub(super) fn viewers(&self) -> usize {
        lock(&self.viewers).iter().sum()
    }

    /// What a server is given, which is one of [`SERVERS`].
    pub(super) fn of_server(back: &Arc<Self>, server: usize) -> Arc<dyn BackChannel> {
        Arc::new(OfServer { back: Arc::clone(back), server })
    }

    fn tell(&self, note: impl FnOnce(&mut News)) {
        note(&mut lock(&self.news));
        // It fails only when it has been written 2^64 times, and then wakes all the same.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl AsFd for Back {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// The back-channel of one server.
struct OfServer {
    back: Arc<Back>,
    server: usize,
}

impl BackChannel for OfServer {
    fn input(&self, event: Event) {
        let back = &self.back;
        match &back.guest {
            Some(guest) => {
                guest.input(event);
                back.tell(|news| news.input = true);
            }
            None if !back.refused.swap(true, Ordering::Relaxed) => {
                warn!("{}: a VFIO device takes no input; keys and pointer go nowhere", back.dev);
            }
            None => {}
        }
    }

    fn ui_info(&self, info: UiInfo) {
        self.back.tell(|news| news.ui_info = Some(info));
    }

    fn viewers(&self, count: usize) {
        let before = std::mem::replace(&mut lock(&self.back.viewers)[self.server], count);
        let all = self.back.viewers();
        self.back.tell(|news| {
            news.viewers = Some(all);
            news.newcomer |= before == 0 && count > 0;
        });
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
