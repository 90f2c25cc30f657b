// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` in a browser: the link that it prints, and what a person gets by it.

#[path = "../../sinks/web/tests/common/mod.rs"]
mod common;
mod support;

use std::net::{SocketAddr, TcpListener};

use common::http::{Answer, get, upgrade};
use common::webdriver::Browser;
use serde_json::{Value, json};
use support::{All, MockDevice, Serve, serve, stderr};
use vfio_display::geometry::Size;

const DEV: &str = "mock:320x256";

/// The address and the rest of a link.
fn parts(link: &str) -> (SocketAddr, &str) {
    let rest = link.strip_prefix("http://").unwrap_or_else(|| panic!("{link}"));
    let (at, path) = rest.split_at(rest.find('/').expect("a path"));
    (at.parse().expect("an address"), path)
}

fn follow(link: &str) -> Answer {
    let (at, path) = parts(link);
    get(at, path, &[])
}

#[test]
fn a_page_is_served_beside_vnc_and_each_link_is_good_once() {
    // If it fails, somebody else has it.
    let taken = TcpListener::bind("127.0.0.1:6080");
    let mut serve = Serve::start(DEV, &[]);
    assert!(serve.address.starts_with("vnc://127.0.0.1:"), "{}", serve.address);
    let link = serve.line();
    let (at, _) = parts(&link);
    assert!(at.ip().is_loopback() && (6081..6180).contains(&at.port()), "{link}");
    let first = follow(&link);
    assert_eq!(first.status, 303);
    assert_eq!(follow(&link).status, 403, "used");
    let next = serve.line();
    assert_ne!(next, link);
    assert_eq!(follow(&next).status, 303);
    assert_eq!(parts(&serve.line()).0, at);

    let cookie = first.cookie().expect("a cookie");
    let list = get(at, "/displays.json", &[("Cookie", &cookie)]).body;
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list[0]["title"], "mock:well-behaved:320x256");
    let (answer, _socket) = upgrade(at, &at.to_string(), "/websockify", &[("Cookie", &cookie)]);
    assert_eq!(answer.map(|answer| answer.status), Some(101));
    serve.stop();
    drop(taken);
}

#[test]
fn what_is_asked_for_is_served_and_nothing_else() {
    let serve = Serve::start(DEV, &["--web=127.0.0.1:0"]);
    assert_eq!(follow(&serve.address).status, 303);
    drop(serve);
    let mut serve = Serve::start(DEV, &["--json", "--web=[::1]:0", "--vnc", "127.0.0.1:0"]);
    let told: Value = serde_json::from_str(&serve.address).expect("JSON");
    let (vnc, web) = (told["vnc"].as_str(), told["web"].as_str());
    assert!(vnc.is_some_and(|vnc| vnc.starts_with("vnc://127.0.0.1:")), "{told}");
    assert!(web.is_some_and(|web| web.starts_with("http://[::1]:")), "{told}");
    assert_eq!(follow(web.unwrap_or_default()).status, 303);
    let next: Value = serde_json::from_str(&serve.line()).expect("JSON");
    assert!(next["web"].is_string() && next["web"] != told["web"], "{next}");
    serve.stop();
    // Asked for VNC alone, there is one line: `stop` looks.
    Serve::at_any_port(DEV, &[]).stop();
}

