// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Requests of any kind for a monitor, to devices that answer anything.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display::edid::fuzz::edid(data));
