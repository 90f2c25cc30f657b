// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Monitors for the mock's drivers, in good times and in bad.
#![cfg(feature = "testing")]

use std::time::Instant;

use vfio_display::edid::{Edid, EdidError, EdidPort, Encoded, LinkState, Progress};
use vfio_display::error::{Errno, Result};
use vfio_display::geometry::Size;
use vfio_display::testing::{EdidWrite, Faulty, Mock, Op, Personality};
use vfio_display::{Error, device::RegionDevice};

const HD: Edid = Edid::for_mode(Size::new(1920, 1080));

/// The size of the mock's screen, which no EDID depends on.
const SCREEN: Size = Size::new(640, 480);

/// Plays a request to its end, without waiting.
fn plug_in(port: &mut EdidPort, device: &dyn RegionDevice, edid: Edid) -> Result<Encoded> {
    port.begin(Instant::now(), edid);
    loop {
        let at = port.poll_at().expect("a request ends");
        if let Progress::Plugged(encoded) = port.poll(at, device)? {
            return Ok(encoded);
        }
    }
}

#[test]
fn every_driver_with_the_region_takes_a_monitor() {
    for (personality, len) in [
        (Personality::WellBehaved, 384),
        (Personality::Mbochs, 384),
        (Personality::MbochsRw, 384),
        (Personality::GvtG, 128),
    ] {
        let mock = Mock::new(personality, SCREEN).unwrap();
        let mut port = EdidPort::find(&mock).unwrap().unwrap();
        let edid = plug_in(&mut port, &mock, Edid::for_mode(Size::new(5120, 2880))).unwrap();
        assert_eq!(edid.bytes.len(), len, "{personality:?}");
        assert_eq!(edid.notes.is_empty(), len == 384, "{personality:?}");
        assert_eq!(mock.edid().as_ref(), Some(&edid.bytes), "{personality:?}");
        let len = len as u32;
        assert_eq!(
            mock.edid_writes(),
            [
                EdidWrite::Link(2),
                EdidWrite::Size(len),
                EdidWrite::Blob { offset: 0, len },
                EdidWrite::Link(1)
            ]
        );
    }
}

#[test]
fn a_driver_without_the_region_is_told_apart() {
    for personality in [Personality::Mdpy, Personality::Nvidia, Personality::VfioPci] {
        let mock = Mock::new(personality, SCREEN).unwrap();
        assert!(EdidPort::find(&mock).unwrap().is_none(), "{personality:?}");
    }
}

#[test]
fn updates_never_grow() {
    let mock = Mock::new(Personality::Mbochs, SCREEN).unwrap();
    let mut port = EdidPort::find(&mock).unwrap().unwrap();
    for step in 0..200 {
        let edid = Edid::for_mode(Size::new(640 + 40 * step, 480 + 20 * step));
        plug_in(&mut port, &mock, edid).unwrap();
        let seen = mock.edid().unwrap();
        assert!(seen.len() <= 384 && usize::from(seen[126]) == seen.len() / 128 - 1);
    }
}

#[test]
fn whatever_is_refused_the_link_is_what_the_answer_says() {
    let mut plugged = 0;
    for seed in 0..200 {
        let mock = Mock::new(Personality::GvtG, SCREEN).unwrap();
        let mut port = EdidPort::find(&mock).unwrap().unwrap();
        plug_in(&mut port, &mock, HD).unwrap();
        let faulty = Faulty::new(mock.clone(), seed).refuse(3).only(&[Op::Read, Op::Write]);
        for _ in 0..10 {
            let before = mock.link_state();
            match plug_in(&mut port, &faulty, HD) {
                Ok(_) => {
                    plugged += 1;
                    assert_eq!(mock.link_state(), 1);
                }
                Err(Error::Edid(EdidError::Step { link: Some(link), .. })) => {
                    assert_eq!(mock.link_state() == 1, link == LinkState::Up);
                }
                Err(Error::Edid(EdidError::Step { link: None, .. })) => {}
                // The registers could not be read: nothing was begun.
                Err(Error::Refused { .. }) => assert_eq!(mock.link_state(), before),
                Err(error) => panic!("{error}"),
            }
            assert_eq!(port.poll_at(), None);
        }
        // And it works again when the device does, also where an EDID was half written.
        plug_in(&mut port, &mock, HD).unwrap();
        assert_eq!(mock.link_state(), 1);
    }
    assert!(plugged > 10, "{plugged} requests got through");
}

#[test]
fn a_device_that_goes_in_the_pause_is_gone() {
    let mock = Mock::new(Personality::Mbochs, SCREEN).unwrap();
    let mut port = EdidPort::find(&mock).unwrap().unwrap();
    port.begin(Instant::now(), HD);
    port.poll(port.poll_at().unwrap(), &mock).unwrap();
    mock.unplug();
    let error = port.poll(port.poll_at().unwrap(), &mock).unwrap_err();
    assert!(error.is_gone(), "{error}");
    assert_eq!(error.errno(), Some(Errno::from_raw(19)));
    assert_eq!(port.poll_at(), None);
}
