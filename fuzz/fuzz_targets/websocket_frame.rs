// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Frames of a WebSocket's client, in pieces of any length, and what is sent meanwhile.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display_web::fuzzing::frames(data));
