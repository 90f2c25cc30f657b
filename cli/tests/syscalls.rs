// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The library's loop does with the system calls that it publishes, and each is there for a
//! reason: mocks, and a device in another process.

mod support;

use std::collections::BTreeSet;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Mutex;
use std::time::Instant;

use rustix::event::{EventfdFlags, eventfd};
use support::MockDevice;
use support::filtered::{CONTENDED, List, Outside, needed, role, under};
use vfio_display::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex,
};
use vfio_display::edid::Edid;
use vfio_display::geometry::{Point, Size};
use vfio_display::region::RegionInfo;
use vfio_display::sink::Takes;
use vfio_display::syscalls::{DEVICE, DMABUF, IOCTLS, MEMORY, VFIO_USER};
use vfio_display::testing::{Mock, Personality, Recorder};
use vfio_display::uapi::{DeviceInfo, PlaneInfo};
use vfio_display::vfio_user::{TIMEOUT, VfioUser};
use vfio_display::{Display, Look, Mapping, Poll, Result};

const SIZE: Size = Size::new(320, 200);

/// What only a device of the kernel's is asked by, and the clock of a kernel that has a slow one:
/// `kernel_syscalls` has these.
const OF_KERNEL: [&str; 8] = [
    "VFIO_DEVICE_GET_GFX_DMABUF",
    "VFIO_DEVICE_GET_INFO",
    "VFIO_DEVICE_GET_REGION_INFO",
    "VFIO_DEVICE_QUERY_GFX_PLANE",
    "VFIO_DEVICE_SET_IRQS",
    "clock_gettime",
    "pread64",
    "pwrite64",
];

/// A mock that makes its planes and its dma-bufs outside, as a kernel does.
struct Exported {
    mock: Mock,
    outside: Outside,
}

impl RegionDevice for Exported {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.mock.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        self.mock.region_info(index)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.mock.read(region, offset, buf)
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.mock.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        self.mock.map(region, offset, len)
    }
    fn set_eventfd(&self, index: IrqIndex, fd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.mock.set_eventfd(index, fd)
    }
}

impl GfxDevice for Exported {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.mock.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        let mock = self.mock.clone();
        self.outside.ask(move || mock.query_plane(plane, kind))
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        let mock = self.mock.clone();
        self.outside.ask(move || mock.export_dmabuf(id))
    }
}

/// A display that is polled until what comes is as wanted.
struct Polled<D> {
    display: Display<D>,
    sink: Recorder,
    now: Instant,
    /// Time passes by itself: another process needs some.
    is_real: bool,
}

impl<D: GfxDevice> Polled<D> {
    fn new(display: Display<D>, is_real: bool) -> Self {
        let sink = Recorder::new().taking(Takes { cursor: true, ..Takes::default() });
        let mut polled = Self { display, sink, now: Instant::now(), is_real };
        polled.display.watch(polled.now);
        polled
    }

    fn until(&mut self, wanted: impl Fn(&Poll) -> bool) {
        let end = Instant::now() + TIMEOUT * 4;
        loop {
            let at = self.display.poll_at().expect("somebody watches");
            while self.is_real && Instant::now() < at {
                std::hint::spin_loop();
            }
            self.now = at;
            match self.display.poll(self.now, &mut self.sink) {
                Ok(poll) if wanted(&poll) => return,
                Ok(_) => assert!(Instant::now() < end, "not in time"),
                Err(error) => panic!("{error}"),
            }
        }
    }
}

