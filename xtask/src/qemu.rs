// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A QEMU that speaks vfio-user, which the distribution's own is too old for: 10.1 is the first
//! with a client. It is that of the next release's backports, unpacked in `target/testbed/qemu/`
//! with every library that it needs, and never installed.
//!
//! | path | what |
//! |---|---|
//! | `apt/` | package lists and packages, apart from the machine's own |
//! | `root/` | the packages, unpacked |
//! | `qemu-system-x86_64` | runs it; written last, so that it means complete |

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{self, program, workspace};

/// The release after Debian 12.
const RELEASE: &str = "trixie";
const PACKAGE: &str = "qemu-system-x86";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Libraries of its own release, so its own loader too.
const RUN: &str = "#!/bin/sh
root=$(dirname \"$(readlink -f \"$0\")\")/root
libraries=$root/usr/lib/x86_64-linux-gnu
exec \"$root/usr/lib64/ld-linux-x86-64.so.2\" --library-path \"$libraries\" \\
    \"$root/usr/bin/qemu-system-x86_64\" -L \"$root/usr/share/seabios\" -L \"$root/usr/share/qemu\" \"$@\"
";

/// Unpacks it, unless it is there.
pub(crate) fn unpack() -> Result<()> {
    let dir = workspace().join("target/testbed/qemu");
    let run = dir.join("qemu-system-x86_64");
    if run.exists() {
        return Ok(());
    }
    println!("unpacking {PACKAGE} of {RELEASE}-backports");
    let apt = dir.join("apt");
    for parts in ["lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(apt.join(parts))?;
    }
    fs::write(apt.join("status"), "")?;
    let mirror = mirror()?;
    let source = |suite: &str| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n");
    let sources = [source(RELEASE), source(&format!("{RELEASE}-backports"))].concat();
    fs::write(apt.join("sources.list"), sources)?;
    command::quiet(apt_get(&apt).arg("update"))?;
    command::quiet(
        apt_get(&apt).args(["install", "-y", "--download-only", "--no-install-recommends"]).args([
            "-t",
            &format!("{RELEASE}-backports"),
            PACKAGE,
        ]),
    )?;
    let root = dir.join("root");
    for package in fs::read_dir(apt.join("cache/archives"))? {
        let package = package?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            command::quiet(program("dpkg-deb").arg("-x").args([&package, &root]))?;
        }
    }
    fs::remove_dir_all(&apt)?;
    fs::write(&run, RUN)?;
    Ok(fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?)
}

/// apt-get with lists, packages and sources of its own, as if nothing were installed.
fn apt_get(dir: &Path) -> Command {
    let mut apt = program("apt-get");
    let dir = dir.display();
    for option in [
        format!("Dir::State={dir}"),
        format!("Dir::State::status={dir}/status"),
        format!("Dir::Cache={dir}/cache"),
        format!("Dir::Etc::sourcelist={dir}/sources.list"),
        "Dir::Etc::sourceparts=/dev/null".to_owned(),
        "Dir::Etc::preferences=/dev/null".to_owned(),
        "Dir::Etc::preferencesparts=/dev/null".to_owned(),
        // Directories of this workspace are not the sandbox's.
        "APT::Sandbox::User=root".to_owned(),
    ] {
        apt.args(["-o", &option]);
    }
    apt
}

/// Where this machine takes its own packages from.
fn mirror() -> Result<String> {
    let targets = command::stdout(program("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(SUITE) $(ORIGIN) $(LABEL)",
        "Created-By: Packages",
    ]))?;
    let debian = targets.lines().find_map(|line| line.strip_suffix(" Debian Debian"));
    let uri = debian.and_then(|line| line.split_whitespace().next());
    uri.map(str::to_owned).with_context(|| format!("no Debian among the sources: {targets}"))
}
