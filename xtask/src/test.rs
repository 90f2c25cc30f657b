// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `cargo xtask test`: every check and every test, in the order in which they are cheap.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};

use crate::command::{self, cargo, headline};
use crate::device;
use crate::kernels::Series;
use crate::packages;
use crate::qemu;
use crate::suite::{self, Binary};
use crate::tally::Tally;
use crate::vm::Machine;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Run only this step; may be repeated
    #[arg(long, value_enum, value_name = "STEP")]
    only: Vec<Step>,
    /// Leave this step out; may be repeated
    #[arg(long, value_enum, value_name = "STEP")]
    skip: Vec<Step>,
    /// Boot only this kernel; may be repeated
    #[arg(long, value_enum, value_name = "SERIES")]
    kernel: Vec<Series>,
    /// Run only tests whose name contains this
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Give up on a boot of L1 after so many seconds
    #[arg(long, value_name = "SECONDS", env = "TESTBED_TIMEOUT")]
    timeout: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// cargo fmt --check
    Fmt,
    /// cargo clippy, every target and feature, warnings are errors
    Clippy,
    /// cargo doc, warnings are errors
    Doc,
    /// cargo check of the library without features, with each one alone, and with rustix over libc
    Features,
    /// All tests that need no virtual machine, doc tests included
    Unit,
    /// Tests beside other programs, which are installed: decoders, viewers, firmware
    Peers,
    /// The tests on real kernel drivers, in L1, on each kernel
    Vm,
}

/// One line of the table at the end.
#[derive(Debug)]
struct Row {
    name: String,
    /// `None` for a check, which has no tests to count unless it fails.
    tally: Option<Tally>,
    ok: bool,
    duration: Duration,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let mut rows = Vec::new();
    for step in Step::value_variants() {
        if !options.includes(*step) {
            continue;
        }
        for (name, job) in step.jobs(options) {
            headline(&name);
            let start = Instant::now();
            let row = Row::new(name, job(options), start.elapsed());
            println!("{} in {:.1} s", row.name, row.duration.as_secs_f64());
            rows.push(row);
        }
        if rows.iter().any(|row| !row.ok) {
            break;
        }
    }
    Ok(report(&rows))
}

type Job = Box<dyn Fn(&Options) -> Result<Option<Tally>>>;

impl Options {
    fn includes(&self, step: Step) -> bool {
        (self.only.is_empty() || self.only.contains(&step)) && !self.skip.contains(&step)
    }

    fn kernels(&self) -> Vec<Series> {
        if self.kernel.is_empty() { Series::ALL.to_vec() } else { self.kernel.clone() }
    }
}

impl Step {
    /// What the step consists of, each with a line of its own in the table.
    fn jobs(self, options: &Options) -> Vec<(String, Job)> {
        let one = |name: &str, job: Job| vec![(name.to_owned(), job)];
        match self {
            Self::Fmt => one("fmt", Box::new(|_| fmt())),
            Self::Clippy => one("clippy", Box::new(|_| clippy())),
            Self::Doc => one("doc", Box::new(|_| doc())),
            Self::Features => one("features", Box::new(|_| features())),
            Self::Unit => one("unit", Box::new(unit)),
            Self::Peers => one("peers", Box::new(peers)),
            Self::Vm => options
                .kernels()
                .into_iter()
                .map(|series| {
                    let job: Job = Box::new(move |options| vm(options, series));
                    (format!("vm {}", series.name()), job)
                })
                .collect(),
        }
    }
}

fn fmt() -> Result<Option<Tally>> {
    component("fmt", "rustfmt")?;
    command::run(cargo().args(["fmt", "--all", "--check"]))?;
    Ok(None)
}

fn clippy() -> Result<Option<Tally>> {
    component("clippy", "clippy")?;
    command::run(
        cargo()
            .args(["clippy", "--workspace", "--all-targets", "--all-features"])
            .args(["--", "-D", "warnings"]),
    )?;
    Ok(None)
}

