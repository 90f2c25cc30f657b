// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The specification, its header in C and this crate say the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use vfio_display::device::{IrqIndex, RegionIndex};
use vfio_display::fb_region::layout::{self, damage, pci, plane, slot};
use vfio_display::fb_region::{self, Config, Op, Page, Producer, Shown, Status};
use vfio_display::format::{Modifier, PixelFormat};
use vfio_display::geometry::{Point, Rect, Size};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What this crate says, by the names of the header.
fn ours() -> BTreeMap<String, u64> {
    let (planes, slots, damages) = (layout::PLANES, layout::SLOTS, layout::DAMAGES);
    let mut all: Vec<(&str, u64)> = vec![
        ("VFIO_FB_REGION_SUBTYPE", fb_region::SUBTYPE.into()),
        ("VFIO_FB_PCI_CAP_ID", pci::ID.into()),
        ("VFIO_FB_PCI_CAP_VERSION", pci::VERSION.into()),
        ("VFIO_FB_MAGIC", layout::MAGIC_VALUE.into()),
        ("VFIO_FB_MAJOR", layout::VERSION.0.into()),
        ("VFIO_FB_MINOR", layout::VERSION.1.into()),
        ("VFIO_FB_PAGE_LEN", layout::PAGE_LEN as u64),
        ("VFIO_FB_HEADER_LEN", layout::HEADER_LEN.into()),
        ("VFIO_FB_MAX_PLANES", layout::MAX_PLANES.into()),
        ("VFIO_FB_MIN_SLOTS", layout::MIN_SLOTS.into()),
        ("VFIO_FB_MAX_SLOTS", layout::MAX_SLOTS.into()),
        ("VFIO_FB_MIN_DAMAGE", layout::MIN_DAMAGE.into()),
        ("VFIO_FB_MAX_SIDE", vfio_display::plane::MAX_SIDE.into()),
        ("VFIO_FB_CAPTURE", layout::CAPTURE.into()),
        ("VFIO_FB_DAMAGE", layout::DAMAGE.into()),
        ("VFIO_FB_WAKE", layout::WAKE.into()),
        ("VFIO_FB_PLANE_VISIBLE", plane::VISIBLE.into()),
        ("VFIO_FB_PLANE_LIVE", plane::LIVE.into()),
        ("VFIO_FB_PLANE_HOTSPOT", plane::HAS_HOTSPOT.into()),
        ("sizeof vfio_fb_plane", plane::LEN.into()),
        ("sizeof vfio_fb_slot", slot::LEN.into()),
        ("sizeof vfio_fb_damage", damage::LEN.into()),
        ("sizeof vfio_fb_pci_cap", pci::LEN.into()),
        ("sizeof vfio_fb_header", layout::HEADER_LEN.into()),
    ];
    for (name, offset) in [
        ("vfio_fb_header magic", layout::MAGIC.offset),
        ("vfio_fb_header major", layout::MAJOR.offset),
        ("vfio_fb_header minor", layout::MINOR.offset),
        ("vfio_fb_header header_len", layout::HEADER.offset),
        ("vfio_fb_header features", layout::FEATURES.offset),
        ("vfio_fb_header planes_offset", planes.0.offset),
        ("vfio_fb_header plane_count", planes.1.offset),
        ("vfio_fb_header plane_len", planes.2.offset),
        ("vfio_fb_header slots_offset", slots.0.offset),
        ("vfio_fb_header slot_count", slots.1.offset),
        ("vfio_fb_header slot_len", slots.2.offset),
        ("vfio_fb_header damage_offset", damages.0.offset),
        ("vfio_fb_header damage_count", damages.1.offset),
        ("vfio_fb_header damage_len", damages.2.offset),
        ("vfio_fb_header wake_index", layout::WAKE_INDEX.offset),
        ("vfio_fb_header sequence", layout::SEQUENCE.offset),
        ("vfio_fb_header generation", layout::GENERATION.offset),
        ("vfio_fb_header frame", layout::FRAME.offset),
        ("vfio_fb_header damage_floor", layout::DAMAGE_FLOOR.offset),
        ("vfio_fb_header damage_head", layout::DAMAGE_HEAD.offset),
        ("vfio_fb_header refused_request", layout::REFUSED_REQUEST.offset),
        ("vfio_fb_header refused_status", layout::REFUSED_STATUS.offset),
        ("vfio_fb_header command", layout::COMMAND.offset),
        ("vfio_fb_header demand", layout::DEMAND.offset),
        ("vfio_fb_plane type", plane::TYPE.offset),
        ("vfio_fb_plane flags", plane::FLAGS.offset),
        ("vfio_fb_plane fourcc", plane::FOURCC.offset),
        ("vfio_fb_plane width", plane::WIDTH.offset),
        ("vfio_fb_plane height", plane::HEIGHT.offset),
        ("vfio_fb_plane stride", plane::STRIDE.offset),
        ("vfio_fb_plane modifier", plane::MODIFIER.offset),
        ("vfio_fb_plane offset", plane::OFFSET.offset),
        ("vfio_fb_plane len", plane::BYTES.offset),
        ("vfio_fb_plane region", plane::REGION.offset),
        ("vfio_fb_plane x", plane::X.offset),
        ("vfio_fb_plane y", plane::Y.offset),
        ("vfio_fb_plane hot_x", plane::HOT_X.offset),
        ("vfio_fb_plane hot_y", plane::HOT_Y.offset),
        ("vfio_fb_plane frame", plane::FRAME.offset),
        ("vfio_fb_slot offset", slot::OFFSET.offset),
        ("vfio_fb_slot len", slot::BYTES.offset),
        ("vfio_fb_slot request", slot::REQUEST.offset),
        ("vfio_fb_slot status", slot::STATUS.offset),
        ("vfio_fb_slot frame", slot::FRAME.offset),
        ("vfio_fb_slot generation", slot::GENERATION.offset),
        ("vfio_fb_slot plane", slot::PLANE.offset),
        ("vfio_fb_slot fourcc", slot::FOURCC.offset),
        ("vfio_fb_slot width", slot::WIDTH.offset),
        ("vfio_fb_slot height", slot::HEIGHT.offset),
        ("vfio_fb_slot stride", slot::STRIDE.offset),
        ("vfio_fb_slot modifier", slot::MODIFIER.offset),
        ("vfio_fb_damage frame", damage::FRAME.offset),
        ("vfio_fb_damage plane", damage::PLANE.offset),
        ("vfio_fb_damage x", damage::X.offset),
        ("vfio_fb_damage y", damage::Y.offset),
        ("vfio_fb_damage width", damage::WIDTH.offset),
        ("vfio_fb_damage height", damage::HEIGHT.offset),
        ("vfio_fb_pci_cap signature", pci::SIGNATURE.offset),
        ("vfio_fb_pci_cap region", pci::REGION.offset),
    ] {
        all.push((name, offset as u64));
    }
    for (name, status) in [
        ("VFIO_FB_FREE", Status::Free),
        ("VFIO_FB_PENDING", Status::Pending),
        ("VFIO_FB_DONE", Status::Done),
        ("VFIO_FB_CANCELLED", Status::Cancelled),
        ("VFIO_FB_HIDDEN", Status::Hidden),
        ("VFIO_FB_NO_ROOM", Status::NoRoom),
        ("VFIO_FB_FAILED", Status::Failed),
        ("VFIO_FB_BAD_PLANE", Status::BadPlane),
        ("VFIO_FB_BUSY", Status::Busy),
        ("VFIO_FB_BAD_SLOT", Status::BadSlot),
        ("VFIO_FB_BAD_OP", Status::BadOp),
        ("VFIO_FB_BAD_REQUEST", Status::BadRequest),
    ] {
        all.push((name, status.raw().into()));
    }
    let command = fb_region::Command { request: 0x0403_0201, op: Op::Capture(5), slot: 6 }.raw();
    let cancel = fb_region::Command { request: 1, op: Op::Cancel, slot: 6 }.raw();
    all.extend([
        ("request of a command", 0x0403_0201),
        ("op of a command", command >> 32 & 0xff),
        ("plane of a command", 5),
        ("slot of a command", 6),
        ("op of a cancel", cancel >> 32 & 0xff),
    ]);
    all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The same out of the header, by a C compiler.
fn theirs(names: impl Iterator<Item = String>) -> BTreeMap<String, u64> {
    let command = fb_region::Command { request: 0x0403_0201, op: Op::Capture(5), slot: 6 }.raw();
    let mut source = String::from(
        "#include <stddef.h>\n#include <stdio.h>\n#include \"vfio_fb_region.h\"\nint main(void) {\n",
    );
    for name in names {
        let value = match name.split_once(' ') {
            Some(("sizeof", of)) => format!("sizeof(struct {of})"),
            Some(("request", _)) => format!("VFIO_FB_COMMAND_REQUEST({command}ULL)"),
            Some(("op", "of a command")) => format!("VFIO_FB_COMMAND_OP({command}ULL)"),
            Some(("op", _)) => "VFIO_FB_OP_CANCEL".into(),
            Some(("plane", _)) => format!("VFIO_FB_COMMAND_PLANE({command}ULL)"),
            Some(("slot", _)) => format!("VFIO_FB_COMMAND_SLOT({command}ULL)"),
            Some((of, field)) => format!("offsetof(struct {of}, {field})"),
            None => name.clone(),
        };
        writeln!(source, "\tprintf(\"{name}=%llu\\n\", (unsigned long long)({value}));").unwrap();
    }
    source += "\treturn 0;\n}\n";
    let directory = tempfile::tempdir().unwrap();
    let (file, program) = (directory.path().join("header.c"), directory.path().join("header"));
    fs::write(&file, source).unwrap();
    let compiled = Command::new("cc")
        .args(["-std=c11", "-Wall", "-Wextra", "-Wpadded", "-Werror", "-I"])
        .arg(root().join("include"))
        .arg(&file)
        .arg("-o")
        .arg(&program)
        .output()
        .expect("cc, which the linker of this test was, starts");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let output = Command::new(program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let (name, value) = line.split_once('=').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

#[test]
fn the_header_has_our_numbers() {
    let ours = ours();
    assert_eq!(theirs(ours.keys().cloned()), ours);
    // And nothing that is not compared: fields that are not reserved, and constants.
    let header = fs::read_to_string(root().join("include/vfio_fb_region.h")).unwrap();
    let fields = header.lines().filter(|line| {
        let line = line.trim_start();
        line.starts_with("__le") && !line.contains("reserved")
    });
    let compared = ours.keys().filter(|name| name.contains(' ')).count();
    let (sizes, commands) = (5, 5);
    assert_eq!(fields.count(), compared - sizes - commands, "each field is compared");
}

#[test]
fn the_tables_of_the_specification_have_our_numbers() {
    let text = fs::read_to_string(root().join("docs/framebuffer-region.md")).unwrap();
    let mut section = "vfio_fb_header";
    let mut found = BTreeMap::new();
    for line in text.lines() {
        section = match line {
            "## The page" => "vfio_fb_header",
            "### A plane" => "vfio_fb_plane",
            "### A slot" => "vfio_fb_slot",
            "### A damage record" => "vfio_fb_damage",
            "### Status" => "VFIO_FB",
            _ => section,
        };
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, number, kind, name, ..] = cells[..] else { continue };
        if let (Some(offset), "u16" | "u32" | "u64" | "i32") = (number.strip_prefix("0x"), kind) {
            let offset = u64::from_str_radix(offset, 16).unwrap();
            found.insert(format!("{section} {}", name.trim_matches('`')), offset);
        } else if let (Ok(status), "VFIO_FB") = (number.parse::<u64>(), section) {
            found.insert(format!("VFIO_FB_{kind}"), status);
        }
    }
    let ours = ours();
    for (name, number) in &found {
        assert_eq!(ours.get(name), Some(number), "{name}");
    }
    let fields = |name: &&String| name.contains(' ') && !name.contains(" of ");
    let others = ["sizeof", "vfio_fb_pci_cap"];
    let wanted =
        ours.keys().filter(fields).filter(|name| !others.iter().any(|o| name.starts_with(o)));
    assert_eq!(found.keys().filter(fields).count(), wanted.count(), "each field is in a table");
}

/// The device of the worked page: 640x480, a frame, a capture of it, and a letter typed after that.
fn worked() -> Producer {
    let size = Size::new(640, 480);
    let config = Config { wake: Some(IrqIndex(5)), ..Config::new(size.area() * 4) };
    let mut producer = Producer::new(&config).unwrap();
    producer.write(layout::DEMAND.offset as u64, &60_000_u32.to_le_bytes()).unwrap();
    let mut frame = producer.begin();
    frame.plane(
        0,
        &Shown::Picture {
            fourcc: PixelFormat::Xrgb8888.fourcc(),
            modifier: Modifier::LINEAR,
            size,
            live: None,
            position: Point::default(),
            hotspot: None,
        },
    );
    frame.damage(0, size.rect());
    frame.publish();
    let capture = fb_region::Command { request: 0x1234, op: Op::Capture(0), slot: 0 };
    producer.write(layout::COMMAND.offset as u64, &capture.raw().to_le_bytes()).unwrap();
    let pending: Vec<_> = producer.pending().collect();
    assert!(producer.complete(&pending[0], Ok(2560)));
    let mut frame = producer.begin();
    frame.damage(0, Rect { x: 100, y: 50, width: 12, height: 24 });
    frame.publish();
    producer
}

/// 16 bytes a line, as `xxd -g 4 -e` does not: bytes in their order. Lines of zeros are left out.
fn hexdump(bytes: &[u8]) -> String {
    let mut text = String::new();
    for (at, line) in (0..).step_by(16).zip(bytes.chunks(16)) {
        if line.iter().any(|&byte| byte != 0) {
            let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{at:03x}  {}  {}", hex[..8].join(" "), hex[8..].join(" ")).unwrap();
        }
    }
    text
}

#[test]
fn the_worked_page_is_what_a_producer_makes_and_a_consumer_reads() {
    let producer = worked();
    let mut bytes = [0; layout::PAGE_LEN];
    producer.read(0, &mut bytes).unwrap();
    let text = fs::read_to_string(root().join("docs/framebuffer-region.md")).unwrap();
    let (_, worked) = text.split_once("## A page, worked").unwrap();
    let dump = worked.split("```").nth(1).unwrap().trim_start_matches("text\n");
    let made = hexdump(&bytes);
    assert!(dump == made, "the document's page is not this one:\n{made}");

    let mut read = Box::new([0; layout::PAGE_LEN]);
    for line in dump.lines() {
        let mut words = line.split_whitespace();
        let at = usize::from_str_radix(words.next().unwrap(), 16).unwrap();
        for (byte, word) in read[at..].iter_mut().zip(words) {
            *byte = u8::from_str_radix(word, 16).unwrap();
        }
    }
    let page = Page::new(read, 0x25_9000).unwrap();
    assert_eq!(page.identity().wake, Some(IrqIndex(5)));
    assert_eq!((page.frame(), page.generation()), (3, 1));
    let slot = page.slots().next().unwrap();
    assert_eq!((slot.request, slot.status, slot.frame), (0x1234, 2, 2));
    assert_eq!((slot.size, slot.stride), (Size::new(640, 480), 2560));
    let plane = page.planes().next().unwrap();
    assert_eq!((plane.size, plane.frame), (Size::new(640, 480), 3));
    let capability = fb_region::pci_capability(RegionIndex(9), 0);
    assert_eq!(hexdump(&capability), "000  09 00 10 01 56 46 42 52  09 00 00 00 00 00 00 00\n");
}
