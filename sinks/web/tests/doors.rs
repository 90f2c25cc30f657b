// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who gets in, and who does not: links and cookies, Host and Origin, and those who only take room.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::http::{UPGRADE, connect, exchange, get, read, request, upgrade};
use common::show::Show;
use common::{PATIENCE, wait_for};
use vfio_display::geometry::Size;
use vfio_display_sinks::{Credentials, Denied, Done, Entry, Guard, Stream};
use vfio_display_web::{Limits, Options, WebServer};

const SIZE: Size = Size::new(320, 200);

struct Served {
    web: WebServer,
    at: SocketAddr,
    show: Show,
}

impl Served {
    fn new(options: Options) -> Self {
        let web = WebServer::start(options).unwrap();
        let at = web.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let show = Show::new(SIZE);
        web.publish("vm1", "The first", show.handle.clone());
        Self { web, at, show }
    }

    fn token(&self) -> String {
        self.web.link().unwrap().split_once("?token=").unwrap().1.to_owned()
    }

    /// The cookie of a browser that followed the link.
    fn cookie(&self) -> String {
        let answer = get(self.at, &format!("/?token={}", self.token()), &[]);
        assert_eq!(answer.status, 303);
        answer.cookie().unwrap()
    }

    fn origin(&self) -> String {
        format!("http://{}", self.at)
    }

    /// The status that a WebSocket with these headers gets, and its first bytes.
    fn socket(&self, host: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
        let (answer, mut stream) = upgrade(self.at, host, target, headers);
        let status = answer.expect("an answer").status;
        if status == 101 {
            // A server's message, binary, of 12 bytes.
            let mut greeting = [0; 14];
            stream.read_exact(&mut greeting).unwrap();
            assert_eq!(&greeting, b"\x82\x0cRFB 003.008\n");
        }
        status
    }
}

