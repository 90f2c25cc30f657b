// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A virtual machine out of KVM: memory, interrupt controllers, one vCPU at the reset vector.

#![allow(unsafe_code, reason = "KVM is told of memory by address, which cannot be checked")]

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use kvm_bindings::{
    KVM_MAX_CPUID_ENTRIES, KVM_MEM_READONLY, kvm_pit_config, kvm_userspace_memory_region,
};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Address, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion};

use crate::firmware::{FOUR_GIB, MAX_LEN};
use crate::ports::Ports;

/// A virtual machine, without its vCPU.
#[derive(Debug)]
pub(crate) struct Machine {
    vm: VmFd,
    kvm: Kvm,
    slots: u32,
    /// What the vCPU reaches. The vCPU has a share of the machine, so it is there as long.
    memory: Vec<GuestMemoryMmap>,
}

impl Machine {
    pub(crate) fn new() -> Result<Self> {
        let kvm = Kvm::new().context("/dev/kvm")?;
        let vm = kvm.create_vm().context("KVM_CREATE_VM")?;
        // Four pages that nothing else uses, below the firmware: old Intel processors take them
        // for running real mode.
        let scratch = FOUR_GIB - MAX_LEN as u64 - 0x4000;
        vm.set_identity_map_address(scratch).context("KVM_SET_IDENTITY_MAP_ADDR")?;
        vm.set_tss_address(scratch as usize + 0x1000).context("KVM_SET_TSS_ADDR")?;
        vm.create_irq_chip().context("KVM_CREATE_IRQCHIP")?;
        let pit =
            kvm_pit_config { flags: kvm_bindings::KVM_PIT_SPEAKER_DUMMY, ..Default::default() };
        vm.create_pit2(pit).context("KVM_CREATE_PIT2")?;
        Ok(Self { vm, kvm, slots: 0, memory: Vec::new() })
    }

    /// Gives the guest `memory`.
    pub(crate) fn add_memory(&mut self, memory: &GuestMemoryMmap, read_only: bool) -> Result<()> {
        for region in memory.iter() {
            let slot = kvm_userspace_memory_region {
                slot: self.slots,
                guest_phys_addr: region.start_addr().raw_value(),
                memory_size: region.len(),
                userspace_addr: memory.get_host_address(region.start_addr())? as u64,
                flags: if read_only { KVM_MEM_READONLY } else { 0 },
            };
            // SAFETY: the address is of a mapping of that length that belongs to `memory`. The
            // clone of it that is kept below outlives the only vCPU, which is all that would
            // still reach into it; and this program itself goes there by way of vm-memory alone,
            // which expects others to write at any time.
            unsafe { self.vm.set_user_memory_region(slot) }
                .with_context(|| format!("KVM_SET_USER_MEMORY_REGION {slot:x?}"))?;
            self.slots += 1;
        }
        self.memory.push(memory.clone());
        Ok(())
    }

    /// The only vCPU, as it is after power-on: about to run what is 16 bytes below 4 GiB.
    pub(crate) fn vcpu(self: Arc<Self>, ports: Ports) -> Result<Vcpu> {
        let fd = self.vm.create_vcpu(0).context("KVM_CREATE_VCPU")?;
        let cpuid = self.kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES);
        let cpuid = cpuid.context("KVM_GET_SUPPORTED_CPUID")?;
        fd.set_cpuid2(&cpuid).context("KVM_SET_CPUID2")?;
        Ok(Vcpu { fd, ports, _machine: self })
    }
}

/// A vCPU with what it reaches through its ports.
#[derive(Debug)]
pub(crate) struct Vcpu {
    fd: VcpuFd,
    ports: Ports,
    /// Dropped after `fd`, and with it the memory that KVM has mapped.
    _machine: Arc<Machine>,
}

impl Vcpu {
    /// Runs until the guest does what this VMM knows nothing of.
    pub(crate) fn run(mut self) -> Result<()> {
        loop {
            match self.fd.run() {
                Ok(VcpuExit::IoIn(port, data)) => self.ports.read(port, data),
                Ok(VcpuExit::IoOut(port, data)) => self.ports.write(port, data),
                // Nothing answers there.
                Ok(VcpuExit::MmioRead(_, data)) => data.fill(0xff),
                Ok(VcpuExit::MmioWrite(..)) => {}
                Ok(other) => bail!("the vCPU stopped: {other:?}"),
                Err(error) if error.errno() == libc::EINTR => {}
                Err(error) => return Err(error).context("KVM_RUN"),
            }
        }
    }
}

/// Memory for a guest, at these addresses and of these lengths.
pub(crate) fn allocate(ranges: &[(u64, u64)]) -> Result<GuestMemoryMmap> {
    let ranges: Vec<_> = ranges.iter().map(|&(at, len)| (GuestAddress(at), len as usize)).collect();
    GuestMemoryMmap::from_ranges(&ranges).context("memory of the guest")
}
