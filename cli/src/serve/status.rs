// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The line that says how it goes, on a terminal and nowhere else.

use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use vfio_display::Poll;
use vfio_display::device::PlaneKind;
use vfio_display::plane::Plane;

use super::sinks::Sinks;
use crate::output::{clear_line, write_line};

/// Between two changes of the line. A person reads no faster.
const PERIOD: Duration = Duration::from_secs(1);

/// Counts looks, and shows them once in a while.
#[derive(Debug)]
pub(super) struct Status {
    terminal: bool,
    since: Option<Instant>,
    looks: u32,
    frames: u32,
    damaged: u64,
    before: u64,
    off: bool,
}

impl Status {
    pub(super) fn new() -> Self {
        Self::on(io::stderr().is_terminal())
    }

    /// For one display among many, whose lines would be in each other's way.
    pub(super) fn none() -> Self {
        Self::on(false)
    }

    fn on(terminal: bool) -> Self {
        Self { terminal, since: None, looks: 0, frames: 0, damaged: 0, before: 0, off: false }
    }

    /// A look was made.
    pub(super) fn looked(&mut self, now: Instant, poll: &Poll, sinks: &Sinks) {
        self.since.get_or_insert(now);
        self.looks += 1;
        self.off = *poll == Poll::Off;
        if matches!(poll, Poll::Shown(_)) {
            self.frames += 1;
        }
        self.damaged = sinks.damaged;
    }

    /// Writes the line anew, if it is time to and somebody looks.
    pub(super) fn show(
        &mut self,
        now: Instant,
        plane: Option<&Plane>,
        kind: Option<PlaneKind>,
        viewers: usize,
    ) {
        let Some(since) = self.since else { return };
        let passed = now.saturating_duration_since(since);
        if passed < PERIOD {
            return;
        }
        if self.terminal {
            write_line(&self.line(passed, plane, kind, viewers));
        }
        (self.looks, self.frames, self.before) = (0, 0, self.damaged);
        self.since = Some(now);
    }

    /// Nobody watches: the line stays as it is until somebody does.
    pub(super) fn park(&mut self) {
        self.since = None;
        (self.looks, self.frames, self.before) = (0, 0, self.damaged);
        if self.terminal {
            write_line("nobody watches");
        }
    }

    fn line(
        &self,
        passed: Duration,
        plane: Option<&Plane>,
        kind: Option<PlaneKind>,
        viewers: usize,
    ) -> String {
        let screen = match plane {
            Some(plane) => {
                let kind = kind.map_or("captures".into(), |kind| kind.to_string());
                format!("{} {} {kind}", plane.size, plane.fourcc)
            }
            None if self.off => "no signal".to_owned(),
            None => "no picture yet".to_owned(),
        };
        let rate = |count: u32| f64::from(count) / passed.as_secs_f64();
        let area = plane.map_or(1, |plane| plane.size.area()) as f64;
        let looked = area * f64::from(self.looks.max(1));
        let damage = (self.damaged - self.before) as f64 / looked * 100.0;
        format!(
            "{screen}  {:.0} looks/s  {:.0} frames/s  {damage:.1} % damaged  {viewers} viewer{}",
            rate(self.looks),
            rate(self.frames),
            if viewers == 1 { "" } else { "s" }
        )
    }

    /// Takes the line away for good.
    pub(super) fn clear(&mut self) {
        self.since = None;
        clear_line();
    }
}
