// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pages of any content: one that is accepted lies inside itself and inside its region, and all
//! that it says can be read.
//!
//! The first eight bytes are the region's size; what follows is put over a page by the book, each
//! piece behind an offset and a length.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio_display::fb_region::layout::PAGE_LEN;
use vfio_display::fb_region::{Config, Page, Producer};

fuzz_target!(|input: &[u8]| {
    let Some((size, mut rest)) = input.split_first_chunk::<8>() else { return };
    let producer = Producer::new(&Config::new(1 << 20)).expect("a page");
    // The size that is right, unless the input has one of its own.
    let size = match u64::from_le_bytes(*size) {
        0 => producer.region_len(),
        size => size,
    };
    let mut bytes = Box::new([0; PAGE_LEN]);
    producer.read(0, bytes.as_mut_slice()).expect("all of the page");
    while let Some(([a, b, len], more)) = rest.split_first_chunk::<3>() {
        let at = usize::from(u16::from_le_bytes([*a, *b])) % PAGE_LEN;
        let len = usize::from(*len).min(more.len()).min(PAGE_LEN - at);
        bytes[at..at + len].copy_from_slice(&more[..len]);
        rest = &more[len..];
    }
    let Ok(mut page) = Page::new(bytes.clone(), size) else { return };
    for slot in page.slots() {
        assert!(slot.offset >= PAGE_LEN as u64);
        assert!(slot.offset.checked_add(slot.len).is_some_and(|end| end <= size));
    }
    assert_eq!(page.planes().filter(|plane| plane.plane_type.raw() == 1).count(), 1);
    for (index, plane) in (0..).zip(page.planes()) {
        for since in [0, plane.frame, page.frame(), u64::MAX] {
            let count = page.damage(index, since, page.frame()).map_or(0, Iterator::count);
            assert!(count <= PAGE_LEN / 32);
        }
    }
    let before = page.clone();
    assert!(page.replace(&mut bytes).is_ok(), "nothing changed");
    assert_eq!(page, before);
});
