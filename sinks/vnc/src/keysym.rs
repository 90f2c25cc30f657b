// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! X11 keysyms to `KEY_*` of `<linux/input-event-codes.h>`, on a US keyboard.
//!
//! A key event names the character that a key makes on the viewer's keyboard. The guest wants the
//! key; which one that is only a layout can say, and we take the US one. A viewer with the QEMU
//! extended key event sends the key itself, and needs none of this.

/// The keys of a US keyboard from `1` to `/`, by what they make without and with Shift.
const CHARACTERS: &[(u16, &str)] = &[
    (2, "1!"),
    (3, "2@"),
    (4, "3#"),
    (5, "4$"),
    (6, "5%"),
    (7, "6^"),
    (8, "7&"),
    (9, "8*"),
    (10, "9("),
    (11, "0)"),
    (12, "-_"),
    (13, "=+"),
    (16, "qQ"),
    (17, "wW"),
    (18, "eE"),
    (19, "rR"),
    (20, "tT"),
    (21, "yY"),
    (22, "uU"),
    (23, "iI"),
    (24, "oO"),
    (25, "pP"),
    (26, "[{"),
    (27, "]}"),
    (30, "aA"),
    (31, "sS"),
    (32, "dD"),
    (33, "fF"),
    (34, "gG"),
    (35, "hH"),
    (36, "jJ"),
    (37, "kK"),
    (38, "lL"),
    (39, ";:"),
    (40, "'\""),
    (41, "`~"),
    (43, "\\|"),
    (44, "zZ"),
    (45, "xX"),
    (46, "cC"),
    (47, "vV"),
    (48, "bB"),
    (49, "nN"),
    (50, "mM"),
    (51, ",<"),
    (52, ".>"),
    (53, "/?"),
    (57, "  "),
];

/// Keysyms other than ASCII, `XK_*` of `<X11/keysymdef.h>`.
const OTHERS: &[(u32, u16)] = &[
    (0x00a0, 57),    // nobreakspace: SPACE
    (0xfe03, 100),   // ISO_Level3_Shift: RIGHTALT
    (0xfe20, 15),    // ISO_Left_Tab, which is Shift and Tab: TAB
    (0xff08, 14),    // BackSpace
    (0xff09, 15),    // Tab
    (0xff0a, 28),    // Linefeed: ENTER
    (0xff0b, 0x163), // Clear
    (0xff0d, 28),    // Return
    (0xff13, 119),   // Pause
    (0xff14, 70),    // Scroll_Lock
    (0xff15, 99),    // Sys_Req
    (0xff1b, 1),     // Escape
    (0xff22, 94),    // Muhenkan
    (0xff23, 92),    // Henkan
    (0xff25, 91),    // Hiragana
    (0xff26, 90),    // Katakana
    (0xff27, 93),    // Hiragana_Katakana
    (0xff2a, 85),    // Zenkaku_Hankaku
    (0xff31, 122),   // Hangul
    (0xff34, 123),   // Hangul_Hanja
    (0xff50, 102),   // Home
    (0xff51, 105),   // Left
    (0xff52, 103),   // Up
    (0xff53, 106),   // Right
    (0xff54, 108),   // Down
    (0xff55, 104),   // Page_Up
    (0xff56, 109),   // Page_Down
    (0xff57, 107),   // End
    (0xff58, 102),   // Begin: HOME
    (0xff60, 0x161), // Select
    (0xff61, 99),    // Print: SYSRQ
    (0xff63, 110),   // Insert
    (0xff65, 131),   // Undo
    (0xff66, 129),   // Redo: AGAIN
    (0xff67, 127),   // Menu: COMPOSE
    (0xff68, 136),   // Find
    (0xff69, 223),   // Cancel
    (0xff6a, 138),   // Help
    (0xff6b, 119),   // Break: PAUSE
    (0xff7e, 100),   // Mode_switch: RIGHTALT
    (0xff7f, 69),    // Num_Lock
    (0xff80, 57),    // KP_Space
    (0xff89, 15),    // KP_Tab
    (0xff8d, 96),    // KP_Enter
    (0xff95, 71),    // KP_Home: KP7
    (0xff96, 75),    // KP_Left: KP4
    (0xff97, 72),    // KP_Up: KP8
    (0xff98, 77),    // KP_Right: KP6
    (0xff99, 80),    // KP_Down: KP2
    (0xff9a, 73),    // KP_Page_Up: KP9
    (0xff9b, 81),    // KP_Page_Down: KP3
    (0xff9c, 79),    // KP_End: KP1
    (0xff9d, 76),    // KP_Begin: KP5
    (0xff9e, 82),    // KP_Insert: KP0
    (0xff9f, 83),    // KP_Delete: KPDOT
    (0xffaa, 55),    // KP_Multiply
    (0xffab, 78),    // KP_Add
    (0xffac, 121),   // KP_Separator: KPCOMMA
    (0xffad, 74),    // KP_Subtract
    (0xffae, 83),    // KP_Decimal
    (0xffaf, 98),    // KP_Divide
    (0xffb0, 82),    // KP_0
    (0xffb1, 79),    // KP_1
    (0xffb2, 80),    // KP_2
    (0xffb3, 81),    // KP_3
    (0xffb4, 75),    // KP_4
    (0xffb5, 76),    // KP_5
    (0xffb6, 77),    // KP_6
    (0xffb7, 71),    // KP_7
    (0xffb8, 72),    // KP_8
    (0xffb9, 73),    // KP_9
    (0xffbd, 117),   // KP_Equal
    (0xffe1, 42),    // Shift_L
    (0xffe2, 54),    // Shift_R
    (0xffe3, 29),    // Control_L
    (0xffe4, 97),    // Control_R
    (0xffe5, 58),    // Caps_Lock
    (0xffe7, 125),   // Meta_L
    (0xffe8, 126),   // Meta_R
    (0xffe9, 56),    // Alt_L
    (0xffea, 100),   // Alt_R
    (0xffeb, 125),   // Super_L
    (0xffec, 126),   // Super_R
    (0xffed, 125),   // Hyper_L
    (0xffee, 126),   // Hyper_R
    (0xffff, 111),   // Delete
];

