// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The page from afar: TLS and a password stand before it, and guessing takes time.

mod common;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use common::guarded::{Guarded, PASSWORD, RIGHT, USER, WRONG};
use common::http::{UPGRADE, connect, exchange, read, request};
use common::show::Show;
use common::wait_for;
use common::webdriver::Browser;
use vfio_display::geometry::Size;
use vfio_display_web::Options;

const SIZE: Size = Size::new(320, 200);

fn guarded(password: bool) -> Guarded {
    Guarded::new(Show::new(SIZE), password, Options::default())
}

#[test]
fn a_password_lets_in_and_a_link_does_not() {
    let metrics: vfio_display_web::Metrics = std::sync::Arc::new(|| "looks 7\n".into());
    let options = Options { metrics: Some(metrics), ..Options::default() };
    let guarded = Guarded::new(Show::new(SIZE), true, options);
    assert_eq!(guarded.web.link(), Some(format!("https://{}/", guarded.at)));
    let challenge = "Basic realm=\"screen\", charset=\"UTF-8\"";
    for target in ["/", "/metrics", "/displays.json", "/?token=00000000000000000000000000000000"] {
        let asked = guarded.get(target, &[]);
        assert_eq!((asked.status, asked.cookie()), (401, None), "{target}");
        assert_eq!(asked.header("WWW-Authenticate"), Some(challenge));
        let wrong = guarded.get(target, &[("Authorization", WRONG)]);
        assert_eq!((wrong.status, wrong.cookie()), (401, None), "{target}");
        // Its network is not made to wait by what the loop does.
        guarded.door.pass(Duration::from_secs(3600));
    }
    for none in ["Basic", "Basic ", "Basic !!", "Basic YW5uYQ==", "Bearer YW5uYTpndWVzcw==", ""] {
        assert_eq!(guarded.get("/", &[("Authorization", none)]).status, 401, "{none:?}");
    }
    let twice = [("Authorization", RIGHT), ("Authorization", RIGHT)];
    assert_eq!(guarded.get("/", &twice).status, 400);

    let metrics = guarded.get("/metrics", &[("Authorization", RIGHT)]);
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "looks 7\n"));
    assert_eq!(metrics.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics.cookie(), None, "who asks for these comes back with its password");
    let page = guarded.get("/", &[("Authorization", RIGHT)]);
    let set = page.header("Set-Cookie").unwrap();
    assert!(set.starts_with("__Host-") && set.ends_with("; Secure"), "{set}");
    let cookie = page.cookie().unwrap();
    assert_eq!(guarded.get("/", &[("Cookie", &cookie)]).status, 200);
}

#[test]
fn a_viewer_comes_by_tls_alone_and_each_is_written_down() {
    let guarded = guarded(true);
    let host = guarded.at.to_string();
    let (http, https) = (format!("http://{host}"), format!("https://{host}"));
    let dial = |origin: &str, authorization: &str| {
        let more = [("Origin", origin), ("Authorization", authorization)];
        let mut tls = guarded.dial();
        let headers = [&UPGRADE, &more[..]].concat();
        tls.write_all(request(&host, "/websockify", &headers).as_bytes()).unwrap();
        (read(&mut tls).expect("an answer").status, tls)
    };
    assert_eq!(dial(&http, RIGHT).0, 403, "a page that came without TLS");
    assert_eq!(dial(&https, WRONG).0, 401);
    let (status, mut viewer) = dial(&https, RIGHT);
    assert_eq!(status, 101);
    let mut greeting = [0; 14];
    viewer.read_exact(&mut greeting).unwrap();
    assert_eq!(&greeting, b"\x82\x0cRFB 003.008\n");
    drop(viewer);
    // Without TLS there is no answer that makes sense, and no way around it.
    let plain = exchange(guarded.at, request(&host, "/", &[("Authorization", RIGHT)]).as_bytes());
    assert!(plain.is_none());

    let lines =
        wait_for("five lines", || Some(guarded.door.lines()).filter(|lines| lines.len() == 5));
    for (line, user, end) in [
        (&lines[0], "-", "refused: Forbidden"),
        (&lines[1], "\"anna\"", "refused: wrong password"),
        (&lines[2], "\"anna\"", "entered"),
    ] {
        assert!(line.starts_with("web from=127.0.0.1:"), "{line}");
        assert!(
            line.contains(&format!(" tls=TLS1.3 user={user} ")) && line.ends_with(end),
            "{line}"
        );
    }
    let rest = lines[3..].join("\n");
    assert!(rest.contains("user=\"anna\"") && rest.contains("left: the connection has ended"));
    assert!(rest.contains("tls=none user=- ") && rest.contains("refused: no request"), "{rest}");
}

