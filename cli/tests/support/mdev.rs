// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! mdev devices of sample drivers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::testbed;

/// An mdev device; removed when dropped.
#[derive(Debug)]
pub(crate) struct Mdev {
    pub(crate) uuid: String,
    /// /sys/bus/mdev/devices/UUID
    pub(crate) path: PathBuf,
}

impl Mdev {
    /// Creates one of a type: mdpy-vga, -xga, -hd, mbochs-small, -medium, -large, vfbdemo-xga, -hd,
    /// -4k.
    pub(crate) fn create(kind: &str) -> Self {
        let driver = kind.split('-').next().expect("split has a first part");
        let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").expect("/proc is mounted");
        let uuid = uuid.trim().to_owned();
        let create = format!("/sys/class/mdev_bus/{driver}/mdev_supported_types/{kind}/create");
        fs::write(&create, &uuid).unwrap_or_else(|error| panic!("{create}: {error}"));
        let path = Path::new("/sys/bus/mdev/devices").join(&uuid);
        Self { uuid, path }
    }

    /// Removes it now, and says why if the kernel won't.
    pub(crate) fn remove(&self) -> std::io::Result<()> {
        fs::write(self.path.join("remove"), "1")
    }
}

impl Drop for Mdev {
    fn drop(&mut self) {
        if self.path.exists()
            && let Err(error) = self.remove()
        {
            eprintln!("{} stays: {error}", self.path.display());
        }
    }
}

/// Puts the driver in: as shipped, or (`read_write`) with dma-bufs that a CPU may map. There must
/// be no mbochs device. Tests that need one of the two say so first, whichever ran before them.
pub(crate) fn load_mbochs(read_write: bool) {
    let file = if read_write { "mbochs-rw.ko" } else { "mbochs.ko" };
    let module = Path::new(&testbed("MODULES")).join(file);
    if Path::new("/sys/module/mbochs").exists() {
        run(Command::new("rmmod").arg("mbochs"));
    }
    run(Command::new("insmod").arg(module));
}

pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}
