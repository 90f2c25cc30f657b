// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a device says that makes no sense, and what a display makes of it: the first table of
//! `docs/framebuffer-region.md`, "What makes no sense". The page is spoilt on its way.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use vfio_display::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionDevice, RegionIndex};
use vfio_display::fb_region::layout::{self, damage, plane, slot};
use vfio_display::fb_region::{FbRegionError as E, Status};
use vfio_display::format::Fourcc;
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::region::{RegionFlags, RegionInfo};
use vfio_display::sink::Takes;
use vfio_display::testing::{FB_REGION, FbMock, FbOptions, Recorder};
use vfio_display::uapi::{DeviceInfo, PlaneInfo};
use vfio_display::{Display, Error, Mapping, Poll, PollError, Result};

const SIZE: Size = Size::new(320, 200);
type Bytes = [u8; layout::PAGE_LEN];
type Spoil = Box<dyn FnMut(&mut Bytes) + Send>;
type PageSpoil = fn(&mut Bytes);
type EntrySpoil = fn(&mut [u8]);

/// A device whose page and whose region's description are spoilt on their way to the consumer.
struct Spoilt {
    mock: FbMock,
    page: Mutex<Spoil>,
    region: fn(&mut RegionInfo),
    writes: AtomicU64,
}

impl Spoilt {
    fn new(region: fn(&mut RegionInfo), page: impl FnMut(&mut Bytes) + Send + 'static) -> Self {
        let mock = FbMock::new(FbOptions::new(SIZE)).unwrap();
        mock.set_mode(Some(SIZE)).unwrap();
        Self { mock, page: Mutex::new(Box::new(page)), region, writes: AtomicU64::new(0) }
    }

    /// Spoils pages otherwise from now on.
    fn spoil(&self, page: impl FnMut(&mut Bytes) + Send + 'static) {
        *self.page.lock().unwrap() = Box::new(page);
    }
}

impl fmt::Debug for Spoilt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spoilt")
    }
}

impl RegionDevice for Spoilt {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.mock.device_info()
    }
    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let mut info = self.mock.region_info(index)?;
        if index == FB_REGION {
            (self.region)(&mut info);
        }
        Ok(info)
    }
    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        if region.index != FB_REGION || offset >= layout::PAGE_LEN as u64 {
            return self.mock.read(region, offset, buf);
        }
        let mut page = [0; layout::PAGE_LEN];
        self.mock.read(&self.mock.region_info(FB_REGION)?, 0, &mut page)?;
        self.page.lock().unwrap()(&mut page);
        buf.copy_from_slice(&page[offset as usize..][..buf.len()]);
        Ok(())
    }
    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.mock.write(region, offset, data)
    }
    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        self.mock.map(region, offset, len)
    }
}

impl GfxDevice for Spoilt {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.mock.probe(kind)
    }
    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        self.mock.query_plane(plane, kind)
    }
    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        self.mock.export_dmabuf(id)
    }
}

/// A display on a spoilt device, watched.
struct Watched<'a> {
    display: Display<&'a Spoilt>,
    sink: Recorder,
}

impl<'a> Watched<'a> {
    fn new(device: &'a Spoilt) -> Self {
        let mut display = Display::new(device).unwrap();
        display.watch(Instant::now());
        Self { display, sink: Recorder::new().taking(Takes { cursor: true, ..Takes::default() }) }
    }

    fn poll(&mut self) -> Result<Poll, PollError> {
        let now = self.display.poll_at().expect("somebody watches");
        self.display.poll(now, &mut self.sink)
    }

