// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The tests that need a real kernel driver, in L1: one boot per kernel for all of them.
//!
//! The names of the tests are known before the boot, so whatever happens to the machine, each of
//! them ends as passed, failed or skipped.

use anyhow::{Result, ensure};

use crate::command::headline;
use crate::ended::Ended;
use crate::suite::Binary;
use crate::tally::{Summary, Tally, verdict};
use crate::vm::{Machine, quote};

/// Starts a line by which the script in L1 tells where it is.
const MARK: &str = "@testbed ";

/// A machine that stands still says nothing about the driver or the test in it (see vm.rs), so it
/// gets another chance, and the summary says so. One that panics or takes too long gets none.
const BOOTS: usize = 3;

/// One executable on its way through L1.
#[derive(Debug)]
struct Run<'a> {
    binary: &'a Binary,
    /// Every test that has to be accounted for.
    tests: Vec<String>,
    passed: Vec<String>,
    failed: Vec<String>,
    summary: Option<Summary>,
    /// Its exit status, once there is one.
    status: Option<i32>,
}

/// Runs all tests of all `kernel_*` executables in one boot.
pub(crate) fn run(
    machine: &Machine,
    binaries: &[Binary],
    filter: Option<&str>,
    timeout: Option<u64>,
) -> Result<Tally> {
    let mut runs = Vec::new();
    for binary in binaries.iter().filter(|binary| binary.needs_kernel()) {
        let tests = binary.ignored_tests(filter)?;
        ensure!(
            !tests.is_empty() || filter.is_some(),
            "{} has no #[ignore] test for L1 to run",
            binary.name
        );
        if !tests.is_empty() {
            runs.push(Run::new(binary, tests));
        }
    }
    ensure!(
        !runs.is_empty() || filter.is_some(),
        "no test target of the workspace is named kernel_*"
    );
    if runs.is_empty() {
        return Ok(Tally::default());
    }

    let kernel = machine.kernel.series.name();
    let mut tally = Tally::default();
    let mut skips = Vec::new();
    for boot in 1..=BOOTS {
        let mut ended = boot_once(machine, &mut runs, filter, timeout)?;
        skips.append(&mut ended.skips);
        if ended.stood_still && boot < BOOTS {
            let note = format!("{kernel}: L1 stood still and was booted again for what was left");
            headline(&note);
            ended.show_console();
            tally.notes.push(format!("note: {note}"));
            continue;
        }
        for run in &runs {
            tally += run.tally(kernel);
        }
        finish(&ended, kernel, &mut tally);
        break;
    }
    // An executable that ran twice tells its skips twice.
    skips.sort();
    skips.dedup();
    for skip in &skips {
        // It returned early, so libtest counted it as passed.
        tally.passed = tally.passed.saturating_sub(1);
        tally.skip(format!("{kernel}: {skip}"));
    }
    Ok(tally)
}

/// What is wrong with the boot itself is a failure too.
fn finish(ended: &Ended, kernel: &str, tally: &mut Tally) {
    if ended.status.is_none() {
        headline(&format!("{kernel}: L1 ended early: {}", ended.cause));
    }
    for bug in ended.kernel_bugs() {
        tally.fail(format!("{kernel}: L1: {bug}"));
    }
    if tally.failed > 0 || ended.status != Some(0) {
        ended.show_console();
    }
    if tally.failed == 0 && ended.status != Some(0) {
        tally.fail(format!("{kernel}: L1: {} {:?}", ended.cause, ended.status));
    }
}

/// Runs the executables that have not come to their end.
fn boot_once(
    machine: &Machine,
    runs: &mut [Run<'_>],
    filter: Option<&str>,
    timeout: Option<u64>,
) -> Result<Ended> {
    let kernel = machine.kernel.series.name();
    for run in runs.iter_mut().filter(|run| run.status.is_none()) {
        run.passed.clear();
        run.failed.clear();
        run.summary = None;
    }
    let mut current = None;
    machine.run(&script(runs, filter), timeout, |line| {
        // What a test leaves on the line before it ends up before the mark.
        let Some((before, mark)) = line.split_once(MARK) else {
            println!("{line}");
            if let Some(run) = current.and_then(|index| runs.get_mut::<usize>(index)) {
                run.read(line);
            }
            return;
        };
        if !before.is_empty() {
            println!("{before}");
        }
        match mark.split_once(' ') {
            Some(("begin", index)) => {
                current = index.parse().ok();
                if let Some(run) = current.and_then(|index| runs.get(index)) {
                    println!("--- {kernel}: {}", run.binary.name);
                }
            }
            Some(("end", status)) => {
                if let Some(run) = current.take().and_then(|index| runs.get_mut(index)) {
                    run.status = status.parse().ok();
                }
            }
            _ => {}
        }
    })
}

fn script(runs: &[Run<'_>], filter: Option<&str>) -> String {
    let mut script = String::new();
    let left = runs.iter().enumerate().filter(|(_, run)| run.status.is_none());
    for (index, run) in left {
        let package = quote(&run.binary.package.display().to_string());
        let executable = quote(&run.binary.executable.display().to_string());
        let filter = filter.map(quote).unwrap_or_default();
        script.push_str(&format!(
            "echo '{MARK}begin {index}'\n\
             (cd {package} && CARGO_MANIFEST_DIR={package} exec {executable} --ignored \
             --test-threads=1 --color=never {filter})\n\
             echo \"{MARK}end $?\"\n"
        ));
    }
    script.push_str("exit 0\n");
    script
}

impl<'a> Run<'a> {
    fn new(binary: &'a Binary, tests: Vec<String>) -> Self {
        Self { binary, tests, passed: Vec::new(), failed: Vec::new(), summary: None, status: None }
    }

    fn read(&mut self, line: &str) {
        if let Some((test, word)) = verdict(line) {
            match word {
                "ok" => self.passed.push(test.to_owned()),
                "FAILED" => self.failed.push(test.to_owned()),
                _ => {}
            }
        }
        self.summary = Summary::parse(line).or(self.summary);
    }

    /// Every test is in one of the three numbers, whether libtest got to its end or not.
    fn tally(&self, kernel: &str) -> Tally {
        let name = &self.binary.name;
        let mut tally = Tally::default();
        if let (Some(summary), Some(status)) = (self.summary, self.status) {
            tally.passed = summary.passed;
            tally.failed = summary.failed;
            for test in &self.failed {
                tally.notes.push(format!("failed: {kernel}: {name} {test}"));
            }
            let counted = summary.passed + summary.failed;
            if counted != self.tests.len() {
                tally.fail(format!(
                    "{kernel}: {name}: {counted} tests reported, {} expected",
                    self.tests.len()
                ));
            } else if status != 0 && summary.failed == 0 {
                tally.fail(format!("{kernel}: {name}: exit status {status}"));
            }
        } else {
            for test in &self.tests {
                if self.passed.contains(test) {
                    tally.passed += 1;
                } else if self.failed.contains(test) {
                    tally.fail(format!("{kernel}: {name} {test}"));
                } else {
                    tally.fail(format!("{kernel}: {name} {test}: no report"));
                }
            }
        }
        tally
    }
}
