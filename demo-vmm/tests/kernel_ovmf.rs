// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The shell of the same OVMF, here and in QEMU, pixel for pixel.

mod support;

use std::fs;

use crate::support::{demo_vmm, qemu};

/// Of Debian's package ovmf.
const OVMF: &str = "/usr/share/ovmf/OVMF.fd";

/// It is its own console, on the screen and the serial port, and the shell what it boots last.
const FINISHED: &str = "Shell> ";

/// A character's cell on the screen.
const CELL: (usize, usize) = (8, 19);

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn the_shell_is_the_one_that_qemu_shows() {
    let _slow = SlowTicks::new();
    let dir = tempfile::tempdir().unwrap();
    let ours = demo_vmm(dir.path(), &["--bios", OVMF]);
    let theirs = qemu(dir.path(), &["-bios", OVMF, "-serial", "chardev:log"], FINISHED);
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
