// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! As much of a PCI bus as firmware needs to know its machine.
//!
//! SeaBIOS and OVMF tell by the host bridge that they run on QEMU's `pc` machine. SeaBIOS unlocks
//! the memory that it is itself in through that bridge's PAM registers. Here that memory is RAM
//! with a copy of the firmware from the start, so the registers only have to keep what is written.
//! Both measure time by the timer of power management, and choose its ports themselves.

/// Bytes of a function's configuration space.
const CONFIG: usize = 256;

/// The function of the PIIX4 that is power management; its registers that say which the first of
/// its ports is, and whether there are any; and how far the timer is from the first.
const PM: u8 = 0x0b;
const PMBASE: usize = 0x40;
const PMREGMISC: usize = 0x80;
const TIMER: u16 = 8;

/// The byte of its DEVACTB register by which SeaBIOS knows that system management mode is set up
/// already. QEMU says so where it has none, and so does this.
const DEVACTB: usize = 0x5b;

/// Configuration mechanism 1: an address port and a data port.
#[derive(Debug)]
pub(crate) struct Pci {
    address: u32,
    functions: Vec<(u8, [u8; CONFIG])>,
}

impl Pci {
    /// A bus with the i440FX host bridge at 00.0, the PIIX3 ISA bridge at 01.0, and the PIIX4's
    /// power management at 01.3.
    pub(crate) fn new() -> Self {
        let host = function(0x8086, 0x1237, 0x0600);
        let isa = function(0x8086, 0x7000, 0x0601);
        let mut pm = function(0x8086, 0x7113, 0x0680);
        pm[DEVACTB] = 0x02;
        Self { address: 0, functions: vec![(0x00, host), (0x08, isa), (PM, pm)] }
    }

    /// The port of the power management timer, once firmware has chosen it.
    pub(crate) fn timer(&self) -> Option<u16> {
        let (_, pm) = self.functions.iter().find(|(at, _)| *at == PM)?;
        let base = u16::from_le_bytes([pm[PMBASE], pm[PMBASE + 1]]) & 0xffc0;
        (pm[PMREGMISC] & 0x01 != 0).then_some(base + TIMER)
    }

    /// Ports 0xcf8 to 0xcff.
    pub(crate) fn read(&self, port: u16, data: &mut [u8]) {
        data.fill(0xff);
        if port < 0xcfc {
            let at = usize::from(port - 0xcf8);
            let bytes = self.address.to_le_bytes();
            data.iter_mut().zip(&bytes[at..]).for_each(|(to, from)| *to = *from);
        } else if let Some((function, at)) = self.target(port) {
            data.iter_mut().zip(&function[at..]).for_each(|(to, from)| *to = *from);
        }
    }

    /// Ports 0xcf8 to 0xcff.
    pub(crate) fn write(&mut self, port: u16, data: &[u8]) {
        if let (0xcf8, &[a, b, c, d]) = (port, data) {
            self.address = u32::from_le_bytes([a, b, c, d]);
            return;
        }
        let (address, base) = (self.address, usize::from(port & 3));
        // Identity and the (absent) BARs do not change; command and what is above the header do.
        let at = (address & 0xfc) as usize + base;
        if port < 0xcfc || address >> 31 == 0 || !matches!(at, 4 | 5 | 0x3c | 0x40..) {
            return;
        }
        let devfn = (address >> 8) as u8;
        let on_bus_0 = address >> 16 & 0xff == 0;
        if let Some((_, function)) =
            self.functions.iter_mut().find(|(at, _)| on_bus_0 && *at == devfn)
        {
            function[at..].iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        }
    }

    fn target(&self, port: u16) -> Option<(&[u8; CONFIG], usize)> {
        let address = self.address;
        if address >> 31 == 0 || address >> 16 & 0xff != 0 {
            return None;
        }
        let devfn = (address >> 8) as u8;
        let (_, function) = self.functions.iter().find(|(at, _)| *at == devfn)?;
        Some((function, (address & 0xfc) as usize + usize::from(port & 3)))
    }
}

fn function(vendor: u16, device: u16, class: u16) -> [u8; CONFIG] {
    let mut config = [0; CONFIG];
    config[0..2].copy_from_slice(&vendor.to_le_bytes());
    config[2..4].copy_from_slice(&device.to_le_bytes());
    config[10..12].copy_from_slice(&class.to_le_bytes());
    // Red Hat's, for QEMU: by this SeaBIOS knows that there is fw_cfg.
    config[0x2c..0x2e].copy_from_slice(&0x1af4_u16.to_le_bytes());
    config[0x2e..0x30].copy_from_slice(&0x1100_u16.to_le_bytes());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pci: &mut Pci, register: usize, data: &[u8]) {
        let address = 1 << 31 | u32::from(PM) << 8 | register as u32 & 0xfc;
        pci.write(0xcf8, &address.to_le_bytes());
        pci.write(0xcfc | (register as u16 & 3), data);
    }

    #[test]
    fn the_timer_is_where_firmware_has_it() {
        let mut pci = Pci::new();
        write(&mut pci, PMBASE, &0xb001_u32.to_le_bytes());
        assert_eq!(pci.timer(), None, "its ports are off");
        write(&mut pci, PMREGMISC, &[1]);
        assert_eq!(pci.timer(), Some(0xb008));
        write(&mut pci, PMBASE, &[0xff; 4]);
        assert_eq!(pci.timer(), Some(0xffc8), "of the last 64 ports");
    }
}
