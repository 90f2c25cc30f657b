// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! spike
mod kvm;
mod pci;
mod ports;
use anyhow::Result;
use kvm_ioctls::VcpuExit;
use std::time::{Duration, Instant};
use vfio_display_fw_cfg::{FwCfg, Item};
use vm_memory::{Bytes, GuestAddress};
fn main() -> Result<()> {
    let ram = 256u64 << 20;
    let bios = std::fs::read("/usr/share/seabios/bios-256k.bin")?;
    let memory = kvm::allocate(&[(0, 0xa0000), (0xc0000, ram as usize - 0xc0000)])?;
    let rom = kvm::allocate(&[((1u64 << 32) - bios.len() as u64, bios.len())])?;
    rom.write_slice(&bios, GuestAddress((1u64 << 32) - bios.len() as u64))?;
    memory.write_slice(&bios[bios.len() - 0x20000..], GuestAddress(0xe0000))?;
    let mut m = kvm::Machine::new()?;
    m.add_memory(&memory, false)?;
    m.add_memory(&rom, true)?;
    let mut f = FwCfg::new();
    let mut e820 = Vec::new();
    for (a, l) in [(0u64, ram)] {
        e820.extend(a.to_le_bytes());
        e820.extend(l.to_le_bytes());
        e820.extend(1u32.to_le_bytes());
    }
    f.add_file("etc/e820", Item::bytes(e820))?;
    f.add_file("etc/boot-fail-wait", Item::bytes(u32::MAX.to_le_bytes()))?;
    f.add_file(
        "vgaroms/vgabios-ramfb.bin",
        Item::bytes(std::fs::read("/usr/share/seabios/vgabios-ramfb.bin")?),
    )?;
    f.add_file("etc/ramfb", Item::writable([0; 28], |o, b| eprintln!("RAMFB {o} {b:x?}")))?;
    let mut vcpu = m.vcpu()?;
    let mut p = ports::Ports::new(memory, f, ram);
    let log = p.log.clone();
    std::thread::spawn(move || {
        loop {
            match vcpu.run() {
                Ok(VcpuExit::IoIn(port, d)) => p.read(port, d),
                Ok(VcpuExit::IoOut(port, d)) => p.write(port, d),
                Ok(VcpuExit::MmioRead(_a, d)) => d.fill(0xff),
                Ok(VcpuExit::MmioWrite(_, _)) => {}
                Ok(VcpuExit::Hlt) => {
                    eprintln!("hlt");
                }
                Ok(o) => {
                    eprintln!("exit {o:?}");
                    break;
                }
                Err(e) => {
                    eprintln!("err {e}");
                    if e.errno() != 4 {
                        break;
                    }
                }
            }
        }
    });
    let t = Instant::now();
    while t.elapsed() < Duration::from_secs(20) && !log.has("No bootable") {
        std::thread::sleep(Duration::from_millis(100));
    }
    println!("{}\n{:?}", log.text(), t.elapsed());
    Ok(())
}
