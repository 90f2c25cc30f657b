// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Region answers of any content: what is accepted lies inside, and a chain ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio_display::device::RegionIndex;
use vfio_display::region::{Capability, RegionInfo};

fuzz_target!(|answer: &[u8]| {
    // The index that the answer is about, so that more than its first check is reached.
    let index = answer.get(8..12).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
    let index = RegionIndex(index.unwrap_or_default());
    let Ok(info) = RegionInfo::parse(index, answer) else { return };
    assert!(info.offset.checked_add(info.size).is_some_and(|end| end <= i64::MAX as u64));
    assert!(info.capabilities.len() <= answer.len() / 8);
    for capability in &info.capabilities {
        if let Capability::SparseMmap(areas) = capability {
            assert!(areas.iter().all(|area| area.start < area.end && area.end <= info.size));
        }
    }
    assert!(info.mappable_from_start() <= info.size);
    assert!(info.mappable_len(0, info.size.saturating_add(1)).is_err());
    assert!(info.file_offset(info.size, 1).is_err());

    // The same through the two calls, the first of which gets the head alone.
    let _ = RegionInfo::query(index, |buffer| {
        let common = buffer.len().min(answer.len());
        buffer[..common].copy_from_slice(&answer[..common]);
        Ok(())
    });
});
