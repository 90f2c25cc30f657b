// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The account of displays: which there are, which are served, and when to try those that failed.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::warn;

use super::names;
use super::runner::Runner;
use crate::dev::Dev;
use crate::exit::{Failure, Status};
use crate::serve::metrics::Meter;

/// Pauses before a socket that nobody listens at is tried again, in milliseconds: a server makes its
/// file before it listens, and most of those that are killed leave theirs.
const REFUSED: [u64; 6] = [20, 60, 200, 600, 2000, 6000];

/// Pauses before what went, or failed for another reason, is tried again; the last one for ever.
const FAILED: [u64; 5] = [200, 1000, 5000, 25_000, 60_000];

/// What was served for so long starts anew in the pauses.
const STEADY: Duration = Duration::from_secs(10);

/// Sockets that are kept account of, for each display that may be served: dead ones don't count.
const ROOM: usize = 4;

/// What a display is found by. One that is found again is the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Source {
    /// A device fd of a process, and its device where that is known.
    Vmm { pid: u32, fd: i32, device: Option<PathBuf> },
    /// A socket file in the directory for them.
    Socket(OsString),
}

impl Source {
    pub(super) const fn is_vmm(&self) -> bool {
        matches!(self, Self::Vmm { .. })
    }
}

/// A display that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) source: Source,
    /// Its name, if no other has it.
    pub(super) name: String,
    pub(super) dev: Dev,
}

/// Every display that is known.
#[derive(Debug)]
pub(super) struct Slots {
    slots: BTreeMap<Source, Slot>,
    most: usize,
    /// That there are too many was told.
    told_full: bool,
    stopping: bool,
}

#[derive(Debug)]
struct Slot {
    name: String,
    dev: Dev,
    /// It was there when that was last looked at.
    listed: bool,
    /// Tries that failed, one after the other.
    failures: usize,
    /// What was last told of it.
    told: Option<String>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Not served; when to try, if at all.
    Waiting(Option<Instant>),
    Running(Runner),
}

impl Slots {
    /// At most so many are served at once.
    pub(super) fn new(most: usize) -> Self {
        Self { slots: BTreeMap::new(), most, told_full: false, stopping: false }
    }

    /// How many sockets are worth listing.
    pub(super) const fn room(&self) -> usize {
        self.most * ROOM
    }

    /// These are all that there are of one kind; `new` ones just came, which ends their pauses.
    pub(super) fn listed(
        &mut self,
        now: Instant,
        kind: impl Fn(&Source) -> bool,
        found: Vec<Found>,
        new: &[Source],
    ) {
        let of_kind = |(source, slot): (&Source, &mut Slot)| {
            if kind(source) {
                slot.listed = false;
            }
        };
        self.slots.iter_mut().for_each(of_kind);
        for Found { source, .. } in &found {
            if let Some(slot) = self.slots.get_mut(source) {
                slot.listed = true;
            }
        }
        // Before those that are new: a VM that was started again has the name that it had.
        self.slots.retain(|_, slot| slot.listed || matches!(slot.state, State::Running(_)));
        for Found { source, name, dev } in found {
            if self.slots.contains_key(&source) {
                continue;
            }
            let name = names::unique(name, |name| self.slots.values().any(|s| s.name == name));
            let state = State::Waiting(Some(now));
            let slot = Slot { name, dev, listed: true, failures: 0, told: None, state };
            self.slots.insert(source, slot);
        }
        for source in new {
            if let Some(slot) = self.slots.get_mut(source)
                && matches!(slot.state, State::Waiting(_))
            {
                slot.failures = 0;
                slot.state = State::Waiting(Some(now));
            }
        }
        for (source, slot) in &self.slots {
            // A VMM closed its device. A server without its file serves on.
            if let (true, false, State::Running(runner)) =
                (source.is_vmm(), slot.listed, &slot.state)
            {
                runner.stop();
            }
        }
    }

