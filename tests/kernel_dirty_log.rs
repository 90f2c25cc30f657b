// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! KVM's dirty log as damage, of a guest that draws, against a compare of the pictures.
#![cfg(all(feature = "ramfb", feature = "kvm", feature = "testing", target_arch = "x86_64"))]
#![allow(unsafe_code, reason = "a VM takes its memory by address")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_MEM_LOG_DIRTY_PAGES, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vfio_display::dirty_log::{KvmDirtyLog, Slot};
use vfio_display::display::WriteLog;
use vfio_display::geometry::{Rect, Size};
use vfio_display::picture::Picture;
use vfio_display::ramfb::{Config, RamPlane, Ramfb};
use vfio_display::testing::{Mock, Personality, Recorder};
use vfio_display::{Display, Poll};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};

const RAM: u64 = 1 << 20;
const CODE: u64 = 0x1000;
const PAGE: u64 = 4096;

/// Takes a segment, an offset and a word out of port 0x10, writes the word there, and
/// says so on port 0x11; for ever.
const PROGRAM: &[u8] = &[
    0xba, 0x10, 0x00, // mov dx, 0x10
    0xed, // again: in ax, dx
    0x8e, 0xd8, // mov ds, ax
    0xed, // in ax, dx
    0x89, 0xc3, // mov bx, ax
    0xed, // in ax, dx
    0x89, 0x07, // mov [bx], ax
    0xe6, 0x11, // out 0x11, al
    0xeb, 0xf3, // jmp again
];

struct Machine {
    vcpu: VcpuFd,
    vm: Arc<VmFd>,
    memory: GuestMemoryMmap,
}

