// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot display: what survives resets, migrations and other threads.
#![cfg(feature = "ramfb")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use vfio_display::picture::Picture;
use vfio_display::ramfb::{Config, Ramfb, RamfbError, RamfbFile, StateError};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// RAM of 128 KiB, a hole of 64 KiB, and 64 KiB.
fn memory() -> GuestMemoryMmap<()> {
    let regions = [(0x1_0000, 0x2_0000), (0x4_0000, 0x1_0000)];
    GuestMemoryMmap::from_ranges(&regions.map(|(at, len)| (GuestAddress(at), len))).unwrap()
}

/// 16 KiB of it.
const GOOD: Config = Config { address: 0x1_0000, width: 64, height: 64, ..Config::XRGB };

type Reach = Box<dyn Fn(&mut Ramfb, &RamfbFile)>;

/// Each state that a display can be in, by how it is reached.
fn states() -> Vec<(&'static str, Reach)> {
    let good = GOOD.to_bytes();
    let other = Config { width: 32, ..GOOD }.to_bytes();
    let bad = Config { height: 0, ..GOOD }.to_bytes();
    let look = |ramfb: &mut Ramfb| {
        let _ = ramfb.poll(&memory());
    };
    vec![
        ("off", Box::new(|_, _| {})),
        (
            "half written",
            Box::new(move |_, file| {
                file.write(0, &good[..13]);
            }),
        ),
        (
            "written",
            Box::new(move |_, file| {
                file.write(0, &good);
            }),
        ),
        (
            "shown",
            Box::new(move |ramfb, file| {
                file.write(0, &good);
                look(ramfb);
            }),
        ),
        (
            "shown, half written",
            Box::new(move |ramfb, file| {
                file.write(0, &good);
                look(ramfb);
                file.write(0, &other[..27]);
            }),
        ),
        (
            "shown, another written",
            Box::new(move |ramfb, file| {
                file.write(0, &good);
                look(ramfb);
                file.write(0, &other);
            }),
        ),
        (
            "shown, a bad one written",
            Box::new(move |ramfb, file| {
                file.write(0, &good);
                look(ramfb);
                file.write(0, &bad);
            }),
        ),
        (
            "shown, a bad one refused",
            Box::new(move |ramfb, file| {
                file.write(0, &good);
                look(ramfb);
                file.write(0, &bad);
                look(ramfb);
            }),
        ),
        (
            "a bad one refused",
            Box::new(move |ramfb, file| {
                file.write(0, &bad);
                look(ramfb);
            }),
        ),
    ]
}

#[test]
fn a_reset_in_every_state_is_off() {
    for (name, reach) in states() {
        let mut ramfb = Ramfb::new();
        let file = ramfb.file();
        reach(&mut ramfb, &file);
        let generation = ramfb.generation();
        ramfb.reset();
        assert_eq!(ramfb.poll(&memory()), Ok(None), "{name}");
        assert_eq!(file.read(), [0; 28], "{name}");
        assert!(ramfb.generation() > generation, "{name}");
        assert_eq!(ramfb.save(), Ramfb::new().save(), "{name}");
        assert!(!file.write(13, &[0; 15]), "{name}: what was begun is forgotten");
        file.write(0, &GOOD.to_bytes());
        assert!(ramfb.poll(&memory()).unwrap().is_some(), "{name}");
    }
}

#[test]
fn a_migration_in_every_state_goes_unnoticed() {
    for (name, reach) in states() {
        // What the guest does next, and what is shown then, with a migration in between and
        // without one.
        let rest = Config { width: 32, ..GOOD }.to_bytes();
        let outcome = |migrate: bool| {
            let mut ramfb = Ramfb::new();
            let file = ramfb.file();
            reach(&mut ramfb, &file);
            if migrate {
                let state = ramfb.save();
                ramfb = Ramfb::new();
                ramfb.restore(&state).unwrap();
                assert_eq!(ramfb.save(), state, "{name}");
            }
            let file = ramfb.file();
            let at_once = ramfb.poll(&memory());
            let (bytes, shown) = (file.read(), ramfb.plane());
            let finished = file.write(13, &rest[13..]);
            (at_once, bytes, shown, finished, ramfb.poll(&memory()))
        };
        assert_eq!(outcome(true), outcome(false), "{name}");
    }
}

