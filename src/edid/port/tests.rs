// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause

use std::cell::RefCell;

use rustix::io::Errno;

use super::*;
use crate::error::Call;
use crate::geometry::Size;
use crate::region::{Capability, RegionFlags};
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, REGION_SUBTYPE_GFX_EDID, REGION_TYPE_GFX};

const INDEX: RegionIndex = RegionIndex(9);

/// A device with an EDID region, which notes what is written.
struct Fake {
    region: RegionInfo,
    others: Vec<RegionInfo>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    registers: [u32; 6],
    blob: Vec<u8>,
    log: Vec<String>,
    /// Writes that are refused: how many of those at the offset are let through before, how many
    /// are refused then, and with what.
    refuse: Option<(u64, u32, u32, Errno)>,
    /// Requests to bring the link up that are taken and ignored.
    deaf: u32,
    /// The size that it tells, whatever is written.
    size: Option<u32>,
}

fn region(index: u32, offset: u64, size: u64, capabilities: Vec<Capability>) -> RegionInfo {
    let flags = RegionFlags::READ | RegionFlags::WRITE;
    RegionInfo { index: RegionIndex(index), flags, size, offset, capabilities }
}

impl Fake {
    fn new(blob_offset: u32, max_size: u32, region_size: u64) -> Self {
        let edid = Capability::Type { kind: REGION_TYPE_GFX, subtype: REGION_SUBTYPE_GFX_EDID };
        let registers = [blob_offset, max_size, 0, 0, 0, 0];
        Self {
            region: region(INDEX.0, 9 << 40, region_size, vec![edid]),
            others: vec![region(0, 0, 4096, vec![]), region(10, 10 << 40, 4096, vec![])],
            state: RefCell::new(State { registers, blob: vec![0; 1024], ..State::default() }),
        }
    }

    fn mbochs() -> Self {
        Self::new(2048, 1024, 3072)
    }

    fn port(&self) -> EdidPort {
        EdidPort::find(self).unwrap().unwrap()
    }

    fn log(&self) -> String {
        std::mem::take(&mut self.state.borrow_mut().log).join(", ")
    }
}

impl RegionDevice for Fake {
    fn device_info(&self) -> Result<DeviceInfo> {
        Ok(DeviceInfo { num_regions: 9, ..DeviceInfo::default() })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let mut all = std::iter::once(&self.region).chain(&self.others);
        let found = all.find(|region| region.index == index).cloned();
        found.ok_or_else(|| Call::RegionInfo(index).refused(Errno::INVAL))
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        region.file_offset(offset, buf.len() as u64)?;
        let state = self.state.borrow();
        let mut word = state.registers[offset as usize / 4];
        if offset == EDID_SIZE {
            word = state.size.unwrap_or(word);
        }
        buf.copy_from_slice(&word.to_ne_bytes());
        Ok(())
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        region.file_offset(offset, data.len() as u64)?;
        assert_eq!((offset % 4, data.len()), (0, 4), "words only");
        let mut state = self.state.borrow_mut();
        let word = u32::from_ne_bytes(data.try_into().unwrap());
        if let Some((at, let_through, times, errno)) = &mut state.refuse {
            if *at == offset && *let_through > 0 {
                *let_through -= 1;
            } else if *at == offset && *times > 0 {
                *times -= 1;
                let call = Call::Write { index: region.index, offset, len: 4 };
                let error = call.refused(*errno);
                state.log.push(format!("refused {offset}"));
                return Err(error);
            }
        }
        match offset {
            LINK_STATE => {
                let up = word == LINK_UP;
                state.log.push(if up { "up" } else { "down" }.into());
                if up && state.deaf > 0 {
                    state.deaf -= 1;
                } else {
                    state.registers[5] = word;
                }
            }
            EDID_SIZE => {
                state.registers[2] = word;
                state.log.push(format!("size {word}"));
            }
            _ => {
                let at = offset as usize - state.registers[0] as usize;
                assert!(at + 4 <= state.registers[2] as usize, "size comes first");
                state.blob[at..at + 4].copy_from_slice(data);
                if state.log.last().is_none_or(|last| last != "blob") {
                    state.log.push("blob".into());
                }
            }
        }
        Ok(())
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        Err(Call::Map { index: region.index, offset, len }.refused(Errno::INVAL))
    }
}

const HD: Edid = Edid::for_mode(Size::new(1920, 1080));
const SMALL: Edid = Edid::for_mode(Size::new(800, 600));

/// Polls until there is nothing to do; answers with the last result and the time it took.
fn run(port: &mut EdidPort, device: &Fake, start: Instant) -> (Result<Progress>, Duration) {
    let mut now = start;
    loop {
        let Some(at) = port.poll_at() else { return (Ok(Progress::Idle), now - start) };
        assert!(at > now, "poll_at is later than now");
        assert_eq!(port.poll(at - SOON / 2, device), Ok(Progress::Busy), "not due");
        now = at;
        match port.poll(now, device) {
            Ok(Progress::Busy) => {}
            last => {
                assert_eq!(port.poll_at(), None, "told once");
                return (last, now - start);
            }
        }
    }
}

