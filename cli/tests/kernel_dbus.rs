// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! dma-bufs through D-Bus, from a real driver to a client of another hand.
//!
//! The kernel runs with `oops=panic`: a dma-buf of mbochs that is exported twice would end all
//! tests.

#[path = "../../sinks/dbus/tests/common/client.rs"]
#[allow(dead_code, unreachable_pub, reason = "this uses a part")]
mod client;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use client::Client;
use rustix::process::Signal;
use support::{Mdev, Serve, kernel, load_mbochs, wait_for};
use vfio_display::Display;
use vfio_display::device::PlaneKind;
use vfio_display::geometry::Size;
use vfio_display::host::{Host, OnConflict, Opened};
use vfio_display::testing::card::Card;
use vfio_display::testing::guest::bochs;
use vfio_display::testing::{Mock, Op, Personality};
use vfio_display_dbus::{DbusServer, Options};

const SIZE: Size = Size::new(640, 480);
const PATIENCE: Duration = Duration::from_secs(30);

/// dma-bufs that a process holds: inode numbers with how many fds there are of each.
fn dmabufs(pid: u32) -> BTreeMap<u64, usize> {
    let mut held = BTreeMap::new();
    for fd in fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").flatten() {
        let link = fs::read_link(fd.path()).unwrap_or_default();
        if link.starts_with("/dmabuf:") {
            // It may be closed by now.
            if let Ok(meta) = fs::metadata(fd.path()) {
                *held.entry(meta.ino()).or_default() += 1;
            }
        }
    }
    held
}

/// What the client says of its buffer, as words: inode, bytes, and the rest.
fn buffer(client: &mut Client) -> Option<(u64, u64, String)> {
    let told = client.order("buffer");
    let mut words = told.splitn(3, ' ');
    let mut number = || words.next()?.parse().ok();
    let (inode, bytes) = (number()?, number()?);
    Some((inode, bytes, words.next()?.to_owned()))
}

fn open(mdev: &Mdev) -> Opened {
    let name = mdev.uuid.parse().expect("a UUID");
    Host::new().open(&name, OnConflict::Refuse).expect("mbochs opens")
}

/// The driver as shipped: nobody but a GPU reads its buffers.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_hundred_flips_reach_a_client_as_the_buffers_that_they_are() {
    const PAGES: u64 = 3;
    load_mbochs(false);
    for kind in ["dmabuf", "dmabuf2"] {
        // A device each: a second process that exports the same buffers would have this driver give
        // their pages back twice.
        let mdev = Mdev::create("mbochs-medium");
        let device = open(&mdev);
        let vbe = bochs::Vbe::new(&device).expect("BAR 2 is there");
        vbe.set_mode(SIZE).expect("the mode is set");
        let socket = format!("/tmp/dbus-{}", mdev.uuid);
        let us = format!("pid:{}", std::process::id());
        let mut serve = Serve::start(&us, &["--dbus-p2p", &socket, "--dma-buf"]);
        assert_eq!(serve.address, format!("dbus unix:path={socket}"));
        let mut client = Client::start(&format!("peer:{socket}"), kind);
        let mut pages = BTreeMap::new();
        for flip in 0..100 {
            let page = flip % PAGES;
            vbe.flip((page * u64::from(SIZE.height)) as u16).expect("the page flips");
            let known = pages.get(&page).copied();
            let last = pages.get(&((flip + PAGES - 1) % PAGES)).copied();
            // Another buffer than that of the page before, and the one that this page had before.
            let inode = wait_for("the page's buffer", PATIENCE, || {
                let (inode, bytes, told) = buffer(&mut client)?;
                assert_eq!(bytes, SIZE.area() * 4);
                assert_eq!(told, "XR24 640x480 stride 2560 offset 0 modifier 0x0 y0_top 0");
                (Some(inode) != last && known.is_none_or(|known| known == inode)).then_some(inode)
            });
            pages.insert(page, inode);
            // The same file on our side, one for each page, with a duplicate where it is in use.
            let ours = dmabufs(serve.pid());
            assert!(ours.contains_key(&inode), "flip {flip}: {inode} of {ours:?}");
            assert_eq!(ours.len() as u64, PAGES.min(flip + 1), "flip {flip}: exported once");
            wait_for("the client to have no other", PATIENCE, || {
                dmabufs(client.pid()).keys().eq([&inode]).then_some(())
            });
        }
        let calls = client.order("calls");
        let method = if kind == "dmabuf" { " ScanoutDMABUF=" } else { "ScanoutDMABUF2=" };
        let calls = format!(" {calls}");
        assert!(calls.contains(method) && !calls.contains(" Scanout="), "{calls}");
        assert!(calls.contains("UpdateDMABUF="), "{calls}");

        // Off, and the client lets go of it.
        vbe.off().expect("it goes off");
        wait_for("no buffer", PATIENCE, || dmabufs(client.pid()).is_empty().then_some(()));
        vbe.set_mode(SIZE).expect("the mode is set");
        wait_for("a buffer", PATIENCE, || buffer(&mut client));
        client.kill();
        serve.signal(Signal::INT);
        // It has warned of a second look at a display of this driver.
        let (status, stderr) = serve.ended();
        assert!(status.success(), "{status}: {stderr}");
        assert_eq!(dmabufs(std::process::id()), BTreeMap::new());
        drop(device);
        // What is left open anywhere keeps the device from being removed.
        mdev.remove().expect("nobody holds it");
    }
}

