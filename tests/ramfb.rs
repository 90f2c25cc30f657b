// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The boot display: what is shown, and what is refused.
#![cfg(feature = "ramfb")]

use vfio_display::format::{Fourcc, PixelFormat};
use vfio_display::geometry::Size;
use vfio_display::picture::Picture;
use vfio_display::ramfb::{Config, Ramfb, RamfbError};
use vm_memory::bitmap::AtomicBitmap;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const KIB: u64 = 1024;

/// RAM of 64 KiB twice, touching, a hole of 64 KiB, and 64 KiB again.
fn memory() -> GuestMemoryMmap<AtomicBitmap> {
    let regions = [(0x1_0000, 0x1_0000), (0x2_0000, 0x1_0000), (0x4_0000, 0x1_0000)];
    GuestMemoryMmap::from_ranges(&regions.map(|(at, len)| (GuestAddress(at), len))).unwrap()
}

/// 16 KiB of it.
const GOOD: Config = Config { address: 0x1_0000, width: 64, height: 64, ..Config::XRGB };

fn poll_after(config: Config) -> Result<bool, RamfbError> {
    let mut ramfb = Ramfb::new();
    assert!(ramfb.file().write(0, &config.to_bytes()));
    ramfb.poll(&memory()).map(|plane| plane.is_some())
}

#[test]
fn the_structure_is_packed_and_big_endian() {
    let config = Config {
        address: 0x0102_0304_0506_0708,
        fourcc: Fourcc::new(b"XR24").raw(),
        flags: 0x1112_1314,
        width: 0x2122_2324,
        height: 0x3132_3334,
        stride: 0x4142_4344,
    };
    let bytes = *b"\x01\x02\x03\x04\x05\x06\x07\x0842RX\x11\x12\x13\x14\x21\x22\x23\x24\
                   \x31\x32\x33\x34\x41\x42\x43\x44";
    assert_eq!(config.to_bytes(), bytes);
    assert_eq!(Config::from_bytes(&bytes), config);
}

#[test]
fn every_format_is_shown() {
    for format in PixelFormat::ALL {
        let config = Config { fourcc: format.fourcc().raw(), ..GOOD };
        assert_eq!(poll_after(config), Ok(true), "{format}");
    }
    let c8 = Fourcc::new(b"C8  ");
    let error = poll_after(Config { fourcc: c8.raw(), ..GOOD });
    assert_eq!(error, Err(RamfbError::Format(c8)));
    assert_eq!(poll_after(Config::default()), Err(RamfbError::Format(Fourcc::from_raw(0))));
}

#[test]
fn numbers_that_cannot_be() {
    assert_eq!(poll_after(Config { flags: 1 << 31, ..GOOD }), Err(RamfbError::Flags(1 << 31)));
    for (width, height) in
        [(0, 64), (15, 64), (64, 15), (16385, 16), (16, u32::MAX), (u32::MAX, 16)]
    {
        let error = poll_after(Config { width, height, ..GOOD });
        assert_eq!(error, Err(RamfbError::Size(Size::new(width, height))));
    }
    for stride in [1, 255] {
        let format = PixelFormat::Xrgb8888;
        let error = poll_after(Config { stride, ..GOOD });
        assert_eq!(error, Err(RamfbError::Stride { stride, width: 64, format }));
    }
    assert_eq!(poll_after(Config { stride: 256, ..GOOD }), Ok(true));
    // 2^46 bytes: nothing wraps.
    let config = Config { width: 16384, height: 16384, stride: u32::MAX, ..GOOD };
    let len = 16383 * u64::from(u32::MAX) + 65536;
    assert_eq!(poll_after(config), Err(RamfbError::Memory { address: GOOD.address, len }));
}

