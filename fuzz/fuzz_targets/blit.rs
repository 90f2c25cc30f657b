// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pictures of any shape and edits of any kind, scanned by every kernel that this CPU has.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display::blit_fuzz::run(data));
