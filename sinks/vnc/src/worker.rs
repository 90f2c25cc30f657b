// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The one thread that serves all viewers.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vfio_display::input::{BackChannel, Event, UiInfo};
use vfio_display_sinks::{Denied, Stream};

use crate::client::{Client, READ};
use crate::error::Error;
use crate::listener::Listener;
use crate::screen::{News, Screen};
use crate::server::{Notice, Options};
use crate::session::{Said, Stage};
use crate::tile::Scratch;

mod admission;

/// How long one viewer is encoded for before the others are looked at. Long enough for a whole
/// update of a large screen, short enough that a key pressed by another is not late.
const TURN: Duration = Duration::from_millis(20);

/// How long nobody is accepted after that failed: for want of fds, mostly.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the server's handle and its thread share.
pub(crate) struct Shared {
    pub(crate) screen: Screen,
    pub(crate) orders: Mutex<Vec<Order>>,
    pub(crate) wake: OwnedFd,
    /// The wake-up is under way already.
    pub(crate) woken: AtomicBool,
    pub(crate) stop: AtomicBool,
    pub(crate) viewers: AtomicUsize,
    /// Whether the display had a picture when it was last heard of.
    pub(crate) signal: AtomicBool,
    /// Bytes that viewers took.
    pub(crate) sent: AtomicU64,
    /// Whether all viewers that said so draw the pointer, and there is one.
    pub(crate) draws_cursor: AtomicBool,
    pub(crate) back: Arc<dyn BackChannel>,
    pub(crate) options: Options,
}

pub(crate) enum Order {
    Listen(Listener),
    Serve(Box<dyn Stream>),
    /// The password of a viewer has been checked.
    Checked {
        viewer: u64,
        verdict: Result<(), Denied>,
    },
}

impl Shared {
    pub(crate) fn wake(&self) {
        if !self.woken.swap(true, Ordering::AcqRel) {
            // Full would mean that it is woken anyhow.
            let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
        }
    }

    /// Leaves an order for the thread; the order itself is the answer where that has ended.
    pub(crate) fn order(&self, order: Order) -> Result<(), Order> {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.load(Ordering::Acquire) {
            return Err(order);
        }
        orders.push(order);
        drop(orders);
        self.wake();
        Ok(())
    }

    pub(crate) fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut *self.orders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn stop(&self) {
        // Under the lock: no order comes after it.
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        self.stop.store(true, Ordering::Release);
        drop(orders);
        self.wake();
    }
}

