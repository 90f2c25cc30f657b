// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Off, boot display, vGPU, and back: which source each frame is from.
#![cfg(all(feature = "ramfb", feature = "testing"))]

use std::sync::Arc;
use std::time::{Duration, Instant};

use vfio_display::display::boot::{OFF_POLLS, OFF_TIME};
use vfio_display::error::Errno;
use vfio_display::frame::Source;
use vfio_display::geometry::Size;
use vfio_display::ramfb::{Config, Ramfb, RamfbFile};
use vfio_display::testing::card::Card;
use vfio_display::testing::{Mock, Op, Personality, Recorder};
use vfio_display::{Display, Poll, PollError};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

const BOOT: Size = Size::new(128, 96);
const VGPU: Size = Size::new(256, 192);
const ADDRESS: u64 = 1 << 20;

/// A machine whose guest the test plays: its firmware, its driver.
struct Machine {
    memory: Arc<GuestMemoryMmap>,
    file: RamfbFile,
    mock: Mock,
    display: Display<Mock>,
    sink: Recorder,
    now: Instant,
}

impl Machine {
    fn new() -> Self {
        let ranges = [(GuestAddress(0), 4 << 20)];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap());
        let ramfb = Ramfb::new();
        let file = ramfb.file();
        let mock = Mock::without_guest(Personality::WellBehaved, VGPU).unwrap();
        let display = Display::new(mock.clone()).unwrap();
        let mut display = display.boot_display(ramfb, Arc::clone(&memory));
        let now = Instant::now();
        display.watch(now);
        Self { memory, file, mock, display, sink: Recorder::new(), now }
    }

    /// The firmware sets its display up, and draws.
    fn boot(&self, n: u64) {
        let picture = Card::new(BOOT, n).picture();
        let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        self.memory.write_slice(&bytes, GuestAddress(ADDRESS)).unwrap();
        let (width, height) = (BOOT.width, BOOT.height);
        let config = Config { address: ADDRESS, width, height, ..Config::XRGB };
        self.file.write(0, &config.to_bytes());
    }

    fn poll(&mut self) -> Result<Poll, PollError> {
        self.now = self.display.poll_at().unwrap();
        self.display.poll(self.now, &mut self.sink)
    }

    /// Polls for a while, and answers with the sources and generations of the frames.
    fn run(&mut self, time: Duration) -> Vec<(Source, u64)> {
        let (start, first) = (self.now, self.sink.frames.len());
        while self.now - start < time {
            self.poll().unwrap();
        }
        self.sink.frames[first..].iter().map(|f| (f.source, f.generation)).collect()
    }
}

#[test]
fn each_has_its_turn_and_each_switch_is_a_generation() {
    let mut machine = Machine::new();
    let second = Duration::from_secs(1);
    assert_eq!(machine.run(second), []);
    assert_eq!(machine.sink.blanks, 1, "neither is on");

    machine.boot(0);
    assert_eq!(machine.run(second), [(Source::Boot, 1)]);
    assert_eq!(machine.sink.picture().size(), BOOT);

    // The guest's driver comes up: its picture is there within two polls.
    machine.mock.show_card(0).unwrap();
    machine.poll().unwrap();
    machine.poll().unwrap();
    let shown = machine.sink.frames.last().unwrap();
    assert_eq!((shown.source, shown.generation, shown.whole), (Source::Plane, 2, true));
    assert_eq!(machine.sink.picture().size(), VGPU);

    // It goes, and the boot display comes back.
    machine.mock.off();
    assert_eq!(machine.run(second), [(Source::Boot, 3)]);
    assert_eq!(machine.sink.blanks, 1);
}

#[test]
fn a_moment_off_does_not_flash_the_boot_display() {
    let mut machine = Machine::new();
    machine.boot(0);
    machine.mock.show_card(0).unwrap();
    machine.poll().unwrap();
    let shown = machine.sink.frames.len();
    // Two modes, with the device off for a moment between them.
    for n in 0..20 {
        machine.mock.off();
        for _ in 1..OFF_POLLS {
            assert_eq!(machine.poll().unwrap(), Poll::Same);
        }
        machine.mock.show_card(n).unwrap();
        machine.poll().unwrap();
    }
    assert!(machine.sink.frames[shown..].iter().all(|frame| frame.source == Source::Plane));
    // At a high rate, many polls are still a moment.
    machine.display.set_rate(1000);
    machine.mock.off();
    let off = machine.now;
    while machine.sink.frames.last().unwrap().source == Source::Plane {
        machine.poll().unwrap();
    }
    assert!(machine.now - off >= OFF_TIME, "{:?}", machine.now - off);
}

#[test]
fn an_error_that_passes_is_held_in_every_state() {
    let mut machine = Machine::new();
    let enomem = Errno::from_raw(12);
    let held = |machine: &mut Machine, state: &str| {
        let before = (machine.sink.frames.len(), machine.sink.blanks);
        machine.mock.fail_next(Op::QueryPlane, 10, enomem);
        for _ in 0..10 {
            assert!(matches!(machine.poll(), Ok(Poll::Held(_))), "{state}");
        }
        assert_eq!((machine.sink.frames.len(), machine.sink.blanks), before, "{state}");
        machine.poll().unwrap();
        assert_eq!((machine.sink.frames.len(), machine.sink.blanks), before, "{state}");
    };
    machine.poll().unwrap();
    held(&mut machine, "off");
    machine.boot(0);
    machine.poll().unwrap();
    held(&mut machine, "boot");
    machine.mock.show_card(0).unwrap();
    machine.poll().unwrap();
    held(&mut machine, "vGPU");
}

#[test]
fn a_reset_goes_back_to_nothing_from_every_state() {
    for on in [false, true] {
        let mut machine = Machine::new();
        machine.boot(0);
        machine.poll().unwrap();
        if on {
            machine.mock.show_card(0).unwrap();
            machine.poll().unwrap();
        }
        machine.mock.off();
        machine.display.reset();
        assert_eq!(machine.poll().unwrap(), Poll::Off, "what the firmware set up is gone");
        assert_eq!(machine.sink.blanks, 1);
        machine.boot(1);
        machine.poll().unwrap();
        let frame = machine.sink.frames.last().unwrap();
        assert_eq!((frame.source, frame.whole), (Source::Boot, true));
    }
}

#[test]
fn a_bad_configuration_is_told_once_and_the_last_good_one_stays() {
    let mut machine = Machine::new();
    machine.boot(0);
    machine.poll().unwrap();
    let config = Config { address: u64::MAX - 4, width: 640, height: 480, ..Config::XRGB };
    machine.file.write(0, &config.to_bytes());
    assert!(matches!(machine.poll(), Err(PollError::Device(_))));
    assert_eq!(machine.poll().unwrap(), Poll::Same);
    assert_eq!(machine.sink.picture().size(), BOOT);
}
