// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The page in Chromium: what it shows is what the mock shows, pixel for pixel, and what is done at it
//! arrives.

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::http::get;
use common::show::Show;
use common::wait_for;
use common::webdriver::Browser;
use serde_json::{Value, json};
use vfio_display::geometry::{Point, Size};
use vfio_display::input::{BTN_LEFT, BTN_RIGHT, Event};
use vfio_display_web::{Options, WebServer};

const SIZE: Size = Size::new(320, 256);

/// WebDriver's names of keys that make no character.
const CONTROL: &str = "\u{e009}";
const ALT: &str = "\u{e00a}";
const SHIFT: &str = "\u{e008}";
const TAB: &str = "\u{e004}";
const ESCAPE: &str = "\u{e00c}";
const ARROW_RIGHT: &str = "\u{e014}";

struct Page {
    show: Show,
    web: WebServer,
    at: SocketAddr,
    browser: Browser,
}

impl Page {
    fn new() -> Self {
        Self::with(Show::new(SIZE), Browser::new())
    }

    fn with(show: Show, browser: Browser) -> Self {
        let web = WebServer::start(Options::default()).unwrap();
        let at = web.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        web.publish("mock", "A mock", show.handle.clone());
        let page = Self { show, web, at, browser };
        page.browser.open(&page.web.link().unwrap());
        page
    }

    /// The mock shows a frame of the card, and the page shows the same.
    fn shows(&self, what: &str, n: u64) {
        self.browser.shows(what, self.show.card(n));
    }

    /// Waits for an event at the other end.
    fn hears(&self, what: &str, so: impl Fn(&[Event]) -> bool) -> Vec<Event> {
        wait_for(what, || {
            let events = self.show.heard.events.lock().unwrap();
            so(&events).then(|| events.clone())
        })
    }

    /// Where a pixel of the guest is on the page.
    fn place(&self, x: f64, y: f64) -> (i64, i64) {
        let script = format!(
            "const canvas = document.querySelector('canvas');
             const box = canvas.getBoundingClientRect();
             return [box.left + ({x} + 0.5) * box.width / canvas.width,
                     box.top + ({y} + 0.5) * box.height / canvas.height];"
        );
        let at = self.browser.run(&script);
        (at[0].as_f64().unwrap().floor() as i64, at[1].as_f64().unwrap().floor() as i64)
    }