#[test]
fn a_link_is_good_once_and_a_cookie_from_then_on() {
    let links = Arc::new(Mutex::new(Vec::new()));
    let on_link: vfio_display_web::OnLink = {
        let links = Arc::clone(&links);
        Arc::new(move |link| links.lock().unwrap().push(link.to_owned()))
    };
    let served = Served::new(Options { on_link: Some(on_link), ..Options::default() });
    let link = served.web.link().unwrap();
    let at = served.at;
    assert!(link.starts_with(&format!("http://{at}/?token=")), "{link}");
    let target = link.strip_prefix(&served.origin()).unwrap();

    let first = get(at, target, &[]);
    assert_eq!((first.status, first.header("Location")), (303, Some("./")));
    let set = first.header("Set-Cookie").unwrap();
    for part in ["; HttpOnly", "; SameSite=Strict", "; Path=/"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"), "{set}");
    let cookie = first.cookie().unwrap();
    assert!(cookie.starts_with(&format!("vfio-display-{}=", at.port())), "{cookie}");

    let second = get(at, target, &[]);
    assert_eq!((second.status, second.cookie()), (403, None));
    assert!(second.body.contains("This link has been used"), "{}", second.body);
    assert!(second.body.contains("newest link"), "it says what to do");
    for _ in 0..3 {
        let page = get(at, "/", &[("Cookie", &cookie)]);
        assert_eq!(page.status, 200);
        assert!(page.body.contains("<canvas"));
    }
    // The next link was told, and is another.
    let next = served.web.link().unwrap();
    assert_ne!(next, link);
    assert_eq!(*links.lock().unwrap(), [next.as_str()]);
    let other = get(at, next.strip_prefix(&served.origin()).unwrap(), &[]);
    assert_eq!(other.status, 303);
    assert_ne!(other.cookie().unwrap(), cookie);
    // With a display's name the name stays.
    let named = get(at, &format!("/?display=vm%201&token={}", served.token()), &[]);
    assert_eq!(named.header("Location"), Some("./?display=vm%201"));
}

#[test]
fn without_a_link_there_is_nothing_but_what_everybody_has() {
    let served = Served::new(Options::default());
    let known = served.token();
    let last = if known.ends_with('0') { '1' } else { '0' };
    let close = format!("{}{last}", &known[..31]);
    let port = served.at.port();
    let cookies = [
        "".to_owned(),
        format!("vfio-display-{port}="),
        format!("vfio-display-{port}={known}"),
        format!("vfio-display-{}={known}", port - 1),
    ];
    for path in ["/", "/displays.json", "/?token=", "/?token=0", &format!("/?token={close}")] {
        for cookie in &cookies {
            let answer = get(served.at, path, &[("Cookie", cookie)]);
            assert_eq!(answer.status, 403, "{path} {cookie}");
            assert_eq!(answer.cookie(), None);
            assert!(!answer.body.contains("vm1") && !answer.body.contains("The first"));
        }
    }
    for path in ["/style.css", "/main.js", "/rfb.js"] {
        assert_eq!(get(served.at, path, &[]).status, 200);
    }
    for path in ["/no", "/style.css/", "//style.css", "/../Cargo.toml", "/%2e%2e/x", "/metrics"] {
        assert_eq!(get(served.at, path, &[]).status, 404, "{path}");
    }
    assert_eq!(served.token(), known, "guesses do not use it up");
}

#[test]
fn a_websocket_is_for_who_is_in_and_for_the_own_page() {
    let served = Served::new(Options {
        hosts: vec!["console.example".into()],
        origins: vec!["https://proxy.example".into()],
        ..Options::default()
    });
    let (cookie, origin, host) = (served.cookie(), served.origin(), served.at.to_string());
    let try_from = |host: &str, origin: &str, cookie: &str| {
        served.socket(host, "/websockify", &[("Origin", origin), ("Cookie", cookie)])
    };
    assert_eq!(try_from(&host, &origin, &cookie), 101);
    assert_eq!(try_from(&host, "https://proxy.example", &cookie), 101, "it was named");
    assert_eq!(try_from("console.example", "https://console.example", &cookie), 101);
    let forwarded = "localhost:8080";
    assert_eq!(try_from(forwarded, "http://localhost:8080", &cookie), 101, "by ssh -L");

    for other in [
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "https://evil.example",
        "http://console.example",
        "http://proxy.example",
        &format!("{origin}.evil.example"),
    ] {
        assert_eq!(try_from(&host, other, &cookie), 403, "{other}");
    }
    for wrong in ["evil.example", "evil.example:6080", "127.0.0.2.evil.example", "192.0.2.1", ""] {
        assert_eq!(try_from(wrong, &format!("http://{wrong}"), &cookie), 421, "{wrong}");
    }
    assert_eq!(try_from(&host, &origin, ""), 403, "nobody that is known");
    let wrong = format!("vfio-display-{}={}", served.at.port(), "0".repeat(32));
    assert_eq!(try_from(&host, &origin, &wrong), 403);

    // What is no browser has no cookie, and says no origin; a link lets it in, once.
    let target = format!("/websockify?token={}", served.token());
    assert_eq!(served.socket(&host, &target, &[]), 101);
    assert_eq!(served.socket(&host, &target, &[]), 403, "used");
    assert_eq!(served.socket(&host, "/websockify", &[]), 403);
    // And from another page, not even that.
    let token = served.token();
    let target = format!("/websockify?token={token}");
    assert_eq!(served.socket(&host, &target, &[("Origin", "http://evil.example")]), 403);
    assert_eq!(served.token(), token, "it was not used up by that");
}

#[test]
fn a_websocket_of_the_right_kind_and_a_display_that_is_there() {
    let served = Served::new(Options::default());
    let (cookie, origin) = (served.cookie(), served.origin());
    let host = served.at.to_string();
    let base = [("Cookie", cookie.as_str()), ("Origin", origin.as_str())];
    let with = |target: &str, more: &[(&str, &str)]| {
        upgrade(served.at, &host, target, &[&base, more].concat()).0.expect("an answer")
    };
    for (offered, chosen) in [
        (None, None),
        (Some("binary"), Some("binary")),
        (Some("base64, binary"), Some("binary")),
        (Some("rfb.vfio-display, binary"), Some("rfb.vfio-display")),
    ] {
        let more: Vec<_> = offered.map(|o| ("Sec-WebSocket-Protocol", o)).into_iter().collect();
        let answer = with("/websockify", &more);
        assert_eq!((answer.status, answer.header("Sec-WebSocket-Protocol")), (101, chosen));
        // The example of RFC 6455, section 1.3.
        assert_eq!(answer.header("Sec-WebSocket-Accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }
    assert_eq!(with("/websockify", &[("Sec-WebSocket-Protocol", "base64")]).status, 400);
    assert_eq!(with("/websockify?display=vm1", &[]).status, 101);
    assert_eq!(with("/websockify?display=vm2", &[]).status, 404);
    assert_eq!(with("/elsewhere", &[]).status, 404);

    let plain = get(served.at, "/websockify", &base);
    assert_eq!((plain.status, plain.header("Sec-WebSocket-Version")), (426, Some("13")));
    let mut old = UPGRADE;
    old[3].1 = "8";
    assert_eq!(get(served.at, "/websockify", &[&old[..], &base].concat()).status, 426);
    let mut keyless = UPGRADE;
    keyless[2].1 = "short";
    assert_eq!(get(served.at, "/websockify", &[&keyless[..], &base].concat()).status, 400);

    // Two displays: which one has to be said.
    let other = Show::new(Size::new(64, 64));
    served.web.publish("vm2", "The <second>", other.handle.clone());
    assert_eq!(with("/websockify?display=vm2", &[]).status, 101);
    assert_eq!(with("/websockify", &[]).status, 404);
    let list = get(served.at, "/displays.json", &base).body;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    assert_eq!((&list[0]["name"], &list[1]["title"]), (&"vm1".into(), &"The <second>".into()));
    let index = get(served.at, "/", &base).body;
    assert!(index.contains("id=\"displays\"") && !index.contains("<canvas"));
    // One that has ended, and one that is withdrawn.
    drop(other);
    assert_eq!(with("/websockify?display=vm2", &[]).status, 503);
    assert!(served.web.withdraw("vm2") && !served.web.withdraw("vm2"));
    assert_eq!(with("/websockify?display=vm2", &[]).status, 404);
    assert_eq!(with("/websockify", &[]).status, 101);
}

/// A client's frame; zeros are a mask as good as any.
fn frame(opcode: u8, data: &[u8]) -> Vec<u8> {
    let head = [0x80 | opcode, 0x80 | data.len() as u8, 0, 0, 0, 0];
    [&head, data].concat()
}

/// Reads a server's frame.
fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let length = match head[1] {
        126 => {
            let mut long = [0; 2];
            stream.read_exact(&mut long).unwrap();
            u16::from_be_bytes(long).into()
        }
        short => usize::from(short),
    };
    let mut data = vec![0; length];
    stream.read_exact(&mut data).unwrap();
    (head[0] & 0xf, data)
}

#[test]
fn frames_may_come_together_or_byte_by_byte() {
    const TEXT: u8 = 1;
    const BINARY: u8 = 2;
    const CLOSE: u8 = 8;
    const PING: u8 = 9;
    const PONG: u8 = 10;
    let served = Served::new(Options::default());
    let (cookie, host) = (served.cookie(), served.at.to_string());
    let headers = [&UPGRADE[..], &[("Cookie", cookie.as_str())]].concat();
    let head = request(&host, "/websockify", &headers).into_bytes();
    let handshake =
        [frame(BINARY, b"RFB 003.008\n"), frame(BINARY, &[1]), frame(BINARY, &[1])].concat();
    for step in [usize::MAX, 1] {
        let mut stream = connect(served.at);
        // Also what comes with the request itself.
        let all = [&head[..], &handshake, &frame(PING, b"still there?")].concat();
        for piece in all.chunks(step.min(all.len())) {
            stream.write_all(piece).unwrap();
        }
        assert_eq!(read(&mut stream).unwrap().status, 101);
        let (mut bytes, mut pong) = (Vec::new(), None);
        while bytes.len() < 12 + 2 + 4 + 24 + 4 || pong.is_none() {
            match read_frame(&mut stream) {
                (BINARY, data) => bytes.extend(data),
                (PONG, data) => pong = Some(data),
                other => panic!("{other:?}"),
            }
        }
        assert!(bytes.starts_with(b"RFB 003.008\n\x01\x01\0\0\0\0\x01\x40\0\xc8"), "{bytes:?}");
        assert!(bytes.ends_with(b"mock"));
        assert_eq!(pong.as_deref(), Some(&b"still there?"[..]));
        stream.write_all(&frame(CLOSE, &[])).unwrap();
        while read_frame(&mut stream).0 != CLOSE {}
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    // What RFB over WebSocket does not have ends it, and nothing else.
    for wrong in [frame(TEXT, b"hello"), vec![BINARY | 0x80, 1, 0], vec![0xf3, 0x80, 0, 0, 0, 0]] {
        let mut stream = connect(served.at);
        stream.write_all(&[&head[..], &wrong].concat()).unwrap();
        assert_eq!(read(&mut stream).unwrap().status, 101);
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        assert!(end.is_ok_and(|length| length < 100), "{wrong:x?}");
    }
    // Longer than is allowed, said in the head of a frame already.
    let mut stream = connect(served.at);
    stream.write_all(&head).unwrap();
    assert_eq!(read(&mut stream).unwrap().status, 101);
    let long = [&[0x82, 0xff][..], &(1_u64 << 40).to_be_bytes(), &[0; 4]].concat();
    stream.write_all(&long).unwrap();
    wait_for("its end", || stream.write_all(&[0; 100]).is_err().then_some(()));
}

#[test]
fn what_is_not_a_request_for_us_is_refused_by_its_status() {
    let served = Served::new(Options::default());
    let host = format!("Host: {}\r\n", served.at);
    let long = "x".repeat(9000);
    let many: String = (0..80).map(|n| format!("X-{n}: y\r\n")).collect();
    for (bytes, status) in [
        (format!("POST / HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("HEAD / HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"), 405),
        (format!("GET / HTTP/1.0\r\n{host}\r\n"), 505),
        (format!("GET / HTTP/1.1\r\n{host}{host}\r\n"), 400),
        ("GET / HTTP/1.1\r\n\r\n".into(), 400),
        (format!("GET http://x/ HTTP/1.1\r\n{host}\r\n"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Content-Length: 10\r\n\r\n0123456789"), 400),
        (format!("GET / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), 400),
        (format!("GET /{long} HTTP/1.1\r\n{host}\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}Cookie: {long}\r\n\r\n"), 431),
        (format!("GET / HTTP/1.1\r\n{host}{many}\r\n"), 431),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(), 421),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}".into(), 400),
        ("RFB 003.008\n".into(), 400),
    ] {
        let answer = exchange(served.at, bytes.as_bytes()).expect("an answer");
        assert_eq!(answer.status, status, "{:?}", bytes.get(..60));
        assert_eq!(answer.header("Connection"), Some("close"));
    }
    assert_eq!(get(served.at, "/style.css", &[]).status, 200);
}

#[test]
fn every_answer_holds_the_browser_to_its_page() {
    let served = Served::new(Options::default());
    let cookie = served.cookie();
    for path in ["/", "/style.css", "/main.js", "/displays.json", "/nothing", "/?token=no"] {
        let answer = get(served.at, path, &[("Cookie", &cookie)]);
        let policy = answer.header("Content-Security-Policy").unwrap();
        for rule in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-store"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
    }
}

#[test]
fn a_request_that_does_not_end_has_its_time() {
    let limits = Limits { request: Duration::from_millis(400), ..Limits::default() };
    let served = Served::new(Options { limits, ..Options::default() });
    let mut silent = connect(served.at);
    let mut slow = connect(served.at);
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let start = Instant::now();
    // A header now and then does not make it longer.
    let mut alive = true;
    while alive {
        std::thread::sleep(Duration::from_millis(50));
        alive = slow.write_all(b"X: y\r\n").is_ok() && start.elapsed() < Duration::from_secs(10);
        if start.elapsed() > Duration::from_millis(900) {
            break;
        }
    }
    assert_eq!(read(&mut silent).expect("an answer").status, 408);
    // What is sent after the end may have reset it before the answer was read.
    assert!(read(&mut slow).is_none_or(|answer| answer.status == 408));
    assert_eq!(get(served.at, "/style.css", &[]).status, 200);
}

#[test]
fn who_stays_after_its_answer_is_let_go() {
    let limits = Limits { linger: Duration::from_millis(200), ..Limits::default() };
    let served = Served::new(Options { limits, ..Options::default() });
    let mut streams: Vec<_> = (0..20).map(|_| connect(served.at)).collect();
    for stream in &mut streams {
        stream.write_all(request("localhost", "/style.css", &[]).as_bytes()).unwrap();
    }
    // They read nothing, and go on talking; the last one does not even pause.
    let mut endless = streams.pop().unwrap();
    for stream in &mut streams {
        wait_for("the end", || stream.write_all(b"and another thing\r\n").is_err().then_some(()));
    }
    let end = Instant::now() + PATIENCE;
    while endless.write_all(&[b'x'; 16 << 10]).is_ok() {
        assert!(Instant::now() < end, "it is still listened to");
    }
}

#[test]
fn a_thousand_connections_keep_nobody_out() {
    let served = Served::new(Options::default());
    let cookie = served.cookie();
    let mut streams: Vec<TcpStream> = Vec::new();
    for n in 0..1000 {
        let mut stream = connect(served.at);
        if n % 2 == 0 {
            stream.write_all(b"GET / HTTP/1.1\r\nHo").unwrap();
        }
        streams.push(stream);
        if n % 250 == 249 {
            let page = get(served.at, "/", &[("Cookie", &cookie)]);
            assert_eq!(page.status, 200, "after {n}");
        }
    }
    // At most so many are still open on the server's side; the others have ended.
    let open = wait_for("most have ended", || {
        let open = streams.iter().filter(|stream| is_open(stream)).count();
        (open <= Limits::default().connections).then_some(open)
    });
    println!("{open} of 1000 are open");
    assert!(open > 0);
    // And who looks, looks on.
    let origin = served.origin();
    let headers = [("Cookie", cookie.as_str()), ("Origin", origin.as_str())];
    assert_eq!(served.socket(&served.at.to_string(), "/websockify", &headers), 101);
    assert_eq!(served.show.handle.viewers(), 0);
}

fn is_open(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    match stream.peek(&mut [0]) {
        Err(error) => error.kind() == ErrorKind::WouldBlock,
        Ok(length) => length > 0,
    }
}

#[test]
fn only_loopback_is_listened_on_unless_more_was_allowed() {
    let web = WebServer::start(Options::default()).unwrap();
    for at in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let error = web.listen_tcp(at.parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("only loopback is served"), "{error}");
    }
    assert!(web.link().is_none());
    let guard: Option<Arc<dyn Guard>> = Some(Arc::new(Watch::new(true)));
    let web = WebServer::start(Options { guard, ..Options::default() }).unwrap();
    let at = web.listen_tcp("0.0.0.0:0".parse().unwrap()).unwrap();
    let link = web.link().unwrap();
    assert!(link.starts_with(&format!("https://127.0.0.1:{}/?token=", at.port())), "{link}");
    let local = SocketAddr::from(([127, 0, 0, 1], at.port()));
    assert_eq!(get(local, "/style.css", &[]).status, 200);
    // TLS alone is not enough for that.
    let guard: Option<Arc<dyn Guard>> = Some(Arc::new(Watch::new(false)));
    let web = WebServer::start(Options { guard, ..Options::default() }).unwrap();
    assert!(web.listen_tcp("0.0.0.0:0".parse().unwrap()).is_err());
}

/// A guard that knows a password, "anna:right", takes its time to check it, and keeps the record.
/// What it puts over connections is nothing.
struct Watch {
    wants_password: bool,
    checks: Mutex<usize>,
    record: Mutex<Vec<String>>,
}

impl Watch {
    fn new(wants_password: bool) -> Self {
        Self { wants_password, checks: Mutex::default(), record: Mutex::default() }
    }
}

impl Guard for Watch {
    fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Ok(stream)
    }

    fn wants_password(&self) -> bool {
        self.wants_password
    }

    fn check(&self, from: IpAddr, credentials: Credentials, done: Done) -> Result<(), Denied> {
        assert!(from.is_loopback());
        let mut checks = self.checks.lock().unwrap();
        *checks += 1;
        if *checks > 5 {
            return Err(Denied::TooSoon(Duration::from_millis(2100)));
        }
        let right = credentials.user == b"anna" && *credentials.password == b"right";
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            done(if right { Ok(()) } else { Err(Denied::Wrong) });
        });
        Ok(())
    }

    fn audit(&self, entry: &Entry<'_>) {
        self.record.lock().unwrap().push(entry.to_string());
    }
}

#[test]
fn a_password_is_another_way_in() {
    let metrics: vfio_display_web::Metrics = Arc::new(|| "looks 7\n".into());
    let watch = Arc::new(Watch::new(true));
    let served = Served::new(Options {
        guard: Some(Arc::clone(&watch) as _),
        metrics: Some(metrics),
        ..Options::default()
    });
    let asked = get(served.at, "/", &[]);
    assert_eq!(asked.status, 401);
    assert!(asked.header("WWW-Authenticate").unwrap().starts_with("Basic realm="));
    let wrong = [("Authorization", "Basic YW5uYTp3cm9uZw==")];
    let right = [("Authorization", "Basic YW5uYTpyaWdodA==")];
    // While one is checked, others are answered.
    std::thread::scope(|scope| {
        let slow = scope.spawn(|| get(served.at, "/", &wrong));
        let start = Instant::now();
        while !slow.is_finished() {
            assert_eq!(get(served.at, "/style.css", &[]).status, 200);
        }
        assert!(start.elapsed() >= Duration::from_millis(100), "{:?}", start.elapsed());
        let slow = slow.join().unwrap();
        assert_eq!((slow.status, slow.cookie()), (401, None));
    });
    let metrics = get(served.at, "/metrics", &right);
    assert_eq!((metrics.status, metrics.body.as_str()), (200, "looks 7\n"));
    assert_eq!(metrics.header("Content-Type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics.cookie(), None, "a scrape is nobody who comes back");
    let page = get(served.at, "/", &right);
    let cookie = page.header("Set-Cookie").unwrap();
    assert!(cookie.starts_with("__Host-") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = page.cookie().unwrap();
    assert_eq!((page.status, get(served.at, "/", &[("Cookie", &cookie)]).status), (200, 200));
    assert_eq!(*watch.checks.lock().unwrap(), 3, "who has a cookie is not asked again");
    // A link still does, and what is no name and password is none.
    assert_eq!(get(served.at, &format!("/?token={}", served.token()), &[]).status, 303);
    for nonsense in ["Basic", "Basic !", "Basic YW5uYQ==", "Bearer YW5uYTpyaWdodA=="] {
        assert_eq!(get(served.at, "/", &[("Authorization", nonsense)]).status, 401, "{nonsense}");
    }
    assert_eq!(*watch.checks.lock().unwrap(), 3);

    // A WebSocket of the page: by TLS, its origin is https.
    let host = served.at.to_string();
    let socket = |origin: &str| {
        let headers = [("Cookie", cookie.as_str()), ("Origin", origin)];
        served.socket(&host, "/websockify", &headers)
    };
    assert_eq!(socket(&served.origin()), 403);
    assert_eq!(socket(&served.origin().replace("http:", "https:")), 101);

    for _ in 0..2 {
        assert_eq!(get(served.at, "/", &wrong).status, 401);
    }
    let late = get(served.at, "/", &right);
    assert_eq!((late.status, late.header("Retry-After")), (429, Some("3")));
    let record = wait_for("the record", || {
        let record = watch.record.lock().unwrap();
        record.iter().any(|line| line.contains("left:")).then(|| record.join("\n"))
    });
    for line in [
        "user=\"anna\" after=0.0s refused: wrong user name or password",
        "user=\"anna\" after=0.0s entered",
        "user=- after=0.0s entered",
        "refused: too many wrong passwords",
        "websocket from=127.0.0.1:",
    ] {
        assert!(record.contains(line), "{line}: {record}");
    }
}

/// A layer over a socket, as TLS is: what it reads it keeps, and what is written waits for a flush.
struct Layer {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    output: Vec<u8>,
}

const SECRET: u8 = 0x5a;

impl Read for Layer {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            let mut bytes = [0; 1000];
            let length = self.stream.read(&mut bytes)?;
            self.input.extend(bytes[..length].iter().map(|byte| byte ^ SECRET));
        }
        let length = self.input.len().min(buffer.len()).min(7);
        buffer[..length].copy_from_slice(&self.input[..length]);
        self.input.drain(..length);
        Ok(length)
    }
}

impl Write for Layer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.output.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let length = bytes.len().min(900);
        self.output.extend(bytes[..length].iter().map(|byte| byte ^ SECRET));
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.output.is_empty() {
            let length = self.stream.write(&self.output)?;
            self.output.drain(..length);
        }
        Ok(())
    }
}

impl AsFd for Layer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Stream for Layer {
    fn has_input(&self) -> bool {
        !self.input.is_empty()
    }

    fn has_output(&self) -> bool {
        !self.output.is_empty()
    }
}

/// A guard that puts it over connections, and wants nothing else.
struct Layers;

impl Guard for Layers {
    fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(Layer { stream, input: Vec::new(), output: Vec::new() }))
    }

    fn wants_password(&self) -> bool {
        false
    }

    fn check(&self, _: IpAddr, _: Credentials, _: Done) -> Result<(), Denied> {
        Err(Denied::Wrong)
    }

    fn audit(&self, _: &Entry<'_>) {}
}

#[test]
fn connections_may_go_through_a_layer() {
    let guard: Option<Arc<dyn Guard>> = Some(Arc::new(Layers));
    let served = Served::new(Options { guard, ..Options::default() });
    let ask = |bytes: &[u8]| {
        let mut stream = connect(served.at);
        let hidden: Vec<u8> = bytes.iter().map(|byte| byte ^ SECRET).collect();
        stream.write_all(&hidden).unwrap();
        stream
    };
    let plain = |bytes: &[u8]| {
        let bytes = bytes.iter().map(|byte| byte ^ SECRET).collect();
        String::from_utf8(bytes).unwrap()
    };
    let host = served.at.to_string();
    let mut answer = Vec::new();
    ask(request(&host, "/style.css", &[]).as_bytes()).read_to_end(&mut answer).unwrap();
    let answer = plain(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("}\n"), "all of it: {answer}");

    let target = format!("/websockify?token={}", served.token());
    let head = request(&host, &target, &UPGRADE).into_bytes();
    let handshake = [frame(2, b"RFB 003.008\n"), frame(2, &[1]), frame(2, &[1])].concat();
    let mut stream = ask(&[head, handshake].concat());
    let mut bytes = Vec::new();
    while !bytes.ends_with(&b"mock".map(|byte| byte ^ SECRET)) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
}