    /// When there is something to start.
    pub(super) fn next(&self) -> Option<Instant> {
        if self.is_full() {
            return None;
        }
        self.slots.values().filter_map(Slot::due).min()
    }

    /// The display that has been due longest, with its name; [`started`](Self::started) or
    /// [`failed`](Self::failed) is to follow.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Source, String, Dev)> {
        let due = self.slots.iter().filter_map(|(source, slot)| Some((slot.due()?, source)));
        let (at, source) = due.min()?;
        if at > now || self.stopping {
            return None;
        }
        if self.is_full() {
            if !std::mem::replace(&mut self.told_full, true) {
                warn!("{} displays are served, which is --most: others wait", self.most);
            }
            return None;
        }
        let source = source.clone();
        let slot = self.slots.get_mut(&source)?;
        slot.state = State::Waiting(None);
        Some((source, slot.name.clone(), slot.dev.clone()))
    }

    pub(super) fn started(&mut self, source: &Source, runner: Runner) {
        if let Some(slot) = self.slots.get_mut(source) {
            slot.state = State::Running(runner);
        }
    }

    /// It serves: its name, and what counts.
    pub(super) fn appeared(&mut self, source: &Source) -> Option<(String, Arc<Meter>)> {
        let slot = self.slots.get_mut(source)?;
        let State::Running(runner) = &mut slot.state else { return None };
        runner.appeared = true;
        slot.told = None;
        Some((slot.name.clone(), Arc::clone(&runner.meter)))
    }

    /// Its thread is about to end; [`went`](Self::went) or [`failed`](Self::failed) is to follow.
    pub(super) fn ended(&mut self, source: &Source) -> Option<(Runner, String)> {
        let slot = self.slots.get_mut(source)?;
        match std::mem::replace(&mut slot.state, State::Waiting(None)) {
            State::Running(runner) => {
                self.told_full = false;
                Some((runner, slot.name.clone()))
            }
            waiting => {
                slot.state = waiting;
                None
            }
        }
    }

    /// Why a display ended that was told to, if not because all are.
    pub(super) fn why_told(&self, source: &Source) -> Option<Failure> {
        match source {
            // Also one that is being killed: its files are closed before it has exited.
            Source::Vmm { pid, .. } if !self.stopping => {
                Some(Failure::new(Status::Gone, format!("process {pid} has closed it")))
            }
            _ => None,
        }
    }

    /// It was served since then, and is no more.
    pub(super) fn went(&mut self, source: &Source, now: Instant, since: Instant) {
        let Some(slot) = self.slots.get_mut(source) else { return };
        if now - since >= STEADY {
            slot.failures = 0;
        }
        self.again(source, now, &FAILED, true);
    }

    /// It could not be opened. That is told once, and not where it is no more than a file or a
    /// process that has ended.
    pub(super) fn failed(&mut self, source: &Source, now: Instant, failure: Failure) {
        let refused = failure.status == Status::NotFound;
        if refused && source.is_vmm() {
            self.slots.remove(source);
            return;
        }
        let Some(slot) = self.slots.get_mut(source) else { return };
        if !refused && slot.told.as_ref() != Some(&failure.message) {
            let hint = failure.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            warn!("{}: {}{hint}", slot.name, failure.message);
            slot.told = Some(failure.message);
        }
        if refused {
            self.again(source, now, &REFUSED, false);
        } else {
            self.again(source, now, &FAILED, true);
        }
    }

    /// It is tried again, after one of these pauses; the last one holds on, or is the last.
    fn again(&mut self, source: &Source, now: Instant, pauses: &[u64], for_ever: bool) {
        let Some(slot) = self.slots.get_mut(source) else { return };
        if !slot.listed {
            self.slots.remove(source);
            return;
        }
        let last = pauses.last().filter(|_| for_ever);
        let pause = pauses.get(slot.failures).or(last);
        slot.failures += 1;
        slot.state = State::Waiting(pause.map(|&ms| now + Duration::from_millis(ms)));
    }

    /// Tells all to end, and starts no more.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for slot in self.slots.values() {
            if let State::Running(runner) = &slot.state {
                runner.stop();
            }
        }
    }

    pub(super) fn running(&self) -> usize {
        self.slots.values().filter(|slot| matches!(slot.state, State::Running(_))).count()
    }

    pub(super) fn names_of_running(&self) -> Vec<&str> {
        let running = self.slots.values().filter(|slot| matches!(slot.state, State::Running(_)));
        running.map(|slot| slot.name.as_str()).collect()
    }

    fn is_full(&self) -> bool {
        self.running() >= self.most
    }
}