fn doc() -> Result<Option<Tally>> {
    command::run(
        cargo()
            .args(["doc", "--workspace", "--no-deps", "--all-features"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    Ok(None)
}

fn features() -> Result<Option<Tally>> {
    let metadata = command::stdout(cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let library = metadata["packages"]
        .as_array()
        .and_then(|packages| packages.iter().find(|p| p["name"] == "vfio-display"))
        .context("cargo metadata has no package vfio-display")?;
    let check = || {
        let mut cargo = cargo();
        cargo.args(["check", "--quiet", "-p", "vfio-display", "--no-default-features"]);
        cargo
    };
    println!("no features");
    command::run(&mut check())?;
    let features = library["features"].as_object().context("no features")?;
    for feature in features.keys().filter(|feature| *feature != "default") {
        println!("{feature}");
        command::run(check().args(["--features", feature]))?;
    }
    // Who embeds it may choose, and there some types are wider.
    println!("all features, rustix over libc");
    let mut over_libc = check();
    over_libc.args(["--all-features", "--target-dir", "target/libc"]);
    command::run(over_libc.env("RUSTFLAGS", "--cfg rustix_use_libc -D warnings"))?;
    Ok(None)
}

fn unit(options: &Options) -> Result<Option<Tally>> {
    let filter = options.filter.as_deref();
    let mut tally = Tally::default();
    for binary in suite::build()? {
        // What is ignored here is run by a later step, if that is not left out.
        let later = if binary.needs_kernel() { Step::Vm } else { Step::Peers };
        tally += binary.run(filter, !options.includes(later))?;
    }
    println!("--- doc tests");
    let mut doc = cargo();
    doc.args(["test", "--workspace", "--all-features", "--doc"]);
    if let Some(filter) = filter {
        doc.args(["--", filter]);
    }
    tally += suite::stream(&mut doc, "doc", true)?.0;
    Ok(Some(tally))
}

fn peers(options: &Options) -> Result<Option<Tally>> {
    packages::install_peers()?;
    qemu::unpack()?;
    let mut tally = Tally::default();
    for binary in suite::build()?.iter().filter(|binary| !binary.needs_kernel()) {
        if !binary.ignored_tests(options.filter.as_deref())?.is_empty() {
            tally += binary.run_ignored(options.filter.as_deref())?;
        }
    }
    Ok(Some(tally))
}

fn vm(options: &Options, series: Series) -> Result<Option<Tally>> {
    let machine = Machine::prepare(series)?;
    let binaries: Vec<Binary> = suite::build()?;
    device::run(&machine, &binaries, options.filter.as_deref(), options.timeout).map(Some)
}

/// A Rust of the minimal profile has neither rustfmt nor clippy.
fn component(subcommand: &str, component: &str) -> Result<()> {
    if command::quiet(cargo().args([subcommand, "--version"])).is_err() {
        command::run(command::program("rustup").args(["component", "add", component]))
            .with_context(|| format!("cargo {subcommand} is missing"))?;
    }
    Ok(())
}

impl Row {
    fn new(name: String, result: Result<Option<Tally>>, duration: Duration) -> Self {
        let (tally, ok) = match result {
            Ok(None) => (None, true),
            Ok(Some(tally)) => {
                let ok = tally.failed == 0;
                (Some(tally), ok)
            }
            Err(error) => {
                eprintln!("{name}: {error:#}");
                let mut tally = Tally::default();
                tally.fail(format!("{name}: {error}"));
                (Some(tally), false)
            }
        };
        Self { name, tally, ok, duration }
    }
}

/// The table, the names, and the line that a machine can read.
fn report(rows: &[Row]) -> ExitCode {
    headline("summary");
    let mut all = Tally::default();
    for row in rows {
        let verdict = if row.ok { "ok" } else { "FAILED" };
        let counts = row.tally.as_ref().map(Tally::to_string).unwrap_or_default();
        println!("{:<10} {verdict:<7} {:>7.1} s  {counts}", row.name, row.duration.as_secs_f64());
        all += row.tally.clone().unwrap_or_default();
    }
    for note in &all.notes {
        println!("{note}");
    }
    println!("{all}");
    if all.failed == 0 && rows.iter().all(|row| row.ok) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
