// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Port and DMA accesses of any kind, against a model of the specification.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vfio_display_fw_cfg::fuzz::run(data));
