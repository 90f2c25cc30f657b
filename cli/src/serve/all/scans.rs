// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! When to look for VMMs: a state machine of times, without a clock.
//!
//! A device file that is opened is a VMM that may have a device in a moment, or in some seconds. So
//! looks follow at growing pauses, and end.

use std::time::{Duration, Instant};

/// Pauses before the looks that follow an event, in milliseconds: eleven seconds in all.
const PAUSES: [u64; 8] = [50, 100, 200, 400, 800, 1600, 3200, 5000];

/// What a look costs is paid by a pause of so many times its time, whatever happens meanwhile.
const REST: u32 = 10;

/// The next look for VMMs.
#[derive(Debug)]
pub(super) struct Scans {
    next: Option<Instant>,
    /// The pause that comes next, of [`PAUSES`] or beyond them.
    step: usize,
    /// No look before this.
    rest: Option<Instant>,
    /// Between looks that nothing asks for.
    slow: Duration,
}

impl Scans {
    /// The first look is at once; zero for `slow` is none that nothing asks for.
    pub(super) fn new(now: Instant, slow: Duration) -> Self {
        Self { next: Some(now), step: PAUSES.len(), rest: None, slow }
    }

    /// Something was opened or closed, came or went.
    pub(super) fn event(&mut self, now: Instant) {
        self.step = 0;
        let at = self.rested(now + Duration::from_millis(PAUSES[0]));
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|next| next <= now)
    }

    /// A look was made; `possible` says whether there is anything that a VMM could open.
    pub(super) fn scanned(&mut self, began: Instant, ended: Instant, possible: bool) {
        self.rest = Some(ended + (ended - began) * REST);
        self.step = self.step.saturating_add(1);
        let slow = (possible && !self.slow.is_zero()).then_some(self.slow);
        let pause = PAUSES.get(self.step).map(|&ms| Duration::from_millis(ms)).or(slow);
        self.next = pause.and_then(|pause| ended.checked_add(pause)).map(|at| self.rested(at));
    }

    pub(super) const fn next(&self) -> Option<Instant> {
        self.next
    }

    fn rested(&self, at: Instant) -> Instant {
        self.rest.map_or(at, |rest| at.max(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Looks that take a millisecond, until there are no more; at which times they were.
    fn looks(scans: &mut Scans, start: Instant, possible: bool) -> Vec<u128> {
        let mut times = Vec::new();
        while let Some(at) = scans.next().filter(|_| times.len() < 20) {
            times.push((at - start).as_millis());
            assert!(scans.is_due(at));
            scans.scanned(at, at + MS, possible);
        }
        times
    }

    #[test]
    fn looks_follow_an_event_at_growing_pauses_and_end() {
        let start = Instant::now();
        let mut scans = Scans::new(start, Duration::ZERO);
        assert_eq!(looks(&mut scans, start, true), [0]);
        let event = start + 1000 * MS;
        scans.event(event);
        let times = looks(&mut scans, event, true);
        assert_eq!(times, [50, 151, 352, 753, 1554, 3155, 6356, 11357]);
    }

    #[test]
    fn slow_looks_go_on_as_long_as_there_is_something_to_open() {
        let start = Instant::now();
        let mut scans = Scans::new(start, 30_000 * MS);
        let times = looks(&mut scans, start, true);
        assert_eq!((times.len(), times[1]), (20, 30_001));
        scans.event(start);
        assert_eq!(looks(&mut scans, start, false).len(), PAUSES.len());
        assert_eq!(scans.next(), None);
    }

    #[test]
    fn a_flood_of_events_is_no_flood_of_looks() {
        let start = Instant::now();
        let mut scans = Scans::new(start, Duration::ZERO);
        scans.scanned(start, start + 100 * MS, true);
        let mut looks = 0;
        for ms in 100..10_100 {
            let now = start + ms * MS;
            scans.event(now);
            if scans.is_due(now) {
                looks += 1;
                scans.scanned(now, now + 100 * MS, true);
            }
        }
        assert!((5..=10).contains(&looks), "{looks} looks of 100 ms in 10 s");
    }
}
