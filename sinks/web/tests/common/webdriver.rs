// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Chromium without a window, driven by WebDriver (W3C): JSON over HTTP, in as few words as it takes.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use vfio_display::geometry::Size;

use super::{PATIENCE, wait_for};

/// Run before any script of a page: what its policy forbids is noted.
const WATCH: &str = "window.violations = [];
    addEventListener('securitypolicyviolation', (event) =>
        window.violations.push(`${event.effectiveDirective}: ${event.blockedURI}`), true);";

/// Everything that a canvas shows, as numbers `0xffBBGGRR` in base 36.
const PIXELS: &str = "const canvas = document.querySelector('canvas');
    if (!canvas || canvas.width * canvas.height === 0) return '0 0 ';
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const pixels = Array.from(new Uint32Array(data.buffer), (pixel) => pixel.toString(36));
    return `${width} ${height} ${pixels.join(' ')}`;";

/// One browser at a time: there are two cores, and each takes both.
static ALONE: Mutex<()> = Mutex::new(());

/// A browser with one tab. It ends with the test.
pub struct Browser {
    driver: Child,
    at: SocketAddr,
    session: String,
    _alone: MutexGuard<'static, ()>,
}

impl Browser {
    pub fn new() -> Self {
        Self::with(json!({}))
    }

    /// With preferences of a Chromium profile.
    pub fn with(preferences: Value) -> Self {
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts: cargo xtask test installs it");
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = lines.by_ref().map(Result::unwrap).find_map(|line| {
            line.split_once("successfully on port ")?.1.trim_end_matches('.').parse().ok()
        });
        // It is not to end because nobody reads what else it says.
        std::thread::spawn(move || lines.for_each(drop));
        let at = SocketAddr::from(([127, 0, 0, 1], port.expect("a port")));
        let mut browser = Self { driver, at, session: String::new(), _alone: alone };
        let args = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];
        let args = [&args[..], &["--hide-scrollbars", "--window-size=1000,800"]].concat();
        let started = browser.post(
            "",
            &json!({ "capabilities": { "alwaysMatch": {
                // Those who make their own certificate are known by its fingerprint.
                "acceptInsecureCerts": true,
                "goog:chromeOptions": { "args": args, "prefs": preferences },
                "goog:loggingPrefs": { "browser": "ALL" },
            } } }),
        );
        browser.session = format!("/{}", started["sessionId"].as_str().unwrap());
        browser.cdp("Page.enable", json!({}));
        browser.cdp("Page.addScriptToEvaluateOnNewDocument", json!({ "source": WATCH }));
        browser
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (at, session) = (self.at, &self.session);
        write!(
            stream,
            "{method} /session{session}{path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = None;
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap() > 2 {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse().unwrap());
            }
            line.clear();
        }
        let mut body = vec![0; length.expect("a Content-Length")];
        reader.read_exact(&mut body).unwrap();
        let answer: Value = serde_json::from_slice(&body).unwrap();
        answer["value"].clone()
    }

    fn post(&self, path: &str, body: &Value) -> Value {
        let value = self.request("POST", path, &body.to_string());
        assert!(value["error"].is_null(), "{path}: {}", value["message"]);
        value
    }

    /// A command of the DevTools protocol.
    pub fn cdp(&self, command: &str, params: Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    pub fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub fn url(&self) -> String {
        self.request("GET", "/url", "").as_str().unwrap().to_owned()
    }

    /// The result of a function's body.
    pub fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// Waits until an expression is true.
    pub fn until(&self, expression: &str) {
        wait_for(expression, || {
            let script = format!("return Boolean({expression})");
            (self.run(&script) == true).then_some(())
        });
    }

    /// What an element says.
    pub fn text(&self, selector: &str) -> String {
        let script = format!("return document.querySelector({selector:?})?.textContent ?? ''");
        self.run(&script).as_str().unwrap().to_owned()
    }

    /// What the canvas shows, as `0xffRRGGBB`.
    pub fn picture(&self) -> (Size, Vec<u32>) {
        let told = self.run(PIXELS);
        let mut words = told.as_str().unwrap().split(' ');
        let mut side = || words.next().unwrap().parse().unwrap();
        let size = Size::new(side(), side());
        let pixels = words.filter(|word| !word.is_empty()).map(|word| {
            let [alpha, blue, green, red] = u32::from_str_radix(word, 36).unwrap().to_be_bytes();
            u32::from_be_bytes([alpha, red, green, blue])
        });
        (size, pixels.collect())
    }

    /// Waits until the canvas shows exactly this.
    pub fn shows(&self, what: &str, (size, pixels): (Size, Vec<u32>)) {
        wait_for(what, || {
            let (shown, seen) = self.picture();
            let same = |(a, b): (&u32, &u32)| (a ^ b) & 0xff_ffff == 0;
            let exact = shown == size && seen.len() == pixels.len();
            (exact && seen.iter().zip(&pixels).all(same)).then_some(())
        });
    }

    /// Sets what the page has for itself, of the window.
    pub fn resize(&self, size: Size) {
        let Size { width, height } = size;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.cdp("Emulation.setDeviceMetricsOverride", metrics);
    }

    /// Input actions (W3C WebDriver, section 15).
    pub fn act(&self, actions: Value) {
        self.post("/actions", &json!({ "actions": actions }));
    }

    /// Keys go down in this order, and up in the other.
    pub fn press(&self, keys: &[&str]) {
        let down = keys.iter().map(|key| json!({ "type": "keyDown", "value": key }));
        let up = keys.iter().rev().map(|key| json!({ "type": "keyUp", "value": key }));
        let actions: Vec<Value> = down.chain(up).collect();
        self.act(json!([{ "type": "key", "id": "keys", "actions": actions }]));
    }

    /// A picture of the page, into a file.
    pub fn shoot(&self, path: &Path) {
        let shot = self.cdp("Page.captureScreenshot", json!({ "format": "png" }));
        let text = shot["data"].as_str().unwrap();
        std::fs::write(path, base64(text)).unwrap();
    }

    /// What the page's policy forbade, and what the browser complained of.
    pub fn complaints(&self) -> Vec<String> {
        let noted = self.run("return window.violations ?? ['the watch was not run']");
        let noted = noted.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned());
        let log = self.post("/se/log", &json!({ "type": "browser" }));
        // That these tests read the canvas often is not the page's doing.
        let log = log.as_array().unwrap().iter().filter(|entry| entry["source"] != "rendering");
        let log = log.map(|entry| entry["message"].to_string());
        noted.chain(log).collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.request("DELETE", "", "");
            }));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b'=').map(value).collect();
    let mut bytes = Vec::new();
    for group in digits.chunks(4) {
        let all = group.iter().fold(0_u32, |all, digit| all << 6 | u32::from(*digit));
        let all = all << (6 * (4 - group.len()));
        bytes.extend_from_slice(&all.to_be_bytes()[1..group.len()]);
    }
    bytes
}
