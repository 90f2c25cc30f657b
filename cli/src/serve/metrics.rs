// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a monitoring system is told: counters of each display and of the whole process.
//!
//! Source of the format: Prometheus, "Exposition formats", text format 0.0.4.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Errors by their kinds, of which there are as many as the code has.
type Errors = BTreeMap<&'static str, u64>;

/// The counters of one display. Its loop counts, whoever wants to reads.
#[derive(Debug, Default)]
pub(super) struct Meter {
    looks: AtomicU64,
    frames: AtomicU64,
    sent: AtomicU64,
    viewers: AtomicU64,
    errors: Mutex<Errors>,
}

impl Meter {
    /// A look was made; it had something new to show, or not.
    pub(super) fn looked(&self, frame: bool) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.frames.fetch_add(frame.into(), Ordering::Relaxed);
    }

    /// A look failed.
    pub(super) fn failed(&self, kind: &'static str) {
        self.looks.fetch_add(1, Ordering::Relaxed);
        *lock(&self.errors).entry(kind).or_default() += 1;
    }

    /// How many watch, and how many bytes viewers took so far.
    pub(super) fn served(&self, viewers: usize, sent: u64) {
        self.viewers.store(viewers as u64, Ordering::Relaxed);
        self.sent.store(sent, Ordering::Relaxed);
    }
}

/// All counters of the process; shared between threads.
#[derive(Debug, Default)]
pub(super) struct Metrics {
    all: Mutex<All>,
}

#[derive(Debug, Default)]
struct All {
    displays: BTreeMap<String, Arc<Meter>>,
    appeared: u64,
    gone: u64,
    open_errors: Errors,
}

impl Metrics {
    /// A display is served from now on, under this name.
    pub(super) fn appeared(&self, name: &str, meter: Arc<Meter>) {
        let mut all = lock(&self.all);
        all.appeared += 1;
        all.displays.insert(name.to_owned(), meter);
    }

    /// It is no more.
    pub(super) fn gone(&self, name: &str) {
        let mut all = lock(&self.all);
        all.gone += u64::from(all.displays.remove(name).is_some());
    }

    /// A display could not be opened.
    pub(super) fn not_opened(&self, kind: &'static str) {
        *lock(&self.all).open_errors.entry(kind).or_default() += 1;
    }

    /// The counters as text.
    pub(super) fn render(&self) -> String {
        let all = lock(&self.all);
        let mut text = Text::default();
        text.family("displays", "gauge", "Displays that are served now.");
        text.sample("displays", &[], all.displays.len() as u64);
        text.family("appeared_total", "counter", "Displays that came to be served.");
        text.sample("appeared_total", &[], all.appeared);
        text.family("gone_total", "counter", "Displays that were served and went.");
        text.sample("gone_total", &[], all.gone);
        text.family("open_errors_total", "counter", "Displays that could not be opened, by why.");
        for (kind, count) in &all.open_errors {
            text.sample("open_errors_total", &[("kind", kind)], *count);
        }
        for (name, kind, help, value) in EACH {
            text.family(name, kind, help);
            for (display, meter) in &all.displays {
                text.sample(name, &[("display", display)], value(meter).load(Ordering::Relaxed));
            }
        }
        text.family("errors_total", "counter", "Looks at the display that failed, by why.");
        for (display, meter) in &all.displays {
            for (kind, count) in &*lock(&meter.errors) {
                text.sample("errors_total", &[("display", display), ("kind", kind)], *count);
            }
        }
        text.0
    }
}