/// The `KEY_*` of a keysym, where a US keyboard has one.
pub(crate) fn key(keysym: u32) -> Option<u16> {
    if let Some(character) = u8::try_from(keysym).ok().filter(u8::is_ascii) {
        let makes = |(_, characters): &&(u16, &str)| characters.as_bytes().contains(&character);
        return CHARACTERS.iter().find(makes).map(|(code, _)| *code);
    }
    // F1 to F24. F11 and F12 came late to the keyboard, and so did those from F13.
    if let 0xffbe..=0xffd5 = keysym {
        let number = (keysym - 0xffbe) as u16;
        return Some(match number {
            0..=9 => 59 + number,
            10 | 11 => 87 + number - 10,
            _ => 183 + number - 12,
        });
    }
    let at = OTHERS.binary_search_by_key(&keysym, |(keysym, _)| *keysym).ok()?;
    Some(OTHERS[at].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_printable_character_has_a_key() {
        for character in 0x20..0x7f {
            assert!(key(character).is_some(), "{:?}", char::from(character as u8));
        }
        assert_eq!((key(0), key(0x7f), key(0x01), key(u32::MAX)), (None, None, None, None));
    }

    #[test]
    fn keys_of_each_kind() {
        assert!(OTHERS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!((key(0x61), key(0x41)), (Some(30), Some(30))); // a and A
        assert_eq!((key(0x2f), key(0x3f)), (Some(53), Some(53))); // / and ?
        assert_eq!((key(0xffbe), key(0xffc7)), (Some(59), Some(68))); // F1, F10
        assert_eq!((key(0xffc8), key(0xffc9)), (Some(87), Some(88))); // F11, F12
        assert_eq!((key(0xffca), key(0xffd5)), (Some(183), Some(194))); // F13, F24
        assert_eq!((key(0xff0d), key(0xff8d)), (Some(28), Some(96))); // Return, KP_Enter
        assert_eq!(key(0xffff), Some(111)); // Delete
    }

    #[test]
    fn keys_agree_with_scancodes_where_both_name_them() {
        // Left Ctrl, A, F12, Right, Home, Pause, right Alt.
        for (keysym, scancode) in [
            (0xffe3, 0x1d),
            (0x61, 0x1e),
            (0xffc9, 0x58),
            (0xff53, 0xcd),
            (0xff50, 0xc7),
            (0xff13, 0xc6),
            (0xffea, 0xb8),
        ] {
            assert_eq!(key(keysym), vfio_display_sinks::scancode::key(scancode));
        }
    }
}