pub(crate) struct Worker {
    shared: Arc<Shared>,
    listeners: Vec<Listener>,
    accept_at: Option<Instant>,
    clients: Vec<Client>,
    next_id: u64,
    /// The client whose turn it is to be encoded for.
    turn: usize,
    scratch: Scratch,
    buffer: Box<[u8]>,
    /// What poll said of the first of the listeners and clients: all that were there then.
    listeners_ready: Vec<PollFlags>,
    clients_ready: Vec<PollFlags>,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            listeners: Vec::new(),
            accept_at: None,
            clients: Vec::new(),
            next_id: 0,
            turn: 0,
            scratch: Scratch::default(),
            buffer: vec![0; READ].into(),
            listeners_ready: Vec::new(),
            clients_ready: Vec::new(),
        }
    }

    pub(crate) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Acquire) {
            let wait = self.prepare(Instant::now());
            self.wait(wait);
            self.take_orders();
            self.serve();
            self.encode();
        }
        for mut client in std::mem::take(&mut self.clients) {
            self.leave(&mut client, None);
        }
        self.count();
    }

    /// Sends away who is out of time, starts who is ready, and says how long to wait.
    fn prepare(&mut self, now: Instant) -> Option<Duration> {
        self.distribute(self.shared.screen.news());
        let known = self.shared.screen.size_if_known();
        let mut next = self.accept_at;
        let mut index = 0;
        while index < self.clients.len() {
            let client = &mut self.clients[index];
            if let Some(by) = client.start_by() {
                let late = (now >= by).then(|| self.shared.screen.last_size());
                if let Some(size) = known.or(late) {
                    client.session.set_cursor(self.shared.screen.cursor());
                    client.session.start(size);
                }
            }
            match client.check(now) {
                Err(error) => self.dismiss(index, error),
                Ok(at) => {
                    next = [next, at].into_iter().flatten().min();
                    index += 1;
                }
            }
        }
        if self.clients.iter().any(|client| client.session.is_due() || client.has_more()) {
            return Some(Duration::ZERO);
        }
        next.map(|at| at.saturating_duration_since(now))
    }

    /// Damage, sizes and pointers, to every viewer's own account.
    fn distribute(&mut self, news: News) {
        let cursor = news.cursor.then(|| self.shared.screen.cursor());
        for client in &mut self.clients {
            if client.session.stage() != Stage::Running {
                continue;
            }
            match news.resized {
                Some(size) => client.session.resized(size),
                None => client.session.damaged(&news.damage),
            }
            if let Some(shape) = &cursor {
                client.session.set_cursor(shape.clone());
            }
        }
    }

    fn wait(&mut self, wait: Option<Duration>) {
        let mut fds = Vec::with_capacity(1 + self.listeners.len() + self.clients.len());
        fds.push(PollFd::new(&self.shared.wake, PollFlags::IN));
        let accepts = self.accept_at.is_none();
        for listener in &self.listeners {
            let flags = if accepts { PollFlags::IN } else { PollFlags::empty() };
            fds.push(PollFd::from_borrowed_fd(listener.as_fd(), flags));
        }
        for client in &self.clients {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, client.wants_input());
            flags.set(PollFlags::OUT, client.wants_output());
            // Who has none is sent away in the turn that took it.
            let fd = client.fd().unwrap_or(self.shared.wake.as_fd());
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        }
        let timeout = wait.map(|wait| Timespec {
            tv_sec: wait.as_secs().min(3600) as i64,
            tv_nsec: wait.subsec_nanos().into(),
        });
        let result = poll(&mut fds, timeout.as_ref());
        self.listeners_ready.clear();
        self.clients_ready.clear();
        match result {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return,
            // Nothing can be done about it, and it is no reason to take a whole core.
            Err(_) => return std::thread::sleep(ACCEPT_AGAIN),
        }
        let woken = !fds[0].revents().is_empty();
        let (listeners, clients) = fds[1..].split_at(self.listeners.len());
        self.listeners_ready.extend(listeners.iter().map(PollFd::revents));
        self.clients_ready.extend(clients.iter().map(PollFd::revents));
        if woken {
            // In this order. Who wakes before the second line writes nothing, and what it did is
            // seen below; who wakes after it writes again.
            let _ = rustix::io::read(&self.shared.wake, &mut [0; 8]);
            self.shared.woken.swap(false, Ordering::AcqRel);
        }
    }

    fn take_orders(&mut self) {
        for order in self.shared.take_orders() {
            match order {
                // After those that poll spoke of, so that their places stay.
                Order::Listen(listener) => self.listeners.push(listener),
                Order::Serve(stream) => self.add(stream, None),
                Order::Checked { viewer, verdict } => self.answer(viewer, verdict),
            }
        }
    }

    fn serve(&mut self) {
        let now = Instant::now();
        if self.accept_at.is_some_and(|at| now >= at) {
            self.accept_at = None;
        }
        // From the end: who is sent away moves only those that had their turn.
        for index in (0..self.clients_ready.len()).rev() {
            if let Err(error) = self.exchange(index, self.clients_ready[index], now) {
                self.dismiss(index, error);
            }
        }
        for index in 0..self.listeners_ready.len() {
            if self.listeners_ready[index].contains(PollFlags::IN) {
                self.accept(index, now);
            }
        }
        self.count();
    }

    fn exchange(&mut self, index: usize, flags: PollFlags, now: Instant) -> Result<(), Error> {
        let Self { clients, shared, buffer, .. } = self;
        let client = &mut clients[index];
        let was_looking = client.is_looking();
        let broken = flags.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        if flags.contains(PollFlags::IN) || client.has_more() {
            let mut latest = None;
            client.receive(buffer, now, &mut |said| tell(shared, said, &mut latest))?;
            if let Some(event) = latest {
                shared.back.input(event);
            }
        } else if broken {
            return Err(Error::HungUp);
        }
        if client.wants_output() {
            client.send(now)?;
        }
        let viewer = client.id;
        client.go_on(now, || {
            let shared = Arc::downgrade(shared);
            Box::new(move |verdict| {
                if let Some(shared) = shared.upgrade() {
                    // Where the server has stopped, nobody waits for it.
                    let _ = shared.order(Order::Checked { viewer, verdict });
                }
            })
        })?;
        if !was_looking && client.is_looking() {
            self.admit(index, now)?;
        }
        Ok(())
    }

    /// Encodes for one viewer, the next one for whom there is something to do.
    fn encode(&mut self) {
        self.distribute(self.shared.screen.news());
        let count = self.clients.len();
        let turn = (0..count).map(|i| (self.turn + i) % count);
        let Some(index) = turn.into_iter().find(|i| self.clients[*i].session.is_due()) else {
            return;
        };
        self.turn = index + 1;
        let (picture, news) = self.shared.screen.look();
        self.distribute(news);
        let client = &mut self.clients[index];
        let result = client.update(&picture, &mut self.scratch, TURN);
        drop(picture);
        if let Err(error) = result {
            self.dismiss(index, error);
        }
        self.count();
    }

    fn dismiss(&mut self, index: usize, error: Error) {
        let mut client = self.clients.remove(index);
        if index < self.clients_ready.len() {
            // What poll said of the others stays theirs.
            self.clients_ready.remove(index);
        }
        self.leave(&mut client, Some(&error));
        self.count();
    }

    fn leave(&self, client: &mut Client, why: Option<&Error>) {
        let shared = &self.shared;
        let mut latest = None;
        client.session.release(&mut |said| tell(shared, said, &mut latest));
        client.leave(Instant::now(), why);
        shared.sent.fetch_add(std::mem::take(&mut client.sent), Ordering::Relaxed);
        shared.options.note(Notice::Left { viewer: client.id, why });
    }

    /// How many are looking, what they took, and whether they draw the pointer.
    fn count(&mut self) {
        let sent = self.clients.iter_mut().map(|client| std::mem::take(&mut client.sent)).sum();
        self.shared.sent.fetch_add(sent, Ordering::Relaxed);
        let looking = || self.clients.iter().filter(|client| client.is_looking());
        let mut settled = looking().filter_map(|client| client.session.encodings());
        let draws = settled.all(|known| known.cursor || known.cursor_with_alpha);
        if self.shared.draws_cursor.swap(draws, Ordering::AcqRel) && !draws {
            // It is part of the frames from now on.
            self.shared.screen.set_cursor(None);
        }
        let count = looking().count();
        if self.shared.viewers.swap(count, Ordering::AcqRel) != count {
            self.shared.back.viewers(count);
        }
    }
}

/// Passes on what a viewer did. Of a pointer that only moves, the last place is told, after all
/// that was read at once: a flood of them is as good as one.
fn tell(shared: &Shared, said: Said, latest: &mut Option<Event>) {
    if shared.options.view_only {
        return;
    }
    match said {
        Said::Input(event @ Event::Pointer { .. }) => *latest = Some(event),
        Said::Input(event) => {
            if let Some(moved) = latest.take() {
                shared.back.input(moved);
            }
            shared.back.input(event);
        }
        Said::Resize(size) => shared.back.ui_info(UiInfo { size, millimetres: None }),
    }
}