/// What each display has one of: name, type, meaning, and where it is counted.
type Each = (&'static str, &'static str, &'static str, fn(&Meter) -> &AtomicU64);

const EACH: [Each; 4] = [
    ("looks_total", "counter", "Looks at the display.", |meter| &meter.looks),
    ("frames_total", "counter", "Looks that found something new to show.", |meter| &meter.frames),
    ("sent_bytes_total", "counter", "Bytes that VNC viewers took.", |meter| &meter.sent),
    ("viewers", "gauge", "Viewers that watch now.", |meter| &meter.viewers),
];

/// The text as it grows.
#[derive(Default)]
struct Text(String);

impl Text {
    /// Begins a metric; its samples follow, before those of any other.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP vfio_display_{name} {help}"));
        self.line(format_args!("# TYPE vfio_display_{name} {kind}"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: u64) {
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
        let labels = match &labels[..] {
            [] => String::new(),
            labels => format!("{{{}}}", labels.join(",")),
        };
        self.line(format_args!("vfio_display_{name}{labels} {value}"));
    }

    fn line(&mut self, line: impl Display) {
        // A string takes all that there is memory for.
        let _ = writeln!(self.0, "{line}");
    }
}

/// A label's value, as it stands between quotes.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// A name with all that has to be escaped.
    const ODD: &str = "a\\b\"c\nd";

    fn example() -> String {
        let metrics = Metrics::default();
        let meters = ["vm1", ODD, "short-lived"].map(|name| {
            let meter = Arc::new(Meter::default());
            metrics.appeared(name, Arc::clone(&meter));
            meter
        });
        (0..5).for_each(|n| meters[0].looked(n < 2));
        meters[0].failed("held");
        meters[0].failed("unreadable");
        meters[0].failed("held");
        meters[0].served(3, u64::MAX);
        meters[1].looked(true);
        metrics.gone("short-lived");
        metrics.gone("never seen");
        metrics.not_opened("conflict");
        metrics.render()
    }

    /// What a line of samples has to be.
    const SAMPLES: &str = r#"
vfio_display_displays 2
vfio_display_appeared_total 3
vfio_display_gone_total 1
vfio_display_open_errors_total{kind="conflict"} 1
vfio_display_looks_total{display="a\\b\"c\nd"} 1
vfio_display_looks_total{display="vm1"} 8
vfio_display_frames_total{display="a\\b\"c\nd"} 1
vfio_display_frames_total{display="vm1"} 2
vfio_display_sent_bytes_total{display="a\\b\"c\nd"} 0
vfio_display_sent_bytes_total{display="vm1"} 18446744073709551615
vfio_display_viewers{display="a\\b\"c\nd"} 0
vfio_display_viewers{display="vm1"} 3
vfio_display_errors_total{display="vm1",kind="held"} 2
vfio_display_errors_total{display="vm1",kind="unreadable"} 1
"#;

    #[test]
    fn every_sample_is_there_and_stands_below_its_type() {
        let text = example();
        assert!(text.ends_with('\n'));
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(samples, SAMPLES.trim().lines().collect::<Vec<_>>());
        let mut family = "";
        for line in text.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["#", "HELP", name, ..] => family = name,
                ["#", "TYPE", name, kind] => {
                    assert_eq!(name, family);
                    assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                }
                _ => assert_eq!(line.split([' ', '{']).next(), Some(family)),
            }
        }
    }

    /// The parser of Prometheus's own client for Python reads back what was counted.
    #[test]
    #[ignore = "needs python3-venv and prometheus_client from PyPI: cargo xtask test"]
    fn prometheus_s_own_parser_reads_it() {
        const SCRIPT: &str = "import sys, json\n\
            from prometheus_client.parser import text_string_to_metric_families as parse\n\
            print(json.dumps([[f.type, s.name, s.labels, float(s.value)]\n\
            \x20   for f in parse(sys.stdin.read()) for s in f.samples]))";
        let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tmp/prometheus");
        let python = venv.join("bin/python");
        let has = |python: &Path| {
            let import = Command::new(python).args(["-c", "import prometheus_client"]).status();
            import.is_ok_and(|status| status.success())
        };
        if !has(&python) {
            let run = |command: &mut Command| assert!(command.status().expect("runs").success());
            run(Command::new("python3").args(["-m", "venv"]).arg(&venv));
            let package = "prometheus-client==0.22.1";
            run(Command::new(&python).args(["-m", "pip", "install", "-q", package]));
        }
        let mut parser = Command::new(&python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python runs");
        let mut stdin = parser.stdin.take().expect("a pipe");
        stdin.write_all(example().as_bytes()).expect("it reads");
        drop(stdin);
        let output = parser.wait_with_output().expect("it ends");
        assert!(output.status.success(), "it parses");
        let read: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let read = read.as_array().expect("samples");
        assert_eq!(read.len(), SAMPLES.trim().lines().count());
        let labels = serde_json::json!({ "display": ODD });
        assert!(read.contains(&serde_json::json!([
            "counter",
            "vfio_display_looks_total",
            labels,
            1.0
        ])));
        let labels = serde_json::json!({ "display": "vm1" });
        assert!(read.contains(&serde_json::json!(["gauge", "vfio_display_viewers", labels, 3.0])));
        let labels = serde_json::json!({ "display": "vm1", "kind": "held" });
        assert!(read.contains(&serde_json::json!([
            "counter",
            "vfio_display_errors_total",
            labels,
            2.0
        ])));
    }
}
