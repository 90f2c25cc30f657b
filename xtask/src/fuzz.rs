// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `cargo xtask fuzz`: every fuzz target for a while, with a verdict each.
//!
//! What the fuzzer finds interesting goes to `target/fuzz-corpus`: the seeds in `fuzz/corpus` are
//! part of the project and stay as they are.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{self, headline, program, workspace};
use crate::kernels;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// For so long each
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// These only; all without a name
    target: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let manifest = workspace().join("fuzz/Cargo.toml");
    ensure!(manifest.is_file(), "{} is not there", manifest.display());
    let toolchain = Toolchain::choose();
    toolchain.install_cargo_fuzz()?;
    let list = command::stdout(toolchain.cargo().args(["fuzz", "list"]))?;
    let all: Vec<&str> = list.lines().map(str::trim).collect();
    for target in &options.target {
        ensure!(
            all.contains(&target.as_str()),
            "no fuzz target {target}; there are {}",
            all.join(", ")
        );
    }

    let mut lines = Vec::new();
    let mut bad = 0;
    for target in all {
        if !options.target.is_empty() && !options.target.iter().any(|name| name == target) {
            continue;
        }
        headline(&format!("fuzz {target}"));
        let start = Instant::now();
        let outcome = toolchain.fuzz(target, options.seconds)?;
        bad += usize::from(outcome.verdict != Verdict::Clean);
        lines.push(format!(
            "{target:<20} {:>12} executions {:>7.1} s  {}",
            outcome.executions.map_or_else(|| "?".to_owned(), |number| number.to_string()),
            start.elapsed().as_secs_f64(),
            outcome.verdict.text(),
        ));
    }
    headline("summary");
    ensure!(!lines.is_empty(), "no fuzz targets");
    for line in &lines {
        println!("{line}");
    }
    Ok(if bad == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sanitizers are behind unstable flags of the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    Nightly,
    /// The stable one, told to accept them.
    Bootstrap,
}

#[derive(Debug)]
struct Outcome {
    executions: Option<u64>,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Clean,
    Finding,
    /// It did not build, or executed nothing: no proof of anything.
    NotRun,
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Self::Clean => "no finding",
            Self::Finding => "FINDING",
            Self::NotRun => "DID NOT RUN",
        }
    }
}

impl Toolchain {
    pub(crate) fn choose() -> Self {
        let list = command::stdout(program("rustup").args(["toolchain", "list"]));
        if list.is_ok_and(|list| list.lines().any(|line| line.starts_with("nightly-"))) {
            Self::Nightly
        } else {
            Self::Bootstrap
        }
    }

    pub(crate) fn cargo(self) -> Command {
        let mut command = match self {
            Self::Nightly => {
                let mut command = program("rustup");
                command.args(["run", "nightly", "cargo"]);
                // Left there by the cargo that runs us, and older than the one to use.
                command.env_remove("CARGO").env_remove("RUSTUP_TOOLCHAIN");
                command
            }
            Self::Bootstrap => {
                let mut command = command::cargo();
                command.env("RUSTC_BOOTSTRAP", "1");
                command
            }
        };
        command.current_dir(workspace());
        command
    }

    fn install_cargo_fuzz(self) -> Result<()> {
        if command::quiet(self.cargo().args(["fuzz", "--version"])).is_ok() {
            return Ok(());
        }
        println!("installing cargo-fuzz");
        command::run(command::cargo().args(["install", "cargo-fuzz", "--locked"]))
    }

    fn fuzz(self, target: &str, seconds: u32) -> Result<Outcome> {
        let corpus = workspace().join("target/fuzz-corpus").join(target);
        fs::create_dir_all(&corpus).with_context(|| format!("creating {}", corpus.display()))?;
        copy_seeds(&workspace().join("fuzz/corpus").join(target), &corpus)?;

        let mut command = self.cargo();
        command
            .args(["fuzz", "run", target])
            .arg(&corpus)
            .arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg("-print_final_stats=1")
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .with_context(|| format!("{} did not start", command::line(&command)))?;
        let stderr = child.stderr.take().context("its output is not there")?;
        let mut executions = None;
        for line in BufReader::new(stderr).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).into_owned();
            eprintln!("{line}");
            if let Some(number) = line.strip_prefix("stat::number_of_executed_units:") {
                executions = number.trim().parse().ok();
            }
        }
        let status = child.wait()?;
        let verdict = match (status.success(), executions) {
            (_, None | Some(0)) => Verdict::NotRun,
            (true, Some(_)) => Verdict::Clean,
            (false, Some(_)) => Verdict::Finding,
        };
        Ok(Outcome { executions, verdict })
    }
}

fn copy_seeds(seeds: &Path, corpus: &Path) -> Result<()> {
    if !seeds.is_dir() {
        return Ok(());
    }
    for seed in fs::read_dir(seeds)? {
        let seed = seed?.path();
        if let (true, Some(name)) = (seed.is_file(), seed.file_name()) {
            kernels::copy(&seed, &corpus.join(name))?;
        }
    }
    Ok(())
}
