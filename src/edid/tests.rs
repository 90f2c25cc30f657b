// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

use proptest::prelude::*;

use super::*;

const HD: Edid = Edid::for_mode(Size::new(1920, 1080));

fn limits(max_bytes: u32) -> Limits {
    Limits { max_bytes, ..Limits::default() }
}

fn tags(edid: &Edid, max_bytes: u32) -> Vec<u8> {
    let bytes = edid.encode(limits(max_bytes)).unwrap().bytes;
    bytes.chunks(BLOCK).skip(1).map(|block| block[0]).collect()
}

/// What every EDID has to be, whatever it says.
fn check(bytes: &[u8], max_bytes: u32) {
    assert_eq!(bytes.len() % BLOCK, 0);
    assert!(bytes.len() <= max_bytes as usize && bytes.len() <= MAX_BYTES as usize);
    assert_eq!(bytes[..8], [0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    assert_eq!(usize::from(bytes[126]), bytes.len() / BLOCK - 1, "extension count");
    for block in bytes.chunks(BLOCK) {
        assert_eq!(block.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0, "checksum");
        if block[0] == 0x70 {
            let section = &block[1..][..usize::from(block[2]) + 5];
            assert_eq!(section.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        }
    }
}

/// Active pixels of the first detailed timing, read back.
fn first_detailed(bytes: &[u8]) -> Size {
    let field = |low: usize, high: usize| {
        u32::from(bytes[54 + low]) | u32::from(bytes[54 + high] >> 4) << 8
    };
    Size::new(field(2, 4), field(5, 7))
}

#[test]
fn the_base_block_says_what_the_standard_asks_for() {
    let bytes = HD.serial(0x0102_0304).name("Büro left").encode(limits(128)).unwrap().bytes;
    check(&bytes, 128);
    // "VFD": 10110 00110 00100.
    assert_eq!(bytes[8..10], [0b0101_1000, 0b1100_0100]);
    assert_eq!(bytes[10..20], [1, 0, 4, 3, 2, 1, 255, 35, 1, 4]);
    assert_eq!(bytes[20..25], [0xa5, 51, 29, 120, 6]);
    assert_eq!(bytes[35..38], [0x21, 0x08, 0]);
    assert_eq!(first_detailed(&bytes), Size::new(1920, 1080));
    assert_eq!(bytes[72..90], *b"\0\0\0\xfc\0B?ro left\n   ");
    assert_eq!(bytes[90..95], [0, 0, 0, 0xfd, 0]);
    assert_eq!(bytes[126], 0);
}

#[test]
fn extensions_are_those_that_are_needed_and_fit() {
    let (cta, display_id) = (0x02, 0x70);
    assert_eq!(tags(&HD, 128), [0_u8; 0]);
    assert_eq!(tags(&HD, 255), [0_u8; 0]);
    assert_eq!(tags(&HD, 256), [cta]);
    assert_eq!(tags(&HD, 1024), [cta]);
    let large = Edid::for_mode(Size::new(5120, 2880));
    assert_eq!(tags(&large, 128), [0_u8; 0]);
    assert_eq!(tags(&large, 256), [display_id]);
    assert_eq!(tags(&large, 384), [cta, display_id]);
    assert_eq!(tags(&large, u32::MAX), [cta, display_id]);
    assert_eq!(tags(&HD.refresh(300), 256), [display_id], "the clock alone is beyond the base");
    assert!(matches!(HD.encode(limits(127)), Err(crate::Error::Edid(EdidError::NoRoom { .. }))));
}

#[test]
fn modes_above_the_devices_limits_are_not_offered() {
    let most = Limits { max_width: Some(1280), max_height: Some(800), ..limits(1024) };
    let bytes = HD.encode(most).unwrap().bytes;
    assert_eq!(first_detailed(&bytes), Size::new(1280, 720));
    // 1280x800 and nothing else: the rest is larger, and 1280x720 is the preferred mode.
    assert_eq!(bytes[38..42], [0x81, 0x00, 1, 1]);
    assert_eq!(bytes.len(), BLOCK, "no common mode is left for CTA-861");
    let small = Limits { max_width: Some(640), max_height: Some(480), ..most };
    assert_eq!(HD.encode(small).unwrap().bytes[35..37], [0x20, 0]);
}

#[test]
fn the_glass_has_the_size_that_was_told() {
    let centimetres = |edid: Edid| edid.bytes()[21..23].to_vec();
    assert_eq!(centimetres(HD.millimetres(Size::new(344, 193))), [34, 19]);
    assert_eq!(centimetres(HD.millimetres(Size::new(0, 193))), [51, 29], "unknown");
    assert_eq!(centimetres(HD.millimetres(Size::new(u32::MAX, u32::MAX / 2))), [255, 127]);
    assert_eq!(centimetres(HD.millimetres(Size::new(1, 1))), [1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_size_is_encoded_into_whole_blocks(
        width in 1..=16_384_u32,
        height in 1..=16_384_u32,
        hertz in any::<u32>(),
        millimetres in any::<(u32, u32)>(),
        max_bytes in 128..=1024_u32,
        max in proptest::option::of(any::<(u32, u32)>()),
    ) {
        let (max_width, max_height) = max.unzip();
        let limits = Limits { max_bytes, max_width, max_height };
        let edid = Edid::for_mode(Size::new(width, height));
        let sixty = edid.encode(limits).unwrap();
        check(&sixty.bytes, max_bytes);
        let size = mode_size(Size::new(width, height));
        // Within the base block's reach and without limits it is the mode that was asked for.
        if max.is_none() && (max_bytes >= 256 || width.max(height) < 4096) {
            prop_assert_eq!(sixty.size, size);
            prop_assert_eq!(sixty.notes.is_empty(), (size.width, size.height) == (width, height)
                && sixty.refresh == 60);
        }
        if width.max(height) < 2048 && max.is_none() {
            prop_assert_eq!(first_detailed(&sixty.bytes), size);
        }
        let other = edid.refresh(hertz).millimetres(Size::new(millimetres.0, millimetres.1));
        let other = other.encode(limits).unwrap();
        check(&other.bytes, max_bytes);
        let largest = limits.largest();
        prop_assert!(other.size.width <= largest.width && other.size.height <= largest.height);
    }

    #[test]
    fn any_name_is_a_name(name in any::<String>()) {
        let bytes = HD.name(&name).bytes();
        check(&bytes, MAX_BYTES);
        let text = &bytes[77..90];
        prop_assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n')));
    }
}
