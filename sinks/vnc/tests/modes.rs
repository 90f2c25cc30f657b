// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A display, its server, a guest that changes its mode a thousand times, and viewers that come
//! and go as they like. Whoever is still there has the right picture, and nothing is left of the
//! others.

mod common;

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::server::{fds, threads, until};
use common::viewer::{DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE, RAW, TIGHT, ZRLE};
use common::{Random, Viewer};
use vfio_display::Display;
use vfio_display::geometry::Size;
use vfio_display::testing::card::Card;
use vfio_display::testing::{Mock, Personality};
use vfio_display_vnc::{Options, VncServer};

const MODES: u64 = 1000;
/// Viewers at a time.
const VIEWERS: usize = 6;

/// The size and the frame of the card that every viewer has to end on, once that is known.
type Last = Arc<Mutex<Option<(Size, u64)>>>;

struct Machine {
    mock: Mock,
    display: Display<Mock>,
    server: VncServer,
    random: Random,
    viewers: Vec<JoinHandle<()>>,
    last: Last,
    came: usize,
}

impl Machine {
    fn new() -> Self {
        let mock = Mock::new(Personality::WellBehaved, Size::new(100, 100)).unwrap();
        let display = Display::new(mock.clone()).unwrap();
        let server = VncServer::start(Options::default(), Arc::new(())).unwrap();
        let (viewers, last) = (Vec::new(), Last::default());
        Self { mock, display, server, random: Random(20), viewers, last, came: 0 }
    }

    /// Another mode, with frame `n` of the card.
    fn change_mode(&mut self, n: u64) -> Size {
        let mut side = || 64 + self.random.below(200);
        let size = Size::new(side(), side());
        self.mock.set_mode(size).unwrap();
        self.mock.show_card(n).unwrap();
        size
    }

    /// Looks once: the next time that the schedule says.
    fn look(&mut self) {
        self.display.watch(Instant::now());
        let now = self.display.poll_at().unwrap();
        self.display.poll(now, &mut self.server).unwrap();
    }

    fn viewer_comes(&mut self) {
        self.viewers.retain(|viewer| !viewer.is_finished());
        if self.viewers.len() >= VIEWERS {
            return;
        }
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.server.serve(theirs).unwrap();
        ours.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let encodings = [
            [RAW, ZRLE, TIGHT][self.random.below(3) as usize],
            [DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE][self.random.below(2) as usize],
        ];
        // Some never say a word that makes sense, some stay to the end, most leave.
        let to_the_end = self.last.lock().unwrap().is_some();
        let stays = match self.random.below(10) {
            _ if to_the_end => Some(u32::MAX),
            0 => None,
            1 if self.came < 20 => Some(u32::MAX),
            _ => Some(self.random.below(12)),
        };
        let last = Arc::clone(&self.last);
        self.viewers.push(thread::spawn(move || watch(ours, encodings, stays, &last)));
        self.came += 1;
    }
}

/// A viewer that leaves after so many updates, or once it has seen the last picture.
fn watch(mut stream: UnixStream, encodings: [i32; 2], stays: Option<u32>, last: &Last) {
    let Some(stays) = stays else {
        stream.write_all(b"RFB 003.0").unwrap();
        return;
    };
    let mut viewer = Viewer::connect(stream).unwrap();
    viewer.set_encodings(&encodings).unwrap();
    for _ in 0..stays {
        if let Some((size, n)) = *last.lock().unwrap()
            && viewer.size == (size.width as usize, size.height as usize)
            && viewer.pixels.iter().map(|p| p & 0xff_ffff).eq(Card::new(size, n).picture())
        {
            return;
        }
        viewer.request(true).unwrap();
        viewer.read().unwrap();
    }
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_thousand_modes_leave_nothing_behind() {
    let before = (fds(), threads());
    let start = Instant::now();
    let mut machine = Machine::new();
    let alone = fds();
    let mut early = 0;
    for n in 0..MODES {
        machine.change_mode(n);
        for _ in 0..machine.random.below(3) {
            machine.viewer_comes();
        }
        machine.look();
        if machine.random.below(4) == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        if n == MODES / 4 {
            early = resident_kb();
        }
    }
    let late = resident_kb();
    // The last mode, for those who stayed and for some who come last.
    let size = machine.change_mode(MODES);
    *machine.last.lock().unwrap() = Some((size, MODES + 1));
    (0..VIEWERS).for_each(|_| machine.viewer_comes());
    machine.look();
    machine.mock.show_card(MODES + 1).unwrap();
    let viewers = std::mem::take(&mut machine.viewers);
    let end = Instant::now() + Duration::from_secs(20);
    while !viewers.iter().all(JoinHandle::is_finished) {
        assert!(Instant::now() < end, "a viewer does not get the last picture");
        machine.look();
        thread::sleep(Duration::from_millis(5));
    }
    let ended: Vec<_> = viewers.into_iter().map(JoinHandle::join).collect();
    assert!(ended.iter().all(Result::is_ok), "each ends on the right picture");
    until("all have left", || machine.server.viewers() == 0);
    // A display keeps 16 dma-bufs that it may see again; the guest has what it shows.
    let few = alone + 16 + 4;
    until(&format!("of {} fds, {few} are left", fds()), || fds() <= few);
    assert_eq!(machine.mock.kernel_bugs(), []);
    println!(
        "{} viewers in {:?}; resident {early} kB after {}, {late} kB after {MODES}",
        machine.came,
        start.elapsed(),
        MODES / 4,
    );
    assert!(machine.came > 150, "{}", machine.came);
    assert!(late < early + 16 * 1024, "resident: {early} kB, then {late} kB");
    drop(machine);
    assert_eq!((fds(), threads()), before);
}
