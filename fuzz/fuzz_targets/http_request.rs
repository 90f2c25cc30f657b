// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a client sends before it is anybody's viewer, whole and in pieces.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display_web::fuzzing::request(data));
