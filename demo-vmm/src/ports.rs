// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is behind the I/O ports, apart from what KVM emulates itself (PIC, PIT, I/O APIC).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use vfio_display_fw_cfg::{FwCfg, PIO_BASE, PIO_LEN};
use vm_memory::GuestMemoryMmap;

use crate::pci::Pci;
use crate::serial::Serial;

const FW_CFG_END: u16 = PIO_BASE + PIO_LEN - 1;

/// The first serial port.
const COM1: u16 = 0x3f8;
const COM1_END: u16 = COM1 + 7;

/// How often the power management timer of ACPI ticks in a second, and how far it counts.
const TIMER_HZ: u128 = 3_579_545;
const TIMER_MASK: u128 = 0xff_ffff;

/// The ports of the machine. Lives on the vCPU's thread.
#[derive(Debug)]
pub(crate) struct Ports {
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) fw_cfg: FwCfg,
    pub(crate) log: Log,
    pci: Pci,
    serial: Serial,
    cmos: [u8; 128],
    cmos_index: u8,
    began: Instant,
}

/// What the firmware printed on its debug port, and the guest on its serial port.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn push(&self, bytes: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(bytes);
    }

    /// Whether `text` was printed.
    pub(crate) fn has(&self, text: &str) -> bool {
        self.text().contains(text)
    }

    pub(crate) fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Ports {
    pub(crate) fn new(memory: GuestMemoryMmap, fw_cfg: FwCfg, ram: u64) -> Self {
        Self {
            memory,
            fw_cfg,
            log: Log::default(),
            pci: Pci::new(),
            serial: Serial::default(),
            cmos: cmos(ram),
            cmos_index: 0,
            began: Instant::now(),
        }
    }

    pub(crate) fn read(&mut self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        match port {
            PIO_BASE..=FW_CFG_END => self.fw_cfg.pio_read(port - PIO_BASE, data),
            0xcf8..=0xcff => self.pci.read(port, data),
            0x71 => data.fill(self.cmos[usize::from(self.cmos_index)]),
            // The fast A20 gate, open.
            0x92 => data.fill(0x02),
            // By this value SeaBIOS knows that somebody reads what it prints.
            0x402 => data.fill(0xe9),
            COM1..=COM1_END => data.fill(self.serial.read(usize::from(port - COM1))),
            _ if self.pci.timer() == Some(port) => {
                data.iter_mut().zip(self.timer()).for_each(|(to, from)| *to = from);
            }
            _ => {}
        }
    }

    pub(crate) fn write(&mut self, port: u16, data: &[u8]) {
        match port {
            PIO_BASE..=FW_CFG_END => {
                self.fw_cfg.pio_write(&self.memory, port - PIO_BASE, data);
            }
            0xcf8..=0xcff => self.pci.write(port, data),
            0x70 => self.cmos_index = data[0] & 0x7f,
            0x71 => self.cmos[usize::from(self.cmos_index)] = data[0],
            0x402 => self.log.push(data),
            COM1..=COM1_END => {
                for &byte in data {
                    if self.serial.write(usize::from(port - COM1), byte) {
                        self.log.push(&[byte]);
                    }
                }
            }
            _ => {}
        }
    }

    fn timer(&self) -> [u8; 4] {
        let ticks = self.began.elapsed().as_nanos() * TIMER_HZ / 1_000_000_000;
        ((ticks & TIMER_MASK) as u32).to_le_bytes()
    }
}

/// The battery-backed memory as firmware expects it: a clock that is not being set, in 24 hours
/// and BCD, with good power; the size of RAM above 1 MiB in KiB and above 16 MiB in 64 KiB; and the
/// order of booting, hard disk, floppy and CD, in which QEMU has it.
fn cmos(ram: u64) -> [u8; 128] {
    let mut cmos = [0; 128];
    cmos[0x0a] = 0x26;
    cmos[0x0b] = 0x02;
    cmos[0x0d] = 0x80;
    cmos[0x3d] = 0x12;
    cmos[0x38] = 0x30;
    let low = u16::try_from((ram >> 10).saturating_sub(1 << 10)).unwrap_or(u16::MAX);
    let high = u16::try_from((ram >> 16).saturating_sub(1 << 8)).unwrap_or(u16::MAX);
    for (at, value) in [(0x17, low), (0x30, low), (0x34, high)] {
        cmos[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }
    cmos
}