#[test]
fn guessing_takes_time_and_the_right_one_does_too() {
    let guarded = guarded(true);
    let mut refused = None;
    for n in 0..100 {
        let answer = guarded.get("/", &[("Authorization", WRONG)]);
        if answer.status == 429 {
            refused = Some((n, answer));
            break;
        }
        assert_eq!(answer.status, 401);
    }
    let (tries, refused) = refused.expect("guesses without end");
    assert!((1..=10).contains(&tries), "{tries} guesses");
    let wait: u64 = refused.header("Retry-After").unwrap().parse().unwrap();
    assert_eq!(guarded.get("/", &[("Authorization", RIGHT)]).status, 429, "not looked at");
    guarded.door.pass(Duration::from_secs(wait));
    assert_eq!(guarded.get("/", &[("Authorization", RIGHT)]).status, 200);
}

#[test]
fn others_are_listened_to_only_behind_a_password() {
    let everybody: SocketAddr = "0.0.0.0:0".parse().unwrap();
    let error = guarded(false).web.listen_tcp(everybody).unwrap_err().to_string();
    assert!(error.contains("only loopback is served"), "{error}");
    let at = guarded(true).web.listen_tcp(everybody).unwrap();
    assert_ne!(at.port(), 0);
}

#[test]
fn tls_without_a_password_keeps_the_link() {
    let guarded = guarded(false);
    let link = guarded.web.link().unwrap();
    let target = link.strip_prefix(&format!("https://{}", guarded.at)).expect("it is https");
    let answer = guarded.get(target, &[]);
    assert_eq!(answer.status, 303);
    assert!(answer.cookie().unwrap().starts_with("__Host-"));
    assert_eq!(guarded.get(target, &[]).status, 403, "once");
}

#[test]
fn half_a_handshake_has_its_time() {
    let limits = vfio_display_web::Limits {
        request: Duration::from_millis(300),
        ..vfio_display_web::Limits::default()
    };
    let options = Options { limits, ..Options::default() };
    let guarded = Guarded::new(Show::new(SIZE), true, options);
    let mut half = connect(guarded.at);
    half.write_all(b"\x16\x03\x01\x02\x00\x01\x00").unwrap();
    let mut rest = Vec::new();
    let _ = half.read_to_end(&mut rest);
    assert_eq!(guarded.get("/style.css", &[]).status, 200);
}

#[test]
#[ignore = "needs chromium: cargo xtask test installs it"]
fn chromium_comes_in_by_tls_and_a_password() {
    let guarded = guarded(true);
    let browser = Browser::new();
    let password = PASSWORD.replace(' ', "%20");
    browser.open(&format!("https://{USER}:{password}@{}/", guarded.at));
    browser.shows("by TLS", guarded.show.card(3));
    assert_eq!(browser.complaints(), [""; 0]);
    let lines = guarded.door.lines();
    assert!(
        lines.iter().any(|line| line.contains("user=\"anna\" ") && line.ends_with(" entered")),
        "{lines:?}"
    );
    browser.open(&format!("https://{USER}:guess@localhost:{}/", guarded.at.port()));
    browser.until("document.querySelector('canvas') === null");
}
