// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Writes to `etc/ramfb`, polls, resets and migrations in any order, against a model.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display::ramfb::fuzz::run(data));
