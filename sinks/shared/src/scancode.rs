// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! XT scancodes, as QEMU's own protocols carry them (its key numbers), to `KEY_*` of
//! `<linux/input-event-codes.h>`.

/// The `KEY_*` of an XT make code: one byte, or the second of two with its high bit set where the
/// first is 0xe0 (rfbproto, QEMU Extended Key Event Message).
pub fn key(scancode: u32) -> Option<u16> {
    // Linux numbered its keys after these, up to F12.
    if let 0x01..=0x53 | 0x56..=0x58 = scancode {
        return Some(scancode as u16);
    }
    let at = OTHERS.binary_search_by_key(&scancode, |(scancode, _)| u32::from(*scancode)).ok()?;
    Some(OTHERS[at].1)
}

/// In the order of their scancodes.
const OTHERS: &[(u8, u16)] = &[
    (0x54, 99),  // SYSRQ, in its form with Alt
    (0x59, 117), // KPEQUAL
    (0x64, 183), // F13
    (0x65, 184), // F14
    (0x66, 185), // F15
    (0x67, 186), // F16
    (0x68, 187), // F17
    (0x69, 188), // F18
    (0x6a, 189), // F19
    (0x6b, 190), // F20
    (0x6c, 191), // F21
    (0x6d, 192), // F22
    (0x6e, 193), // F23
    (0x70, 93),  // KATAKANAHIRAGANA
    (0x73, 89),  // RO
    (0x76, 194), // F24
    (0x77, 91),  // HIRAGANA
    (0x78, 90),  // KATAKANA
    (0x79, 92),  // HENKAN
    (0x7b, 94),  // MUHENKAN
    (0x7d, 124), // YEN
    (0x7e, 121), // KPCOMMA
    (0x90, 165), // PREVIOUSSONG
    (0x99, 163), // NEXTSONG
    (0x9c, 96),  // KPENTER
    (0x9d, 97),  // RIGHTCTRL
    (0xa0, 113), // MUTE
    (0xa1, 140), // CALC
    (0xa2, 164), // PLAYPAUSE
    (0xa4, 166), // STOPCD
    (0xae, 114), // VOLUMEDOWN
    (0xb0, 115), // VOLUMEUP
    (0xb2, 172), // HOMEPAGE
    (0xb5, 98),  // KPSLASH
    (0xb7, 99),  // SYSRQ
    (0xb8, 100), // RIGHTALT
    (0xc6, 119), // PAUSE
    (0xc7, 102), // HOME
    (0xc8, 103), // UP
    (0xc9, 104), // PAGEUP
    (0xcb, 105), // LEFT
    (0xcd, 106), // RIGHT
    (0xcf, 107), // END
    (0xd0, 108), // DOWN
    (0xd1, 109), // PAGEDOWN
    (0xd2, 110), // INSERT
    (0xd3, 111), // DELETE
    (0xdb, 125), // LEFTMETA
    (0xdc, 126), // RIGHTMETA
    (0xdd, 127), // COMPOSE
    (0xde, 116), // POWER
    (0xdf, 142), // SLEEP
    (0xe3, 143), // WAKEUP
    (0xe5, 217), // SEARCH
    (0xe6, 156), // BOOKMARKS
    (0xe7, 173), // REFRESH
    (0xe8, 128), // STOP
    (0xe9, 159), // FORWARD
    (0xea, 158), // BACK
    (0xeb, 157), // COMPUTER
    (0xec, 155), // MAIL
    (0xed, 226), // MEDIA
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorted_and_the_examples_of_the_specification() {
        assert!(OTHERS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(key(0x1e), Some(30)); // A
        assert_eq!(key(0xcd), Some(106)); // Right
        assert_eq!((key(0x54), key(0xb7), key(0xc6)), (Some(99), Some(99), Some(119)));
        for nothing in [0, 0x55, 0x80, 0xff, 0x100, 0xe01d, u32::MAX] {
            assert_eq!(key(nothing), None, "{nothing:#x}");
        }
    }
}
