// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A scripted guest that does what firmware does to `etc/ramfb`, through the fw_cfg device.
//!
//! The scripts are written after SeaBIOS' vgabios-ramfb, edk2's QemuRamfbDxe and its library for
//! fw_cfg: what they access, in which order and width. A third does what these two do not.
#![cfg(feature = "ramfb")]

use vfio_display::geometry::Size;
use vfio_display::picture::Picture;
use vfio_display::ramfb::{FILE_NAME, Ramfb, RamfbError};
use vfio_display_fw_cfg::{FwCfg, Item};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const MIB: u64 = 1 << 20;
const HIGH: u64 = 1 << 32;

/// How a guest reaches the device.
#[derive(Clone, Copy, Debug)]
enum Bus {
    /// x86 ports.
    Ports,
    /// Memory-mapped, as on arm64 and riscv.
    Mmio,
}

/// Which halves of the address register it writes.
#[derive(Clone, Copy, Debug)]
enum Halves {
    Low,
    HighThenLow,
    Whole,
}

struct Machine {
    memory: GuestMemoryMmap<()>,
    fw_cfg: FwCfg,
    ramfb: Ramfb,
    picture: Picture,
    bus: Bus,
}

impl Machine {
    /// 64 MiB, and as much again above 4 GiB.
    fn new(bus: Bus) -> Self {
        let half = 64 * MIB as usize;
        let ranges = [(GuestAddress(0), half), (GuestAddress(HIGH), half)];
        let ramfb = Ramfb::new();
        let mut fw_cfg = FwCfg::new();
        let file = ramfb.file();
        let item = Item::writable(file.read(), move |offset, bytes| {
            file.write(offset, bytes);
        });
        fw_cfg.add_file("etc/e820", Item::bytes([0; 20])).unwrap();
        fw_cfg.add_file(FILE_NAME, item).unwrap();
        fw_cfg.add_file("vgaroms/vgabios-ramfb.bin", Item::bytes([0x55; 512])).unwrap();
        let memory = GuestMemoryMmap::from_ranges(&ranges).unwrap();
        Self { memory, fw_cfg, ramfb, picture: Picture::default(), bus }
    }

    fn select(&mut self, key: u16) {
        match self.bus {
            Bus::Ports => self.fw_cfg.pio_write(&self.memory, 0, &key.to_le_bytes()),
            Bus::Mmio => self.fw_cfg.mmio_write(&self.memory, 8, &key.to_be_bytes()),
        }
    }

    fn data(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        for byte in bytes.chunks_mut(1) {
            match self.bus {
                Bus::Ports => self.fw_cfg.pio_read(1, byte),
                Bus::Mmio => self.fw_cfg.mmio_read(0, byte),
            }
        }
        bytes
    }

    /// `FWCfgDmaAccess` at `at`, started, and what its control word is then.
    fn dma(&mut self, at: u64, halves: Halves, control: u32, len: u32, address: u64) -> u32 {
        let mut access = Vec::from(control.to_be_bytes());
        access.extend(len.to_be_bytes());
        access.extend(address.to_be_bytes());
        self.memory.write_slice(&access, GuestAddress(at)).unwrap();
        let whole = at.to_be_bytes();
        let (high, low) = whole.split_at(4);
        let writes: &[(u16, &[u8])] = match halves {
            Halves::Low => &[(4, low)],
            Halves::HighThenLow => &[(0, high), (4, low)],
            Halves::Whole => &[(0, &whole)],
        };
        for (offset, data) in writes {
            match self.bus {
                Bus::Ports => self.fw_cfg.pio_write(&self.memory, 4 + offset, data),
                Bus::Mmio => self.fw_cfg.mmio_write(&self.memory, 16 + u64::from(*offset), data),
            }
        }
        let mut word = [0; 4];
        self.memory.read_slice(&mut word, GuestAddress(at)).unwrap();
        u32::from_be_bytes(word)
    }