fn plug_in(device: &Fake) -> (Result<Progress>, Duration) {
    let (mut port, start) = (device.port(), Instant::now());
    port.begin(start, HD);
    run(&mut port, device, start)
}

fn message(result: (Result<Progress>, Duration)) -> String {
    result.0.unwrap_err().to_string()
}

#[test]
fn the_steps_are_in_order_with_a_pause_before_the_link_is_up() {
    let device = Fake::mbochs();
    let (mut port, start) = (device.port(), Instant::now());
    assert_eq!(port.poll_at(), None);
    port.begin(start, HD);
    let begun = start + SOON;
    assert_eq!(port.poll(begun, &device), Ok(Progress::Busy));
    assert_eq!(device.log(), "down, size 256, blob");
    assert_eq!(port.poll_at(), Some(begun + UNPLUG_PAUSE));
    let (last, _) = run(&mut port, &device, begun);
    let Ok(Progress::Plugged(edid)) = last else { panic!("{last:?}") };
    assert_eq!(device.log(), "up");
    assert_eq!(edid.bytes, HD.bytes());
    assert_eq!(device.state.borrow().blob[..256], edid.bytes);
    assert_eq!(port.registers(&device).unwrap().link, LinkState::Up);
    assert_eq!(port.poll(begun, &device), Ok(Progress::Idle));
}

#[test]
fn a_request_in_the_pause_replaces_the_one_before() {
    let device = Fake::mbochs();
    let (mut port, start) = (device.port(), Instant::now());
    port.begin(start, HD);
    port.poll(start + SOON, &device).unwrap();
    // At the very time at which the one before would be plugged in.
    let end = start + SOON + UNPLUG_PAUSE;
    port.begin(end, SMALL);
    let (last, took) = run(&mut port, &device, end);
    let Ok(Progress::Plugged(edid)) = last else { panic!("{last:?}") };
    assert_eq!((edid.size, took), (Size::new(800, 600), SOON + UNPLUG_PAUSE));
    assert_eq!(device.log(), "down, size 256, blob, down, size 256, blob, up");
}

#[test]
fn the_same_request_a_thousand_times_is_the_same_edid() {
    let device = Fake::mbochs();
    let (mut port, start) = (device.port(), Instant::now());
    let mut first = None;
    for _ in 0..1000 {
        port.begin(start, HD);
        let (last, _) = run(&mut port, &device, start);
        let Ok(Progress::Plugged(edid)) = last else { panic!("{last:?}") };
        assert_eq!(*first.get_or_insert_with(|| edid.bytes.clone()), edid.bytes);
    }
}

#[test]
fn a_link_that_does_not_come_up_is_tried_again_with_growing_pauses() {
    let device = Fake::mbochs();
    device.state.borrow_mut().deaf = 3;
    let (last, took) = plug_in(&device);
    assert!(matches!(last, Ok(Progress::Plugged(_))));
    assert_eq!(device.log(), "down, size 256, blob, up, up, up, up");
    assert_eq!(took, SOON + UNPLUG_PAUSE + (1 + 2 + 4) * LINK_BACK_OFF);

    device.state.borrow_mut().deaf = u32::MAX;
    assert_eq!(
        message(plug_in(&device)),
        "EDID: region 9: the link is down after 5 tries to bring it up"
    );
    assert_eq!(device.log(), "down, size 256, blob, up, up, up, up, up");
}

#[test]
fn whatever_fails_the_link_is_brought_up() {
    for (offset, let_through, steps, step) in [
        (LINK_STATE, 0, "refused 20, up", "unplugging"),
        (EDID_SIZE, 0, "down, refused 8, up", "writing the size"),
        (2048 + 64, 0, "down, size 256, blob, refused 2112, up", "writing the bytes"),
    ] {
        let device = Fake::mbochs();
        device.state.borrow_mut().refuse = Some((offset, let_through, 1, Errno::INVAL));
        assert_eq!(
            message(plug_in(&device)),
            format!(
                "EDID: {step} failed: write of 4 bytes at {offset:#x} of region 9: Invalid \
                 argument (EINVAL); the link is up"
            )
        );
        assert_eq!(device.log(), steps);
        // And the port can be used on.
        assert!(matches!(plug_in(&device).0, Ok(Progress::Plugged(_))));
    }
}

#[test]
fn what_failed_first_is_told_also_where_the_link_stays_down() {
    let device = Fake::mbochs();
    device.state.borrow_mut().refuse = Some((2048, 0, 1, Errno::IO));
    device.state.borrow_mut().deaf = u32::MAX;
    let (last, took) = plug_in(&device);
    let Err(Error::Edid(EdidError::Step { step: Step::Blob, link, .. })) = last else {
        panic!("{last:?}")
    };
    assert_eq!(link, Some(LinkState::Down));
    assert_eq!(took, SOON + (1 + 2 + 4 + 8) * LINK_BACK_OFF);
    assert_eq!(device.log(), "down, size 256, refused 2048, up, up, up, up, up");
}

