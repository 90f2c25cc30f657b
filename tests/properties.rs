// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Whatever a device answers: nothing panics, nothing is read outside, and what is accepted
//! holds what it promises.

use proptest::collection::vec;
use proptest::prelude::*;
use vfio_display::device::{
    DmabufId, GfxDevice as _, PlaneKind, PlaneType, RegionDevice as _, RegionIndex,
};
use vfio_display::format::{Fourcc, PixelFormat};
use vfio_display::geometry::Size;
use vfio_display::plane::{Buffer, MAX_SIDE, Plane};
use vfio_display::region::{Capability, RegionFlags, RegionInfo};
use vfio_display::testing::{Faulty, Mock, Op, Personality};
use vfio_display::uapi::{PlaneInfo, REGION_HEAD_BYTES};
use vfio_display::{Errno, Error};

/// Any number, and more often those at an edge.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![
        any::<u32>(),
        0..64_u32,
        (0..32_u32).prop_map(|bit| 1 << bit),
        16380..16390_u32,
        Just(u32::MAX),
    ]
}

fn side() -> impl Strategy<Value = u32> {
    let edge = prop_oneof![Just(0), Just(1), Just(MAX_SIDE), Just(MAX_SIDE + 1)];
    prop_oneof![6 => 1..5000_u32, 2 => edge, 1 => number()]
}

fn plane_info() -> impl Strategy<Value = PlaneInfo> {
    let known = (0..PixelFormat::ALL.len()).prop_map(|at| PixelFormat::ALL[at].fourcc().raw());
    let format = prop_oneof![6 => known, 1 => number()];
    let modifier = prop_oneof![6 => Just(0), 1 => any::<u64>()];
    let stride = prop_oneof![2 => (0..5_u32).prop_map(|at| 4096 << at), 1 => number()];
    let len = prop_oneof![2 => Just(u32::MAX), 1 => 0..1_u32 << 26, 1 => number()];
    let place = (number(), number(), number(), number());
    (format, modifier, side(), side(), stride, len, place, number()).prop_map(
        |(drm_format, drm_format_mod, width, height, stride, size, place, buffer)| PlaneInfo {
            argsz: 64,
            drm_format,
            drm_format_mod,
            width,
            height,
            stride,
            size,
            x_pos: place.0,
            y_pos: place.1,
            x_hot: place.2,
            y_hot: place.3,
            region_or_dmabuf: buffer,
            ..Default::default()
        },
    )
}

/// Whether a plane can be, in numbers that cannot wrap.
fn can_be(info: &PlaneInfo) -> bool {
    let sides = 1..=MAX_SIDE;
    if !sides.contains(&info.width) || !sides.contains(&info.height) {
        return false;
    }
    match PixelFormat::from_fourcc(Fourcc::from_raw(info.drm_format)) {
        Some(format) if info.drm_format_mod == 0 => {
            let row = u128::from(info.width) * u128::from(format.bytes_per_pixel());
            let end = u128::from(info.height - 1) * u128::from(info.stride) + row;
            row <= u128::from(info.stride) && end <= u128::from(info.size)
        }
        // What is not read is not measured.
        _ => true,
    }
}

/// What a plane promises.
fn check_plane(plane: &Plane, info: &PlaneInfo) {
    assert!(info.drm_format != 0 && can_be(info), "{plane:?}");
    assert_eq!(plane.size, Size::new(info.width, info.height));
    assert_eq!((plane.stride, plane.len), (info.stride, info.size));
    assert!(plane.pixel_format().is_err() || info.drm_format_mod == 0, "only linear ones are read");
    if let Some(hotspot) = plane.hotspot {
        let side = 0..MAX_SIDE as i32;
        assert!(side.contains(&hotspot.x) && side.contains(&hotspot.y), "{hotspot}");
    }
}

/// What a region promises.
fn check_region(info: &RegionInfo, answer: usize) {
    let end = info.offset.checked_add(info.size).expect("a region lies in a file");
    assert!(end <= i64::MAX as u64);
    assert!(info.capabilities.len() <= answer.saturating_sub(REGION_HEAD_BYTES) / 8);
    for capability in &info.capabilities {
        if let Capability::SparseMmap(areas) = capability {
            assert!(areas.iter().all(|area| area.start < area.end && area.end <= info.size));
        }
    }
    let most = info.mappable_from_start();
    assert!(most <= info.size);
    assert!(info.flags.contains(RegionFlags::MMAP) || most == 0);
    assert!(info.mappable_len(0, most + 1).is_err());
    assert!(info.file_offset(info.size, 1).is_err());
    assert!(info.file_offset(u64::MAX, u64::MAX).is_err());
}

