// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The library's loop does with the system calls that it publishes, and each is there for a
//! reason: the kernel's own drivers, and processes that have them open.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, eventfd};
use support::filtered::{List, Outside, needed, role, under};
use support::vfbdemo::load_vfbdemo;
use support::{Mdev, MockDevice, load_mbochs, skip, wait_for};
use vfio_display::device::{GfxDevice, RegionDevice as _};
use vfio_display::edid::Edid;
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict, Opened};
use vfio_display::syscalls::{BORROWED, DEVICE, DMABUF, HOLDERS, IOCTLS, MEMORY, VFIO_USER};
use vfio_display::testing::guest::bochs::Vbe;
use vfio_display::testing::{Mock, Personality, Recorder};
use vfio_display::vfio_user::{TIMEOUT, VfioUser};
use vfio_display::{Display, Poll};

fn open(uuid: &str) -> Opened {
    let name = uuid.parse().expect("a UUID");
    Host::new().open(&name, OnConflict::Refuse).expect("it opens")
}

/// Polls, in time of its own, until what comes is `wanted`.
fn until<D: GfxDevice>(display: &mut Display<D>, wanted: impl Fn(&Poll) -> bool) {
    let mut sink = Recorder::new();
    for _ in 0..2000 {
        let at = display.poll_at().expect("somebody watches");
        if wanted(&display.poll(at, &mut sink).expect("it answers")) {
            return;
        }
        std::hint::spin_loop();
    }
    panic!("not in 2000 polls");
}

/// dma-bufs, after a look at who else has some, and a monitor.
fn mbochs(uuid: &str, outside: &Outside) {
    let uuid = uuid.to_owned();
    let (device, display) = outside.ask(move || {
        let device = Arc::new(open(&uuid));
        Vbe::new(&device).expect("BAR 2 is there").set_mode(Size::new(640, 480)).expect("a mode");
        let display = Display::new(Arc::clone(&device)).expect("it has a display");
        (device, Mutex::new(display))
    });
    let mut display = display.into_inner().expect("nobody had it");
    display.watch(outside.ask(Instant::now));
    // 800x640 is the second dma-buf: the first one is ours, which the guard knows by its inode.
    for size in [Size::new(640, 480), Size::new(800, 640)] {
        let device = Arc::clone(&device);
        outside
            .ask(move || Vbe::new(&device).expect("it is there").set_mode(size).expect("a mode"));
        until(&mut display, |poll| *poll == Poll::Shown(size));
    }
    let now = display.poll_at().expect("somebody watches");
    assert!(display.set_edid(now, Edid::for_mode(Size::new(800, 600))).expect("it can be asked"));
    while display.monitor().is_none() {
        until(&mut display, |_| true);
    }
    display.settle().expect("it is plugged in");
    display.park();
}

/// A framebuffer region, and the interrupt that tells of frames.
fn vfbdemo(uuid: &str, outside: &Outside) {
    let uuid = uuid.to_owned();
    let (display, wake) = outside.ask(move || {
        let device = open(&uuid);
        let display = Display::new(device).expect("it has a display");
        (Mutex::new(display), eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"))
    });
    let mut display = display.into_inner().expect("nobody had it");
    assert!(display.set_wake(Some(wake.as_fd())).expect("it can be asked"));
    display.watch(outside.ask(Instant::now));
    until(&mut display, |poll| matches!(poll, Poll::Off | Poll::Shown(_)));
    assert!(display.set_wake(None).expect("it can be asked"));
    display.park();
}

/// A region, of a device that another process has.
fn borrowed(pid: &str, outside: &Outside) {
    let pid = pid.parse().expect("a process");
    let display = outside.ask(move || {
        let device = Host::new().borrow(pid, None, OnConflict::Refuse).expect("it lends");
        Mutex::new(Display::new(device).expect("it has a display"))
    });
    let mut display = display.into_inner().expect("nobody had it");
    display.watch(outside.ask(Instant::now));
    until(&mut display, |poll| matches!(poll, Poll::Shown(_)));
}

/// Not a test: the process that has the filter.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn plays_a_loop() {
    let Some(role) = role() else { return };
    match role.split_once(':').expect("a role with its argument") {
        ("mbochs", uuid) => under(&of_mbochs(), |outside| mbochs(uuid, outside)),
        ("vfbdemo", uuid) => under(&of_device(), |outside| vfbdemo(uuid, outside)),
        ("borrowed", pid) => under(&of_borrowed(), |outside| borrowed(pid, outside)),
        ("clock", socket) => {
            let client = VfioUser::connect(socket.as_ref(), TIMEOUT).expect("it listens");
            under(&of_process(), |_| assert!(client.device_info().is_ok()));
        }
        _ => panic!("{role}"),
    }
}