/// Without a client for it there is something to read.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn who_shows_no_buffers_sees_why() {
    load_mbochs(false);
    let mdev = Mdev::create("mbochs-medium");
    let device = open(&mdev);
    let vbe = bochs::Vbe::new(&device).expect("BAR 2 is there");
    vbe.set_mode(SIZE).expect("the mode is set");
    let socket = format!("/tmp/dbus-{}", mdev.uuid);
    let us = format!("pid:{}", std::process::id());
    let _serve = Serve::start(&us, &["--dbus-p2p", &socket]);
    let mut client = Client::start(&format!("peer:{socket}"), "map");
    let words = vfio_display::notice::gpu_only(SIZE);
    wait_for("words", PATIENCE, || (client.picture() == words).then_some(()));
}

/// Nothing is copied on our side: the client maps the guest's pages.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn udmabufs_reach_a_client_that_maps_them() {
    if !Path::new("/dev/udmabuf").exists() {
        assert_eq!(kernel(), "6.1", "later kernels of Debian have udmabuf");
        return;
    }
    let mock = Mock::new(Personality::MbochsRw, SIZE).expect("memory");
    mock.show_card(0).expect("it draws");
    let mut display = Display::with_kind(mock.clone(), PlaneKind::Dmabuf);
    let options = Options { dma_buf: true, ..Options::default() };
    let mut server = DbusServer::start(options, Arc::new(())).expect("a thread");
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("peer");
    server.listen_unix(&socket).expect("it listens");
    let mut client = Client::start(&format!("peer:{}", socket.display()), "dmabuf2");
    display.watch(Instant::now());
    for n in 0..30 {
        mock.flip_to(n % 3).expect("it flips");
        mock.show_card(n.into()).expect("it draws");
        let expected = Card::new(SIZE, n.into()).picture();
        wait_for("the card", PATIENCE, || {
            let now = display.poll_at().expect("watched");
            // ENOMEM comes before each new page, as from the driver.
            display.poll(now, &mut server).expect("a dma-buf");
            let seen = client.picture();
            seen.pixels()
                .iter()
                .map(|pixel| pixel & 0xff_ffff)
                .eq(expected.iter().copied())
                .then_some(())
        });
    }
    assert_eq!(mock.calls(Op::ExportDmabuf), 3);
    assert_eq!(mock.kernel_bugs(), []);
    let (inode, bytes, _) = buffer(&mut client).expect("a buffer");
    assert_eq!(bytes, SIZE.area() * 4);
    assert!(dmabufs(std::process::id()).contains_key(&inode), "a real dma-buf, and ours");
}
