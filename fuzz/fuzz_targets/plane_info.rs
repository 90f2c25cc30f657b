// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Plane answers of any content: checked planes keep their promises, and a picture is copied or
//! refused, never read outside its memory.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfio_display::Display;
use vfio_display::device::{PlaneKind, PlaneType};
use vfio_display::geometry::Size;
use vfio_display::plane::{MAX_SIDE, Plane};
use vfio_display::testing::{Mock, Personality};
use vfio_display::uapi::PlaneInfo;

/// Most pixels that are copied, so that a run is not all copying.
const MOST: u64 = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let Some((bytes, rest)) = bytes.split_first_chunk::<64>() else { return };
    let info = plane_info(bytes);
    let personality = match rest.first() {
        Some(1) => Personality::Region,
        _ => Personality::WellBehaved,
    };
    for plane_type in PlaneType::ALL {
        for kind in PlaneKind::ALL {
            if let Ok(Some(plane)) = Plane::new(plane_type, kind, &info) {
                check(&plane);
            }
        }
    }
    if u64::from(info.width) * u64::from(info.height) > MOST {
        return;
    }
    let mock = Mock::new(personality, Size::new(64, 64)).expect("a mock");
    let mut display = Display::new(mock.clone()).expect("a display");
    for _ in 0..2 {
        mock.script_plane(info);
        let _ = display.look();
    }
    let _ = display.look();
});

fn plane_info(bytes: &[u8; 64]) -> PlaneInfo {
    let word =
        |at: usize| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    PlaneInfo {
        argsz: word(0),
        flags: word(4),
        drm_plane_type: word(8),
        drm_format: word(12),
        drm_format_mod: u64::from(word(16)) | u64::from(word(20)) << 32,
        width: word(24),
        height: word(28),
        stride: word(32),
        size: word(36),
        x_pos: word(40),
        y_pos: word(44),
        x_hot: word(48),
        y_hot: word(52),
        region_or_dmabuf: word(56),
        reserved: word(60),
    }
}

fn check(plane: &Plane) {
    let Size { width, height } = plane.size;
    assert!((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height));
    if let Ok(format) = plane.pixel_format() {
        let row = u64::from(width) * u64::from(format.bytes_per_pixel());
        assert!(row <= u64::from(plane.stride));
        assert!(u64::from(height - 1) * u64::from(plane.stride) + row <= u64::from(plane.len));
    }
}
