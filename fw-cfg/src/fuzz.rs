// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Any sequence of accesses, against a model of the specification.
//!
//! The model is written from `docs/specs/fw_cfg.rst` and shares nothing with the device: it goes
//! byte by byte and keeps guest memory in vectors.

mod accesses;
mod model;

use std::sync::{Arc, Mutex, PoisonError};

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use self::accesses::{Access, Script};
pub use self::model::Layout;
use self::model::Model;
use crate::{FwCfg, Item};

/// Guest memory: two regions that touch, one behind a hole, one beyond 32 bits.
const REGIONS: [(u64, usize); 4] =
    [(0, 0x2000), (0x2000, 0x1000), (0x4000, 0x1000), (1 << 40, 0x1000)];

type Writes = Arc<Mutex<Vec<(u32, Vec<u8>)>>>;

/// The body of the fuzz target.
///
/// # Panics
///
/// Where the device and the model differ.
pub fn run(data: &[u8]) {
    if let Err(difference) = check(data, Layout::SPECIFIED) {
        panic!("{difference}");
    }
}

/// Plays the accesses that `data` stands for; says where the device differs from a model that
/// takes the bits of the control word for `layout`.
///
/// # Errors
///
/// The first difference.
pub fn check(data: &[u8], layout: Layout) -> Result<(), String> {
    let writes = Writes::default();
    let memory =
        GuestMemoryMmap::<()>::from_ranges(&REGIONS.map(|(at, len)| (GuestAddress(at), len)))
            .map_err(|error| error.to_string())?;
    let mut device = device(&writes);
    let mut model = Model::new(&REGIONS, layout);
    for (number, access) in Script::new(data).enumerate() {
        step(&mut device, &mut model, &memory, &writes, &access)
            .map_err(|error| format!("access {number}, {access:x?}: {error}"))?;
    }
    Ok(())
}

/// What the model has too: an item of each kind, and keys of each kind.
fn device(writes: &Writes) -> FwCfg {
    let mut fw_cfg = FwCfg::new();
    let writes = Arc::clone(writes);
    let write = move |offset: u32, bytes: &[u8]| {
        writes.lock().unwrap_or_else(PoisonError::into_inner).push((offset, bytes.to_vec()));
    };
    let add = |fw_cfg: &mut FwCfg| {
        fw_cfg.add_item(0x05, Item::bytes([1, 0, 0, 0]))?;
        fw_cfg.add_item(0x8001, Item::bytes(*b"arc"))?;
        // Not in the order of the directory, which is by name.
        fw_cfg.add_file("d/writable", Item::writable([7; 28], write))?;
        fw_cfg.add_file("a/bytes", Item::bytes(*b"0123456789"))?;
        fw_cfg.add_file(
            "b/generated",
            Item::generated(5, |bytes| bytes[0] = bytes[0].wrapping_add(1)),
        )?;
        fw_cfg.add_file(
            "c/read-at",
            Item::read_at(6000, |offset, bytes| {
                for (at, byte) in (offset..).zip(bytes) {
                    *byte = model::pattern(at);
                }
            }),
        )?;
        fw_cfg.add_file("e/empty", Item::bytes([]))
    };
    add(&mut fw_cfg).expect("names and keys are free");
    fw_cfg
}

fn step(
    device: &mut FwCfg,
    model: &mut Model,
    memory: &GuestMemoryMmap<()>,
    writes: &Writes,
    access: &Access,
) -> Result<(), String> {
    match access {
        Access::Poke(at, bytes) => {
            let _ = memory.write_slice(bytes, GuestAddress(*at));
            model.adopt(*at, bytes.len() as u64, |at| peek(memory, at));
        }
        Access::PioRead(offset, len) => {
            let mut data = vec![0xaa; *len];
            device.pio_read(*offset, &mut data);
            same("data", &data, &model.pio_read(*offset, *len))?;
        }
        Access::PioWrite(offset, data) => {
            device.pio_write(memory, *offset, data);
            model.pio_write(*offset, data);
        }
        Access::MmioRead(offset, len) => {
            let mut data = vec![0xaa; *len];
            device.mmio_read(*offset, &mut data);
            same("data", &data, &model.mmio_read(*offset, *len))?;
        }
        Access::MmioWrite(offset, data) => {
            device.mmio_write(memory, *offset, data);
            model.mmio_write(*offset, data);
        }
        Access::Reset => {
            device.reset();
            model.reset();
        }
        Access::Migrate => {
            let state = device.save();
            *device = self::device(writes);
            device.restore(&state).map_err(|error| error.to_string())?;
            same("state", &device.save(), &state)?;
        }
        Access::Restore(state) => {
            let before = device.save();
            if device.restore(state).is_err() {
                same("state after a refusal", &device.save(), &before)?;
            }
            device.restore(&before).map_err(|error| error.to_string())?;
        }
    }
    // Where a transfer failed, how far it got is not specified.
    for (at, len) in model.take_unspecified() {
        model.adopt(at, len, |at| peek(memory, at));
    }
    for (start, bytes) in model.regions() {
        let mut there = vec![0; bytes.len()];
        memory.read_slice(&mut there, GuestAddress(*start)).map_err(|error| error.to_string())?;
        same(&format!("memory at {start:#x}"), &there, bytes)?;
    }
    let written = std::mem::take(&mut *writes.lock().unwrap_or_else(PoisonError::into_inner));
    same("calls of the callback", &written, &model.take_writes())?;
    let count = device.take_report().map_or(0, |report| report.count);
    same("errors of the guest", &count, &model.take_errors())
}

fn peek(memory: &GuestMemoryMmap<()>, at: u64) -> u8 {
    memory.read_obj(GuestAddress(at)).unwrap_or_default()
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, device: &T, model: &T) -> Result<(), String> {
    if device == model {
        return Ok(());
    }
    Err(format!("{what}: device {device:x?}, model {model:x?}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..Default::default() })]

        #[test]
        fn the_device_does_what_the_model_does(data in prop::collection::vec(any::<u8>(), 0..400)) {
            check(&data, Layout::SPECIFIED).map_err(TestCaseError::fail)?;
        }
    }

    /// The property would notice a control word whose bits are laid out wrong, and one where two
    /// commands are exchanged.
    #[test]
    fn a_broken_layout_of_the_control_word_is_noticed() {
        let exchanged = Layout {
            skip: Layout::SPECIFIED.write,
            write: Layout::SPECIFIED.skip,
            ..Layout::SPECIFIED
        };
        for layout in [Layout::SKEWED, exchanged] {
            let mut runner = proptest::test_runner::TestRunner::deterministic();
            let scripts = prop::collection::vec(any::<u8>(), 0..400);
            let result =
                runner.run(&scripts, |data| check(&data, layout).map_err(TestCaseError::fail));
            assert!(result.is_err(), "{layout:?} passes for the specification");
        }
    }

    #[test]
    fn the_corpus_passes() {
        for entry in std::fs::read_dir("../fuzz/corpus/fw_cfg").unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