/// Modes, flips, a cursor, a monitor, off and gone.
fn mock(personality: Personality, outside: &Outside) {
    let first = Size::new(640, 480);
    let (mock, wake) = outside.ask(move || {
        let mock = Mock::new(personality, first).expect("a mock");
        mock.show_card(0).expect("it is on");
        (mock, eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"))
    });
    let guest = mock.clone();
    let device = Exported { mock, outside: outside.clone() };
    let mut polled = Polled::new(Display::new(device).expect("it has a display"), false);
    let tells = polled.display.set_wake(Some(wake.as_fd()));
    assert!(!tells.unwrap_or(false), "it tells of nothing");
    for size in [
        (128, 128),
        (160, 128),
        (192, 160),
        (256, 192),
        (320, 256),
        (640, 480),
        (576, 512),
        (256, 192),
    ] {
        let (size, guest) = (Size::new(size.0, size.1), guest.clone());
        let set = outside.ask(move || {
            if guest.set_mode(size).is_err() {
                return false; // It has one mode, as mdpy.
            }
            guest.show_card(1).expect("it is on");
            // Not every driver has one.
            let _ = guest.set_cursor(Size::new(64, 64), &[0xffff_ffff; 64 * 64]);
            guest.move_cursor(Point::new(7, 7));
            true
        });
        if !set {
            continue;
        }
        for _ in 0..2 {
            polled.until(|poll| *poll == Poll::Shown(size));
            polled.display.refresh();
        }
    }
    let monitor = Edid::for_mode(Size::new(800, 600));
    if polled.display.set_edid(polled.now, monitor).expect("it can be asked") {
        while polled.display.monitor().is_none() {
            polled.until(|_| true);
        }
    }
    let is_off = outside.ask({
        let guest = guest.clone();
        move || {
            guest.off();
            guest.screen_size().is_none()
        }
    });
    // mdpy never is.
    if is_off {
        polled.until(|poll| *poll == Poll::Off);
        assert!(matches!(polled.display.look(), Ok(Look::Off)));
    }
    polled.display.park();
    outside.ask(move || guest.unplug());
    assert!(matches!(polled.display.look(), Ok(Look::Gone(_))));
}

/// A framebuffer region, an interrupt that tells of frames, and the end of the other process.
fn process(socket: &Path, outside: &Outside) {
    let socket = socket.to_owned();
    // Made by another thread, so that this one has no key yet.
    let (display, wake) = outside.ask(move || {
        let device = VfioUser::connect(&socket, TIMEOUT).expect("it listens");
        let display = Display::new(device).expect("it has a display");
        (Mutex::new(display), eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"))
    });
    let mut polled = Polled::new(display.into_inner().expect("nobody had it"), true);
    let tells = polled.display.set_wake(Some(wake.as_fd()));
    assert!(tells.expect("it can be asked"), "it tells of frames");
    for _ in 0..2 {
        polled.display.watch(Instant::now());
        for _ in 0..4 {
            polled.until(|poll| *poll == Poll::Shown(SIZE));
        }
        assert!(matches!(polled.display.look(), Ok(Look::Live(..))));
        polled.display.park();
    }
    let takes = polled.display.set_edid(Instant::now(), Edid::for_mode(SIZE));
    assert!(!takes.expect("it can be asked"));
    assert!(polled.display.set_wake(None).expect("it can be asked"));
    polled.display.watch(Instant::now());
    outside.ask(|| {
        rustix::process::kill_process(
            rustix::process::Pid::from_raw(std::env::var("DEVICE_PID").unwrap().parse().unwrap())
                .unwrap(),
            rustix::process::Signal::KILL,
        )
        .expect("it runs")
    });
    polled.until(|poll| matches!(poll, Poll::Gone(_)));
    drop(polled);
}

/// Not a test: the process that has the filter.
#[test]
fn plays_a_loop() {
    let Some(role) = role() else { return };
    match role.split_once(':').expect("a role with its argument") {
        ("mock", personality) => {
            let personality = personality.parse().expect("a personality");
            under(&of_mock(), |outside| mock(personality, outside));
        }
        ("process", socket) => under(&of_process(), |outside| process(socket.as_ref(), outside)),
        _ => panic!("{role}"),
    }
}

fn of_mock() -> List {
    List::of(&[DEVICE, DMABUF, MEMORY], IOCTLS)
}

fn of_process() -> List {
    List::of(&[VFIO_USER, DEVICE, MEMORY], &[])
}

#[test]
fn a_loop_does_with_what_is_published_and_each_entry_is_needed() {
    let mut all = BTreeSet::new();
    for personality in [Personality::Mdpy, Personality::MbochsRw] {
        let run = || (format!("mock:{personality}"), Vec::new());
        let found = needed(&of_mock(), run);
        println!("{personality}: {found:?}");
        all.extend(found);
    }
    // The first thread has its memory by another call than those that follow it, and what is large
    // and grows has it by a third.
    for tunable in ["arena_max=1", "mmap_threshold=131072"] {
        let tunables = ("GLIBC_TUNABLES".to_owned(), format!("glibc.malloc.{tunable}"));
        let environment = vec![tunables, (CONTENDED.to_owned(), "1".to_owned())];
        let found = needed(&of_mock(), || ("mock:region".into(), environment.clone()));
        println!("{tunable}: {found:?}");
        all.extend(found);
    }
    let devices = Mutex::new(Vec::new());
    let found = needed(&of_process(), || {
        let device = MockDevice::start(&["--size", "320x200"]);
        let role = format!("process:{}", device.socket().display());
        let pid = ("DEVICE_PID".to_owned(), device.pid().to_string());
        devices.lock().expect("one at a time").push(device);
        (role, vec![pid])
    });
    println!("process: {found:?}");
    all.extend(found);
    let listed: BTreeSet<_> = of_mock().names().union(&of_process().names()).copied().collect();
    let elsewhere = BTreeSet::from(OF_KERNEL);
    let idle: Vec<_> = listed.difference(&all).filter(|name| !elsewhere.contains(*name)).collect();
    assert!(idle.is_empty(), "needed by nothing: {idle:?}");
    let both: Vec<_> = elsewhere.intersection(&all).collect();
    assert!(both.is_empty(), "not of the kernel alone: {both:?}");
}
