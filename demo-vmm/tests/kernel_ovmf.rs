// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The shell of the same OVMF, here and in QEMU, pixel for pixel.

mod support;

use std::fs;

use crate::support::{demo_vmm, qemu};

/// Of Debian's package ovmf.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// It is its own console, on the screen and the serial port, and the shell what it boots last.
const FINISHED: &str = "Shell> ";

/// The size of a character.
const CELL: (usize, usize) = (8, 19);

/// Where a TPM would be, bytes that are all ones say that there is none. QEMU's are zeros, for
/// which OVMF waits until they change, and with the exits that waiting is made of it does so for
/// minutes. So a PCI device has memory there until OVMF has moved it.
const NO_TPM: usize = 64 << 10;
const MAP_NO_TPM: &[&str] = &[
    // The device's third BAR, and its command register.
    "o/w 0xcf8 0x80002018",
    "o/w 0xcfc 0xfed40000",
    "o/w 0xcf8 0x80002004",
    "o/w 0xcfc 2",
];

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_shell_is_the_one_that_qemu_shows() {
    let _slow = SlowTicks::new();
    let dir = tempfile::tempdir().unwrap();
    let ours = demo_vmm(dir.path(), &["--bios", OVMF]);
    let file = dir.path().join("no-tpm");
    fs::write(&file, [0xff; NO_TPM]).unwrap();
    let backend = "memory-backend-file,id=no-tpm,share=on";
    let memory = format!("{backend},size={NO_TPM},mem-path={}", file.display());
    let device = "ivshmem-plain,memdev=no-tpm,addr=04.0";
    let mut args = vec!["-bios", OVMF, "-serial", "chardev:log"];
    args.extend(["-object", &memory, "-device", device]);
    let theirs = qemu(dir.path(), &args, MAP_NO_TPM, FINISHED);
    assert_eq!((ours.width, ours.height), (800, 600));
    assert_eq!((theirs.width, theirs.height), (800, 600));
    assert!(ours.lit() > 2000, "only {} pixels are not black: no text", ours.lit());

    let cells = ours.cells_that_differ(&theirs, CELL);
    assert!(cells.is_empty(), "cells (column, line) that differ: {cells:?}");
}

/// Makes KVM's periodic timers slow, and as they were when dropped.
///
/// The testbed's QEMU 7.2 ends itself (an assertion in `tcg_handle_interrupt`) when its nested
/// guest writes CR8 while an interrupt waits for it. OVMF writes it at the end of each interrupt,
/// and asks for one every 10 ms, which is about what one takes there. It tells time by a counter,
/// and has to be interrupted only now and then.
struct SlowTicks(String);

impl SlowTicks {
    const PERIOD: &str = "/sys/module/kvm/parameters/min_timer_period_us";

    fn new() -> Self {
        let was = fs::read_to_string(Self::PERIOD).expect(Self::PERIOD);
        fs::write(Self::PERIOD, "1000000").expect(Self::PERIOD);
        Self(was)
    }
}

impl Drop for SlowTicks {
    fn drop(&mut self) {
        fs::write(Self::PERIOD, &self.0).expect(Self::PERIOD);
    }
}