fn of_mbochs() -> List {
    List::of(&[DEVICE, DMABUF, HOLDERS, MEMORY], IOCTLS)
}

fn of_device() -> List {
    List::of(&[DEVICE, DMABUF, MEMORY], IOCTLS)
}

fn of_borrowed() -> List {
    List::of(&[DEVICE, BORROWED, DMABUF, MEMORY], IOCTLS)
}

fn of_process() -> List {
    List::of(&[VFIO_USER, MEMORY], &[])
}

/// A device for each run: its last process is gone by then.
struct Devices(&'static str, Mutex<Option<Mdev>>);

impl Devices {
    fn next(&self, role: &str) -> (String, Vec<(String, String)>) {
        let mut device = self.1.lock().expect("one at a time");
        if let Some(before) = device.take() {
            wait_for("its removal", Duration::from_secs(10), || before.remove().ok());
        }
        let uuid = &device.insert(Mdev::create(self.0)).uuid;
        (format!("{role}:{uuid}"), Vec::new())
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_loop_on_a_driver_does_with_what_is_published_and_each_entry_is_needed() {
    load_mbochs(true);
    load_vfbdemo();
    // Somebody who has a device, and no dma-buf of it: it has to be told from ours.
    let mdev = Mdev::create("mdpy-vga");
    let lent = open(&mdev.uuid);
    // And a dma-buf of another driver's: it is known by its inode that we did not hand it out.
    let mock = Mock::new(Personality::MbochsRw, Size::new(640, 480)).expect("a mock");
    mock.show_card(0).expect("it is on");
    let mut shows = Display::new(mock).expect("it has a display");
    shows.watch(Instant::now());
    until(&mut shows, |poll| matches!(poll, Poll::Shown(_)));
    let mut all = BTreeSet::new();
    let mut run = |name: &str, found: BTreeSet<&'static str>| {
        println!("{name}: {found:?}");
        all.extend(found);
    };
    let devices = Devices("mbochs-medium", Mutex::default());
    run("mbochs", needed(&of_mbochs(), || devices.next("mbochs")));
    let devices = Devices("vfbdemo-xga", Mutex::default());
    run("vfbdemo", needed(&of_device(), || devices.next("vfbdemo")));
    let us = format!("borrowed:{}", std::process::id());
    run("borrowed", needed(&of_borrowed(), || (us.clone(), Vec::new())));
    drop(lent);

    let listed =
        of_mbochs().names().union(&of_borrowed().names()).copied().collect::<BTreeSet<_>>();
    // Memory and keys are no matter of a driver: `syscalls` has these.
    let mut elsewhere = List::of(&[MEMORY], &[]).names();
    elsewhere.insert("getrandom");
    if !fs::exists("/dev/udmabuf").expect("devtmpfs") {
        // The mock's are memfds then, which nobody looks at.
        elsewhere.insert("statx");
    }
    let idle: Vec<_> = listed.difference(&all).filter(|name| !elsewhere.contains(*name)).collect();
    assert!(idle.is_empty(), "needed by nothing: {idle:?}");
}

/// Where the kernel's clock can't be read by a process itself, it is asked.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_slow_clock_is_published() {
    const CLOCKS: &str = "/sys/devices/system/clocksource/clocksource0";
    let available = fs::read_to_string(format!("{CLOCKS}/available_clocksource")).expect("sysfs");
    let current = fs::read_to_string(format!("{CLOCKS}/current_clocksource")).expect("sysfs");
    let Some(slow) = available.split_whitespace().find(|name| ["acpi_pm", "hpet"].contains(name))
    else {
        return skip(&format!("no slow clock among {available}"));
    };
    let choose =
        |name: &str| fs::write(format!("{CLOCKS}/current_clocksource"), name).expect("sysfs");
    choose(slow);
    let devices = Mutex::new(Vec::new());
    let found = needed(&of_process(), || {
        let device = MockDevice::start(&["--size", "320x200"]);
        let role = format!("clock:{}", device.socket().display());
        devices.lock().expect("one at a time").push(device);
        (role, Vec::new())
    });
    choose(current.trim());
    println!("{slow}: {found:?}");
    assert!(found.contains("clock_gettime"), "{found:?}");
}
