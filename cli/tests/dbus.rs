// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve --dbus` on mocks: where it is, how it ends, and beside VNC.

#[path = "../../sinks/dbus/tests/common/bus.rs"]
#[allow(dead_code, unreachable_pub, reason = "this uses a part")]
mod bus;
#[path = "../../sinks/dbus/tests/common/client.rs"]
#[allow(dead_code, unreachable_pub, reason = "this uses a part")]
mod client;
mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

use bus::Bus;
use client::Client;
use serde_json::Value;
use support::{Serve, Viewer, serve, stderr, wait_for};
use vfio_display::geometry::Size;
use vfio_display::testing::card::Card;

const DEV: &str = "mock:320x256";
const SIZE: Size = Size::new(320, 256);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_socket_speaks_d_bus_to_its_owner_and_goes_with_the_command() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("display");
    let at = path.to_str().expect("UTF-8");
    let serve = Serve::start(DEV, &["--dbus-p2p", at]);
    assert_eq!(serve.address, format!("dbus unix:path={at}"));
    assert_eq!(path.metadata().expect("a file").mode() & 0o777, 0o600);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.write_all(b"\0AUTH\r\n").expect("it reads");
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("it answers");
    assert_eq!(line, "REJECTED EXTERNAL\r\n");
    serve.stop();
    assert!(!path.exists());
}

#[test]
fn both_servers_say_where_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("display");
    let at = path.to_str().expect("UTF-8");
    let serve = Serve::start(DEV, &["--json", "--vnc", "127.0.0.1:0", "--dbus-p2p", at]);
    let told: Value = serde_json::from_str(&serve.address).expect("JSON");
    assert_eq!(told["dbus_p2p"], format!("unix:path={at}"));
    assert_eq!(told.get("dbus"), None);
    let vnc = told["vnc"].as_str().expect("an address");
    Viewer::connect(vnc).expect("it serves").until("a picture", |viewer| viewer.size == SIZE);
    serve.stop();
}

#[test]
fn what_can_not_be_served_is_said_with_its_status() {
    for (args, status, told) in [
        (&["--dbus=unix:path=/no/such/bus"][..], 3, "/no/such/bus"),
        (&["--dbus=nonsense"], 3, "nonsense"),
        (&["--dbus-p2p", "/no/such/dir/s"], 3, "/no/such/dir/s"),
        (&["--dbus-p2p", "/dev/null"], 5, "/dev/null"),
        (&["--dma-buf", "--vnc", "127.0.0.1:0"], 2, "--dma-buf"),
    ] {
        let output = serve(DEV, args).output().expect("it runs");
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

/// Whether it is one of the card's pictures, in every pixel.
fn is_card(client: &mut Client) -> Option<()> {
    let picture = client.picture();
    let pixels = || picture.pixels().iter().map(|pixel| pixel & 0xff_ffff);
    let is = |n| pixels().eq(Card::new(SIZE, n).picture());
    (picture.size() == SIZE && (0..1200).any(is)).then_some(())
}

#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn on_a_bus_beside_vnc_and_with_input() {
    let bus = Bus::start();
    let on_bus = format!("--dbus={}", bus.address);
    let serve = Serve::start(DEV, &["--json", "--vnc", "127.0.0.1:0", &on_bus]);
    let told: Value = serde_json::from_str(&serve.address).expect("JSON");
    assert_eq!(told["dbus"], bus.address);
    let mut viewer = Viewer::connect(told["vnc"].as_str().expect("an address")).expect("serves");
    viewer.until("a picture", |viewer| viewer.size == SIZE);
    // The screen is looked at for the viewer already, and the newcomer gets all of it.
    let mut client = Client::start(&format!("bus:{}", bus.address), "map");
    wait_for("a card", PATIENCE, || is_card(&mut client));
    assert_eq!(client.order("abs 40 130"), "ok");
    wait_for("the cross", PATIENCE, || {
        (client.picture().pixel(40, 130)? & 0xff_ffff == 0xff_b020).then_some(())
    });
    client.kill();
    drop(viewer);
    serve.stop();
}

/// All that a client may do has to be left to a server that has given up what it could.
#[test]
#[ignore = "needs GDBus: cargo xtask test installs it"]
fn clients_at_a_socket_come_ask_choose_and_go() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("display");
    let at = path.to_str().expect("UTF-8");
    let serve = Serve::start(DEV, &["--dbus-p2p", at, "--resize"]);
    for kind in ["copy", "map", "map"] {
        let mut client = Client::start(&format!("peer:{at}"), kind);
        wait_for("a card", PATIENCE, || is_card(&mut client));
        // zbus answers this by itself, out of files that are not within its reach.
        let id = Command::new("dbus-send")
            .args([&format!("--peer=unix:path={at}"), "--print-reply", "/org/qemu/Display1/VM"])
            .arg("org.freedesktop.DBus.Peer.GetMachineId")
            .output()
            .expect("dbus-send is installed");
        assert!(!id.status.success());
        assert!(stderr(&id).contains("machine-id: Permission denied"), "{}", stderr(&id));
        wait_for("a card", PATIENCE, || is_card(&mut client));
        client.kill();
    }
    serve.stop();
}
