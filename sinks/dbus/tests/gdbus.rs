// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A client on GDBus, in the order of calls of QEMU's qemu-vnc, sees exactly what is shown: on a bus
//! and without one, by copies and by maps; and what it does comes back.
//!
//! These tests are not started without being asked for, since they need packages: dbus-daemon,
//! python3-gi.

mod common;

use common::{Bus, Client, Desk, Random, until};
use vfio_display::geometry::{Point, Size};
use vfio_display::input::{BTN_LEFT, Event};
use vfio_display::sink::Sink as _;
use vfio_display::{Cursor, Picture};
use vfio_display_dbus::Limits;

const SIZE: Size = Size::new(640, 480);

/// Shows this and that, and after each the client has every pixel.
fn assert_exact(desk: &mut Desk, client: &mut Client, seed: u64) {
    let mut random = Random(seed);
    desk.set_mode(SIZE, &mut random);
    for turn in 0..4 {
        if turn == 2 {
            desk.set_mode(Size::new(801, 603), &mut random);
        }
        for _ in 0..25 {
            desk.change(&mut random);
        }
        let mut seen = Picture::default();
        desk.look_until("the same picture", |desk| {
            seen = client.picture();
            seen == desk.picture
        });
    }
}

fn peer(desk: &Desk, bus: &Bus) -> String {
    let path = bus.directory.path().join("peer");
    desk.server.listen_unix(&path).unwrap();
    format!("peer:{}", path.display())
}

fn desk() -> (Bus, Desk) {
    let (bus, desk) = (Bus::start(), Desk::new(SIZE, Limits::default()));
    desk.server.join_bus(Some(&bus.address)).unwrap();
    (bus, desk)
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn exact_on_a_bus_by_copies() {
    let (bus, mut desk) = desk();
    let mut client = Client::start(&format!("bus:{}", bus.address), "copy");
    assert_exact(&mut desk, &mut client, 1);
    let calls = client.order("calls");
    assert!(calls.starts_with("Scanout=") && calls.contains(" Update="), "{calls}");
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn exact_on_a_bus_by_maps() {
    let (bus, mut desk) = desk();
    let mut client = Client::start(&format!("bus:{}", bus.address), "map");
    assert_exact(&mut desk, &mut client, 2);
    let calls = client.order("calls");
    assert!(calls.starts_with("ScanoutMap=2 UpdateMap="), "{calls}");
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn exact_without_a_bus() {
    let (bus, mut desk) = desk();
    let at = peer(&desk, &bus);
    for (kind, seed) in [("copy", 3), ("map", 4)] {
        assert_exact(&mut desk, &mut Client::start(&at, kind), seed);
    }
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn several_at_once_and_nobody() {
    let (bus, mut desk) = desk();
    let (at, on) = (peer(&desk, &bus), format!("bus:{}", bus.address));
    let mut clients =
        [(&at, "copy"), (&at, "map"), (&on, "map")].map(|(at, kind)| Client::start(at, kind));
    let mut random = Random(5);
    desk.fill(&mut random);
    for _ in 0..20 {
        desk.change(&mut random);
    }
    for client in &mut clients {
        desk.look_until("the same picture", |desk| client.picture() == desk.picture);
    }
    assert_eq!(desk.server.listeners(), 3);
    let [.., last] = &mut clients;
    last.kill();
    until("two", || desk.server.listeners() == 2);
    drop(clients);
    until("nobody", || desk.server.takes().idle);
    assert_eq!(desk.heard.viewers.lock().unwrap().last(), Some(&0));
    // Nobody was shown this, and who comes now is.
    desk.change(&mut random);
    let mut client = Client::start(&at, "copy");
    desk.look_until("the same picture", |desk| client.picture() == desk.picture);
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn what_it_does_comes_back() {
    let (bus, mut desk) = desk();
    let mut client = Client::start(&format!("bus:{}", bus.address), "copy");
    desk.set_mode(SIZE, &mut Random(6));
    for order in ["press 30", "release 30", "press 200", "abs 639 479", "down 0", "up 0", "down 3"]
    {
        assert_eq!(client.order(order), "ok", "{order}");
    }
    let key = |code, down| Event::Key { code, down };
    let button = |down| Event::Button { code: BTN_LEFT, down };
    let there = Event::Pointer { at: Point::new(639, 479), screen: SIZE };
    let wheel = Event::Wheel { horizontal: 0, vertical: 1 };
    assert_eq!(
        desk.heard.take_events(),
        [key(30, true), key(30, false), key(103, true), there, button(true), button(false), wheel]
    );
    assert_eq!(client.order("rel -3 4"), "ok");
    assert_eq!(desk.heard.take_events(), [Event::Motion { dx: -3, dy: 4 }]);
    assert_eq!(client.order("abs 640 0"), "error org.qemu.Display1.Error.Invalid");
    assert_eq!(client.order("down 9"), "error org.qemu.Display1.Error.Invalid");
    assert_eq!(client.order("size 300 200 1280 800"), "ok");
    assert_eq!(client.order("size 0 0 0 800"), "error org.qemu.Display1.Error.Invalid");
    let sizes = desk.heard.sizes.lock().unwrap().clone();
    assert_eq!(sizes.len(), 1);
    assert_eq!(
        (sizes[0].size, sizes[0].millimetres),
        (Size::new(1280, 800), Some(Size::new(300, 200)))
    );
    assert_eq!(desk.heard.take_events(), []);
    // The key that it holds comes up when it goes, and another's does not.
    let mut other = Client::start(&peer(&desk, &bus), "copy");
    assert_eq!(other.order("press 31"), "ok");
    assert_eq!(desk.heard.take_events(), [key(31, true)]);
    client.kill();
    until("its key", || desk.heard.take_events() == [key(103, false)]);
    other.kill();
    until("the other's", || desk.heard.take_events() == [key(31, false)]);
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn pointer_properties_and_nothing_to_show() {
    let (bus, mut desk) = desk();
    let mut client = Client::start(&format!("bus:{}", bus.address), "copy");
    desk.look_until("a listener", |desk| desk.server.listeners() == 1);
    desk.set_mode(Size::new(800, 600), &mut Random(7));
    assert_eq!(client.order("changed Width 800"), "ok");
    assert_eq!(client.order("changed Height 600"), "ok");
    assert_eq!(client.order("get Width"), "800");

    let mut shape = Picture::new(Size::new(3, 2));
    shape.row_mut(1).fill(0x8040_2080);
    let cursor = |position| Cursor {
        shape: &shape,
        hotspot: Point::new(1, 1),
        position,
        shape_changed: true,
    };
    desk.server.cursor(Some(&cursor(Point::new(-1, 5)))).unwrap();
    until("the pointer", || client.cursor().0 == "3x2+1+1 at -1,5 1");
    let (_, pixels) = client.cursor();
    assert_eq!(pixels[..12], [0; 12]);
    assert_eq!(pixels[12..16], [0xff, 0x3f, 0x7f, 0x80], "B, G, R, A, not multiplied");
    desk.server.cursor(None).unwrap();
    until("no pointer", || client.cursor().0.ends_with(" 0"));

    desk.server.blank().unwrap();
    let nothing = vfio_display::notice::no_signal(Size::new(800, 600));
    until("no signal", || client.picture() == nothing);
    assert!(client.order("calls").contains("Disable=1"));
    drop(desk);
    assert_eq!(client.line(), "closed");
}
