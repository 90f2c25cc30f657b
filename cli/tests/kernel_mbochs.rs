// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command and the library on the kernel's mbochs: dma-buf planes, modes, page flips.
//!
//! The kernel runs with `oops=panic`: exporting a dma-buf a second time would end all tests.

mod support;

use std::fs;

use support::{Mdev, assert_same, load_mbochs, shot, stderr, vfio_display};
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict, Opened};
use vfio_display::testing::card::Card;
use vfio_display::testing::guest::{bochs, map_bar};
use vfio_display::{Display, Look, WritableMapping};

/// A device with its memory, held open as a VMM holds it: mbochs forgets all at the last close.
struct Vmm {
    device: Opened,
    memory: WritableMapping,
    _mdev: Mdev,
}

impl Vmm {
    fn start(kind: &str) -> Self {
        let mdev = Mdev::create(kind);
        let name = mdev.uuid.parse().expect("a UUID");
        let device = Host::new().open(&name, OnConflict::Refuse).expect("mbochs opens");
        let memory = map_bar(&device, bochs::MEMORY_BAR).expect("BAR 0 maps");
        Self { device, memory, _mdev: mdev }
    }

    fn vbe(&self) -> bochs::Vbe<&Opened> {
        bochs::Vbe::new(&self.device).expect("BAR 2 is there")
    }
}

/// Draws `picture`, `width` pixels a row, from row `first` of a screen as wide.
fn draw(memory: &mut WritableMapping, first: u32, width: u32, picture: &[u32]) {
    let bytes: Vec<u8> = picture.iter().flat_map(|pixel| pixel.to_le_bytes()).collect();
    assert!(memory.copy_in(first as usize * width as usize * 4, &bytes));
}

/// How this process is named for the command to borrow its device.
fn ourselves() -> String {
    format!("pid:{}", std::process::id())
}

fn open_fds() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc is mounted").count()
}

/// Modes that each type takes, and whose size is a multiple of the page size: of any other, the
/// kernel maps all but the last part of a page.
const MODES: [(&str, &[Size]); 3] = [
    ("mbochs-small", &[Size::new(640, 480), Size::new(800, 512)]),
    ("mbochs-medium", &[Size::new(640, 480), Size::new(1024, 768), Size::new(1920, 1440)]),
    ("mbochs-large", &[Size::new(1280, 1024), Size::new(3840, 2160)]),
];

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn with_mappable_buffers_every_mode_comes_out_bit_for_bit() {
    load_mbochs(true);
    for (kind, modes) in MODES {
        let mut vmm = Vmm::start(kind);
        for (n, &size) in modes.iter().enumerate() {
            let picture = Card::new(size, n as u64).picture();
            draw(&mut vmm.memory, 0, size.width, &picture);
            vmm.vbe().set_mode(size).expect("the mode is set");
            let (shown, pixels) = shot(&ourselves());
            assert_eq!(shown, size, "{kind}");
            assert_same(size, &picture, &pixels);
        }
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_buffer_that_ends_within_a_page_says_why_it_can_t_be_mapped() {
    load_mbochs(true);
    let vmm = Vmm::start("mbochs-small");
    vmm.vbe().set_mode(Size::new(800, 600)).expect("the mode is set");
    let output = vfio_display(&["shot", &ourselves(), "-o", "/tmp/part.png"]);
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    assert!(stderr(&output).contains("no multiple of 4096"), "{}", stderr(&output));
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn off_and_on_again_and_no_mode_looks_off() {
    load_mbochs(true);
    let mut vmm = Vmm::start("mbochs-medium");
    let mut display = Display::new(&vmm.device).expect("mbochs has a display");
    assert_eq!(display.look(), Ok(Look::Off));
    let mut held = 0;
    for n in 0..6 {
        let size = [Size::new(640, 480), Size::new(1024, 768), Size::new(1280, 1024)][n % 3];
        let picture = Card::new(size, n as u64).picture();
        draw(&mut vmm.memory, 0, size.width, &picture);
        vmm.vbe().set_mode(size).expect("the mode is set");
        // The first query of a new mode fails with ENOMEM, which is held, never off.
        let mut looks = 0;
        let pixels = loop {
            looks += 1;
            match display.look().expect("mbochs answers") {
                Look::Live(_, picture) => break picture.pixels().to_vec(),
                Look::Held(error, _) => {
                    assert_eq!(error.errno().and_then(|errno| errno.name()), Some("ENOMEM"));
                    held += 1;
                }
                other => panic!("look {looks} at {size} found {other:?}"),
            }
            assert!(looks < 4, "{size} does not come up");
        };
        assert_same(size, &picture, &pixels);
        vmm.vbe().off().expect("the display goes off");
        assert_eq!(display.look(), Ok(Look::Off));
    }
    assert!(held >= 3, "each of three new modes fails once, {held} did");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_thousand_flips_export_each_buffer_once() {
    for read_write in [true, false] {
        load_mbochs(read_write);
        let size = Size::new(640, 480);
        let mut vmm = Vmm::start("mbochs-medium");
        let pictures = [0, 1, 2].map(|n| Card::new(size, n).picture());
        for (n, picture) in pictures.iter().enumerate() {
            draw(&mut vmm.memory, n as u32 * size.height, size.width, picture);
        }
        vmm.vbe().set_mode(size).expect("the mode is set");
        let mut display = Display::new(&vmm.device).expect("mbochs has a display");
        let mut fds = None;
        for flip in 0..1000 {
            let n = flip % pictures.len();
            vmm.vbe().flip((n * size.height as usize) as u16).expect("the page flips");
            let shown = loop {
                match display.look() {
                    Ok(Look::Live(_, picture)) => break Some(picture.pixels().to_vec()),
                    Ok(Look::Held(..)) => {}
                    Ok(other) => panic!("flip {flip}: {other:?}"),
                    Err(vfio_display::Error::NotMappable { .. }) if !read_write => break None,
                    Err(error) => panic!("flip {flip}: {error}"),
                }
            };
            if let Some(shown) = shown {
                assert_same(size, &pictures[n], &shown);
            }
            // Every page has been seen after the first round: from then on no fd is opened.
            if flip == pictures.len() {
                fds = Some(open_fds());
            }
        }
        assert_eq!(fds, Some(open_fds()), "fds after 1000 flips, read-write: {read_write}");
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn as_shipped_the_command_says_that_the_buffer_can_t_be_mapped() {
    load_mbochs(false);
    let vmm = Vmm::start("mbochs-medium");
    vmm.vbe().set_mode(Size::new(1024, 768)).expect("the mode is set");
    let output = vfio_display(&["shot", &ourselves(), "-o", "/tmp/shipped.png"]);
    assert_eq!(output.status.code(), Some(8), "{}", stderr(&output));
    let told = stderr(&output);
    assert!(told.contains("can't be mapped by the CPU") && told.contains("GPU"), "{told}");
    assert!(!std::path::Path::new("/tmp/shipped.png").exists());
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_display_that_stays_off_is_told_from_one_that_fails() {
    load_mbochs(false);
    let _vmm = Vmm::start("mbochs-small");
    let output = vfio_display(&["shot", &ourselves(), "-o", "/tmp/off.png", "--wait", "0.3"]);
    assert_eq!(output.status.code(), Some(7), "{}", stderr(&output));
    assert!(stderr(&output).contains("the display is off"), "{}", stderr(&output));
}