/// A capability without its head: any words, or areas as a sparse one lists them.
fn capability() -> impl Strategy<Value = (u16, Vec<u32>)> {
    let words = vec(prop_oneof![0..3_u32, number()], 0..10);
    let other = (prop_oneof![0..4_u16, any::<u16>()], words);
    let place = || prop_oneof![3 => 0..1_u64 << 31, 1 => any::<u64>()];
    let sparse = vec((place(), place()), 0..3).prop_map(|areas| {
        let mut words = vec![areas.len() as u32, 0];
        for number in areas.into_iter().flat_map(|(start, len)| [start, len]) {
            words.extend([number as u32, (number >> 32) as u32]);
        }
        (1, words)
    });
    prop_oneof![other, sparse]
}

/// A chain of capabilities, linked in order, out of order or nowhere.
fn chain() -> impl Strategy<Value = Vec<u8>> {
    let next = prop_oneof![
        8 => Just(None),
        1 => (0..32_u32).prop_map(|at| Some(32 + 4 * at)),
        1 => number().prop_map(Some)
    ];
    vec((capability(), next), 0..6).prop_map(|links| {
        let (mut bytes, last) = (Vec::new(), links.len().saturating_sub(1));
        for (at, ((id, words), next)) in links.into_iter().enumerate() {
            let after = (REGION_HEAD_BYTES + bytes.len() + 8 + 4 * words.len()) as u32;
            let after = if at == last { 0 } else { after };
            bytes.extend(id.to_ne_bytes());
            bytes.extend(1_u16.to_ne_bytes());
            bytes.extend(next.unwrap_or(after).to_ne_bytes());
            bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        }
        bytes
    })
}

/// An answer about `region`, and now and then about another one, at `offset` or elsewhere.
fn region_answer(region: u32, offset: u64) -> impl Strategy<Value = Vec<u8>> {
    let words = prop_oneof![4 => (0..16_u32, Just(32_u32)), 1 => (number(), number())];
    let place = prop_oneof![
        4 => (0..1_u64 << 30, Just(offset)),
        1 => (any::<u64>(), any::<u64>())
    ];
    let index = prop_oneof![6 => Just(region), 1 => number()];
    let argsz = prop_oneof![3 => Just(None), 1 => number().prop_map(Some)];
    (words, place, chain(), index, argsz).prop_map(
        |((flags, first), (size, offset), chain, index, argsz)| {
            let argsz = argsz.unwrap_or((REGION_HEAD_BYTES + chain.len()) as u32);
            let mut answer = Vec::new();
            for word in [argsz, flags, index, first] {
                answer.extend(word.to_ne_bytes());
            }
            answer.extend(size.to_ne_bytes());
            answer.extend(offset.to_ne_bytes());
            answer.extend(chain);
            answer
        },
    )
}

