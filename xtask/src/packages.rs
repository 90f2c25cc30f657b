// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the testbed takes from the distribution: programs to install, packages to unpack.
//!
//! Kernels are unpacked under `target/` and never installed: installing one would write to /boot
//! and run the hooks of the machine's boot loader.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

use crate::command::{self, cargo, program};

/// Installed where missing. Most are small; QEMU is the one that counts.
const PROGRAMS: &[&str] = &[
    "binutils",
    "busybox-static",
    "cpio",
    "gcc",
    "kmod",
    "libc6-dev",
    // objtool, of the kernel headers
    "libelf1",
    "make",
    "ovmf",
    "qemu-system-x86",
    "seabios",
    "xz-utils",
    "zstd",
];

/// What some tests compare this project with, installed where missing.
const PEERS: &[&str] = &[
    "chromium",
    "chromium-driver",
    "dbus-bin",
    "dbus-daemon",
    "edid-decode",
    // a page of chromium's, in letters that can be read
    "fonts-dejavu-core",
    "freerdp2-x11",
    "gir1.2-glib-2.0",
    "gvncviewer",
    // gtk-vnc looks for certificates in the home of the user database alone
    "libnss-wrapper",
    // qemu-rdp is built, against these
    "libopus-dev",
    "libpixman-1-dev",
    "libusb-1.0-0-dev",
    "libusbredirhost-dev",
    "libusbredirparser-dev",
    "nmap",
    "openssl",
    "pkg-config",
    "python3-gi",
    // vncdotool and prometheus_client come from PyPI, into directories under target/
    "python3-venv",
    // its D-Bus display, which is a module
    "qemu-system-gui",
    "qemu-system-x86",
    "seabios",
    "strace",
    // systemd-analyze
    "systemd",
    "tigervnc-viewer",
    "valgrind",
    "xdotool",
    "xvfb",
];

/// What some tests drive and cargo builds: a program from crates.io, and a client on a crate that
/// needs libraries of its own. Built once, into a directory of their own under `target/`.
const PEER_CRATES: &[&[&str]] =
    &[&["qemu-rdp", "--version", "0.1.1"], &["--path", "sinks/dbus/tests/clients/qemu-display"]];

const ELSEWHERE: &str = "the testbed takes QEMU and its kernels from Debian 12: run this in a \
    Debian 12 container or machine, or leave the testbed out with --skip vm";

/// Installs what the testbed needs.
pub(crate) fn install_programs() -> Result<()> {
    install(PROGRAMS)
}

/// Installs what tests beside other programs need.
pub(crate) fn install_peers() -> Result<()> {
    install(PEERS)?;
    // For noVNC. Who has Node from elsewhere has it too, and Debian's package would not install.
    if command::quiet(program("npm").arg("--version")).is_err() {
        install(&["npm"])?;
    }
    let target = command::workspace().join("target");
    for which in PEER_CRATES {
        // Without optimisation: most of the time that they take is their compiler's.
        command::run(
            cargo()
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .args(["install", "--locked", "--quiet", "--debug"])
                .args(*which)
                .arg("--root")
                .arg(target.join("peers"))
                .arg("--target-dir")
                .arg(target.join("peers-build")),
        )?;
    }
    Ok(())
}

/// Installs what the bench measures beside this project.
pub(crate) fn install_rivals() -> Result<()> {
    install(&["libpixman-1-0", "libyuv0"])
}