    fn no_complaints(&self) {
        assert_eq!(self.browser.complaints(), [""; 0]);
    }
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn it_shows_each_pixel_still_moving_resized_and_reconnected() {
    let mut page = Page::new();
    page.shows("the first picture", 0);
    assert!(page.browser.url().ends_with("/"), "the token is gone: {}", page.browser.url());
    for n in 1..=200 {
        page.show.mock.show_card(n).unwrap();
        std::thread::sleep(Duration::from_millis(8));
    }
    page.shows("the last that moved", 200);
    page.browser.until("Number.parseInt(document.querySelector('#rate').textContent) > 0");
    for (n, size) in [(300, Size::new(640, 400)), (301, Size::new(208, 130)), (302, SIZE)] {
        page.show.mock.set_mode(size).unwrap();
        page.shows(&format!("{size}"), n);
        let mode = format!("{}×{}", size.width, size.height);
        assert_eq!(page.browser.text("#mode"), mode);
    }

    // The server ends, and one of the same name is there again; the page finds it by itself.
    let other = Show::new(Size::new(400, 300));
    page.web.withdraw("mock");
    page.show = other;
    page.browser.until("document.querySelector('#notice').textContent.startsWith('reconnecting')");
    page.browser.until("!document.querySelector('#notice').hidden");
    let log = page.browser.complaints();
    assert!(log.iter().all(|said| said.contains("websockify")), "{log:?}");
    page.web.publish("mock", "Another mock", page.show.handle.clone());
    page.shows("after a reconnect", 7);
    page.browser.until("document.querySelector('#notice').hidden");
    assert_eq!(page.browser.text("#title"), "Another mock");
    page.show.mock.set_mode(Size::new(300, 200)).unwrap();
    page.shows("resized after a reconnect", 8);
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_large_screen_that_is_new_all_over() {
    let page = Page::with(Show::new(Size::new(1920, 1080)), Browser::new());
    page.browser.until("document.querySelector('canvas').width === 1920");
    for n in 0..6 {
        page.show.mock.set_mode(Size::new(1920, 1080)).unwrap();
        page.show.mock.show_card(n * 1000).unwrap();
    }
    page.shows("1920x1080", 77);
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn keys_and_the_mouse_arrive() {
    let page = Page::new();
    page.shows("a picture", 0);
    page.browser.until("document.activeElement.id === 'screen'");
    let key = |code, down| Event::Key { code, down };
    page.browser.press(&[SHIFT, "a"]);
    page.browser.press(&[ARROW_RIGHT]);
    page.browser.press(&[TAB]);
    page.browser.press(&[ESCAPE]);
    let events = page.hears("keys", |events| events.contains(&key(1, false)));
    let expected: Vec<Event> = [(42, 1), (30, 1), (30, 0), (42, 0), (106, 1), (106, 0), (15, 1)]
        .into_iter()
        .chain([(15, 0), (1, 1), (1, 0)])
        .map(|(code, down)| key(code, down == 1))
        .collect();
    assert_eq!(events, expected);
    page.show.heard.take();

    let (x, y) = page.place(100.0, 50.0);
    let (to_x, to_y) = page.place(319.0, 255.0);
    page.browser.act(json!([{ "type": "pointer", "id": "mouse", "actions": [
        { "type": "pointerMove", "x": x, "y": y },
        { "type": "pointerDown", "button": 0 },
        { "type": "pointerMove", "x": to_x, "y": to_y, "duration": 50 },
        { "type": "pointerUp", "button": 0 },
        { "type": "pointerDown", "button": 2 },
        { "type": "pointerUp", "button": 2 },
    ] }]));
    let button = |code, down| Event::Button { code, down };
    let events = page.hears("buttons", |events| events.contains(&button(BTN_RIGHT, false)));
    let at = |x, y| Event::Pointer { at: Point::new(x, y), screen: SIZE };
    let place = |event| events.iter().position(|e| *e == event);
    let down = place(button(BTN_LEFT, true)).unwrap();
    let up = place(button(BTN_LEFT, false)).unwrap();
    assert_eq!(place(at(100, 50)).map(|i| i < down), Some(true), "{events:?}");
    assert_eq!(place(at(319, 255)).map(|i| i > down && i < up), Some(true), "{events:?}");
    assert!(place(button(BTN_RIGHT, true)).unwrap() > up);

    page.browser.act(json!([{ "type": "wheel", "id": "wheel", "actions": [
        { "type": "scroll", "x": x, "y": y, "deltaX": 0, "deltaY": 100 },
    ] }]));
    let down = Event::Wheel { horizontal: 0, vertical: -1 };
    page.hears("the wheel", |events| events.iter().filter(|e| **e == down).count() == 2);
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn what_is_held_is_let_go_of_with_the_focus() {
    let page = Page::new();
    page.shows("a picture", 0);
    page.browser.act(json!([{ "type": "key", "id": "keys", "actions": [
        { "type": "keyDown", "value": "a" },
    ] }]));
    let up = Event::Key { code: 30, down: false };
    page.hears("the key", |events| events.contains(&Event::Key { code: 30, down: true }));
    assert!(!page.show.heard.events.lock().unwrap().contains(&up));
    page.browser.run("document.activeElement.blur()");
    page.hears("its release", |events| events.contains(&up));
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn fingers_tap_drag_hold_and_scroll() {
    let page = Page::new();
    page.shows("a picture", 0);
    let (x, y) = page.place(100.0, 50.0);
    let finger = |id: &str, actions: Value| {
        json!({ "type": "pointer", "id": id, "parameters": { "pointerType": "touch" },
                "actions": actions })
    };
    let to = |x: i64, y: i64| json!({ "type": "pointerMove", "x": x, "y": y, "duration": 100 });
    let (down, up) = (json!({ "type": "pointerDown" }), json!({ "type": "pointerUp" }));
    let button = |code, down| Event::Button { code, down };
    let at = |x, y| Event::Pointer { at: Point::new(x, y), screen: SIZE };
    let is_button = |event: &&Event| matches!(event, Event::Button { .. });
    let buttons = |events: &[Event]| events.iter().filter(is_button).copied().collect::<Vec<_>>();
    let left = [button(BTN_LEFT, true), button(BTN_LEFT, false)];

    page.browser.act(json!([finger("one", json!([to(x, y), down, up]))]));
    let events = page.hears("a tap", |events| events.contains(&left[1]));
    assert_eq!((events[0], buttons(&events)), (at(100, 50), left.to_vec()));
    page.show.heard.take();

    let ((from_x, from_y), (far_x, far_y)) = (page.place(90.0, 40.0), page.place(200.0, 150.0));
    let drag = json!([to(from_x, from_y), down, to(far_x, far_y), up]);
    page.browser.act(json!([finger("one", drag)]));
    let events = page.hears("a drag", |events| events.contains(&left[1]));
    assert_eq!(buttons(&events), left);
    let place = |event| events.iter().position(|e| *e == event).unwrap();
    assert!(place(at(90, 40)) < place(left[0]) && place(left[0]) < place(at(200, 150)));
    assert!(place(at(200, 150)) < place(left[1]));
    page.show.heard.take();

    let hold = json!({ "type": "pause", "duration": 900 });
    page.browser.act(json!([finger("one", json!([to(x, y), down, hold, up]))]));
    let right = [button(BTN_RIGHT, true), button(BTN_RIGHT, false)];
    let events = page.hears("a long press", |events| events.contains(&right[1]));
    assert_eq!(buttons(&events), right);
    page.show.heard.take();

    let (x, y) = page.place(160.0, 60.0);
    let pull = |x| json!([to(x, y), down, to(x, y + 120), up]);
    page.browser.act(json!([finger("one", pull(x - 30)), finger("two", pull(x + 30))]));
    let wheel = Event::Wheel { horizontal: 0, vertical: 1 };
    let events =
        page.hears("a scroll", |events| events.iter().filter(|e| **e == wheel).count() >= 2);
    assert_eq!(buttons(&events), []);
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_phones_keyboard_types() {
    let page = Page::new();
    page.shows("a picture", 0);
    page.browser.run("document.querySelector('#typing').click()");
    page.browser.until("document.activeElement.id === 'text'");
    // As an on-screen keyboard does: text, and no keys.
    page.browser.cdp("Input.insertText", json!({ "text": "aB" }));
    let b = Event::Key { code: 48, down: false };
    page.hears("text", |events| events.contains(&b));
    page.hears("shift is up", |events| {
        events.last() == Some(&Event::Key { code: 42, down: false })
    });
    let keys: Vec<(u16, bool)> = page
        .show
        .heard
        .take()
        .iter()
        .filter_map(|event| match event {
            Event::Key { code, down } => Some((*code, *down)),
            _ => None,
        })
        .collect();
    let expected = [(30, true), (30, false), (42, true), (48, true), (48, false), (42, false)];
    assert_eq!(keys, expected);
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn the_guest_is_asked_for_the_size_of_the_window() {
    let page = Page::new();
    page.shows("a picture", 0);
    for size in [Size::new(700, 500), Size::new(360, 640)] {
        page.browser.resize(size);
        wait_for("the wish", || (page.show.asked() == Some(size)).then_some(()));
        page.show.mock.set_mode(size).unwrap();
        page.shows("the size of the window", size.width.into());
    }
    // A guest that keeps its own size is asked once, also when its signal comes and goes.
    let (own, wish) = (SIZE, Size::new(500, 450));
    page.browser.resize(wish);
    wait_for("the wish", || (page.show.asked() == Some(wish)).then_some(()));
    let asked = page.show.heard.sizes.lock().unwrap().len();
    page.show.mock.off();
    page.browser.until("document.querySelector('#notice').textContent === 'no signal'");
    page.show.mock.set_mode(own).unwrap();
    page.shows("its own size", 9);
    page.browser.until("document.querySelector('#notice').hidden");
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(page.show.heard.sizes.lock().unwrap().len(), asked, "and not again");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_keyboard_alone_gets_everywhere_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let downloads = json!({ "download.default_directory": dir.path().to_str().unwrap() });
    let page = Page::with(Show::new(SIZE), Browser::with(downloads));
    page.shows("a picture", 5);
    page.browser.until("document.querySelector('#bar').classList.contains('folded')");
    page.browser.press(&[CONTROL, ALT, SHIFT]);
    page.browser.until("document.activeElement.id === 'full'");
    page.hears("nothing is held", |events| {
        [29, 56, 42].iter().all(|code| events.contains(&Event::Key { code: *code, down: false }))
    });
    page.show.heard.take();
    page.browser.press(&[TAB]);
    page.browser.until("document.activeElement.id === 'shot'");
    page.browser.press(&[" "]);
    page.browser.until("document.activeElement.id === 'screen'");
    let file = wait_for("a screenshot", || {
        let files = std::fs::read_dir(dir.path()).unwrap().flatten();
        files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "png"))
    });
    let (size, card) = page.show.card(5);
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(&file).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    assert_eq!(Size::new(info.width, info.height), size);
    let step = info.line_size / info.width as usize;
    let pixels = bytes.chunks_exact(step).map(|p| u32::from_be_bytes([255, p[0], p[1], p[2]]));
    assert!(pixels.eq(card.iter().map(|pixel| pixel | 0xff00_0000)), "it is the picture");
    assert!(file.file_name().unwrap().to_str().unwrap().starts_with("A-mock-"), "{file:?}");

    page.browser.press(&[CONTROL, ALT, SHIFT]);
    page.browser.press(&[TAB]);
    page.browser.press(&[TAB]);
    page.browser.until("document.activeElement.id === 'attention'");
    page.show.heard.take();
    page.browser.press(&["\u{e007}"]);
    let deleted = Event::Key { code: 111, down: true };
    page.hears("Ctrl+Alt+Del", |events| {
        let down = |code| Event::Key { code, down: true };
        events.starts_with(&[down(29), down(56), deleted])
    });
    page.browser.press(&[CONTROL, ALT, SHIFT]);
    page.browser.press(&[ESCAPE]);
    page.browser.until("document.activeElement.id === 'screen'");
    page.browser.until("document.querySelector('#bar').classList.contains('folded')");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn full_screen_and_back() {
    let page = Page::new();
    page.shows("a picture", 0);
    page.browser.press(&[CONTROL, ALT, SHIFT]);
    page.browser.press(&["\u{e007}"]);
    page.browser.until("document.fullscreenElement !== null");
    page.browser.until("document.querySelector('#full').getAttribute('aria-pressed') === 'true'");
    page.browser.until("document.activeElement.id === 'screen'");
    page.browser.run("document.exitFullscreen()");
    page.browser.until("document.querySelector('#full').getAttribute('aria-pressed') === 'false'");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn no_signal_and_view_only_are_said() {
    let options = vfio_display_vnc::Options { view_only: true, ..Default::default() };
    let page = Page::with(Show::with(SIZE, options), Browser::new());
    page.shows("a picture", 0);
    page.browser.until("document.querySelector('#notice').hidden");
    page.browser.until("!document.querySelector('#view-only').hidden");
    page.browser.until("document.querySelector('#attention').hidden");
    page.show.mock.off();
    page.browser.until("document.querySelector('#notice').textContent === 'no signal'");
    page.browser.until("!document.querySelector('#notice').hidden");
    page.show.mock.set_mode(SIZE).unwrap();
    page.shows("a picture again", 3);
    page.browser.until("document.querySelector('#notice').hidden");
    page.browser.press(&["a"]);
    page.browser.resize(Size::new(500, 400));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(page.show.heard.take(), []);
    assert_eq!(page.show.asked(), None);
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_pointers_shape_is_drawn_by_the_browser() {
    let page = Page::new();
    page.shows("a picture", 0);
    let red = vec![0xffff_0000; 64 * 64];
    page.show.mock.set_cursor(Size::new(64, 64), &red).unwrap();
    page.browser.until("document.querySelector('canvas').style.cursor.startsWith('url(')");
    page.show.mock.hide_cursor();
    page.browser.until("document.querySelector('canvas').style.cursor === 'crosshair'");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn several_displays_are_listed_and_followed() {
    let page = Page::new();
    // Else it may ask for the only display when that is not the only one any more.
    page.shows("the only one", 0);
    let second = Show::new(Size::new(200, 150));
    let title = "<b>Second</b> & more";
    page.web.publish("b/2?&", title, second.handle.clone());
    page.browser.open(&format!("http://{}/", page.at));
    page.browser.until("document.querySelectorAll('#displays a').length === 2");
    assert_eq!(page.browser.text("#displays li:first-child"), format!("{title}0 viewers"));
    page.browser.run("document.querySelector('#displays a').click()");
    page.browser.shows("the one that was chosen", second.card(9));
    assert_eq!(page.browser.text("#title"), title);
    page.no_complaints();
    page.browser.open(&format!("http://{}/", page.at));
    page.web.withdraw("b/2?&");
    page.web.withdraw("mock");
    page.browser.until("document.querySelectorAll('#displays a').length === 0");
    page.browser.until("!document.querySelector('#none').hidden");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_server_that_was_restarted_wants_its_new_link() {
    let mut page = Page::new();
    page.shows("a picture", 0);
    let at = page.at;
    page.web = WebServer::start(Options::default()).unwrap();
    page.web.listen_tcp(at).unwrap();
    // Viewers stay when a web server goes; this one loses its display too.
    page.show = Show::new(SIZE);
    page.web.publish("mock", "A mock", page.show.handle.clone());
    page.browser.until("document.querySelector('#notice').textContent.includes('newest')");
    page.browser.open(&page.web.link().unwrap());
    page.shows("by the new link", 4);
    // A link of yesterday, and a browser that is known: it is told so.
    page.browser.open(&format!("http://{at}/?token=0123456789abcdef0123456789abcdef"));
    assert!(page.browser.text("h1").contains("has been used"));
    let visible =
        page.browser.run("return getComputedStyle(document.querySelector('main')).maxWidth");
    assert_ne!(visible, "none", "it has its style");
}

/// What the policy forbids is seen: else none of the tests here would say anything.
#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn the_watch_sees_what_the_policy_forbids() {
    let page = Page::new();
    page.shows("a picture", 0);
    page.no_complaints();
    for (script, directive) in [
        ("document.body.setAttribute('style', 'color: red')", "style-src-attr"),
        ("const i = new Image(); i.src = 'http://127.0.0.2:1/x.png'", "img-src"),
        ("fetch('http://127.0.0.2:1/x').catch(() => {})", "connect-src"),
        (
            "const s = document.createElement('style'); s.append('a{}'); document.body.append(s)",
            "style-src-elem",
        ),
        ("try { document.body.innerHTML = '<b>x</b>' } catch {}", "require-trusted-types-for"),
        (
            "const f = document.createElement('iframe'); f.src = '/'; document.body.append(f)",
            "frame-src",
        ),
    ] {
        // In the page's own world: what WebDriver runs is under its policy as well.
        page.browser.run(script);
        page.browser.until(&format!("window.violations.some((v) => v.startsWith('{directive}'))"));
        assert!(!page.browser.complaints().is_empty());
    }
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn it_fits_a_phone_and_both_schemes() {
    let page = Page::with(Show::new(Size::new(1024, 768)), Browser::new());
    let to = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    page.shows("a picture", 60);
    let mut backs = Vec::new();
    for scheme in ["light", "dark"] {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        page.browser.cdp("Emulation.setEmulatedMedia", features);
        for size in [Size::new(1000, 700), Size::new(360, 740)] {
            page.browser.resize(size);
            wait_for("the wish", || (page.show.asked() == Some(size)).then_some(()));
            page.browser.run("document.querySelector('#bar').classList.remove('folded')");
            // Nothing is wider than the window, and everything can be hit by a finger.
            let wide = "return [...document.querySelectorAll('#bar *')]
                .filter((e) => e.getClientRects().length)
                .map((e) => e.getBoundingClientRect())
                .filter((box) => box.left < 0 || box.right > innerWidth + 0.5).length";
            assert_eq!(page.browser.run(wide), 0, "{scheme} {size}");
            let small = "return [...document.querySelectorAll('#tools button')]
                .filter((e) => e.getBoundingClientRect().height < 36).length";
            assert_eq!(page.browser.run(small), 0, "{scheme} {size}");
            page.browser.shoot(&to.join(format!("page-{scheme}-{}.png", size.width)));
            page.browser.run("document.querySelector('#help').click()");
            page.browser.until("document.querySelector('dialog').open");
            page.browser.shoot(&to.join(format!("help-{scheme}-{}.png", size.width)));
            page.browser.press(&[ESCAPE]);
            page.browser.until("!document.querySelector('dialog').open");
        }
        backs.push(page.browser.run("return getComputedStyle(document.body).backgroundColor"));
    }
    assert_ne!(backs[0], backs[1], "there are two schemes");
    page.no_complaints();
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn a_page_that_is_left_takes_nothing() {
    let page = Page::new();
    page.shows("a picture", 0);
    let start = Instant::now();
    assert_eq!(page.show.handle.viewers(), 1);
    page.browser.open("about:blank");
    wait_for("nobody looks", || (page.show.handle.viewers() == 0).then_some(()));
    println!("gone after {:?}", start.elapsed());
    assert_eq!(get(page.at, "/style.css", &[]).status, 200);
}
