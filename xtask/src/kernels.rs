// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The kernels of the testbed, each in `target/testbed/SERIES/`, unpacked and built once.
//!
//! | path | what |
//! |---|---|
//! | `release` | what `uname -r` says; written last, so that it means complete |
//! | `root/` | the packages, unpacked: image, modules, headers |
//! | `source/` | mdpy and mbochs, the kernel's own sample drivers with a display |
//! | `modules/` | the drivers, built: see `drivers` |
//! | `vmlinux` | the image, decompressed here and not in every boot under TCG |

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use crate::command::{self, program, workspace};
use crate::drivers;
use crate::packages::{self, KernelPackages};

/// The series that the testbed runs: Debian 12's own, and the one of its newer hardware.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Series {
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
}

impl Series {
    pub(crate) const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

/// Never used in a virtual machine without such hardware, and two thirds of the package.
const NOT_UNPACKED: &[&str] = &[
    "./lib/modules/*/kernel/drivers/gpu/drm/amd",
    "./lib/modules/*/kernel/drivers/gpu/drm/i915",
    "./lib/modules/*/kernel/drivers/gpu/drm/nouveau",
    "./lib/modules/*/kernel/drivers/gpu/drm/radeon",
    "./lib/modules/*/kernel/drivers/infiniband",
    "./lib/modules/*/kernel/drivers/media",
    "./lib/modules/*/kernel/drivers/net",
    "./lib/modules/*/kernel/drivers/scsi",
    "./lib/modules/*/kernel/sound",
    "./usr/share/doc",
];

/// A kernel that is ready to boot, with its sample drivers.
#[derive(Debug)]
pub(crate) struct Kernel {
    pub(crate) series: Series,
    pub(crate) release: String,
    /// `target/testbed/SERIES`
    pub(crate) directory: PathBuf,
}

/// Everything that the testbed keeps.
pub(crate) fn cache() -> Result<PathBuf> {
    let metadata =
        command::stdout(command::cargo().args(["metadata", "--no-deps", "--format-version=1"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
    let target = metadata["target_directory"].as_str();
    Ok(target.map_or_else(|| workspace().join("target"), PathBuf::from).join("testbed"))
}

impl Kernel {
    /// Downloads, unpacks and builds what is not there yet.
    pub(crate) fn prepare(series: Series) -> Result<Self> {
        let directory = cache()?.join(series.name());
        let stamp = directory.join("release");
        if !stamp.is_file() {
            fetch(series, &directory)
                .with_context(|| format!("setting up the kernel {}", series.name()))?;
        }
        let release =
            fs::read_to_string(&stamp).with_context(|| format!("reading {}", stamp.display()))?;
        let kernel = Self { series, release, directory };
        drivers::prepare(&kernel)
            .with_context(|| format!("building the drivers for {}", kernel.release))?;
        Ok(kernel)
    }

    /// The image as an ELF file, which QEMU starts by the PVH entry.
    pub(crate) fn image(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    pub(crate) fn headers(&self) -> PathBuf {
        self.root().join(format!("usr/src/linux-headers-{}", self.release))
    }

    /// The kernel's own sample drivers.
    pub(crate) fn samples(&self) -> PathBuf {
        self.directory.join("source")
    }

    pub(crate) fn compressed_image(&self) -> PathBuf {
        self.root().join(format!("boot/vmlinuz-{}", self.release))
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.join("root")
    }

    /// Where mdpy.ko, mbochs.ko, mbochs-rw.ko and vfbdemo.ko are.
    pub(crate) fn modules(&self) -> PathBuf {
        self.directory.join("modules")
    }

    /// Files of the modules named, with those they need before them.
    pub(crate) fn load_order(&self, modules: &[&str]) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        for module in modules {
            let steps =
                command::stdout(program("modprobe").arg("--dirname").arg(self.root()).args([
                    "--set-version",
                    &self.release,
                    "--show-depends",
                    module,
                ]))?;
            // A line is `insmod FILE OPTIONS`, or `builtin NAME`.
            for line in steps.lines() {
                if let Some(file) = line.trim().strip_prefix("insmod ") {
                    let file = PathBuf::from(file);
                    if !order.contains(&file) {
                        order.push(file);
                    }
                }
            }
        }
        Ok(order)
    }
}

fn fetch(series: Series, directory: &Path) -> Result<()> {
    packages::install_programs()?;
    let packages = KernelPackages::newest(series.name())?;
    let release = &packages.release;
    println!("downloading the kernel {release}: image, headers, source");
    fresh(directory)?;
    let downloads = fresh(&directory.join("downloads"))?;
    packages.download(&downloads)?;

    println!("unpacking it");
    let root = fresh(&directory.join("root"))?;
    for package in &packages.binary {
        unpack(&find(&downloads, package)?, &root)?;
    }
    let source = fresh(&directory.join("source"))?;
    unpack_samples(&find(&downloads, &packages.source)?, &packages.source, &source)?;
    fs::remove_dir_all(&downloads)?;

    // The headers name each other as if they were installed.
    let makefile = root.join(format!("usr/src/linux-headers-{release}/Makefile"));
    let text = fs::read_to_string(&makefile)?;
    let installed = "include /usr/src/";
    ensure!(
        text.matches(installed).count() == 1,
        "{}: {installed:?} is not there exactly once",
        makefile.display()
    );
    let unpacked = format!("include {}/", root.join("usr/src").display());
    fs::write(&makefile, text.replace(installed, &unpacked))?;

    command::quiet(program("depmod").arg("-b").arg(&root).arg(release))?;
    let image = root.join(format!("boot/vmlinuz-{release}"));
    decompress_image(&image, &directory.join("vmlinux"))?;
    fs::write(directory.join("release"), release)?;
    Ok(())
}

fn unpack(package: &Path, into: &Path) -> Result<()> {
    let mut script = String::from(r#"dpkg-deb --fsys-tarfile "$1" | tar -x -C "$2""#);
    for path in NOT_UNPACKED {
        script.push_str(&format!(" --exclude '{path}'"));
    }
    pipeline(&script, &[package, into])
}

/// The tarball is inside the package, compressed once more, and 1.5 GB when unpacked: only what is
/// wanted reaches the disk, and reading ends with the last of it.
fn unpack_samples(package: &Path, name: &str, into: &Path) -> Result<()> {
    let mut script = format!(
        r#"set +o pipefail; dpkg-deb --fsys-tarfile "$1" 2>/dev/null |
        tar -xO ./usr/src/{name}.tar.xz | tar -xJ -C "$2" --strip-components=3 --occurrence=1"#
    );
    for sample in drivers::SAMPLES {
        script.push_str(&format!(" {name}/samples/vfio-mdev/{sample}"));
    }
    pipeline(&script, &[package, into])
}

fn pipeline(script: &str, arguments: &[&Path]) -> Result<()> {
    let script = format!("set -o pipefail; {script}");
    command::quiet(program("bash").args(["-c", &script, "bash"]).args(arguments))
}

/// The payload of a bzImage, by the header that Documentation/arch/x86/boot.rst describes: it
/// starts `payload_offset` (0x248) after the protected-mode code, which starts after
/// `setup_sects` (0x1f1) + 1 sectors; its last 4 bytes are its uncompressed size.
fn decompress_image(image: &Path, into: &Path) -> Result<()> {
    let bytes = fs::read(image).with_context(|| format!("reading {}", image.display()))?;
    let word = |at: usize| -> Result<usize> {
        let field = bytes.get(at..at + 4).context("shorter than its header")?;
        Ok(usize::try_from(u32::from_le_bytes(field.try_into()?))?)
    };
    let sectors = usize::from(*bytes.get(0x1f1).context("shorter than its header")?);
    let start = (sectors + 1) * 512 + word(0x248)?;
    let length = word(0x24c)?;
    let payload = length
        .checked_sub(4)
        .and_then(|length| bytes.get(start..start + length))
        .with_context(|| format!("{}: no payload at {start}+{length}", image.display()))?;
    let tool = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => "xz",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x1f, 0x8b, ..] => "gzip",
        _ => bail!("{}: a compression that is not known here", image.display()),
    };
    let packed = into.with_extension("packed");
    fs::write(&packed, payload)?;
    command::run(
        program(tool)
            .arg("-dc")
            .stdin(File::open(&packed)?)
            .stdout(Stdio::from(File::create(into)?)),
    )?;
    fs::remove_file(packed)?;
    Ok(())
}

/// The .deb file of a package: NAME_VERSION_ARCHITECTURE.deb.
fn find(downloads: &Path, package: &str) -> Result<PathBuf> {
    for file in fs::read_dir(downloads)? {
        let file = file?.path();
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        if name.split('_').next() == Some(package) {
            return Ok(file);
        }
    }
    bail!("apt-get download brought no file for {package}")
}

/// An empty directory, whatever an earlier run that was cut short left.
pub(crate) fn fresh(directory: &Path) -> Result<PathBuf> {
    if directory.exists() {
        fs::remove_dir_all(directory)
            .with_context(|| format!("removing {}", directory.display()))?;
    }
    fs::create_dir_all(directory).with_context(|| format!("creating {}", directory.display()))?;
    Ok(directory.to_owned())
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}
