// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The device on a bus of rust-vmm.

use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress, PioAddressOffset};
use vm_device::{MutDeviceMmio, MutDevicePio};
use vm_memory::GuestAddressSpace;

use crate::FwCfg;

/// A device together with the memory that it does its DMA in.
///
/// Put an `Arc<Mutex<BusDevice<_>>>` on the bus, at [`PIO_BASE`](crate::PIO_BASE) with
/// [`PIO_LEN`](crate::PIO_LEN) ports or with [`MMIO_LEN`](crate::MMIO_LEN) bytes.
#[derive(Debug)]
pub struct BusDevice<A> {
    /// The device.
    pub fw_cfg: FwCfg,
    memory: A,
}

impl<A: GuestAddressSpace> BusDevice<A> {
    /// `fw_cfg` with the guest's memory.
    pub const fn new(fw_cfg: FwCfg, memory: A) -> Self {
        Self { fw_cfg, memory }
    }
}

impl<A: GuestAddressSpace> MutDevicePio for BusDevice<A> {
    fn pio_read(&mut self, _: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        self.fw_cfg.pio_read(offset, data);
    }

    fn pio_write(&mut self, _: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        self.fw_cfg.pio_write(&*self.memory.memory(), offset, data);
    }
}

impl<A: GuestAddressSpace> MutDeviceMmio for BusDevice<A> {
    fn mmio_read(&mut self, _: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.fw_cfg.mmio_read(offset, data);
    }

    fn mmio_write(&mut self, _: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.fw_cfg.mmio_write(&*self.memory.memory(), offset, data);
    }
}