fn personality() -> impl Strategy<Value = Personality> {
    (0..Personality::ALL.len()).prop_map(|at| Personality::ALL[at])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_plane_is_accepted_where_it_can_be(info in plane_info()) {
        for kind in PlaneKind::ALL {
            match Plane::new(PlaneType::Primary, kind, &info) {
                Ok(Some(plane)) => check_plane(&plane, &info),
                Ok(None) => prop_assert_eq!(info.drm_format, 0),
                Err(error) => prop_assert!(!can_be(&info), "{}", error),
            }
        }
    }

    #[test]
    fn an_accepted_region_holds_what_it_promises(answer in region_answer(9, 9 << 40)) {
        if let Ok(info) = RegionInfo::parse(RegionIndex(9), &answer) {
            check_region(&info, answer.len());
        }
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(answer in vec(any::<u8>(), 0..200)) {
        let index = answer.get(8..12).map_or(0, |b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]]));
        if let Ok(info) = RegionInfo::parse(RegionIndex(index), &answer) {
            check_region(&info, answer.len());
        }
    }

    #[test]
    fn a_scripted_region_is_mapped_inside_the_device_or_not(
        answers in vec(region_answer(10, 10 << 40), 8),
    ) {
        let mock = Mock::new(Personality::Region, Size::new(64, 64)).unwrap();
        let real = mock.region_info(RegionIndex(10)).unwrap();
        for answer in answers {
            mock.script_region(answer);
            let Ok(info) = mock.region_info(RegionIndex(10)) else { continue };
            let most = info.mappable_from_start();
            let Ok(mapping) = mock.map(&info, 0, most) else { continue };
            prop_assert_eq!(mapping.len() as u64, most);
            prop_assert!(info.offset == real.offset && most <= real.size);
            prop_assert!(mapping.copy_out(mapping.len() - 1, &mut [0]));
            prop_assert!(!mapping.copy_out(mapping.len(), &mut [0]));
            prop_assert!(!mapping.copy_out(mapping.len() - 1, &mut [0; 2]));
        }
    }

    #[test]
    fn a_faulty_device_is_survived(
        personality in personality(),
        seed in any::<u64>(),
        scripted in vec(plane_info(), 0..3),
        slots in vec(0..3_u16, 1..12),
    ) {
        let mock = Mock::new(personality, Size::new(96, 64)).unwrap();
        let device = Faulty::new(mock.clone(), seed).refuse(20).corrupt(50);
        for info in scripted {
            mock.script_plane(info);
        }
        for (n, slot) in slots.into_iter().enumerate() {
            let _ = mock.flip_to(slot);
            let _ = mock.show_card(n as u64);
            for kind in PlaneKind::ALL {
                let Ok(info) = device.query_plane(PlaneType::Primary, kind) else { continue };
                let Ok(Some(plane)) = Plane::new(PlaneType::Primary, kind, &info) else { continue };
                check_plane(&plane, &info);
                match plane.buffer {
                    Buffer::Region(index) => {
                        let Ok(region) = device.region_info(index) else { continue };
                        let Ok(mapping) = device.map(&region, 0, u64::from(plane.len)) else {
                            continue;
                        };
                        prop_assert!(mapping.len() as u64 <= region.size);
                        prop_assert!(mapping.copy_out(mapping.len() - 1, &mut [0]));
                    }
                    Buffer::Dmabuf(id) => drop(device.export_dmabuf(id)),
                }
            }
        }
    }

    #[test]
    fn a_seed_repeats_its_faults(seed in any::<u64>()) {
        let run = || {
            let mock = Mock::new(Personality::Region, Size::new(64, 64)).unwrap();
            let device = Faulty::new(mock, seed).refuse(30).corrupt(60);
            let ask = |_| device.query_plane(PlaneType::Primary, PlaneKind::Region);
            (0..20).map(ask).collect::<Vec<_>>()
        };
        prop_assert_eq!(run(), run());
    }
}

#[test]
fn a_script_fails_the_call_that_it_names() {
    let mock = Mock::new(Personality::WellBehaved, Size::new(64, 64)).unwrap();
    let device = Faulty::new(&mock, 1);
    device.fail_nth(2, Errno::from_raw(5));
    device.fail_next(Op::ExportDmabuf, 1, Errno::from_raw(2));
    let name = |result: Result<PlaneInfo, Error>| {
        result.err().and_then(|error| error.errno()).and_then(Errno::name)
    };
    let query = || device.query_plane(PlaneType::Primary, PlaneKind::Dmabuf);
    assert_eq!([name(query()), name(query()), name(query())], [None, Some("EIO"), None]);
    let id = DmabufId(query().unwrap().region_or_dmabuf);
    assert!(device.export_dmabuf(id).is_err());
    assert!(device.export_dmabuf(id).is_ok());
    assert_eq!((device.calls(Op::ExportDmabuf), mock.calls(Op::ExportDmabuf)), (2, 1));
    assert!(format!("{device:?}").contains("seed: 1"));
}

#[test]
fn faults_do_come() {
    let mock = Mock::new(Personality::Region, Size::new(64, 64)).unwrap();
    let clean = mock.query_plane(PlaneType::Primary, PlaneKind::Region).unwrap();
    let device = Faulty::new(mock, 3).refuse(30).corrupt(60).only(&[Op::QueryPlane]);
    let answers: Vec<_> =
        (0..1000).map(|_| device.query_plane(PlaneType::Primary, PlaneKind::Region)).collect();
    let refused = answers.iter().filter(|answer| answer.is_err()).count();
    let corrupt = answers.iter().flatten().filter(|info| **info != clean).count();
    assert!((250..350).contains(&refused), "{refused} refused");
    assert!((300..450).contains(&corrupt), "{corrupt} corrupt");
    assert!((0..100).all(|_| device.region_info(RegionIndex(10)).is_ok()));
}