#[test]
fn states_that_are_not_taken_over() {
    let mut ramfb = Ramfb::new();
    ramfb.file().write(0, &GOOD.to_bytes());
    ramfb.poll(&memory()).unwrap();
    let state = ramfb.save();
    assert_eq!(state.len(), 96);
    let with = |at: usize, byte: u8| {
        let mut state = state.clone();
        state[at] = byte;
        state
    };
    let mut restore = |state: &[u8]| ramfb.restore(state).unwrap_err();
    assert_eq!(restore(b"FWCFG"), StateError::Magic);
    assert_eq!(restore(&with(6, 9)), StateError::Version(9));
    assert_eq!(restore(&state[..95]), StateError::Damaged);
    assert_eq!(restore(&with(36, 28)), StateError::Damaged, "more begun than there is");
    assert_eq!(restore(&with(37, 2)), StateError::Damaged);
    assert_eq!(restore(&with(95, 1)), StateError::Damaged);
    let plane = restore(&with(67 + 12, 1));
    assert_eq!(plane, StateError::Plane(RamfbError::Flags(1 << 24)));
    assert_eq!(ramfb.save(), state, "and nothing changed");
}

#[test]
fn a_state_from_a_larger_machine_is_checked_when_memory_is_there() {
    let mut ramfb = Ramfb::new();
    ramfb.file().write(0, &Config { address: 0x4_0000, ..GOOD }.to_bytes());
    ramfb.poll(&memory()).unwrap();
    let mut there = Ramfb::new();
    there.restore(&ramfb.save()).unwrap();
    let smaller = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0x1_0000), 0x1000)]).unwrap();
    assert!(matches!(there.poll(&smaller), Err(RamfbError::Memory { .. })), "said once");
    assert_eq!(there.poll(&smaller), Ok(None));
}

/// A vCPU sets modes in parts while another thread looks: what is shown is always one that was
/// set, whole, and never an older one than before.
#[test]
fn a_configuration_that_changes_during_a_poll() {
    const MODES: u32 = 1000;
    let memory = memory();
    for seed in 1..=4_u64 {
        let mut ramfb = Ramfb::new();
        let file = ramfb.file();
        let done = AtomicBool::new(false);
        // A mode whose numbers all depend on n: any mixture of two is neither.
        let mode = |n: u32| Config {
            address: 0x1_0000 + u64::from(n) * 4,
            width: 16 + n,
            height: 16 + n % 7,
            stride: (16 + n) * 4 + n,
            ..Config::XRGB
        };
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                for n in 0..MODES {
                    let bytes = mode(n).to_bytes();
                    let mut at = 0;
                    while at < bytes.len() {
                        random ^= random << 13;
                        random ^= random >> 7;
                        random ^= random << 17;
                        let end = (at + 1 + (random % 28) as usize).min(bytes.len());
                        file.write(at as u32, &bytes[at..end]);
                        at = end;
                        if random % 3 == 0 {
                            thread::yield_now();
                        }
                    }
                }
                done.store(true, Ordering::Release);
            });
            let mut last = None;
            let mut picture = Picture::default();
            loop {
                let end = done.load(Ordering::Acquire);
                if let Some(plane) = ramfb.poll(&memory).unwrap() {
                    let n = plane.size().width - 16;
                    assert_eq!(plane.config(), mode(n), "seed {seed}: a mixture");
                    assert!(last <= Some(n), "seed {seed}: back from {last:?} to {n}");
                    last = Some(n);
                    plane.copy(&memory, &mut picture).unwrap();
                    assert_eq!(picture.size(), plane.size());
                }
                if end {
                    break;
                }
            }
            assert_eq!(last, Some(MODES - 1), "the last one is shown");
        });
    }
}