    /// The error that a poll holds the picture for.
    fn held(&mut self) -> E {
        match self.poll() {
            Ok(Poll::Held(Error::FbRegion(error))) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// Where the entries of the mock's tables are.
fn plane_entry(page: &mut Bytes, index: usize) -> &mut [u8] {
    let start = layout::PLANES.0.get(&*page) as usize + index * usize::from(plane::LEN);
    &mut page[start..]
}

fn slot_entry(page: &mut Bytes, index: usize) -> &mut [u8] {
    let start = layout::SLOTS.0.get(&*page) as usize + index * usize::from(slot::LEN);
    &mut page[start..]
}

#[test]
fn a_region_that_can_not_be_one_is_refused_before_anything_is_written() {
    let whole: fn(&mut RegionInfo) = |_| {};
    type Case = (fn(&mut RegionInfo), fn(&mut Bytes), &'static str);
    let cases: &[Case] = &[
        (
            |info| (info.size, info.capabilities) = (4095, vec![info.capabilities[1].clone()]),
            |_| {},
            "its 4095 bytes are less than the page's 4096",
        ),
        (
            |info| info.flags = RegionFlags::READ,
            |_| {},
            "its flags 0x1 do not allow to read and to write it",
        ),
        (whole, |p| layout::MAGIC.put(p, 7), "its magic is 0x00000007, not 0x52424656"),
        (
            whole,
            |p| (layout::MAJOR.put(p, 2), layout::MINOR.put(p, 5)).0,
            "it is of version 2.5, and only 1.x is known",
        ),
        (
            whole,
            |p| layout::HEADER.put(p, 0xf8),
            "header_len is 0xf8, which is not within 0x100 and 0x1000",
        ),
        (whole, |p| layout::HEADER.put(p, 0x1001), "header_len is 0x1001"),
        (whole, |p| layout::PLANES.0.put(p, 0xf8), "planes, 2 of 80 bytes at 0xf8, starts inside"),
        (whole, |p| layout::PLANES.0.put(p, 0x104), "at 0x104, is not aligned to 8 bytes"),
        (whole, |p| layout::PLANES.2.put(p, 72), "2 of 72 bytes at 0x100, has entries that are"),
        (whole, |p| layout::PLANES.1.put(p, 9), "plane_count is 0x9, which is not within 0x1"),
        (whole, |p| layout::PLANES.1.put(p, 0), "plane_count is 0x0"),
        (whole, |p| layout::SLOTS.0.put(p, 0xfe8), "slots, 2 of 80 bytes at 0xfe8, leaves the"),
        (whole, |p| layout::SLOTS.0.put(p, u32::MAX - 7), "at 0xfffffff8, leaves the page"),
        (whole, |p| layout::SLOTS.0.put(p, 0x100), "at 0x100, overlaps another"),
        (whole, |p| layout::SLOTS.1.put(p, 1), "slot_count is 0x1, which is not within 0x2"),
        (whole, |p| layout::FEATURES.put(p, layout::DAMAGE), "slot_count is 0x2, which is not"),
        (whole, |p| layout::DAMAGES.1.put(p, 15), "damage_count is 0xf"),
        (whole, |p| layout::DAMAGES.1.put(p, u16::MAX), "damage records, 65535 of 32 bytes"),
        (whole, |p| layout::DAMAGES.2.put(p, u16::MAX - 7), "damage records, "),
        (whole, |p| slot::OFFSET.put(slot_entry(p, 0), 0), "slot 0, 0x40000 bytes at 0x0 of"),
        (whole, |p| slot::OFFSET.put(slot_entry(p, 1), 0x1000), "at 0x1000 of 0x81000, overlaps"),
        (whole, |p| slot::OFFSET.put(slot_entry(p, 1), 0x41008), "is not whole pages"),
        (whole, |p| slot::BYTES.put(slot_entry(p, 0), 1 << 40), "slot 0, 0x10000000000 bytes at"),
        (whole, |p| slot::BYTES.put(slot_entry(p, 1), u64::MAX - 4095), "leaves the region"),
        (whole, |p| plane::TYPE.put(plane_entry(p, 1), 3), "plane 1 is of type 3, which is none"),
        (whole, |p| plane::TYPE.put(plane_entry(p, 1), 1), "2 of its planes are primary, not 1"),
        (whole, |p| plane::TYPE.put(plane_entry(p, 0), 0), "0 of its planes are primary, not 1"),
    ];
    for (region, page, told) in cases {
        let device = Spoilt::new(*region, *page);
        let error = Display::new(&device).unwrap_err();
        assert!(error.to_string().contains(told), "{told:?} is not in {error}");
        assert!(matches!(error, Error::FbRegion(error) if error.is_lasting()), "{error}");
        assert_eq!(device.writes.load(Ordering::Relaxed), 0, "{told}");
    }
}

#[test]
fn a_later_minor_version_is_read_for_what_is_known() {
    // 1.1: a longer header, longer entries, features and bits that nobody knows yet.
    const SHIFT: usize = 0x80;
    let device = Spoilt::new(
        |_| {},
        |page| {
            let old = *page;
            layout::MINOR.put(page, 1);
            layout::HEADER.put(page, layout::HEADER_LEN + SHIFT as u32);
            layout::FEATURES.put(page, layout::FEATURES.get(&old) | 0xffff_ff00);
            page[0x2c..0x40].fill(0xaa);
            page[0x100..].fill(0xbb);
            let mut at = 0x100 + SHIFT;
            let tables = [(layout::PLANES, 16), (layout::SLOTS, 8), (layout::DAMAGES, 0)];
            for ((offset, count, len), more) in tables {
                let (from, old_len) = (offset.get(&old) as usize, usize::from(len.get(&old)));
                let entries = if more == 0 { 64 } else { usize::from(count.get(&old)) };
                count.put(page, entries as u16);
                offset.put(page, at as u32);
                len.put(page, (old_len + more) as u16);
                for index in 0..entries {
                    let entry = &old[from + index * old_len..][..old_len];
                    page[at..at + old_len].copy_from_slice(entry);
                    at += old_len + more;
                }
            }
        },
    );
    let mut watched = Watched::new(&device);
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
    device.mock.begin();
    assert!(device.mock.memory().unwrap().copy_in(0, &[0xff; 64]));
    device.mock.commit(&[Rect { x: 0, y: 0, width: 16, height: 1 }]);
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
    assert_eq!(
        watched.sink.picture().pixels()[..17],
        [[0xffff_ffff; 16].as_slice(), &[0xff00_0000]].concat()
    );
}

#[test]
fn what_never_changes_is_watched() {
    let spoils: [(PageSpoil, usize); 4] = [
        (|p| layout::MAGIC.put(p, 0), 0),
        (|p| layout::PLANES.0.put(p, 0x108), 0x10),
        (|p| slot::BYTES.put(slot_entry(p, 1), 0), 0x1fa),
        (|p| plane::TYPE.put(plane_entry(p, 1), 0), 0x150),
    ];
    for (spoil, at) in spoils {
        let device = Spoilt::new(|_| {}, |_| {});
        let mut watched = Watched::new(&device);
        watched.poll().unwrap();
        device.mock.commit(&[SIZE.rect()]);
        device.spoil(spoil);
        for _ in 0..3 {
            let error = watched.poll().unwrap_err();
            let PollError::Device(Error::FbRegion(E::Identity { offset, .. })) = error else {
                panic!("{error}")
            };
            assert_eq!(offset, at);
        }
        let writes = device.writes.load(Ordering::Relaxed);
        device.spoil(|_| {});
        watched.poll().unwrap_err();
        assert_eq!(device.writes.load(Ordering::Relaxed), writes, "not used any more");
        watched.display.reset();
        assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE), "until it is attached anew");
    }
}

#[test]
fn a_page_that_is_never_at_rest_is_held() {
    let device = Spoilt::new(|_| {}, |_| {});
    let mut watched = Watched::new(&device);
    watched.poll().unwrap();
    device.spoil(|p| {
        let odd = layout::SEQUENCE.get(p) | 1;
        layout::SEQUENCE.put(p, odd);
    });
    assert_eq!(watched.held(), E::Unsteady { tries: 8 });
    let mut count = 1 << 20;
    device.spoil(move |p| {
        count += 2;
        layout::SEQUENCE.put(p, count);
    });
    assert_eq!(watched.held(), E::Unsteady { tries: 8 });
    device.spoil(|_| {});
    watched.poll().unwrap();
}

#[test]
fn counters_that_go_back_are_told_once_and_all_is_taken_anew() {
    for (field, name) in [
        (layout::SEQUENCE, "sequence"),
        (layout::GENERATION, "generation"),
        (layout::FRAME, "frame"),
    ] {
        let device = Spoilt::new(
            |_| {},
            move |p| {
                let more = field.get(p) + 1000;
                field.put(p, more);
            },
        );
        let mut watched = Watched::new(&device);
        watched.poll().unwrap();
        device.mock.commit(&[]);
        device.spoil(|_| {});
        let error = watched.held();
        assert!(matches!(error, E::Backwards { name: told, .. } if told == name), "{error}");
        assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
        assert_eq!(watched.sink.frames.last().unwrap().damage, [SIZE.rect()], "all of it");
    }
}

/// Spoils what a capture became once it is done.
fn done(page: &mut Bytes, spoil: fn(&mut [u8])) {
    for index in 0..2 {
        let entry = slot_entry(page, index);
        if slot::STATUS.get(entry) == Status::Done.raw() {
            spoil(entry);
        }
    }
}

#[test]
fn a_capture_that_can_not_be_is_held() {
    let cases: &[(EntrySpoil, &str)] = &[
        (|e| slot::WIDTH.put(e, 0), "plane 0: size 0x200 is not within 1x1 and 16384x16384"),
        (|e| slot::HEIGHT.put(e, 16385), "plane 0: size 320x16385 is not within"),
        (|e| slot::STRIDE.put(e, 1279), "stride of 1279 bytes is less than a row of 320 pixels"),
        (|e| slot::HEIGHT.put(e, 300), "384000 bytes of 320x300 at stride 1280 do not fit"),
        (|e| slot::STRIDE.put(e, u32::MAX), "at stride 4294967295 do not fit"),
        (|e| slot::PLANE.put(e, 1), "has plane 1, asked for was 0"),
        (|e| slot::FRAME.put(e, 0), "has frame 0, asked for was"),
        (|e| slot::STATUS.put(e, 77), "ended with status 77, which is none"),
        (|e| slot::STATUS.put(e, Status::Failed.raw()), "the device could not copy it"),
        (|e| slot::STATUS.put(e, Status::NoRoom.raw()), "the picture does not fit the slot"),
        (|e| slot::STATUS.put(e, Status::Hidden.raw()), "the plane is not visible"),
        (|e| slot::STATUS.put(e, Status::Free.raw()), "no command since the reset"),
    ];
    for (spoil, told) in cases {
        let device = Spoilt::new(|_| {}, |_| {});
        let mut watched = Watched::new(&device);
        watched.poll().unwrap();
        let before = watched.sink.frames.len();
        device.mock.commit(&[SIZE.rect()]);
        let spoil = *spoil;
        device.spoil(move |p| done(p, spoil));
        let error = watched.held();
        assert!(error.to_string().contains(told), "{told:?} is not in {error}");
        assert_eq!(watched.sink.frames.len(), before, "nothing of it is shown");
        device.spoil(|_| {});
        watched.poll().unwrap();
    }
}

#[test]
fn a_format_that_is_not_read_is_told_and_shows_no_picture() {
    for spoil in [(|e| slot::FOURCC.put(e, Fourcc::new(b"NV12").raw())) as fn(&mut [u8]), |e| {
        slot::MODIFIER.put(e, 1 << 56 | 1)
    }] {
        let device = Spoilt::new(|_| {}, move |p| done(p, spoil));
        let mut watched = Watched::new(&device);
        let error = watched.poll().unwrap_err();
        assert!(matches!(error, PollError::Device(Error::Unsupported(_))), "{error}");
        assert!(watched.sink.frames.is_empty());
    }
}

#[test]
fn frames_and_damage_from_the_future_or_elsewhere_do_no_harm() {
    const LIES: usize = 4;
    let spoils: [fn(&mut Bytes); 6] = [
        |p| plane::FRAME.put(plane_entry(p, 0), u64::MAX),
        |p| done(p, |e| slot::FRAME.put(e, u64::MAX)),
        |p| layout::DAMAGE_FLOOR.put(p, u64::MAX),
        |p| layout::DAMAGE_HEAD.put(p, u64::MAX),
        |p| {
            let start = layout::DAMAGES.0.get(&*p) as usize;
            for record in p[start..].chunks_exact_mut(damage::LEN.into()).skip(1) {
                damage::FRAME.put(record, 3);
                damage::X.put(record, u32::MAX);
                damage::Y.put(record, 199);
                damage::WIDTH.put(record, u32::MAX);
            }
            layout::DAMAGE_HEAD.put(p, 100);
        },
        |p| {
            let start = layout::DAMAGES.0.get(&*p) as usize;
            for record in p[start..].chunks_exact_mut(damage::LEN.into()) {
                damage::PLANE.put(record, 5);
                damage::HEIGHT.put(record, 0);
            }
            let frame = layout::FRAME.get(p);
            layout::DAMAGE_FLOOR.put(p, frame);
        },
    ];
    for (case, spoil) in spoils.into_iter().enumerate() {
        let device = Spoilt::new(|_| {}, spoil);
        let mut watched = Watched::new(&device);
        watched.poll().unwrap();
        let mut memory = device.mock.memory().unwrap();
        for n in 0..5 {
            device.mock.begin();
            assert!(memory.copy_in(n * 4, &[0xff; 4]));
            device.mock.commit(&[Rect { x: n as u32, y: 0, width: 1, height: 1 }]);
            watched.poll().unwrap();
        }
        let shown = &watched.sink.picture().pixels()[..5];
        // Rectangles that are all lies bring no pixels, and no harm.
        let expected = if case == LIES { 0xff00_0000 } else { 0xffff_ffff };
        assert_eq!(shown, [expected; 5], "case {case}");
    }
}

#[test]
fn a_slot_that_somebody_else_takes_is_not_shown() {
    let device = Spoilt::new(|_| {}, |_| {});
    let mut watched = Watched::new(&device);
    watched.poll().unwrap();
    let before = watched.sink.frames.len();
    device.mock.commit(&[SIZE.rect()]);
    // The last look at the slot finds another request: the first ones find ours.
    let mut looks = 0;
    device.spoil(move |p| {
        looks += 1;
        if looks == 7 {
            for index in 0..2 {
                slot::REQUEST.put(slot_entry(p, index), 12345);
            }
        }
    });
    let error = watched.held();
    assert!(matches!(error, E::Taken { found: 12345, .. }), "{error}");
    assert_eq!(watched.sink.frames.len(), before);
    assert!(watched.display.picture().is_none(), "it may be of two frames");
    device.spoil(|_| {});
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
}

#[test]
fn a_cursor_that_can_not_be_is_none_and_its_hotspot_is_the_corner() {
    let device = Spoilt::new(
        |_| {},
        |p| {
            plane::HOT_X.put(plane_entry(p, 1), 16);
        },
    );
    let shape = vec![0xffff_ffff; 256];
    device.mock.set_cursor(Size::new(16, 16), Some(Point::new(1, 1)), &shape).unwrap();
    let mut watched = Watched::new(&device);
    watched.poll().unwrap();
    assert_eq!(watched.sink.cursor.as_ref().unwrap().hotspot, Point::new(0, 0));

    let device = Spoilt::new(
        |_| {},
        |p| {
            for index in 0..2 {
                let entry = slot_entry(p, index);
                if slot::PLANE.get(entry) == 1 {
                    slot::WIDTH.put(entry, 513);
                    slot::HEIGHT.put(entry, 1);
                    slot::STRIDE.put(entry, 4 * 513);
                }
            }
        },
    );
    device.mock.set_cursor(Size::new(16, 16), None, &shape).unwrap();
    let mut watched = Watched::new(&device);
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE), "it does not stop the screen");
    assert_eq!(watched.sink.cursor, None);
}