    /// Reads the signature, the features and the directory through the data register, as all
    /// firmware does first; the key and the size of `name`.
    fn find(&mut self, name: &str) -> (u16, u32) {
        self.select(0x00);
        assert_eq!(self.data(4), b"QEMU");
        self.select(0x01);
        assert_eq!(self.data(4)[0] & 2, 2, "DMA");
        self.select(0x19);
        let count = u32::from_be_bytes(self.data(4).try_into().unwrap());
        for _ in 0..count {
            let entry = self.data(64);
            let end = entry[8..].iter().position(|byte| *byte == 0).unwrap();
            if entry[8..8 + end] == *name.as_bytes() {
                let size = u32::from_be_bytes(entry[..4].try_into().unwrap());
                return (u16::from_be_bytes([entry[4], entry[5]]), size);
            }
        }
        panic!("no {name}");
    }

    /// Draws something that depends on `seed`, and says what the picture has to be.
    fn draw(&self, address: u64, stride: u32, size: Size, seed: u32) -> Vec<u32> {
        let mut expected = Vec::new();
        for y in 0..size.height {
            let row: Vec<u32> =
                (0..size.width).map(|x| (seed ^ x << 10 ^ y).wrapping_mul(0x9e37_79b9)).collect();
            let bytes: Vec<u8> = row.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
            let at = GuestAddress(address + u64::from(y) * u64::from(stride));
            self.memory.write_slice(&bytes, at).unwrap();
            expected.extend(row.iter().map(|pixel| pixel | 0xff00_0000));
        }
        expected
    }

    fn look(&mut self) -> Result<&Picture, RamfbError> {
        let plane = self.ramfb.poll(&self.memory)?.expect("a mode was set");
        plane.copy(&self.memory, &mut self.picture)?;
        Ok(&self.picture)
    }

    fn must_show(&mut self, address: u64, stride: u32, size: Size, seed: u32) {
        let expected = self.draw(address, stride, size, seed);
        let picture = self.look().unwrap();
        assert_eq!(picture.size(), size);
        assert!(picture.pixels() == expected, "{size} at {address:#x} is another picture");
    }
}

fn config(address: u64, letters: &[u8; 4], size: Size, stride: u32) -> [u8; 28] {
    let mut bytes = Vec::from(address.to_be_bytes());
    for word in [u32::from_le_bytes(*letters), 0, size.width, size.height, stride] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.try_into().unwrap()
}

#[test]
fn seabios_writes_once_and_selects_in_the_control_word() {
    let mut machine = Machine::new(Bus::Ports);
    let (key, size) = machine.find("etc/ramfb");
    assert_eq!((key, size), (0x21, 28));
    let framebuffer = 61 * MIB;
    let mode = Size::new(1024, 768);
    let (buffer, access) = (0x6000, 0x6ff0);
    let bytes = config(framebuffer, b"XR24", mode, 4096);
    machine.memory.write_slice(&bytes, GuestAddress(buffer)).unwrap();
    let control = u32::from(key) << 16 | 0x0018;
    assert_eq!(machine.dma(access, Halves::Low, control, 28, buffer), 0, "it spins until then");
    machine.must_show(framebuffer, 4096, mode, 1);
    assert_eq!(machine.ramfb.generation(), 1);
    assert_eq!(machine.fw_cfg.take_report(), None);
}

