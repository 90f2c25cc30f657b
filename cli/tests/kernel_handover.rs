// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Firmware's picture, the vGPU's, and back, on the kernel's mbochs. Every frame is looked at.

mod support;

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::{Guest, Mdev, assert_same, load_mbochs, wait_for};
use vfio_display::device::{GfxDevice, Vfio};
use vfio_display::display::boot::{OFF_POLLS, OFF_TIME};
use vfio_display::frame::Source;
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict};
use vfio_display::ramfb::{Config, FILE_NAME, Ramfb};
use vfio_display::testing::Recorder;
use vfio_display::testing::card::Card;
use vfio_display::testing::guest::bochs::{ENABLED, MEMORY_BAR, Register, Vbe};
use vfio_display::testing::guest::map_bar;
use vfio_display::{Display, Poll};
use vfio_display_fw_cfg::{FwCfg, Item};
use vm_memory::{Bytes as _, GuestAddress, GuestMemoryMmap};

/// A size that no driver of a vGPU sets here.
const BOOT: Size = Size::new(720, 400);
const ROUND: Duration = Duration::from_secs(90);

/// A guest's firmware, and the VMM's part of it.
struct Firmware {
    memory: Arc<GuestMemoryMmap>,
    fw_cfg: FwCfg,
    /// What it has drawn.
    picture: Vec<u32>,
}

impl Firmware {
    fn new(ramfb: &Ramfb) -> Self {
        let ranges = [(GuestAddress(0), 4 << 20)];
        let memory = Arc::new(GuestMemoryMmap::from_ranges(&ranges).expect("memory"));
        let file = ramfb.file();
        let item = Item::writable(file.read(), move |offset, bytes| {
            file.write(offset, bytes);
        });
        let mut fw_cfg = FwCfg::new();
        fw_cfg.add_file(FILE_NAME, item).expect("the only one");
        Self { memory, fw_cfg, picture: Vec::new() }
    }

    /// Draws, and writes `etc/ramfb` as SeaBIOS does: select and write in one DMA access.
    fn set_mode(&mut self, n: u64) {
        let framebuffer = 1 << 20;
        self.picture = Card::new(BOOT, n).picture();
        let bytes: Vec<u8> = self.picture.iter().flat_map(|p| p.to_le_bytes()).collect();
        self.write(framebuffer, &bytes);

        let (width, height) = (BOOT.width, BOOT.height);
        let config = Config { address: framebuffer, width, height, ..Config::XRGB };
        let (buffer, access) = (0x6000_u64, 0x6ff0_u64);
        self.write(buffer, &config.to_bytes());
        let (_, key) =
            self.fw_cfg.files().find(|(name, _)| *name == FILE_NAME).expect("it is there");
        let control = u32::from(key) << 16 | 0x18;
        let words = [&control.to_be_bytes()[..], &28_u32.to_be_bytes(), &buffer.to_be_bytes()];
        self.write(access, &words.concat());
        self.fw_cfg.pio_write(&*self.memory, 8, &(access as u32).to_be_bytes());
        let mut done = [0xff; 4];
        self.memory.read_slice(&mut done, GuestAddress(access)).expect("it is RAM");
        assert_eq!(done, [0; 4], "{:?}", self.fw_cfg.take_report());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(at)).expect("it is RAM");
    }
}

/// A display that is polled when it wants to be, and whose every frame is looked at.
struct Watch<D> {
    display: Display<D>,
    sink: Recorder,
    firmware: Firmware,
}

impl<D: GfxDevice> Watch<D> {
    fn new(device: D) -> Self {
        let ramfb = Ramfb::new();
        let firmware = Firmware::new(&ramfb);
        let display = Display::new(device).expect("mbochs has a display");
        let mut display = display.boot_display(ramfb, Arc::clone(&firmware.memory));
        display.watch(Instant::now());
        Self { display, sink: Recorder::new(), firmware }
    }

    fn poll(&mut self) -> Poll {
        let at = self.display.poll_at().expect("it is watched");
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        let before = self.sink.frames.len();
        let poll = self.display.poll(Instant::now(), &mut self.sink).expect("mbochs answers");
        let new = &self.sink.frames[before..];
        assert!(new.len() <= 1, "{new:?} in one poll");
        let Some(frame) = new.first() else { return poll };
        let picture = self.sink.picture();
        match frame.source {
            Source::Boot => {
                assert_eq!(picture.size(), BOOT);
                assert_same(BOOT, &self.firmware.picture, picture.pixels());
            }
            _ => assert_ne!(picture.size(), BOOT, "{frame:?} is the boot display's"),
        }
        let last = before.checked_sub(1).map(|last| &self.sink.frames[last]);
        if last.is_some_and(|last| last.source != frame.source) {
            assert!(frame.whole, "{frame:?} after {last:?}");
            assert!(last.is_some_and(|last| last.generation < frame.generation));
        }
        poll
    }

    fn source(&self) -> Option<Source> {
        self.sink.frames.last().map(|frame| frame.source)
    }

    /// The sources of all frames, in their order.
    fn sources(&self) -> Vec<Source> {
        let mut sources: Vec<Source> = self.sink.frames.iter().map(|frame| frame.source).collect();
        sources.dedup();
        sources
    }

