// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The test executables of the workspace: those for this machine, run here, and those that need a
//! real kernel driver (targets named `kernel_*`), run in L1.
//!
//! cargo builds them and says where they are; running them ourselves is what lets the same
//! executable run elsewhere, and lets every test be counted by name.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::command;
use crate::tally::{Summary, Tally, verdict};

/// One executable that libtest made.
#[derive(Debug)]
pub(crate) struct Binary {
    /// `package::target`, as messages name it.
    pub(crate) name: String,
    /// "lib", "bin", "test", …
    kind: String,
    target: String,
    pub(crate) executable: PathBuf,
    pub(crate) package: PathBuf,
}

impl Binary {
    pub(crate) fn needs_kernel(&self) -> bool {
        self.kind == "test" && self.target.starts_with("kernel_")
    }

    /// The names of its tests that are ignored here, for L1 to run.
    pub(crate) fn ignored_tests(&self, filter: Option<&str>) -> Result<Vec<String>> {
        let list = command::stdout(
            Command::new(&self.executable)
                .current_dir(&self.package)
                .args(["--ignored", "--list", "--format", "terse"])
                .args(filter),
        )?;
        Ok(list.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
    }

    /// Runs its ignored tests on this machine, one after the other: each starts programs, and
    /// takes their time.
    pub(crate) fn run_ignored(&self, filter: Option<&str>) -> Result<Tally> {
        println!("--- {}", self.name);
        let mut test = self.command(filter);
        Ok(stream(test.args(["--ignored", "--test-threads=1"]), &self.name, true)?.0)
    }

    fn command(&self, filter: Option<&str>) -> Command {
        let mut test = Command::new(&self.executable);
        test.current_dir(&self.package).env("CARGO_MANIFEST_DIR", &self.package).args(filter);
        test
    }

    /// Runs it on this machine. Its ignored tests count as skipped unless a later step runs them.
    pub(crate) fn run(&self, filter: Option<&str>, ignored_is_skipped: bool) -> Result<Tally> {
        println!("--- {}", self.name);
        let (mut tally, tests) = stream(&mut self.command(filter), &self.name, ignored_is_skipped)?;
        if tests == 0 && filter.is_none() && matches!(self.kind.as_str(), "test" | "lib") {
            tally.fail(format!("{} has no tests", self.name));
        }
        Ok(tally)
    }
}

/// Builds all of them.
pub(crate) fn build() -> Result<Vec<Binary>> {
    let mut cargo = command::cargo();
    cargo
        .args(["test", "--workspace", "--all-features", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("cargo did not start")?;
    let stdout = child.stdout.take().context("cargo's output is not there")?;
    let mut binaries = Vec::new();
    for line in BufReader::new(stdout).lines() {
        let message: Value = serde_json::from_str(&line?)?;
        binaries.extend(binary(&message));
    }
    let status = child.wait()?;
    ensure!(status.success(), "{}: {status}", command::line(&cargo));
    binaries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(binaries)
}

fn binary(message: &Value) -> Option<Binary> {
    let is_test = message["profile"]["test"].as_bool()?;
    let executable = message["executable"].as_str()?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let target = message["target"]["name"].as_str()?;
    let kind = message["target"]["kind"][0].as_str()?;
    let package = manifest.parent()?;
    is_test.then(|| Binary {
        name: format!("{}::{target}", package_name(message)),
        kind: kind.to_owned(),
        target: target.to_owned(),
        executable: executable.into(),
        package: package.to_owned(),
    })
}

/// A package id ends in `…#NAME@VERSION`, or in `…/NAME#VERSION` where the two are one.
fn package_name(message: &Value) -> &str {
    let id = message["package_id"].as_str().unwrap_or_default();
    let (path, fragment) = id.rsplit_once('#').unwrap_or((id, ""));
    match fragment.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next().unwrap_or(path),
    }
}

/// Runs something that prints what libtest prints, shows it, and counts; also answers with how
/// many tests there were.
pub(crate) fn stream(
    test: &mut Command,
    name: &str,
    ignored_is_skipped: bool,
) -> Result<(Tally, usize)> {
    let mut child = test
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} did not start", command::line(test)))?;
    let stdout = child.stdout.take().context("its output is not there")?;
    let mut tally = Tally::default();
    let mut tests = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        println!("{line}");
        if let Some((test, word)) = verdict(&line) {
            if word == "FAILED" {
                tally.notes.push(format!("failed: {name} {test}"));
            } else if word.starts_with("ignored") && ignored_is_skipped {
                tally.skip(format!("{name} {test} ({word})"));
            }
        }
        if let Some(summary) = Summary::parse(&line) {
            tally.passed += summary.passed;
            tally.failed += summary.failed;
            tests += summary.passed + summary.failed + summary.ignored;
        }
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        tally.fail(format!("{name}: {status}"));
    }
    Ok((tally, tests))
}
