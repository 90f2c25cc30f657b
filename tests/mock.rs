// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Each quirk of each personality, as a host sees it.

use std::os::fd::AsFd as _;

use vfio_display::device::{
    DmabufId, GfxDevice as _, PlaneKind, PlaneType, RegionDevice as _, RegionIndex,
};
use vfio_display::format::{Fourcc, PixelFormat};
use vfio_display::geometry::{Point, Size};
use vfio_display::region::{RegionFlags, RegionInfo};
use vfio_display::testing::guest::{bochs, map_bar};
use vfio_display::testing::{EdidWrite, KernelBug, Mock, Mode, Op, Personality};
use vfio_display::uapi::PlaneInfo;
use vfio_display::{Errno, Error, Mapping};

const XGA: Size = Size::new(1024, 768);

fn mock(personality: Personality) -> Mock {
    Mock::new(personality, XGA).unwrap()
}

/// A dma-buf's or region's plane, asked for until a transient error is over.
fn query(mock: &Mock, plane: PlaneType) -> PlaneInfo {
    let kind = mock.personality().plane_kind().unwrap();
    for _ in 0..3 {
        match mock.query_plane(plane, kind) {
            Ok(info) => return info,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
    panic!("{}: still transient", mock.personality());
}

fn screen(mock: &Mock) -> PlaneInfo {
    query(mock, PlaneType::Primary)
}

fn export(mock: &Mock) -> std::os::fd::OwnedFd {
    mock.export_dmabuf(DmabufId(screen(mock).region_or_dmabuf)).unwrap()
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Option<&'static str> {
    result.unwrap_err().errno().and_then(Errno::name)
}

fn region(mock: &Mock, index: u32) -> RegionInfo {
    mock.region_info(RegionIndex(index)).unwrap()
}

fn pixels(mapping: &Mapping, offset: usize, count: usize) -> Vec<u32> {
    let mut bytes = vec![0; count * 4];
    assert!(mapping.copy_out(offset, &mut bytes));
    bytes.chunks_exact(4).map(|p| u32::from_le_bytes([p[0], p[1], p[2], 0])).collect()
}

/// The screen's first row, as the host reads it.
fn first_row(mock: &Mock) -> Vec<u32> {
    let info = screen(mock);
    let mapping = match mock.personality().plane_kind().unwrap() {
        PlaneKind::Region => {
            let region = region(mock, info.region_or_dmabuf);
            mock.map(&region, 0, u64::from(info.size)).unwrap()
        }
        PlaneKind::Dmabuf => Mapping::new(export(mock).as_fd(), 0, info.size as usize).unwrap(),
    };
    pixels(&mapping, 0, info.width as usize)
}

#[test]
fn what_the_guest_draws_is_what_the_host_reads() {
    for personality in Personality::ALL.into_iter().filter(|p| p.cpu_readable()) {
        let mock = mock(personality);
        let picture: Vec<u32> = (0..XGA.area() as u32).map(|at| (at * 37) & 0xff_ffff).collect();
        mock.draw(&picture).unwrap();
        assert_eq!(first_row(&mock), picture[..1024], "{personality}");
        mock.draw_rows(0, &[0x00aa_bbcc; 1024]).unwrap();
        assert_eq!(first_row(&mock), [0x00aa_bbcc; 1024], "{personality}");
    }
}

#[test]
fn names_are_read_as_they_are_written() {
    for personality in Personality::ALL {
        assert_eq!(personality.to_string().parse(), Ok(personality));
        assert!(!personality.description().is_empty());
    }
    let error = "mbox".parse::<Personality>().unwrap_err().to_string();
    for personality in Personality::ALL {
        assert!(error.contains(personality.name()), "{error}");
    }
}

#[test]
fn probes_offer_one_kind() {
    for personality in Personality::ALL {
        let mock = mock(personality);
        let offered = personality.plane_kind();
        let no = if offered.is_some() { "EINVAL" } else { "ENOTTY" };
        for kind in PlaneKind::ALL {
            match mock.probe(kind) {
                Ok(()) => assert_eq!(offered, Some(kind), "{personality}"),
                error => assert_eq!(refused(error), Some(no), "{personality}"),
            }
        }
        assert_eq!(mock.calls(Op::Probe), 2);
    }
}

#[test]
fn a_device_is_known_by_its_configuration_space() {
    for (personality, part, class) in [
        (Personality::Mdpy, 0x000f_1b36, 0x0380),
        (Personality::Mbochs, 0x1111_1234, 0x0380),
        (Personality::MbochsRw, 0x1111_1234, 0x0380),
        (Personality::GvtG, 0x1912_8086, 0x0300),
        (Personality::Nvidia, 0x1eb8_10de, 0x0300),
        (Personality::VfioPci, 0x10d3_8086, 0x0200),
    ] {
        let mock = mock(personality);
        let config = region(&mock, 7);
        let (mut id, mut code) = ([0; 4], [0; 2]);
        mock.read(&config, 0, &mut id).unwrap();
        mock.read(&config, 0x0a, &mut code).unwrap();
        assert_eq!(u32::from_le_bytes(id), part, "{personality}");
        assert_eq!(u16::from_le_bytes(code), class, "{personality}");
    }
}

#[test]
fn planes_hide_past_the_regions_that_are_admitted() {
    for (personality, admitted, plane) in [(Personality::Mdpy, 9, 16), (Personality::Nvidia, 9, 9)]
    {
        let mock = mock(personality);
        assert_eq!(mock.device_info().unwrap().num_regions, admitted);
        assert_eq!(screen(&mock).region_or_dmabuf, plane);
        assert!(region(&mock, plane).size > 0);
        for hole in [10, 15] {
            assert_eq!(refused(mock.region_info(RegionIndex(hole))), Some("EINVAL"));
        }
    }
}

#[test]
fn mdpy_answers_every_plane_with_its_screen() {
    let mock = mock(Personality::Mdpy);
    let cursor = query(&mock, PlaneType::Cursor);
    assert_eq!((cursor.width, cursor.height, cursor.stride), (1024, 768, 4096));
    assert_eq!(cursor.size, 4 << 20, "a power of two");
    mock.off();
    assert_ne!(screen(&mock).drm_format, 0, "never off");
    assert!(mock.set_mode(Size::new(640, 480)).is_err(), "one mode");
}

#[test]
fn mdpy_is_mapped_from_its_start_alone() {
    let mock = mock(Personality::Mdpy);
    let whole = region(&mock, 16);
    assert!(mock.map(&whole, 0, whole.size).is_ok());
    let part = RegionInfo { offset: whole.offset + 4096, size: whole.size - 4096, ..whole.clone() };
    assert_eq!(refused(mock.map(&part, 0, 4096)), Some("EINVAL"));
    let more = RegionInfo { size: whole.size + 4096, ..whole };
    assert_eq!(refused(mock.map(&more, 0, more.size)), Some("EINVAL"));
}

#[test]
fn mdpy_reads_its_first_pixel_wherever_it_is_asked() {
    let mock = mock(Personality::Mdpy);
    mock.draw_rows(0, &(0..1024).collect::<Vec<u32>>()).unwrap();
    let mut pixel = [0; 8];
    mock.read(&region(&mock, 16), 400, &mut pixel).unwrap();
    assert_eq!(pixel[..3], [0, 0, 0]);
    assert_eq!(pixel[4..7], [0, 0, 0]);
    mock.reset().unwrap();
    let mapping = mock.map(&region(&mock, 16), 0, 4 << 20).unwrap();
    assert_eq!(pixels(&mapping, 384 * 4096, 1), [0x007f_7f7f], "a grey gradient");
}

#[test]
fn mbochs_is_out_of_memory_once_for_each_new_framebuffer() {
    let mock = Mock::new(Personality::Mbochs, XGA).unwrap();
    let ask = || mock.query_plane(PlaneType::Primary, PlaneKind::Dmabuf);
    assert_eq!(refused(ask()), Some("ENOMEM"));
    let first = ask().unwrap();
    mock.flip_to(1).unwrap();
    assert_eq!(refused(ask()), Some("ENOMEM"));
    let second = ask().unwrap();
    assert_ne!(first.region_or_dmabuf, second.region_or_dmabuf);
    mock.flip_to(0).unwrap();
    assert_eq!(ask().unwrap(), first, "flipping back reuses the id");
    mock.set_mode(Mode::new(Size::new(1022, 767)).padding(8)).unwrap();
    let odd = screen(&mock);
    assert_eq!((odd.stride, odd.size), (4096, 4096 * 767), "wide rows, no whole pages asked");
}

#[test]
fn mbochs_knows_one_format_and_no_small_screens() {
    let mock = mock(Personality::Mbochs);
    for mode in [
        Mode::new(XGA).format(PixelFormat::Rgb565),
        Mode::new(Size::new(63, 64)),
        Mode::new(Size::new(64, 63)),
    ] {
        mock.set_mode(mode).unwrap();
        assert_eq!(screen(&mock).drm_format, 0, "{mode:?}");
    }
    mock.set_mode(Size::new(64, 64)).unwrap();
    assert_ne!(screen(&mock).drm_format, 0);
    mock.off();
    assert_eq!(screen(&mock).drm_format, 0);
    assert_eq!(query(&mock, PlaneType::Cursor).drm_format, 0);
}

#[test]
fn a_gpu_only_dmabuf_has_a_size_and_no_mapping() {
    for personality in [Personality::Mbochs, Personality::GvtG] {
        let mock = mock(personality);
        let fd = export(&mock);
        let len = rustix::fs::seek(&fd, rustix::fs::SeekFrom::End(0)).unwrap();
        assert_eq!(len, 4096 * 768, "{personality}");
        let error = Mapping::new(fd.as_fd(), 0, 4096).unwrap_err();
        assert_eq!(error, rustix::io::Errno::ACCESS, "{personality}");
    }
}

#[test]
fn mbochs_refuses_unknown_ids_and_unaligned_framebuffers() {
    let mock = mock(Personality::MbochsRw);
    assert_eq!(refused(mock.export_dmabuf(DmabufId(77))), Some("ENOENT"));
    let vbe = bochs::Vbe::new(&mock).unwrap();
    vbe.write(bochs::Register::XOffset, 3).unwrap();
    let id = DmabufId(screen(&mock).region_or_dmabuf);
    assert_eq!(refused(mock.export_dmabuf(id)), Some("EINVAL"));
    assert_eq!(mock.kernel_bugs(), []);
}

#[test]
fn mbochs_hands_an_open_file_out_twice_and_the_kernel_stops() {
    let mock = mock(Personality::MbochsRw);
    let id = DmabufId(screen(&mock).region_or_dmabuf);
    let first = mock.export_dmabuf(id).unwrap();
    let copy = first.try_clone().unwrap();
    assert_eq!(mock.kernel_bugs(), [], "a duplicate is a reference");
    let second = mock.export_dmabuf(id).unwrap();
    let bug = |closed| [KernelBug::ExportedWhileOpen { id, closed }];
    assert_eq!(mock.kernel_bugs(), bug(false));
    drop((first, copy));
    assert_eq!(mock.kernel_bugs(), bug(false));
    drop(second);
    assert_eq!(mock.kernel_bugs(), bug(true));
}

#[test]
fn mbochs_frees_pages_in_use_at_the_second_close() {
    let mock = mock(Personality::MbochsRw);
    drop(export(&mock));
    assert_eq!(mock.kernel_bugs(), []);
    let again = export(&mock);
    assert_eq!(mock.kernel_bugs(), []);
    drop(again);
    let id = DmabufId(screen(&mock).region_or_dmabuf);
    assert_eq!(mock.kernel_bugs(), [KernelBug::PagesFreedTwice { id }]);
}

#[test]
fn mbochs_looks_two_pages_off_when_memory_is_read() {
    let mock = mock(Personality::MbochsRw);
    mock.draw_rows(2, &[0x0012_3456; 1024]).unwrap();
    let memory = region(&mock, 0);
    let mut pixel = [0; 4];
    mock.read(&memory, 0, &mut pixel).unwrap();
    assert_eq!(pixel[..3], [0x56, 0x34, 0x12], "row 2, a page a row");
    mock.read(&memory, memory.size - 8192 - 4, &mut pixel).unwrap();
    assert_eq!(mock.kernel_bugs(), []);
    mock.read(&memory, memory.size - 8192, &mut pixel).unwrap();
    assert_eq!(mock.kernel_bugs(), [KernelBug::MemoryOverrun]);
}

#[test]
fn a_guest_on_the_registers_of_mbochs_is_seen() {
    let mock = Mock::without_guest(Personality::MbochsRw, XGA).unwrap();
    assert_eq!(screen(&mock).drm_format, 0, "off before a guest comes");
    let vbe = bochs::Vbe::new(&mock).unwrap();
    assert_eq!(vbe.read(bochs::Register::Id).unwrap(), bochs::ID5);
    vbe.set_mode(Size::new(800, 600)).unwrap();
    let mut memory = map_bar(&mock, bochs::MEMORY_BAR).unwrap();
    assert!(memory.copy_in(0, &[1, 2, 3, 0]));
    assert!(memory.copy_in(608 * 3200, &[4, 5, 6, 0]));
    assert_eq!(first_row(&mock)[0], 0x0003_0201);
    vbe.flip(608).unwrap(); // The next row that starts a page.
    assert_eq!(first_row(&mock)[0], 0x0006_0504);
    vbe.off().unwrap();
    assert_eq!(screen(&mock).drm_format, 0);
    mock.reset().unwrap();
    assert_eq!(vbe.read(bochs::Register::Xres).unwrap(), 0);
}

#[test]
fn mbochs_takes_any_edid_numbers_and_shows_the_guest_what_is_up() {
    let mock = mock(Personality::Mbochs);
    let edid = region(&mock, 9);
    assert!(edid.is_edid());
    let put = |at: u64, value: u32| mock.write(&edid, at, &value.to_ne_bytes());
    put(20, 7).unwrap();
    put(8, 5000).unwrap();
    mock.write(&edid, 2048, &[0x5A; 128]).unwrap();
    assert_eq!(mock.edid(), None, "the link is not up");
    put(20, 1).unwrap();
    assert_eq!(mock.edid().unwrap()[..128], [0x5A; 128]);
    let mut seen = [0; 4];
    mock.read(&region(&mock, 2), 0, &mut seen).unwrap();
    assert_eq!(seen, [0x5A; 4], "at the start of BAR 2");
    put(20, 2).unwrap();
    assert_eq!((mock.edid(), mock.link_state()), (None, 2));
    assert_eq!(
        mock.edid_writes(),
        [
            EdidWrite::Link(7),
            EdidWrite::Size(5000),
            EdidWrite::Blob { offset: 0, len: 128 },
            EdidWrite::Link(1),
            EdidWrite::Link(2),
        ]
    );
}

#[test]
fn gvt_g_is_transient_after_a_mode_change_in_two_ways() {
    let mock = mock(Personality::GvtG);
    let ask = || mock.query_plane(PlaneType::Primary, PlaneKind::Dmabuf);
    assert_eq!(refused(ask()), Some("EFAULT"));
    ask().unwrap();
    mock.set_mode(Size::new(800, 600)).unwrap();
    assert_eq!(refused(ask()), Some("EINVAL"));
    ask().unwrap();
    let overlay = mock.query_plane(PlaneType::Overlay, PlaneKind::Dmabuf);
    assert_eq!(refused(overlay), Some("EINVAL"));
    mock.off();
    let off = ask().unwrap();
    let untouched = PlaneInfo { argsz: 64, flags: 2, drm_plane_type: 1, ..Default::default() };
    assert_eq!(off, untouched);
}

#[test]
fn gvt_g_reuses_the_id_of_a_closed_dmabuf() {
    let mock = mock(Personality::GvtG);
    let held = export(&mock);
    assert_eq!(screen(&mock).region_or_dmabuf, 1);
    mock.set_mode(Size::new(800, 600)).unwrap();
    assert_eq!(screen(&mock).region_or_dmabuf, 2, "1 is still open");
    drop(held);
    mock.set_mode(Size::new(640, 480)).unwrap();
    assert_eq!(screen(&mock).region_or_dmabuf, 1);
    assert_eq!(refused(mock.export_dmabuf(DmabufId(9))), Some("EINVAL"));
}

#[test]
fn gvt_g_rounds_to_tiles() {
    let mock = Mock::without_guest(Personality::GvtG, XGA).unwrap();
    let size = Size::new(1000, 601);
    for (modifier, rows) in [(0, 601), (1 << 56 | 1, 608), (1 << 56 | 2, 608), (1 << 56 | 3, 608)] {
        let modifier = vfio_display::format::Modifier::from_raw(modifier);
        mock.set_mode(Mode::new(size).say_modifier(modifier)).unwrap();
        let info = screen(&mock);
        assert_eq!(info.stride, 4032);
        assert_eq!(info.size, info.stride * rows, "{modifier}");
        assert_eq!(info.drm_format_mod, modifier.raw());
    }
}

#[test]
fn a_cursor_has_a_place_and_loses_its_sign_on_gvt_g() {
    for (personality, x, y) in [
        (Personality::WellBehaved, -5_i32, -7_i32),
        (Personality::Region, -5, -7),
        (Personality::GvtG, 5, 7),
    ] {
        let mock = mock(personality);
        assert_eq!(query(&mock, PlaneType::Cursor).drm_format, 0, "{personality}");
        mock.set_cursor(Size::new(64, 64), &[0x8011_2233; 64 * 64]).unwrap();
        mock.move_cursor(Point::new(-5, -7));
        let info = query(&mock, PlaneType::Cursor);
        assert_eq!(Fourcc::from_raw(info.drm_format), PixelFormat::Argb8888.fourcc());
        assert_eq!((info.x_pos.cast_signed(), info.y_pos.cast_signed()), (x, y), "{personality}");
        assert_eq!((info.x_hot, info.y_hot), (u32::MAX, u32::MAX), "{personality}");
        mock.set_hotspot(Some(Point::new(3, 4)));
        let info = query(&mock, PlaneType::Cursor);
        assert_eq!((info.x_hot, info.y_hot), (3, 4), "{personality}");
        mock.hide_cursor();
        assert_eq!(query(&mock, PlaneType::Cursor).drm_format, 0, "{personality}");
    }
}

#[test]
fn gvt_g_keeps_its_edid_outside_the_region() {
    let mock = mock(Personality::GvtG);
    let edid = region(&mock, 10);
    assert!(edid.is_edid());
    assert_eq!(edid.size, 128);
    let wide = RegionInfo { size: 4096, ..edid.clone() };
    let put = |at: u64, value: u32| mock.write(&edid, at, &value.to_ne_bytes());
    assert_eq!(refused(put(8, 256)), Some("EFAULT"), "128 at most");
    put(20, 2).unwrap();
    put(8, 64).unwrap();
    assert_eq!(refused(mock.write(&wide, 2048, &[0; 128])), Some("EFAULT"), "size first");
    put(8, 128).unwrap();
    let mut blob = [0; 128];
    blob[0] = 1;
    mock.write(&wide, 2048, &blob).unwrap();
    assert_eq!(refused(put(20, 1)), Some("EFAULT"), "a checksum that is wrong");
    blob[127] = 255;
    mock.write(&wide, 2048, &blob).unwrap();
    put(20, 1).unwrap();
    assert_eq!(mock.edid().unwrap(), blob);
}

#[test]
fn nvidia_pads_rows_and_calls_it_width() {
    let mock = Mock::without_guest(Personality::Nvidia, XGA).unwrap();
    assert_eq!(screen(&mock).drm_format, 0, "off until a guest comes");
    // 1600x900 fits its rows and yet is no whole number of pages.
    for (width, height, reported, black) in [
        (1024, 768, 1024, false),
        (1680, 1050, 1696, true),
        (1600, 900, 1600, true),
        (800, 600, 800, true),
    ] {
        mock.set_mode(Size::new(width, height)).unwrap();
        mock.draw(&vec![0x0055_6677; (width * height) as usize]).unwrap();
        let info = screen(&mock);
        assert_eq!((info.width, info.stride), (reported, reported * 4));
        let drawn = [0x0055_6677, 0][usize::from(black)];
        let mapping = mock.map(&region(&mock, 9), 0, u64::from(info.size)).unwrap();
        let bottom = (info.stride * (height - 1)) as usize;
        assert_eq!(pixels(&mapping, bottom, 1), [drawn], "{width}x{height}");
    }
}

#[test]
fn vfio_pci_has_no_display() {
    let mock = mock(Personality::VfioPci);
    assert_eq!(refused(mock.region_info(RegionIndex(8))), Some("EINVAL"));
    let query = mock.query_plane(PlaneType::Primary, PlaneKind::Region);
    assert_eq!(refused(query), Some("ENOTTY"));
    assert_eq!(refused(mock.export_dmabuf(DmabufId(1))), Some("ENOTTY"));
    assert!(mock.show_card(0).is_err());
}

#[test]
fn scripts_come_first_and_calls_are_counted() {
    let mock = mock(Personality::Region);
    let odd = PlaneInfo { width: 3, ..Default::default() };
    mock.script_plane(odd);
    assert_eq!(screen(&mock), odd);
    assert_eq!(screen(&mock).width, 1024);
    mock.fail_next(Op::QueryPlane, 2, Errno::from_raw(16));
    for _ in 0..2 {
        let result = mock.query_plane(PlaneType::Primary, PlaneKind::Region);
        assert_eq!(refused(result), Some("EBUSY"));
    }
    assert_eq!(screen(&mock).width, 1024);
    assert_eq!(mock.calls(Op::QueryPlane), 5);

    mock.script_region([0xff; 31]);
    let error = mock.region_info(RegionIndex(10)).unwrap_err();
    assert!(matches!(error, Error::Region { .. }), "{error}");
    assert!(region(&mock, 10).flags.contains(RegionFlags::MMAP));

    mock.unplug();
    let error = mock.region_info(RegionIndex(10)).unwrap_err();
    assert!(error.is_gone(), "{error}");
}

#[test]
fn a_mock_is_shared_between_threads() {
    fn check<T: Send + Sync + Clone + 'static>(_: &T) {}
    check(&mock(Personality::WellBehaved));
}
