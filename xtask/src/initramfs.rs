// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The initramfs of L1 and of the guest inside it: busybox, modules, an init. Not compressed,
//! because decompressing under TCG takes longer than reading.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};

use crate::command::{self, program};
use crate::kernels::{self, Kernel};

/// One of the two, by what differs.
#[derive(Debug, Hash)]
pub(crate) struct Initramfs {
    name: &'static str,
    init: &'static str,
    modules: &'static [&'static str],
}

/// L1: the host's root by 9p, and everything that VFIO and KVM need.
pub(crate) const L1: Initramfs = Initramfs {
    name: "l1",
    init: include_str!("guest/l1-init.sh"),
    modules: &[
        "virtio_pci",
        "9p",
        "9pnet_virtio",
        "overlay",
        "virtio_rng",
        "vfio",
        "vfio_iommu_type1",
        "mdev",
        "kvm_amd",
    ],
};

/// L2: the guest that draws through bochs-drm, and a 9p share to tell what it sees.
pub(crate) const L2: Initramfs = Initramfs {
    name: "l2",
    init: include_str!("guest/l2-init.sh"),
    modules: &["virtio_pci", "9p", "9pnet_virtio", "bochs"],
};

impl Initramfs {
    /// The image for a kernel; built when anything in it changed.
    pub(crate) fn prepare(&self, kernel: &Kernel) -> Result<PathBuf> {
        let image = kernel.directory.join(format!("{}.cpio", self.name));
        let stamp = kernel.directory.join(format!("{}.stamp", self.name));
        let mut hasher = DefaultHasher::new();
        (self, &kernel.release).hash(&mut hasher);
        let inputs = format!("{:016x}", hasher.finish());
        if !image.is_file() || fs::read_to_string(&stamp).ok().as_ref() != Some(&inputs) {
            self.build(kernel, &image).with_context(|| {
                format!("building the initramfs {} of {}", self.name, kernel.release)
            })?;
            fs::write(stamp, inputs)?;
        }
        Ok(image)
    }

    fn build(&self, kernel: &Kernel, image: &Path) -> Result<()> {
        let tree = kernels::fresh(&kernel.directory.join(self.name))?;
        let init = tree.join("init");
        fs::write(&init, self.init)?;
        fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
        fs::create_dir(tree.join("bin"))?;
        kernels::copy(Path::new("/bin/busybox"), &tree.join("bin/busybox"))?;

        let modules = tree.join("modules");
        fs::create_dir(&modules)?;
        let mut order = String::new();
        for file in kernel.load_order(self.modules)? {
            let name = add_module(&file, &modules)?;
            order.push_str(&name);
            order.push('\n');
        }
        fs::write(modules.join("order"), order)?;

        let archive = r#"set -o pipefail; find . | cpio --quiet -o -H newc -R 0:0 >"$1""#;
        command::quiet(
            program("bash").current_dir(&tree).args(["-c", archive, "bash"]).arg(image),
        )?;
        fs::remove_dir_all(tree)?;
        Ok(())
    }
}

/// Copies a module, decompressed and without debug information; answers with its file name.
fn add_module(file: &Path, into: &Path) -> Result<String> {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let plain = name.trim_end_matches(".xz").to_owned();
    let target = into.join(&plain);
    if name.ends_with(".xz") {
        let unpacked = fs::File::create(&target)?;
        command::run(program("xz").arg("-dc").arg(file).stdout(Stdio::from(unpacked)))?;
    } else {
        kernels::copy(file, &target)?;
    }
    command::quiet(program("strip").arg("-g").arg(&target))?;
    Ok(plain)
}