impl Machine {
    fn new() -> Self {
        let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), RAM as usize)]).unwrap();
        memory.write_slice(PROGRAM, GuestAddress(CODE)).unwrap();
        let vm = Kvm::new().expect("/dev/kvm").create_vm().unwrap();
        vm.set_tss_address(0xfffb_d000).unwrap();
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: KVM_MEM_LOG_DIRTY_PAGES,
            guest_phys_addr: 0,
            memory_size: RAM,
            userspace_addr: memory.get_host_address(GuestAddress(0)).unwrap() as u64,
        };
        // SAFETY: `memory` is dropped after `vcpu` and `vm`, and is only reached by way of
        // vm-memory, which expects others to write.
        unsafe { vm.set_user_memory_region(region) }.unwrap();
        let vcpu = vm.create_vcpu(0).unwrap();
        let mut sregs = vcpu.get_sregs().unwrap();
        sregs.cs.base = 0;
        sregs.cs.selector = 0;
        vcpu.set_sregs(&sregs).unwrap();
        let mut regs = vcpu.get_regs().unwrap();
        regs.rip = CODE;
        regs.rflags = 2;
        vcpu.set_regs(&regs).unwrap();
        Self { vcpu, vm: Arc::new(vm), memory }
    }

    /// Has the guest write words at addresses, below 1 MiB.
    fn guest_writes(&mut self, words: &[(u64, u16)]) {
        let inputs =
            words.iter().flat_map(|&(at, word)| [(at >> 4) as u16, (at & 15) as u16, word]);
        let mut inputs = inputs.collect::<Vec<_>>().into_iter();
        let mut left = words.len();
        while left > 0 {
            match self.vcpu.run().unwrap() {
                VcpuExit::IoIn(0x10, data) => {
                    data.copy_from_slice(&inputs.next().unwrap().to_le_bytes());
                }
                VcpuExit::IoOut(0x11, _) => left -= 1,
                other => panic!("{other:?}"),
            }
        }
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// The rectangles that a compare finds, as coarse as pages are.
fn compare(plane: &RamPlane, before: &Picture, after: &Picture) -> Vec<bool> {
    let (width, stride) = (plane.size().width as usize, u64::from(plane.stride()));
    let mut mask = vec![false; after.pixels().len()];
    let changed = (0..mask.len()).filter(|&at| before.pixels()[at] != after.pixels()[at]);
    let mut pages: Vec<u64> = changed
        .map(|at| plane.address() + (at / width) as u64 * stride + (at % width) as u64 * 4)
        .map(|address| address / PAGE)
        .collect();
    pages.dedup();
    for page in pages {
        let start = (page * PAGE).max(plane.address()) - plane.address();
        let end = ((page + 1) * PAGE).min(plane.address() + plane.len()) - plane.address();
        let (top, bottom) = (start / stride, (end - 1) / stride);
        for y in top..=bottom {
            for x in 0..width {
                let at = y * stride + x as u64 * 4;
                mask[y as usize * width + x] |= top != bottom || (at + 4 > start && at < end);
            }
        }
    }
    mask
}

fn mask(plane: &RamPlane, rects: &[Rect]) -> Vec<bool> {
    let width = plane.size().width as usize;
    let mut mask = vec![false; plane.size().area() as usize];
    for rect in rects {
        for y in rect.y..rect.y + rect.height {
            for x in rect.x..rect.x + rect.width {
                let pixel = &mut mask[y as usize * width + x as usize];
                assert!(!*pixel, "rectangles overlap");
                *pixel = true;
            }
        }
    }
    mask
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn damage_is_what_a_compare_finds() {
    for (seed, config) in [
        // A row to a page; 1.6 rows to a page; a row of two pages; none of it aligned.
        (1, Config { address: 0x1_0000, width: 1024, height: 128, ..Config::XRGB }),
        (2, Config { address: 0x1_0000, width: 640, height: 240, ..Config::XRGB }),
        (3, Config { address: 0x1_0000, width: 2048, height: 100, ..Config::XRGB }),
        (4, Config { address: 0x1_0a04, width: 300, height: 200, stride: 2052, ..Config::XRGB }),
    ] {
        let mut machine = Machine::new();
        let mut ramfb = Ramfb::new();
        ramfb.file().write(0, &config.to_bytes());
        let plane = ramfb.poll(&machine.memory).unwrap().unwrap();
        let mut log = KvmDirtyLog::new([Slot { slot: 0, address: 0, len: RAM }]);
        let (mut before, mut after) = (Picture::default(), Picture::default());
        plane.copy(&machine.memory, &mut before).unwrap();
        let (mut rects, mut random_state) =
            (Vec::new(), 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(seed));
        log.read(&machine.vm, &plane, &mut rects).unwrap();

        let mut damaged = 0;
        for round in 0..100 {
            let mut writes = Vec::new();
            for _ in 0..random(&mut random_state) % 12 {
                let y = random(&mut random_state) % u64::from(plane.size().height);
                let x = random(&mut random_state) % u64::from(plane.size().width);
                let at = plane.address() + y * u64::from(plane.stride()) + x * 4;
                // Not what is there, so that a compare has something to find.
                let there: u16 = machine.memory.read_obj(GuestAddress(at)).unwrap();
                if !writes.iter().any(|&(other, _)| other == at) {
                    writes.push((at, there.wrapping_add(1 + round)));
                }
            }
            machine.guest_writes(&writes);
            rects.clear();
            log.read(&machine.vm, &plane, &mut rects).unwrap();
            plane.copy(&machine.memory, &mut after).unwrap();
            let expected = compare(&plane, &before, &after);
            assert!(mask(&plane, &rects) == expected, "seed {seed}, round {round}: {rects:?}");
            assert_eq!(rects.is_empty(), writes.is_empty());
            damaged += rects.len();
            std::mem::swap(&mut before, &mut after);
        }
        assert!(damaged > 100, "the guest drew");
        eprintln!("{}: {damaged} rectangles in 100 rounds", plane.size());
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_poll_that_finds_nothing_costs_less_than_a_compare() {
    let machine = Machine::new();
    let mut ramfb = Ramfb::new();
    let config = Config { address: 0x1_0000, width: 640, height: 360, ..Config::XRGB };
    ramfb.file().write(0, &config.to_bytes());
    let plane = ramfb.poll(&machine.memory).unwrap().unwrap();
    let mut log = KvmDirtyLog::new([Slot { slot: 0, address: 0, len: RAM }]);
    let (mut before, mut after) = (Picture::default(), Picture::default());
    plane.copy(&machine.memory, &mut before).unwrap();
    let mut rects = Vec::new();
    log.read(&machine.vm, &plane, &mut rects).unwrap();
    rects.clear();

    let clean = cost(|| log.read(&machine.vm, &plane, &mut rects).unwrap());
    assert!(rects.is_empty());
    let full = cost(|| {
        plane.copy(&machine.memory, &mut after).unwrap();
        assert!(before == after);
    });
    eprintln!("{}: by the log {clean:?}, by a copy and a compare {full:?}", plane.size());
    assert!(clean < full);
}

/// What an embedder writes: the VM, and its log.
#[derive(Debug)]
struct Logged {
    vm: Arc<VmFd>,
    log: KvmDirtyLog,
}

impl WriteLog for Logged {
    fn boot(&mut self, plane: &RamPlane, rects: &mut Vec<Rect>) -> bool {
        self.log.read(&self.vm, plane, rects).is_ok()
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_display_reads_what_the_guest_wrote_and_shows_all_of_it() {
    let mut machine = Machine::new();
    let mut ramfb = Ramfb::new();
    let config = Config { address: 0x1_0000, width: 640, height: 240, ..Config::XRGB };
    ramfb.file().write(0, &config.to_bytes());
    let plane = ramfb.poll(&machine.memory).unwrap().unwrap();
    // The device is off: the boot display is what is shown.
    let mock = Mock::without_guest(Personality::Region, Size::new(640, 480)).unwrap();
    let memory = Arc::new(machine.memory.clone());
    let mut display = Display::new(mock).unwrap().boot_display(ramfb, memory);
    let log = KvmDirtyLog::new([Slot { slot: 0, address: 0, len: RAM }]);
    display.set_write_log(Some(Box::new(Logged { vm: Arc::clone(&machine.vm), log })));
    display.watch(Instant::now());
    let mut sink = Recorder::new();
    let mut picture = Picture::default();
    let (mut random_state, mut shown) = (0x9e37_79b9_7f4a_7c15_u64, 0);
    for round in 0..300 {
        let mut writes = Vec::new();
        for _ in 0..random(&mut random_state) % 4 {
            let (x, y) = (random(&mut random_state) % 640, random(&mut random_state) % 240);
            writes.push((plane.address() + (y * 640 + x) * 4, round));
        }
        machine.guest_writes(&writes);
        let now = display.poll_at().unwrap();
        shown += usize::from(matches!(display.poll(now, &mut sink).unwrap(), Poll::Shown(_)));
        plane.copy(&machine.memory, &mut picture).unwrap();
        assert!(*sink.picture() == picture, "round {round}: {writes:?}");
    }
    assert!(shown > 100, "the guest drew");
    // What the VMM writes itself is in no log: nothing else is read.
    machine.memory.write_obj(0x12_3456_u32, GuestAddress(plane.address() + 7 * 2560)).unwrap();
    let now = display.poll_at().unwrap();
    assert_eq!(display.poll(now, &mut sink).unwrap(), Poll::Same);
}

/// The median of some runs.
fn cost(mut what: impl FnMut()) -> Duration {
    let mut times: Vec<_> = (0..31)
        .map(|_| {
            let began = Instant::now();
            what();
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[times.len() / 2]
}