#[test]
fn only_what_is_all_in_guest_memory() {
    let len = 16 * KIB;
    for (address, good) in [
        (0x1_0000, true),
        (0xffff, false),
        (0x1_e000, true), // across regions that touch
        (0x2_c000, true),
        (0x2_c001, false), // a byte of the hole
        (0x3_0000, false),
        (0x3_f000, false),
        (0x4_c000, true),
        (0x4_c004, false),
        (0, false),
        (1 << 40, false),
        (u64::MAX, false),
        (u64::MAX - len + 1, false),
    ] {
        let expected = if good { Ok(true) } else { Err(RamfbError::Memory { address, len }) };
        assert_eq!(poll_after(Config { address, ..GOOD }), expected, "{address:#x}");
    }
    // From one side of the hole to the other.
    let (address, len) = (0x2_0000, 600 * 256);
    let error = poll_after(Config { address, height: 600, ..GOOD });
    assert_eq!(error, Err(RamfbError::Memory { address, len }));
}

#[test]
fn what_is_between_far_rows_is_of_no_concern() {
    // A page for each row, and nothing between them.
    let pages: Vec<_> = (0..16).map(|y| (GuestAddress(y * 0x2_0000), 0x1000)).collect();
    let memory = GuestMemoryMmap::<()>::from_ranges(&pages).unwrap();
    let mut ramfb = Ramfb::new();
    let config = Config { address: 0, width: 16, height: 16, stride: 0x2_0000, ..Config::XRGB };
    ramfb.file().write(0, &config.to_bytes());
    let plane = ramfb.poll(&memory).unwrap().unwrap();
    assert_eq!(plane.copy(&memory, &mut Picture::default()), Ok(()));
    ramfb.file().write(0, &Config { height: 17, ..config }.to_bytes());
    assert!(ramfb.poll(&memory).is_err(), "the last row is in no memory");
}

#[test]
fn a_picture_across_regions_that_touch() {
    let memory = memory();
    let mut ramfb = Ramfb::new();
    ramfb.file().write(0, &Config { address: 0x1_e002, ..GOOD }.to_bytes());
    let pixels: Vec<u32> = (0..64 * 64).map(|n: u32| n.wrapping_mul(0x9e37_79b9)).collect();
    let bytes: Vec<u8> = pixels.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    memory.write_slice(&bytes, GuestAddress(0x1_e002)).unwrap();
    let plane = ramfb.poll(&memory).unwrap().unwrap();
    let mut picture = Picture::default();
    plane.copy(&memory, &mut picture).unwrap();
    assert!(
        picture.pixels().iter().zip(&pixels).all(|(there, drawn)| *there == drawn | 0xff << 24)
    );
}

#[test]
fn a_bad_one_is_refused_once_and_the_last_good_one_stays() {
    let memory = memory();
    let mut ramfb = Ramfb::new();
    let file = ramfb.file();
    let bad = Config { flags: 3, ..GOOD }.to_bytes();
    file.write(0, &GOOD.to_bytes());
    let good = ramfb.poll(&memory).unwrap();
    let generation = ramfb.generation();
    file.write(0, &bad);
    assert_eq!(ramfb.poll(&memory), Err(RamfbError::Flags(3)));
    for _ in 0..3 {
        assert_eq!(ramfb.poll(&memory), Ok(good));
        file.write(0, &bad);
    }
    assert_eq!(ramfb.generation(), generation);
    file.write(0, &GOOD.to_bytes());
    assert_eq!(ramfb.poll(&memory), Ok(good), "a good one again");
    file.write(0, &bad);
    assert_eq!(ramfb.poll(&memory), Err(RamfbError::Flags(3)), "is news again");
}

#[test]
fn memory_that_is_taken_away_ends_the_picture() {
    let mut ramfb = Ramfb::new();
    ramfb.file().write(0, &Config { address: 0x4_0000, ..GOOD }.to_bytes());
    let plane = ramfb.poll(&memory()).unwrap().unwrap();
    let smaller =
        GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0x1_0000), 0x2_0000)]).unwrap();
    let mut picture = Picture::default();
    assert!(matches!(plane.copy(&smaller, &mut picture), Err(RamfbError::Memory { .. })));
    ramfb.give_up();
    assert_eq!(ramfb.poll(&smaller), Ok(None));
}
