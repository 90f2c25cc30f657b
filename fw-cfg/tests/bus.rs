// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The device on rust-vmm's buses, with memory of its own kind: atomic, and tracked.
#![cfg(feature = "vm-device")]

use std::sync::{Arc, Mutex};

use vfio_display_fw_cfg::{BusDevice, FwCfg, MMIO_LEN, PIO_BASE, PIO_LEN};
use vm_device::bus::{MmioAddress, MmioRange, PioAddress, PioRange};
use vm_device::device_manager::{IoManager, MmioManager, PioManager};
use vm_memory::bitmap::{AtomicBitmap, Bitmap};
use vm_memory::{
    Bytes, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap,
    GuestMemoryRegion,
};

#[test]
fn ports_and_mmio_reach_the_device_and_its_dma_is_tracked() {
    let memory =
        GuestMemoryMmap::<AtomicBitmap>::from_ranges(&[(GuestAddress(0), 0x4000)]).unwrap();
    let memory = GuestMemoryAtomic::new(memory);
    let device = Arc::new(Mutex::new(BusDevice::new(FwCfg::new(), memory.clone())));

    let mut bus = IoManager::new();
    let ports = PioRange::new(PioAddress(PIO_BASE), PIO_LEN).unwrap();
    bus.register_pio(ports, device.clone()).unwrap();
    let base = MmioAddress(0x0902_0000);
    let registers = MmioRange::new(base, MMIO_LEN).unwrap();
    bus.register_mmio(registers, device).unwrap();

    bus.pio_write(PioAddress(PIO_BASE), &0_u16.to_le_bytes()).unwrap();
    let mut letter = [0];
    bus.pio_read(PioAddress(PIO_BASE + 1), &mut letter).unwrap();
    assert_eq!(letter, *b"Q");
    let mut letters = [0; 2];
    bus.mmio_read(base, &mut letters).unwrap();
    assert_eq!(letters, *b"EM", "one device");

    let mut access = Vec::from((1_u32 << 16 | 8 | 2).to_be_bytes());
    access.extend(4_u32.to_be_bytes());
    access.extend(0x2000_u64.to_be_bytes());
    memory.memory().write_slice(&access, GuestAddress(0x100)).unwrap();
    let mut signature = [0; 8];
    bus.mmio_read(MmioAddress(base.0 + 16), &mut signature).unwrap();
    assert_eq!(signature, *b"QEMU CFG");
    bus.mmio_write(MmioAddress(base.0 + 16), &0x100_u64.to_be_bytes()).unwrap();
    let id: u32 = memory.memory().read_obj(GuestAddress(0x2000)).unwrap();
    assert_eq!(u32::from_le(id), 3, "ports and DMA");
    let memory = memory.memory();
    let region = memory.iter().next().unwrap();
    assert!(region.bitmap().dirty_at(0x2000), "what DMA wrote is marked");
    assert!(!region.bitmap().dirty_at(0x1000));
}
