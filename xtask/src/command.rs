// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Other programs: every failure names the command line and the exit status.

use std::env;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// `depmod` and friends live in directories that a user's PATH often lacks.
const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program of the system, whatever the caller's PATH.
pub(crate) fn program(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:{SYSTEM_PATH}"));
    command.env("LC_ALL", "C.UTF-8");
    command
}

/// The cargo that runs us, at the workspace root.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The workspace root: the directory above this package.
pub(crate) fn workspace() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map_or_else(|| manifest.clone(), Path::to_path_buf)
}

/// Runs to the end with our own stdout and stderr.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{} did not start", line(command)))?;
    if !status.success() {
        bail!("{}: {status}", line(command));
    }
    Ok(())
}

/// Runs to the end in silence; the output is in the error when it fails.
pub(crate) fn quiet(command: &mut Command) -> Result<()> {
    output(command).map(drop)
}

/// Runs to the end and answers with stdout.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    String::from_utf8(output.stdout)
        .with_context(|| format!("{}: its output is not UTF-8", line(command)))
}

fn output(command: &mut Command) -> Result<Output> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{} did not start", line(command)))?;
    if !output.status.success() {
        bail!(
            "{}: {}\n{}{}",
            line(command),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(output)
}

/// The command line, for a message.
pub(crate) fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Marks a line that says what happens now; in bold on a terminal.
pub(crate) fn headline(text: &str) {
    if std::io::stdout().is_terminal() {
        println!("\x1b[1m==> {text}\x1b[0m");
    } else {
        println!("==> {text}");
    }
}
