// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a device is told that makes no sense, and what it answers: the second table of
//! `docs/framebuffer-region.md`, "What makes no sense".

use vfio_display::device::{PlaneType, RegionDevice as _};
use vfio_display::fb_region::layout;
use vfio_display::fb_region::{Command, Config, Op, Page, Producer, Status};
use vfio_display::format::{Fourcc, Modifier};
use vfio_display::geometry::{Point, Size};
use vfio_display::region::{Capability, RegionInfo};
use vfio_display::testing::rng::Rng;
use vfio_display::testing::{FB_REGION, FbMock, FbOptions};

const SIZE: Size = Size::new(320, 200);

fn producer() -> Producer {
    Producer::new(&Config::new(SIZE.area() * 4)).unwrap()
}

fn page_of(producer: &Producer) -> Page {
    let mut bytes = Box::new([0; layout::PAGE_LEN]);
    producer.read(0, bytes.as_mut_slice()).unwrap();
    Page::new(bytes, producer.region_len()).unwrap()
}

#[test]
fn a_write_is_a_whole_register_or_nothing() {
    let mut producer = producer();
    let before = page_of(&producer);
    for len in [0, 1, 2, 3, 4, 5, 8, 12, 16, 4096] {
        for offset in (0..layout::PAGE_LEN as u64 + 16).chain([u64::MAX - 3, u64::MAX]) {
            let is_command = (offset, len) == (layout::COMMAND.offset as u64, 8);
            let is_demand = (offset, len) == (layout::DEMAND.offset as u64, 4);
            let written = producer.write(offset, &vec![0; len]);
            assert_eq!(written.is_ok(), is_command || is_demand, "{len} bytes at {offset:#x}");
            if is_command {
                producer = self::producer();
            }
        }
    }
    assert_eq!(page_of(&producer), before, "nothing changed");
    assert!(producer.read(4095, &mut [0; 2]).is_err());
    assert!(producer.read(u64::MAX, &mut [0; 2]).is_err());
    assert!(producer.read(4096, &mut []).is_ok());
}

#[test]
fn every_command_ends_in_a_status() {
    use vfio_display::fb_region::Shown;
    let mut producer = producer();
    let mut frame = producer.begin();
    frame.plane(
        0,
        &Shown::Picture {
            fourcc: Fourcc::new(b"XR24"),
            modifier: Modifier::LINEAR,
            size: SIZE,
            live: None,
            position: Point::default(),
            hotspot: None,
        },
    );
    frame.publish();
    let write = |producer: &mut Producer, raw: u64| {
        producer.write(layout::COMMAND.offset as u64, &raw.to_le_bytes()).unwrap();
        page_of(producer)
    };
    let capture = |request, plane, slot| Command { request, op: Op::Capture(plane), slot }.raw();
    let cancel = |request, slot| Command { request, op: Op::Cancel, slot }.raw();

    let refused = |page: &Page| (page.refused().0, Status::from_raw(page.refused().1).unwrap());
    let told = |page: &Page, slot: usize| {
        let slot = page.slots().nth(slot).unwrap();
        (slot.request, Status::from_raw(slot.status).unwrap())
    };
    let page = write(&mut producer, capture(1, 0, 2));
    assert_eq!(refused(&page), (1, Status::BadSlot));
    assert_eq!(refused(&write(&mut producer, capture(0, 0, 0))), (0, Status::BadRequest));
    assert_eq!(refused(&write(&mut producer, capture(2, 0, 0) | 1 << 60)), (2, Status::BadOp));
    assert_eq!(refused(&write(&mut producer, u64::MAX)), (u32::MAX, Status::BadOp));
    assert_eq!(told(&write(&mut producer, capture(3, 2, 0)), 0), (3, Status::BadPlane));
    assert_eq!(told(&write(&mut producer, capture(4, 1, 0)), 0), (4, Status::Hidden));
    assert_eq!(told(&write(&mut producer, capture(5, 0, 0)), 0), (5, Status::Pending));
    let page = write(&mut producer, capture(6, 0, 0));
    assert_eq!((refused(&page), told(&page, 0)), ((6, Status::Busy), (5, Status::Pending)));
    let page = write(&mut producer, cancel(6, 0));
    assert_eq!((refused(&page), told(&page, 0)), ((6, Status::BadRequest), (5, Status::Pending)));
    let pending: Vec<_> = producer.pending().collect();
    assert_eq!(told(&write(&mut producer, cancel(5, 0)), 0), (5, Status::Cancelled));
    assert!(!producer.complete(&pending[0], Ok(1280)), "nobody wants it any more");
    assert_eq!(told(&page_of(&producer), 0), (5, Status::Cancelled));
    write(&mut producer, capture(7, 0, 0));
    let pending: Vec<_> = producer.pending().collect();
    assert!(producer.complete(&pending[0], Ok(1280)));
    assert_eq!(told(&write(&mut producer, cancel(7, 0)), 0), (7, Status::Done), "past that");
    let sequence = page_of(&producer).sequence();
    producer.reset();
    let page = page_of(&producer);
    assert_eq!((told(&page, 0), refused(&page).0), ((0, Status::Free), 0));
    assert!(page.sequence() > sequence && page.sequence().is_multiple_of(2));
}

#[test]
fn commands_as_fast_as_they_come_leave_a_page_that_is_one() {
    let mut producer = producer();
    let mut rng = Rng::new(8);
    let mut sequence = 0;
    for round in 0..100_000 {
        let random = rng.next();
        // Mostly near what means something.
        let raw = if round % 3 == 0 { random } else { random & 0x0003_0103_0000_0007 };
        producer.write(layout::COMMAND.offset as u64, &raw.to_le_bytes()).unwrap();
        if round % 7 == 0 {
            let demand = (random >> 40) as u32;
            producer.write(layout::DEMAND.offset as u64, &demand.to_le_bytes()).unwrap();
            assert_eq!(producer.demand(), demand);
        }
        if round % 50 == 0 {
            let page = page_of(&producer);
            assert!(page.sequence() >= sequence && page.sequence().is_multiple_of(2));
            sequence = page.sequence();
            assert!(producer.pending().count() <= 2, "one a slot");
        }
    }
}

#[test]
fn a_device_that_can_not_have_such_a_page_is_told() {
    let good = Config::new(4096);
    for (config, told) in [
        (Config { planes: vec![], ..good.clone() }, "plane_count is 0x0"),
        (Config { planes: vec![PlaneType::Cursor], ..good.clone() }, "0 of its planes are primary"),
        (
            Config { planes: vec![PlaneType::Primary; 9], damage_records: 16, ..good.clone() },
            "plane_count is 0x9",
        ),
        (Config { slots: 1, ..good.clone() }, "slot_count is 0x1"),
        (Config { slots: u16::MAX, ..good.clone() }, "leaves the page"),
        (Config { slot_len: 100, ..good.clone() }, "is not whole pages"),
        (Config { slot_len: u64::MAX - 4095, ..good.clone() }, "leaves the region"),
        (Config { damage_records: 120, ..good.clone() }, "leaves the page"),
    ] {
        let error = Producer::new(&config).unwrap_err();
        assert!(error.to_string().contains(told), "{told:?} is not in {error}");
    }
    let typed = |info: &RegionInfo| {
        info.capabilities.iter().any(|one| matches!(one, Capability::Type { .. }))
    };
    let mock = FbMock::new(FbOptions::new(SIZE)).unwrap();
    assert!(typed(&mock.region_info(FB_REGION).unwrap()));
}