#[test]
fn a_device_that_is_gone_is_not_asked_again() {
    let device = Fake::mbochs();
    device.state.borrow_mut().refuse = Some((LINK_STATE, 1, u32::MAX, Errno::NODEV));
    let (last, _) = plug_in(&device);
    assert!(matches!(last, Err(Error::Edid(EdidError::Step { step: Step::Plug, .. }))));
    assert_eq!(device.log(), "down, size 256, blob, refused 20");
    assert!(last.unwrap_err().is_gone());
}

#[test]
fn a_size_that_the_device_lost_is_told() {
    let device = Fake::mbochs();
    device.state.borrow_mut().size = Some(5000);
    assert_eq!(
        message(plug_in(&device)),
        "EDID: region 9: an EDID of 256 bytes was written, the device says 5000"
    );
    assert_eq!(device.state.borrow().registers[5], LINK_UP);
}

#[test]
fn the_devices_limits_hold_and_are_told() {
    let device = Fake::new(2048, 128, 3072);
    device.state.borrow_mut().registers[3..5].copy_from_slice(&[1024, 768]);
    let (last, _) = plug_in(&device);
    let Ok(Progress::Plugged(edid)) = last else { panic!("{last:?}") };
    assert_eq!((edid.size, edid.bytes.len()), (Size::new(1024, 576), 128));
    assert_eq!(
        edid.notes[0].to_string(),
        "1024x576 instead of 1920x1080: the device takes modes up to 1024x768"
    );
}

#[test]
fn an_edid_behind_its_own_region_is_written_as_gvt_g_wants_it() {
    let device = Fake::new(2048, 128, 128);
    let (last, _) = plug_in(&device);
    assert!(matches!(last, Ok(Progress::Plugged(_))), "{last:?}");
    assert_eq!(device.log(), "down, size 128, blob, up");
}

#[test]
fn absurd_registers_are_refused_before_anything_is_written() {
    for (offset, max_size, error) in [
        (20, 1024, "EDID: region 9: an EDID at 0x14 is among the registers or not aligned"),
        (2046, 1024, "EDID: region 9: an EDID at 0x7fe is among the registers or not aligned"),
        (2048, 127, "EDID: the device takes 127 bytes, an EDID has 128 at least"),
        (
            4096,
            u32::MAX,
            "EDID: region 9: an EDID of 256 bytes at 0x1000 lies outside its 128 bytes and \
             beyond 4096",
        ),
        (
            u32::MAX - 3,
            u32::MAX,
            "EDID: region 9: an EDID of 256 bytes at 0xfffffffc lies outside its 128 bytes and \
             beyond 4096",
        ),
    ] {
        let device = Fake::new(offset, max_size, 128);
        assert_eq!(message(plug_in(&device)), error);
        assert_eq!(device.log(), "");
    }
}

#[test]
fn an_edid_is_never_written_to_another_region() {
    let mut device = Fake::new(2048, 128, 128);
    device.others.push(region(3, device.region.offset + 2100, 64, vec![]));
    assert_eq!(
        message(plug_in(&device)),
        "EDID: region 9: an EDID of 128 bytes at 0x800 would be written to region 3"
    );
    // A region at the same place is the same file: the one asked for is as wrong.
    device.others[2] = region(3, device.region.offset, 64, vec![]);
    assert!(message(plug_in(&device)).ends_with("would be written to region 3"));
    device.others[2] = region(3, device.region.offset + 2048 + 128, 64, vec![]);
    assert!(plug_in(&device).0.is_ok());
}

#[test]
fn a_request_that_cannot_be_leaves_the_one_before_in_its_pause() {
    let device = Fake::mbochs();
    let (mut port, start) = (device.port(), Instant::now());
    port.begin(start, HD);
    port.poll(start + SOON, &device).unwrap();
    device.state.borrow_mut().registers[1] = 0;
    // So late that the time of the one before has passed when it is refused.
    let late = start + SOON + UNPLUG_PAUSE;
    port.begin(late, SMALL);
    assert!(port.poll(late + SOON, &device).is_err());
    let (last, _) = run(&mut port, &device, late + SOON);
    assert!(matches!(last, Ok(Progress::Plugged(edid)) if edid.bytes == HD.bytes()));
}

#[test]
fn the_end_of_a_program_leaves_no_monitor_unplugged() {
    let device = Fake::mbochs();
    let (mut port, start) = (device.port(), Instant::now());
    port.begin(start, HD);
    port.poll(start + SOON, &device).unwrap();
    port.begin(start + SOON, SMALL);
    device.state.borrow_mut().deaf = 2;
    port.settle(&device).unwrap();
    assert_eq!(device.log(), "down, size 256, blob, up, up, up");
    assert_eq!(port.poll_at(), None);
}

#[test]
fn a_device_without_the_region_is_none() {
    let mut device = Fake::mbochs();
    device.region.capabilities.clear();
    assert!(EdidPort::find(&device).unwrap().is_none());
}