#[test]
fn edk2_selects_by_the_register_and_sets_mode_after_mode() {
    for (bus, halves) in [
        (Bus::Ports, Halves::HighThenLow),
        (Bus::Mmio, Halves::Whole),
        (Bus::Mmio, Halves::HighThenLow),
    ] {
        let mut machine = Machine::new(bus);
        let (key, size) = machine.find("etc/ramfb");
        assert_eq!(size, 28, "it refuses any other size");
        // One range for the largest mode; each configuration first, and then a cleared screen.
        let framebuffer = 40 * MIB;
        let modes = [(800, 600), (640, 480), (800, 600), (1024, 768), (1024, 768), (640, 480)];
        for (generation, (width, height)) in (1..).zip(modes) {
            let mode = Size::new(width, height);
            let (buffer, access) = (63 * MIB, 63 * MIB + 256);
            let bytes = config(framebuffer, b"XR24", mode, width * 4);
            machine.memory.write_slice(&bytes, GuestAddress(buffer)).unwrap();
            machine.select(key);
            assert_eq!(machine.dma(access, halves, 0x10, 28, buffer), 0);
            assert_eq!(machine.look().unwrap().size(), mode, "not cleared yet, but the mode");
            assert_eq!(machine.ramfb.generation(), generation);
            let zeros = vec![0; (width * height * 4) as usize];
            machine.memory.write_slice(&zeros, GuestAddress(framebuffer)).unwrap();
            assert!(machine.look().unwrap().pixels().iter().all(|pixel| *pixel == 0xff00_0000));
            machine.must_show(framebuffer, width * 4, mode, generation as u32);
        }
    }
}

#[test]
fn all_that_a_guest_may_do_otherwise() {
    // A hobby kernel: AR24, a stride of 0, everything above 4 GiB.
    let mode = Size::new(1280, 720);
    for bus in [Bus::Ports, Bus::Mmio] {
        for halves in [Halves::HighThenLow, Halves::Whole] {
            for select_in_control in [true, false] {
                let mut machine = Machine::new(bus);
                let (key, _) = machine.find("etc/ramfb");
                let (buffer, access, framebuffer) = (HIGH + 64, HIGH + 32, HIGH + MIB + 4);
                let bytes = config(framebuffer, b"AR24", mode, 0);
                machine.memory.write_slice(&bytes, GuestAddress(buffer)).unwrap();
                let control = if select_in_control {
                    u32::from(key) << 16 | 0x18
                } else {
                    machine.select(key);
                    0x10
                };
                // In three parts; the display must not look at the first two.
                let parts = [(0, 8), (8, 16), (24, 4)];
                for (n, (at, len)) in parts.into_iter().enumerate() {
                    assert_eq!(machine.ramfb.poll(&machine.memory), Ok(None));
                    let control = if n == 0 { control } else { 0x10 };
                    assert_eq!(machine.dma(access, halves, control, len, buffer + at), 0);
                }
                machine.must_show(framebuffer, 1280 * 4, mode, 7);
            }
        }
    }
}

#[test]
fn the_file_is_read_back_and_skipped_over() {
    let mut machine = Machine::new(Bus::Ports);
    let (key, _) = machine.find("etc/ramfb");
    let bytes = config(MIB, b"XR24", Size::new(640, 480), 0);
    machine.memory.write_slice(&bytes, GuestAddress(0x1000)).unwrap();
    machine.dma(0x2000, Halves::Low, u32::from(key) << 16 | 0x18, 28, 0x1000);
    assert_eq!(machine.dma(0x2000, Halves::Low, u32::from(key) << 16 | 0x0c, 16, 0), 0, "skip");
    assert_eq!(machine.dma(0x2000, Halves::Low, 0x02, 12, 0x3000), 0, "read");
    let mut there = [0; 12];
    machine.memory.read_slice(&mut there, GuestAddress(0x3000)).unwrap();
    assert_eq!(there, bytes[16..]);
}

#[test]
fn a_reset_starts_over() {
    let mut machine = Machine::new(Bus::Ports);
    for seed in 0..2 {
        let (key, _) = machine.find("etc/ramfb");
        let bytes = config(MIB, b"XR24", Size::new(640, 480), 0);
        machine.memory.write_slice(&bytes, GuestAddress(0x1000)).unwrap();
        machine.dma(0x2000, Halves::Low, u32::from(key) << 16 | 0x18, 28, 0x1000);
        machine.must_show(MIB, 2560, Size::new(640, 480), seed);
        machine.fw_cfg.reset();
        machine.ramfb.reset();
        assert_eq!(machine.ramfb.poll(&machine.memory), Ok(None), "no RAM of before is shown");
        machine.select(key);
        assert_eq!(machine.data(28), [0; 28]);
    }
}
