// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! noVNC 1.7, as it comes from npm, on a page of another origin: what a console proxy has.

mod common;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::show::Show;
use common::wait_for;
use common::webdriver::Browser;
use vfio_display::geometry::Size;
use vfio_display::input::Event;
use vfio_display_web::{Options, WebServer};

const SIZE: Size = Size::new(320, 256);

const PAGE: &str = "<!doctype html><meta charset=utf-8><link rel=icon href=data:,>
<div id=screen style='width: 900px; height: 700px'></div><script type=module>
import RFB from './package/core/rfb.js';
window.states = [];
window.look = (url, wsProtocols) => {
    const rfb = new RFB(document.getElementById('screen'), url, { wsProtocols });
    rfb.addEventListener('connect', () => states.push('connected'));
    rfb.addEventListener('disconnect', () => states.push('disconnected'));
    window.rfb = rfb;
};
states.push('ready');
</script>";

/// The package, unpacked.
fn novnc() -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("novnc-1.7.0");
    if !dir.join("package/core/rfb.js").is_file() {
        std::fs::create_dir_all(&dir).unwrap();
        run(Command::new("npm").args(["pack", "--silent", "@novnc/novnc@1.7.0"]).current_dir(&dir));
        let archive = "novnc-novnc-1.7.0.tgz";
        run(Command::new("tar").args(["xzf", archive]).current_dir(&dir));
    }
    dir
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
}

/// Serves the files below a directory, and the page, at an address of its own.
fn static_server(dir: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let Some(Ok(first)) = lines.next() else { continue };
            lines.map_while(Result::ok).find(String::is_empty);
            let path = first.split(' ').nth(1).unwrap_or("/").trim_start_matches('/');
            let (kind, body) = match path {
                "" => ("text/html", PAGE.as_bytes().to_vec()),
                path => ("text/javascript", std::fs::read(dir.join(path)).unwrap_or_default()),
            };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
                 Connection: close\r\n\r\n"
            );
            let _ = stream.write_all(&body);
        }
    });
    at
}

/// A WebSocket's address with a token that was not used.
fn address(web: &WebServer) -> String {
    let link = web.link().unwrap();
    link.replace("http://", "ws://").replace("/?", "/websockify?")
}

#[test]
#[ignore = "needs chromium and npm: cargo xtask test installs them"]
fn novnc_sees_and_acts_where_its_origin_is_named() {
    let origin = static_server(novnc());
    let origins = vec![format!("http://{origin}")];
    let web = WebServer::start(Options { origins, ..Options::default() }).unwrap();
    web.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let show = Show::new(SIZE);
    web.publish("mock", "A mock", show.handle.clone());

    let browser = Browser::new();
    browser.open(&format!("http://{origin}/"));
    browser.until("window.states?.includes('ready')");
    for protocols in ["[]", "['binary']"] {
        browser.run(&format!("states.length = 0; look({:?}, {protocols})", address(&web)));
        browser.until("states.includes('connected')");
        browser.shows("a picture", show.card(1));
        for n in 2..60 {
            show.mock.show_card(n).unwrap();
            std::thread::sleep(std::time::Duration::from_millis(8));
        }
        browser.shows("after it moved", show.card(60));
        for size in [Size::new(500, 300), SIZE] {
            show.mock.set_mode(size).unwrap();
            browser.shows("after a change of mode", show.card(61));
        }
        browser.run("rfb.focus()");
        browser.press(&["a"]);
        let up = Event::Key { code: 30, down: false };
        wait_for("a key", || show.heard.take().contains(&up).then_some(()));
        browser.run("rfb.resizeSession = true");
        wait_for("a wish", || show.asked().filter(|size| *size == Size::new(900, 700)));
        show.heard.sizes.lock().unwrap().clear();
        browser.run("rfb.disconnect()");
        browser.until("states.includes('disconnected')");
    }

    // The same with a token that was used, and from an origin that nobody named.
    let address_once = address(&web);
    for connects in [true, false] {
        browser.run(&format!("states.length = 0; look({address_once:?}, ['binary'])"));
        let end = if connects { "connected" } else { "disconnected" };
        browser.until(&format!("states.includes('{end}')"));
        assert_eq!(browser.run("return states.includes('connected')"), connects);
        if connects {
            browser.run("rfb.disconnect()");
        }
    }
    let strict = WebServer::start(Options::default()).unwrap();
    strict.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    strict.publish("mock", "A mock", show.handle.clone());
    browser.run(&format!("states.length = 0; look({:?}, ['binary'])", address(&strict)));
    browser.until("states.includes('disconnected')");
    assert_eq!(browser.run("return states.includes('connected')"), false, "another origin");
}
