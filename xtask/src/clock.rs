// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The frequency of this machine's TSC, which under TCG is L1's as well.
//!
//! L1 would measure it against an emulated timer. On a busy machine that was seen to be wrong by a
//! factor of ten, and a clock that runs ten times too fast makes every time-out in a test too
//! short. Reading the TSC needs a language with an intrinsic for it that is not unsafe code.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::command::{self, program};
use crate::kernels;

const SOURCE: &str = include_str!("guest/tsc.c");

/// In kHz.
pub(crate) fn tsc_khz() -> Result<u64> {
    let directory = kernels::cache()?;
    fs::create_dir_all(&directory)?;
    let measure = directory.join("tsc");
    if !measure.is_file() {
        build(&measure).context("building what reads the TSC")?;
    }
    let khz = command::stdout(&mut program(&measure.display().to_string()))?;
    khz.trim().parse().with_context(|| format!("{}: {khz:?}", measure.display()))
}

fn build(measure: &Path) -> Result<()> {
    // Of our own process, so that two runs at a time don't write to one file.
    let partial = measure.with_extension(std::process::id().to_string());
    let source = partial.with_extension("c");
    fs::write(&source, SOURCE)?;
    command::quiet(program("gcc").args(["-O1", "-o"]).arg(&partial).arg(&source))?;
    fs::remove_file(source)?;
    fs::rename(partial, measure)?;
    Ok(())
}
