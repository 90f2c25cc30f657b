// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The PCI configuration space of each driver, by which a device is recognised.
//!
//! Sources: mdpy.c and mbochs.c (`*_create_config_space`), mdpy-defs.h; PCI Local Bus 3.0,
//! section 6.1, for where the fields lie.

use super::personality::Personality;
use crate::format::PixelFormat;
use crate::geometry::Size;

/// Vendor and device of the part and of the board, class with subclass.
struct Ids {
    part: [u16; 2],
    board: [u16; 2],
    class: u16,
}

/// The board ids of devices out of QEMU's and Red Hat's range.
const QUMRANET: [u16; 2] = [0x1af4, 0x1100];
const DISPLAY_VGA: u16 = 0x0300;
const DISPLAY_OTHER: u16 = 0x0380;
const ETHERNET: u16 = 0x0200;

fn ids(personality: Personality) -> Ids {
    let (part, board, class) = match personality {
        // Nobody's device.
        Personality::WellBehaved => ([0x1234, 0xd15b], QUMRANET, DISPLAY_OTHER),
        Personality::Region => ([0x1234, 0xd15c], QUMRANET, DISPLAY_OTHER),
        Personality::Mdpy => ([0x1b36, 0x000f], QUMRANET, DISPLAY_OTHER),
        Personality::Mbochs | Personality::MbochsRw => ([0x1234, 0x1111], QUMRANET, DISPLAY_OTHER),
        // A Skylake GT2 and a Tesla T4, parts that are known to run these drivers.
        Personality::GvtG => ([0x8086, 0x1912], [0x8086, 0x2212], DISPLAY_VGA),
        Personality::Nvidia => ([0x10de, 0x1eb8], [0x10de, 0x130e], DISPLAY_VGA),
        // An 82574L network card.
        Personality::VfioPci => ([0x8086, 0x10d3], [0x8086, 0xa01f], ETHERNET),
    };
    Ids { part, board, class }
}

/// The first 256 bytes of configuration space.
pub(super) fn config_space(personality: Personality, size: Size) -> Vec<u8> {
    let Ids { part, board, class } = ids(personality);
    let mut config = vec![0; 256];
    let mut put = |at: usize, value: u16| config[at..at + 2].copy_from_slice(&value.to_le_bytes());
    put(0x00, part[0]);
    put(0x02, part[1]);
    put(0x04, 3); // I/O and memory decoding on
    put(0x0a, class);
    put(0x2c, board[0]);
    put(0x2e, board[1]);
    config[0x08] = 1;
    if personality == Personality::Mdpy {
        // A vendor capability that tells the mode: format, width, height.
        config[0x06] = 0x10;
        config[0x34] = 0x40;
        config[0x40..0x43].copy_from_slice(&[0x09, 0, 0x10]);
        let words = [PixelFormat::Xrgb8888.fourcc().raw(), size.width, size.height];
        for (at, word) in words.into_iter().enumerate() {
            config[0x44 + 4 * at..0x48 + 4 * at].copy_from_slice(&word.to_le_bytes());
        }
    }
    config
}