/// Installs what is missing, or says exactly what that is.
fn install(packages: &[&'static str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root()? {
        bail!(
            "not installed: {0}. As root: apt-get install --no-install-recommends {0}",
            missing.join(" ")
        );
    }
    update()?;
    println!("installing {}", missing.join(" "));
    command::quiet(
        program("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(["install", "-y", "--no-install-recommends"])
            .args(missing),
    )
}

fn missing(packages: &[&'static str]) -> Result<Vec<&'static str>> {
    // It fails as soon as one is unknown to it, which says nothing about the others.
    let known = program("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output();
    let known = known.with_context(|| format!("dpkg-query did not start: {ELSEWHERE}"))?;
    let known = String::from_utf8_lossy(&known.stdout).into_owned();
    let installed: Vec<&str> =
        known.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(packages.iter().copied().filter(|package| !installed.contains(package)).collect())
}

fn is_root() -> Result<bool> {
    Ok(command::stdout(program("id").arg("-u"))?.trim() == "0")
}

/// Refreshes the package lists, once in a run. A source of somebody else's that is down is no
/// reason to stop: what is needed and not there shows in the next command.
fn update() -> Result<()> {
    static DONE: OnceLock<()> = OnceLock::new();
    if DONE.set(()).is_ok() && is_root()? {
        println!("refreshing the package lists");
        if let Err(error) = command::quiet(program("apt-get").arg("update")) {
            println!("{error:#}");
        }
    }
    Ok(())
}

/// The packages of one kernel series.
#[derive(Debug)]
pub(crate) struct KernelPackages {
    /// What `uname -r` says, like 6.1.0-56-amd64.
    pub(crate) release: String,
    /// To be unpacked whole: image, headers and what the headers need.
    pub(crate) binary: Vec<String>,
    /// The package with the source tarball.
    pub(crate) source: String,
}

impl KernelPackages {
    /// The newest of a series, "6.1" or "6.12", that the package lists know.
    pub(crate) fn newest(series: &str) -> Result<Self> {
        update()?;
        let headers = search(&format!(r"^linux-headers-{}\.", series.replace('.', r"\.")))?;
        let newest = headers
            .iter()
            .filter_map(|name| name.strip_prefix("linux-headers-"))
            .filter(|release| is_plain(release))
            .max_by_key(|release| numbers(release));
        let release = newest.map(str::to_owned).with_context(|| {
            format!("no linux-headers-{series}.*-amd64 in the package lists: {ELSEWHERE}")
        })?;

        let images = search(&format!("^linux-image-{}", release.replace('+', r"\+")))?;
        let signed = format!("linux-image-{release}");
        let unsigned = format!("{signed}-unsigned");
        let image = [unsigned, signed]
            .into_iter()
            .find(|name| images.contains(name))
            .with_context(|| format!("no package has the kernel image of {release}"))?;

        let headers = format!("linux-headers-{release}");
        let depends = command::stdout(program("apt-cache").args(["depends", &headers]))?;
        let mut binary = vec![image, headers];
        binary.extend(
            depends
                .lines()
                .filter_map(|line| line.trim().strip_prefix("Depends: "))
                .filter(|name| {
                    name.starts_with("linux-headers-") || name.starts_with("linux-kbuild-")
                })
                .map(str::to_owned),
        );
        Ok(Self { release, binary, source: format!("linux-source-{series}") })
    }

    /// Puts the .deb files into a directory.
    pub(crate) fn download(&self, into: &Path) -> Result<()> {
        command::quiet(
            program("apt-get")
                .current_dir(into)
                .arg("download")
                .args(&self.binary)
                .arg(&self.source),
        )
    }
}

/// Names of packages that can be downloaded.
fn search(pattern: &str) -> Result<Vec<String>> {
    let found = command::stdout(program("apt-cache").args(["search", "--names-only", pattern]))?;
    Ok(found
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .map(|(name, _)| name.to_owned())
        .collect())
}

/// Whether it is a release of the plain amd64 flavour: not rt, not cloud, not a meta-package.
fn is_plain(release: &str) -> bool {
    release
        .strip_suffix("-amd64")
        .is_some_and(|version| !version.contains("rt") && !version.contains("cloud"))
}

/// 6.12.117+deb12-amd64 sorts after 6.12.9+deb12-amd64.
fn numbers(release: &str) -> Vec<u32> {
    release.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_sort_by_number() {
        let mut releases = ["6.12.117+deb12-amd64", "6.12.9+deb12-amd64", "6.12.20+deb12-amd64"];
        releases.sort_by_key(|release| numbers(release));
        assert_eq!(releases[0], "6.12.9+deb12-amd64");
        assert_eq!(releases[2], "6.12.117+deb12-amd64");
    }

    #[test]
    fn only_the_plain_flavour_counts() {
        assert!(is_plain("6.1.0-56-amd64"));
        assert!(!is_plain("6.1.0-56-rt-amd64"));
        assert!(!is_plain("6.1.0-56-cloud-amd64"));
        assert!(!is_plain("6.1.0-56-common"));
    }
}
