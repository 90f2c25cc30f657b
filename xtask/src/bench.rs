// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `cargo xtask bench`: a poll beside what it could be instead, as tables, with a verdict for each
//! goal.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::command::{self, cargo, workspace};
use crate::goals::GOALS;
use crate::packages;

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Fail on a goal that is missed by more than 10 %: for a quiet machine
    #[arg(long)]
    gate: bool,
    /// Leave docs/performance.md as it is
    #[arg(long)]
    dry_run: bool,
}

/// Between these lines of the document is what this command writes.
const BEGIN: &str = "<!-- cargo xtask bench: begin -->\n";
const END: &str = "<!-- cargo xtask bench: end -->\n";

/// A ratio: the columns that say of what, and its median and quartiles.
pub(crate) struct Line {
    of: Vec<String>,
    pub(crate) median: f64,
    quartiles: [f64; 2],
}

impl Line {
    fn parse(line: &str) -> Result<Self> {
        let columns: Vec<&str> = line.split('\t').collect();
        let [of @ .., median, low, high] = &columns[..] else { bail!("{line:?}: too short") };
        let number = |text: &str| text.parse().with_context(|| format!("{line:?}: {text}"));
        Ok(Self {
            of: of.iter().map(|column| (*column).to_owned()).collect(),
            median: number(median)?,
            quartiles: [number(low)?, number(high)?],
        })
    }

    /// Whether it is of what `of` names, with bars between the columns.
    pub(crate) fn is(&self, of: &str) -> bool {
        self.of.iter().map(String::as_str).eq(of.split('|'))
    }
}

pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    packages::install_rivals()?;
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let (mut kernel, mut lines) = (String::new(), Vec::new());
    let mut bench = cargo();
    bench.args(["bench", "--package", "vfio-display", "--features", "testing"]);
    bench.args(["--bench", "ratios"]).stdout(Stdio::piped());
    let mut child =
        bench.spawn().with_context(|| format!("{} did not start", command::line(&bench)))?;
    let stdout = child.stdout.take().context("its output is not there")?;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        eprintln!("{line}");
        match line.split_once('\t') {
            Some(("kernel", name)) => kernel = name.to_owned(),
            Some(("state", of)) => lines.push(Line::parse(&format!("state\t{of}\t0\t0"))?),
            Some(("case" | "conversion" | "other", _)) => lines.push(Line::parse(&line)?),
            _ => {}
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{}: {status}", command::line(&bench));

    lines.extend(idle()?);
    let (goals, failed) = goals(&lines)?;
    let text = format!("{}\n{}\n{goals}", machine(&kernel, &load), tables(&lines)?);
    print!("\n{text}");
    if !options.dry_run {
        write(&text)?;
    }
    let fails = options.gate && failed > 0;
    if failed > 0 {
        println!("{failed} missed by more than 10 %");
    }
    Ok(if fails { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// What an idle viewer costs, in parts of a core: the last column of what the example prints.
fn idle() -> Result<Vec<Line>> {
    let mut example = cargo();
    example.args(["run", "--release", "--package", "vfio-display-vnc", "--example", "idle"]);
    let table = command::stdout(&mut example)?;
    let rows = table.lines().filter(|row| row.contains('%'));
    rows.map(|row| {
        let columns: Vec<&str> = row.split('|').map(str::trim).collect();
        let [_, size, plane, _, _, cpu, _] = columns[..] else { bail!("{row:?}: not a row") };
        let cpu = cpu.trim_end_matches(" %");
        Line::parse(&format!("idle\t{size}\t{plane}\t{cpu}\t{cpu}\t{cpu}"))
    })
    .collect()
}

/// What was measured on.
fn machine(kernel: &str, load: &str) -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let flags = field("flags");
    let has = |name: &&str| flags.split(' ').any(|flag| flag == *name);
    let features = ["aes", "avx2", "vaes", "avx512f"].into_iter().filter(has);
    let cores = info.lines().filter(|line| line.starts_with("processor")).count();
    format!(
        "{} cores of {} ({}), kernel of the hash `{kernel}`, load before it {}.\n",
        cores,
        field("model name"),
        features.collect::<Vec<_>>().join(", "),
        load.split(' ').next().unwrap_or("?"),
    )
}

fn tables(lines: &[Line]) -> Result<String> {
    let mut text = String::from(
        "| screen | change | detection | x QEMU | x XXH3 tiles | of read | of memcmp | of memcpy | of bare read | of bare copy |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let cases = lines.iter().filter(|line| line.of[0] == "case");
    let cases: Vec<&Line> = cases.collect();
    for of in cases.chunk_by(|a, b| a.of[..6] == b.of[..6]) {
        let [size, format, residence, change, detection] = &of[0].of[1..6] else {
            bail!("{:?}: not a case", of[0].of)
        };
        text += &format!("| {size} {format} {residence} | {change} | {detection} |");
        for line in of {
            text += &format!(" {} |", figure(line));
        }
        text += "\n";
    }
    text += "\n| decoding, in the cache | x pixman | x libyuv |\n|---|---|---|\n";
    let conversions: Vec<&Line> = lines.iter().filter(|line| line.of[0] == "conversion").collect();
    for of in conversions.chunk_by(|a, b| a.of[1] == b.of[1]) {
        let figures: Vec<String> = of.iter().map(|line| figure(line)).collect();
        text += &format!("| {} | {} |\n", of[0].of[1], figures.join(" | "));
    }
    text += "\n| screen | change | what | |\n|---|---|---|---|\n";
    for line in lines.iter().filter(|line| line.of[0] == "other") {
        let [size, format, residence, change, what] = &line.of[1..] else {
            bail!("{:?}: not a line", line.of)
        };
        let figure = figure(line);
        text += &format!("| {size} {format} {residence} | {change} | {what} | {figure} |\n");
    }
    Ok(text)
}

/// A median with its quartiles, in two digits that count.
fn figure(line: &Line) -> String {
    let number = |x: f64| if x < 10.0 { format!("{x:.2}") } else { format!("{x:.0}") };
    let [low, high] = line.quartiles.map(number);
    format!("{} ({low} to {high})", number(line.median))
}

/// The table of goals, and how many are missed by more than 10 %.
fn goals(lines: &[Line]) -> Result<(String, usize)> {
    let mut text = String::from("| goal | | asked | measured | |\n|---|---|---|---|---|\n");
    let mut failed = 0;
    for goal in GOALS {
        let line = lines.iter().find(|line| line.is(goal.of));
        let line = line.with_context(|| format!("the bench says nothing of {}", goal.of))?;
        let asked = goal.bound.text();
        let verdict = if goal.bound.is_met(line.median, 0.0) { "met" } else { "missed" };
        failed += usize::from(!goal.bound.is_met(line.median, 0.1));
        let (id, what) = (goal.id, goal.what);
        text += &format!("| {id} | {what} | {asked} | {:.3} | {verdict} |\n", line.median);
    }
    Ok((text, failed))
}

fn write(text: &str) -> Result<()> {
    let path = workspace().join("docs/performance.md");
    let document = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        rest.split_once(END).map(|(_, after)| format!("{before}{BEGIN}\n{text}\n{END}{after}"))
    });
    let whole = parts.with_context(|| format!("{} has not both markers", path.display()))?;
    fs::write(&path, whole).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_it_names() {
        let line = Line::parse("case\t1x1\tXR24\tcold\tall\tverified\tqemu/ours\t2\t1\t3").unwrap();
        assert!(line.is("case|1x1|XR24|cold|all|verified|qemu/ours"));
        assert!(!line.is("case|1x1|XR24|cold|all|verified|ours/read"));
        assert_eq!(figure(&line), "2.00 (1.00 to 3.00)");
        assert!(Line::parse("case\tx").is_err());
        assert!(Line::parse("case\tx\t1\t2\tthree").is_err());
    }
}
