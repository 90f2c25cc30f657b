// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a viewer that drags its window's edge to a monitor now and then.

use std::time::{Duration, Instant};

use super::mode_size;
use crate::geometry::Size;
use crate::input::UiInfo;

/// A viewer's request counts once none has come for so long: the person has let go of the edge.
pub const QUIET: Duration = Duration::from_millis(250);

/// From one change of the monitor to the next, at least: a guest needs that long to set a mode.
pub const SPACING: Duration = Duration::from_secs(1);

/// Which of the sizes that viewers ask for becomes a monitor, and when. A state machine of times.
///
/// The last request wins, [`QUIET`] after it came and [`SPACING`] after the change before. One
/// for the size that is there already is none, and takes back what was asked for before it.
#[derive(Clone, Debug)]
pub struct Debounce {
    quiet: Duration,
    spacing: Duration,
    current: Option<Size>,
    last: Option<Instant>,
    wanted: Option<(Instant, UiInfo)>,
}

impl Default for Debounce {
    fn default() -> Self {
        Self::new(QUIET, SPACING)
    }
}

impl Debounce {
    /// Waits for `quiet` after a request and for `spacing` after a change.
    pub const fn new(quiet: Duration, spacing: Duration) -> Self {
        Self { quiet, spacing, current: None, last: None, wanted: None }
    }

    /// The guest shows a picture of this size, by itself or because it was asked to.
    pub fn shown(&mut self, size: Size) {
        self.current = Some(mode_size(size));
    }

    /// A viewer asks for another size.
    pub fn request(&mut self, now: Instant, info: UiInfo) {
        let same = self.current == Some(mode_size(info.size));
        self.wanted = (!same).then_some((now, info));
    }

    /// The request that is due, once. It counts as what is there from now on.
    pub fn poll(&mut self, now: Instant) -> Option<UiInfo> {
        self.poll_at().filter(|at| *at <= now)?;
        let (_, info) = self.wanted.take()?;
        self.last = Some(now);
        self.current = Some(mode_size(info.size));
        Some(info)
    }

    /// When a request is due; `None` without one. Later than the `now` of the call before, where
    /// it waits for anything at all.
    pub fn poll_at(&self) -> Option<Instant> {
        let (asked, _) = self.wanted?;
        let quiet = asked + self.quiet;
        Some(self.last.map_or(quiet, |last| quiet.max(last + self.spacing)))
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn info(width: u32) -> UiInfo {
        UiInfo { size: Size::new(width, 600), millimetres: None }
    }

    /// Plays requests of (time in ms, width) for ten seconds; answers with what became of them.
    fn play(debounce: &mut Debounce, requests: &[(u64, u32)]) -> String {
        let start = Instant::now();
        let mut changes = String::new();
        let mut requests = requests.iter().peekable();
        for at in 0..10_000 {
            let now = start + Duration::from_millis(at);
            while let Some((_, width)) = requests.next_if(|(due, _)| *due == at) {
                debounce.request(now, info(*width));
                assert!(debounce.poll_at().is_none_or(|due| due > now));
            }
            let due = debounce.poll_at().is_some_and(|due| due <= now);
            let change = debounce.poll(now);
            assert_eq!(change.is_some(), due, "poll_at is when");
            if let Some(change) = change {
                write!(changes, "{at}:{} ", change.size.width).unwrap();
            }
        }
        changes
    }

    #[test]
    fn behaviour_is_one_table() {
        let drag: Vec<_> = (0..200).map(|step| (step * 20, 800 + 2 * step as u32)).collect();
        let steps: Vec<_> = (0..8).map(|step| (step * 300, 800 + 10 * step as u32)).collect();
        let rows: [(&str, &[(u64, u32)]); 6] = [
            ("one request", &[(0, 900)]),
            ("an edge dragged for 4 s", &drag),
            ("a step every 300 ms", &steps),
            ("the size that is there", &[(0, 800)]),
            ("there and back", &[(0, 900), (100, 800)]),
            ("the same after rounding", &[(0, 900), (2000, 901)]),
        ];
        let mut table = String::new();
        for (name, requests) in rows {
            let mut debounce = Debounce::default();
            debounce.shown(Size::new(800, 600));
            let changes = play(&mut debounce, requests);
            let changes = if changes.is_empty() { "-" } else { changes.trim_end() };
            writeln!(table, "{name:<25}{changes}").unwrap();
        }
        assert_eq!(
            table,
            "\
one request              250:900
an edge dragged for 4 s  4230:1198
a step every 300 ms      550:810 1750:850 2750:870
the size that is there   -
there and back           -
the same after rounding  250:900
"
        );
    }

    #[test]
    fn a_guest_that_went_its_own_way_can_be_asked_again() {
        let mut debounce = Debounce::default();
        assert_eq!(play(&mut debounce, &[(0, 900)]), "250:900 ");
        debounce.shown(Size::new(1024, 768));
        // Not sooner than a second after the change before, at 250 ms.
        assert_eq!(play(&mut debounce, &[(0, 900)]), "1250:900 ");
    }
}
