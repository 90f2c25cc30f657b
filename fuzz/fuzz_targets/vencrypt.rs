// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A viewer on its way in that sends anything, in pieces of any length.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display_vnc::fuzzing::vencrypt(data));