#[test]
fn a_plane_without_captures_is_read_where_it_is_said_to_be() {
    let live = |page: &mut Bytes| {
        layout::FEATURES.put(page, layout::DAMAGE);
        layout::SLOTS.1.put(page, 0);
    };
    let device = Spoilt::new(|_| {}, live);
    let mut watched = Watched::new(&device);
    device.mock.begin();
    assert!(device.mock.memory().unwrap().copy_in(0, &[0xff; 4]));
    device.mock.commit(&[SIZE.rect()]);
    assert_eq!(watched.poll().unwrap(), Poll::Shown(SIZE));
    assert_eq!(watched.sink.picture().pixels()[..2], [0xffff_ffff, 0xff00_0000]);

    let cases: [(EntrySpoil, &str); 3] = [
        (|e| plane::OFFSET.put(e, u64::MAX - 10), "bytes at 0xfffffffffffffff5, does not fit"),
        (|e| plane::BYTES.put(e, 1 << 40), "plane 0, 0x10000000000 bytes at 0x0, does not fit"),
        (|e| plane::WIDTH.put(e, 321), "stride of 1280 bytes is less than a row of 321 pixels"),
    ];
    for (spoil, told) in cases {
        device.mock.commit(&[SIZE.rect()]);
        device.spoil(move |p| {
            live(p);
            spoil(plane_entry(p, 0));
        });
        let error = watched.held();
        assert!(error.to_string().contains(told), "{told:?} is not in {error}");
    }
    device.mock.commit(&[SIZE.rect()]);
    device.spoil(move |p| {
        live(p);
        plane::FLAGS.put(plane_entry(p, 0), plane::VISIBLE);
    });
    let error = watched.poll().unwrap_err();
    assert!(error.to_string().contains("neither be captured nor read"), "{error}");
}

// The producer's side.