/// The value of a display's metric, in what `/metrics` says.
fn metric(text: &str, name: &str, display: &str) -> f64 {
    let start = format!("vfio_display_{name}{{display=\"{display}\"}} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok());
    value.unwrap_or_else(|| panic!("{start}: {text}"))
}

#[test]
fn one_display_is_counted() {
    let mut serve = Serve::start(DEV, &["--vnc=127.0.0.1:0", "--web=127.0.0.1:0"]);
    let link = serve.line();
    let (at, _) = parts(&link);
    let cookie = follow(&link).cookie().expect("a cookie");
    let counted = |name: &str| {
        let text = get(at, "/metrics", &[("Cookie", &cookie)]).body;
        metric(&text, name, "mock:well-behaved:320x256")
    };
    assert_eq!((counted("viewers"), counted("frames_total")), (0.0, 0.0), "nobody watches");
    let mut viewer = serve.viewer();
    viewer.until("a picture", |viewer| viewer.updates > 1);
    assert_eq!(counted("viewers"), 1.0);
    assert!(counted("frames_total") > 0.0 && counted("sent_bytes_total") > 0.0);
    assert_ne!(serve.line(), link, "the next one");
    serve.stop();
}

#[test]
fn all_displays_are_listed_and_counted() {
    let mut all = All::start(&["--web=127.0.0.1:0"]);
    let link = all.told[0]["web"].as_str().expect("a link").to_owned();
    let (at, _) = parts(&link);
    let cookie = follow(&link).cookie().expect("a cookie");
    let ask = |path: &str| get(at, path, &[("Cookie", &cookie)]).body;
    let names = || -> Vec<String> {
        let list: Value = serde_json::from_str(&ask("/displays.json")).expect("JSON");
        let list = list.as_array().expect("a list");
        list.iter().map(|it| it["name"].as_str().expect("a name").to_owned()).collect()
    };
    assert_eq!(names(), [""; 0]);
    let still = ["--size", "160x128", "--scene", "still"];
    let mut devices: Vec<_> =
        ["one", "two"].iter().map(|name| MockDevice::at(all.device(name), &still)).collect();
    all.until("both", |all| all.displays.len() == 2);
    assert_eq!(names(), ["one", "two"]);
    assert!(ask("/").contains("index.js"), "there is a list of them");

    let (answer, _) =
        upgrade(at, &at.to_string(), "/websockify?display=two", &[("Cookie", &cookie)]);
    assert_eq!(answer.map(|answer| answer.status), Some(101));
    let mut viewer = all.viewer("one");
    viewer.until("a picture", |viewer| viewer.updates > 1);
    let metric = |name: &str, display: &str| metric(&ask("/metrics"), name, display);
    assert_eq!((metric("viewers", "one"), metric("viewers", "two")), (1.0, 0.0));
    assert!(metric("frames_total", "one") > 0.0 && metric("looks_total", "one") > 0.0);

    devices[1].kill();
    all.until("one", |all| all.displays.len() == 1);
    assert_eq!(names(), ["one"]);
    assert!(!ask("/metrics").contains("display=\"two\""));
    drop(viewer);
    assert!(all.stop().0.success());
}

#[test]
fn a_proxy_may_be_named() {
    let options = ["--web=127.0.0.1:0", "--web-host", "console.example"];
    let serve = Serve::start(DEV, &[&options[..], &["--web-origin", "https://x.example"]].concat());
    let (at, path) = parts(&serve.address);
    let target = path.replacen("/?", "/websockify?", 1);
    let from = |host: &str, origin: &str| {
        let (answer, _) = upgrade(at, host, &target, &[("Origin", origin)]);
        answer.expect("an answer").status
    };
    assert_eq!(from("other.example", "https://other.example"), 421);
    assert_eq!(from("console.example", "https://y.example"), 403);
    assert_eq!(from("console.example", "https://x.example"), 101);
}

#[test]
fn what_can_not_be_listened_on_is_said_with_its_status() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken_at = taken.local_addr().expect("its address").to_string();
    for (at, status, told) in [
        ("0.0.0.0:6080", 2, "can be reached from other machines"),
        ("localhost:6080", 2, "invalid value"),
        (taken_at.as_str(), 5, "in use"),
    ] {
        let output = serve(DEV, &[&format!("--web={at}")]).output().expect("it runs");
        assert_eq!(output.status.code(), Some(status), "{at}: {}", stderr(&output));
        assert!(stderr(&output).to_lowercase().contains(told), "{at}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "{at}");
    }
}

/// From the browser's window to the device's EDID, and from its keys to the guest.
#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn the_guest_follows_the_window_and_shows_what_is_typed() {
    let serve = Serve::start(DEV, &["--web=127.0.0.1:0", "--resize"]);
    let browser = Browser::new();
    browser.open(&serve.address);
    for size in [Size::new(800, 600), Size::new(640, 400)] {
        browser.resize(size);
        let mode = format!("{}×{}", size.width, size.height);
        browser.until(&format!("document.querySelector('#mode').textContent === '{mode}'"));
    }
    browser.until("Number.parseInt(document.querySelector('#rate').textContent) > 10");
    // What the guest writes of its input is in a colour that the card has elsewhere only.
    let ink = "(() => {
        const canvas = document.querySelector('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, 40);
        let count = 0;
        for (let i = 0; i < data.length; i += 4)
            count += data[i] === 0xff && data[i + 1] === 0xb0 && data[i + 2] === 0x20;
        return count;
    })()";
    browser.until(&format!("{ink} === 0"));
    browser.press(&["a"]);
    browser.until(&format!("{ink} > 50"));
    let mouse = json!([{ "type": "pointer", "id": "mouse", "actions": [
        { "type": "pointerMove", "x": 320, "y": 200 },
    ] }]);
    browser.act(mouse);
    let pixel = "[...document.querySelector('canvas').getContext('2d').getImageData(320, 200, 1, 1)
        .data].join() === '255,176,32,255'";
    browser.until(pixel);
    assert_eq!(browser.complaints(), [""; 0]);
}
