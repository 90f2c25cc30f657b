// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! When to look at the screen: a state machine of times, without a clock.
//!
//! Nobody watching is no next look at all. While somebody watches, looks come at the rate that
//! was asked for, also while nothing changes, so that the first change is never late. Input or a
//! new viewer brings the next look forward; an error that may pass pushes it back.

use std::time::{Duration, Instant};

/// Looks per second where nothing else is asked for.
pub const DEFAULT_RATE: u32 = 60;

/// From a wake-up to the look that it causes, at least. A timer that is set to zero never fires,
/// and a guest needs a moment to draw what a key did.
pub const WAKE_DELAY: Duration = Duration::from_millis(1);

/// Longest pause between looks at a device that keeps failing.
pub const MAX_BACK_OFF: Duration = Duration::from_secs(1);

/// How a look ended, as far as the next one depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device answered: a picture, the same one, or off.
    Answered,
    /// The device could not say just now, or the sink could not take it.
    Failed,
}

/// The next look, from what has happened so far.
#[derive(Clone, Debug)]
pub struct Schedule {
    interval: Duration,
    /// `None` while nobody watches.
    next: Option<Instant>,
    last: Option<Instant>,
    failures: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self::new(DEFAULT_RATE)
    }
}

impl Schedule {
    /// Looks `rate` times a second, 1 to 1000, once somebody [watches](Self::watch).
    pub fn new(rate: u32) -> Self {
        let interval = Duration::from_secs(1) / rate.clamp(1, 1000);
        Self { interval, next: None, last: None, failures: 0 }
    }

    /// Changes the rate; the next look that is set stays.
    pub fn set_rate(&mut self, rate: u32) {
        self.interval = Self::new(rate).interval;
    }

    /// Looks a second while somebody watches.
    pub fn rate(&self) -> u32 {
        self.interval.as_secs_f64().recip().round() as u32
    }

    /// Somebody watches from `now` on: a look comes soon. For the second and each later viewer,
    /// the same as [`wake`](Self::wake).
    pub fn watch(&mut self, now: Instant) {
        if self.next.is_none() {
            self.failures = 0;
            self.next = Some(now + WAKE_DELAY);
        } else {
            self.wake(now);
        }
    }

    /// Nobody watches: no look until [`watch`](Self::watch).
    pub fn park(&mut self) {
        self.next = None;
    }

    /// Whether somebody watches.
    pub const fn is_watching(&self) -> bool {
        self.next.is_some()
    }

    /// Something happened that the screen may show soon. Brings the next look forward, but never
    /// within a quarter of an interval after the last, so that a flood of input is no flood of
    /// looks. Does nothing while nobody watches.
    pub fn wake(&mut self, now: Instant) {
        let Some(next) = &mut self.next else { return };
        let gap = self.last.map_or(now, |last| last + self.interval / 4);
        *next = (*next).min(gap.max(now + WAKE_DELAY));
        // A wake-up also ends a back-off: what failed may work again.
        self.failures = 0;
    }

    /// Whether it is time to look.
    pub fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// A look was made at `now`.
    pub fn looked(&mut self, now: Instant, outcome: Outcome) {
        let Some(due) = self.next else { return };
        self.last = Some(now);
        let pause = match outcome {
            Outcome::Answered => {
                self.failures = 0;
                self.interval
            }
            Outcome::Failed => {
                self.failures = (self.failures + 1).min(16);
                (self.interval * (1 << self.failures.min(10))).min(MAX_BACK_OFF.max(self.interval))
            }
        };
        // From the time that it was due, not from now, or the rate drifts with each late timer.
        // Looks that were missed altogether are not made up for.
        let steady = due + pause;
        self.next = Some(if steady > now { steady } else { now + pause });
    }

    /// When the next look is due: `None`, or later than the `now` of the call before.
    ///
    /// A timer that fires then, at the earliest, and calls back is all that a caller needs.
    pub const fn poll_at(&self) -> Option<Instant> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_timer_does_not_drift_and_a_missed_look_is_not_made_up_for() {
        let start = Instant::now();
        let mut schedule = Schedule::new(100);
        schedule.watch(start);
        let first = schedule.poll_at().unwrap();
        schedule.looked(first + Duration::from_millis(3), Outcome::Answered);
        assert_eq!(schedule.poll_at(), Some(first + Duration::from_millis(10)));
        let late = first + Duration::from_secs(1);
        schedule.looked(late, Outcome::Answered);
        assert_eq!(schedule.poll_at(), Some(late + Duration::from_millis(10)));
    }
}