    fn run(&mut self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            self.poll();
        }
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn firmware_then_a_driver_then_firmware_again() {
    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    let name = mdev.uuid.parse().expect("a UUID");
    let device = Host::new().open(&name, OnConflict::Refuse).expect("mbochs opens");
    let mut memory = map_bar(&device, MEMORY_BAR).expect("BAR 0 maps");
    let driver = Vbe::new(&device).expect("BAR 2 is there");
    let mut watch = Watch::new(&device);

    watch.run(OFF_TIME * 2);
    assert_eq!((watch.source(), watch.sink.blanks), (None, 1), "neither is on");
    watch.firmware.set_mode(0);
    watch.poll();
    assert_eq!(watch.source(), Some(Source::Boot));

    let modes = [Size::new(640, 480), Size::new(1024, 768), Size::new(1280, 1024)];
    for (n, size) in (0..).zip(modes.into_iter().cycle().take(6)) {
        let picture = Card::new(size, n).picture();
        let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
        assert!(memory.copy_in(0, &bytes));
        driver.set_mode(size).expect("the mode is set");
        watch.poll();
        watch.poll();
        assert_eq!(watch.source(), Some(Source::Plane), "within two polls");
        assert_eq!(watch.sink.picture().size(), size);
        assert_same(size, &picture, watch.sink.picture().pixels());

        // Off for a moment, as between two modes.
        let shown = watch.sink.frames.len();
        driver.off().expect("it goes off");
        for _ in 1..OFF_POLLS {
            assert_eq!(watch.poll(), Poll::Same);
        }
        driver.set_mode(size).expect("the mode is set");
        watch.poll();
        watch.poll();
        assert_eq!(watch.sink.frames.len(), shown, "nothing has changed");

        // The driver is unloaded.
        driver.off().expect("it goes off");
        let off = Instant::now();
        let mut polls = 0;
        while watch.source() == Some(Source::Plane) {
            watch.poll();
            polls += 1;
            assert!(off.elapsed() < ROUND, "the boot display does not come back");
        }
        let time = off.elapsed();
        assert!(polls >= OFF_POLLS && time >= OFF_TIME, "{polls} polls, {time:?}");
        watch.run(OFF_TIME);
    }
    let sources: Vec<_> = [Source::Boot, Source::Plane].into_iter().cycle().take(13).collect();
    assert_eq!(watch.sources(), sources);
    assert_eq!(watch.sink.blanks, 1, "never blank since");
}

/// bochs-drm leaves its mode set when it is unbound, and QEMU does not reset an mbochs device with
/// its machine, since that does not say that it can be. So the device is reset here.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_guest_s_driver_comes_and_goes_and_comes_again() {
    const UNBIND: &str = "
        cd /sys/bus/pci/drivers/bochs-drm
        for device in 0000:*; do echo $device >unbind; echo $device >/device; done";
    const BIND: &str = "
        cat /device >/sys/bus/pci/drivers/bochs-drm/bind
        until [ -e /dev/fb0 ]; do sleep 0.1; done";

    load_mbochs(true);
    let mdev = Mdev::create("mbochs-medium");
    let mut guest = Guest::spawn(&mdev, &[]);
    let target = format!("pid:{}", guest.pid()).parse().expect("a target");
    let device =
        wait_for("the VMM's device", ROUND, || Host::new().reach(&target, OnConflict::Refuse).ok());
    let registers = Vbe::new(&device).expect("BAR 2 is there");
    let is_on = || registers.read(Register::Enable).expect("BAR 2 is read") & ENABLED != 0;
    let mut watch = Watch::new(&device);
    watch.firmware.set_mode(0);
    watch.poll();
    assert_eq!(watch.source(), Some(Source::Boot));

    // Polls until `done`. Whenever the driver has a mode set, its picture is there within two.
    let until = |watch: &mut Watch<_>, what: &str, done: &mut dyn FnMut() -> bool| {
        let (start, mut on) = (Instant::now(), 0);
        while !done() {
            on = if is_on() { on + 1 } else { 0 };
            watch.poll();
            assert!(on < 2 || watch.source() == Some(Source::Plane), "{on} polls: {what}");
            assert!(start.elapsed() < ROUND, "not within {ROUND:?}: {what}");
        }
    };
    let same = |watch: &mut Watch<_>, guest: &Guest, n: usize| {
        watch.run(Duration::from_millis(200));
        assert_eq!(watch.source(), Some(Source::Plane));
        let (size, pixels) = guest.fb(n).pixels();
        assert_eq!(watch.sink.picture().size(), size);
        assert_same(size, &pixels, watch.sink.picture().pixels());
    };

    until(&mut watch, "the driver is up", &mut || guest.is_ready(1));
    same(&mut watch, &guest, 1);

    guest.send(2, UNBIND);
    until(&mut watch, "the driver is unbound", &mut || guest.is_ready(2));
    assert!(is_on(), "bochs-drm leaves its mode behind");
    watch.run(OFF_TIME * 3);
    assert_eq!(watch.source(), Some(Source::Plane), "a valid mode is shown");

    let fd = device.as_fd().try_clone_to_owned().expect("an fd is duplicated");
    Vfio::new(fd).reset().expect("mbochs is reset");
    assert!(!is_on());
    let reset = Instant::now();
    while watch.source() == Some(Source::Plane) {
        watch.poll();
        assert!(reset.elapsed() < ROUND, "the boot display does not come back");
    }
    assert!(reset.elapsed() >= OFF_TIME);

    guest.send(3, BIND);
    until(&mut watch, "the driver is up again", &mut || guest.is_ready(3));
    same(&mut watch, &guest, 3);
    assert_eq!(watch.sources(), [Source::Boot, Source::Plane, Source::Boot, Source::Plane]);
    assert_eq!(watch.sink.blanks, 0);
    drop(watch);
    guest.stop();
}