impl Slot {
    const fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at) => at,
            State::Running(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(name: &str) -> Source {
        Source::Socket(format!("{name}.sock").into())
    }

    fn found(name: &str) -> Found {
        let dev = Dev::VfioUser(format!("/{name}").into());
        Found { source: socket(name), name: name.into(), dev }
    }

    fn refused() -> Failure {
        Failure::new(Status::NotFound, "connection refused")
    }

    fn all(_: &Source) -> bool {
        true
    }

    /// Pauses until it is tried no more, in milliseconds.
    fn pauses(slots: &mut Slots, mut now: Instant, failure: impl Fn() -> Failure) -> Vec<u128> {
        let mut pauses = Vec::new();
        while let Some(at) = slots.next().filter(|_| pauses.len() < 10) {
            pauses.push((at - now).as_millis());
            now = at;
            let (source, ..) = slots.take_due(now).unwrap();
            slots.failed(&source, now, failure());
        }
        pauses
    }

    #[test]
    fn a_dead_socket_is_tried_for_a_while_and_again_when_it_is_made_anew() {
        let now = Instant::now();
        let mut slots = Slots::new(8);
        slots.listed(now, all, vec![found("a")], &[]);
        let expected = [0, 20, 60, 200, 600, 2000, 6000];
        assert_eq!(pauses(&mut slots, now, refused), expected);
        slots.listed(now, all, vec![found("a")], &[]);
        assert_eq!(slots.next(), None);
        slots.listed(now, all, vec![found("a")], &[socket("a")]);
        assert_eq!(pauses(&mut slots, now, refused), expected);
    }

    #[test]
    fn what_fails_otherwise_is_tried_ever_less_and_not_once_it_is_gone() {
        let now = Instant::now();
        let mut slots = Slots::new(8);
        slots.listed(now, all, vec![found("a")], &[]);
        let silent = || Failure::new(Status::Busy, "silent");
        let tried = pauses(&mut slots, now, silent);
        assert_eq!(tried, [0, 200, 1000, 5000, 25_000, 60_000, 60_000, 60_000, 60_000, 60_000]);
        slots.listed(now, all, vec![], &[]);
        assert_eq!(slots.next(), None);
        assert!(slots.slots.is_empty());
    }

    #[test]
    fn who_has_waited_longest_is_first_and_one_name_is_for_one() {
        let now = Instant::now();
        let mut slots = Slots::new(8);
        slots.listed(now, all, vec![found("b")], &[]);
        let other = Found { source: socket("other"), ..found("b") };
        let later = now + Duration::from_millis(1);
        slots.listed(later, all, vec![found("b"), other], &[]);
        let (_, first, _) = slots.take_due(later).unwrap();
        let (_, second, _) = slots.take_due(later).unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("b", "b~2"));
        assert!(slots.take_due(later).is_none());
    }

    #[test]
    fn a_vmm_that_has_ended_is_forgotten_at_once() {
        let now = Instant::now();
        let mut slots = Slots::new(8);
        let source = Source::Vmm { pid: 4711, fd: 30, device: None };
        let found = Found { source: source.clone(), ..found("a") };
        slots.listed(now, Source::is_vmm, vec![found], &[]);
        slots.take_due(now).unwrap();
        slots.failed(&source, now, refused());
        assert!(slots.slots.is_empty());
    }
}
