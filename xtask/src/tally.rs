// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Counting tests, so that a run ends in one line that leaves nothing out.

use std::fmt;
use std::ops::AddAssign;

/// How many tests ended how, with the name of each that did not pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// One line for each failed or skipped test that has a name, with the reason.
    pub(crate) notes: Vec<String>,
}

impl Tally {
    pub(crate) fn fail(&mut self, note: impl Into<String>) {
        self.failed += 1;
        self.notes.push(format!("failed: {}", note.into()));
    }

    pub(crate) fn skip(&mut self, note: impl Into<String>) {
        self.skipped += 1;
        self.notes.push(format!("skipped: {}", note.into()));
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.notes.extend(other.notes);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The numbers of libtest's closing line, `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) ignored: usize,
}

impl Summary {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let number = |word: &str| {
            numbers.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok())
        };
        Some(Self {
            passed: number("passed")?,
            failed: number("failed")?,
            ignored: number("ignored")?,
        })
    }
}

/// How one test ended, from libtest's `test NAME ... ok`.
///
/// What a child process of the test prints can stand between the name and the word, so this is
/// for telling which tests were done when a machine died, not for counting.
pub(crate) fn verdict(line: &str) -> Option<(&str, &str)> {
    let (name, word) = line.trim().strip_prefix("test ")?.split_once(" ... ")?;
    Some((name, word.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_closing_line_of_libtest() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 4 filtered \
                    out; finished in 0.00s";
        assert_eq!(Summary::parse(line), Some(Summary { passed: 12, failed: 2, ignored: 1 }));
    }

    #[test]
    fn other_lines_have_no_numbers() {
        for line in ["", "running 3 tests", "test result: ok", "test a ... ok"] {
            assert_eq!(Summary::parse(line), None, "{line}");
        }
    }

    #[test]
    fn reads_how_a_test_ended() {
        assert_eq!(verdict("test plane::off_is_none ... ok"), Some(("plane::off_is_none", "ok")));
        assert_eq!(verdict("running 1 test"), None);
    }

    #[test]
    fn a_sum_keeps_every_name() {
        let mut all = Tally { passed: 3, ..Tally::default() };
        let mut other = Tally::default();
        other.fail("a");
        other.skip("b: no GPU");
        all += other;
        assert_eq!(all.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(all.notes, ["failed: a", "skipped: b: no GPU"]);
    }
}
