// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The drivers with a display that L1 has, built for a kernel into its `modules/`.
//!
//! | file | what |
//! |---|---|
//! | `mdpy.ko`, `mbochs.ko` | the kernel's own sample drivers, as shipped |
//! | `mbochs-rw.ko` | mbochs with dma-bufs that a CPU may map |
//! | `vfbdemo.ko` | `contrib/kernel/vfbdemo`, which has a framebuffer region |

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::command::{self, program, workspace};
use crate::kernels::{Kernel, copy, fresh};

/// What is wanted of the kernel's samples.
pub(crate) const SAMPLES: &[&str] = &["mdpy.c", "mdpy-defs.h", "mbochs.c"];

/// In the workspace: the driver, and the header that it is written from.
const OURS: [&str; 2] = ["contrib/kernel/vfbdemo", "include"];

/// What is changed in the second copy of mbochs: text that is there once, and what replaces it.
const READ_WRITE: [(&str, &str); 2] = [
    // As shipped, it exports its dma-bufs read-only, and refuses a read-only mapping: no CPU can
    // look at them. A test of what is in one needs a driver that lets it.
    ("\texp_info.priv = dmabuf;\n", "\texp_info.priv = dmabuf;\n\texp_info.flags = O_RDWR;\n"),
    // As shipped, it gives a dma-buf's pages back at each last close of a file of it, though it
    // counted them once: the second picture that a new process takes frees the guest's pages.
    (
        "\tfor (pg = 0; pg < dmabuf->pagecount; pg++)\n\t\tput_page(dmabuf->pages[pg]);\n\n",
        "\tif (dmabuf->unlinked)\n\t\tfor (pg = 0; pg < dmabuf->pagecount; pg++)\n\t\t\tput_page(dmabuf->pages[pg]);\n\n",
    ),
];

/// Builds them where they are not there, or are of other sources.
pub(crate) fn prepare(kernel: &Kernel) -> Result<()> {
    let stamp = kernel.directory.join("modules.stamp");
    let inputs = inputs(kernel)?;
    if kernel.modules().is_dir() && fs::read_to_string(&stamp).ok().as_ref() == Some(&inputs) {
        return Ok(());
    }
    println!("building the drivers for {}", kernel.release);
    build(kernel)?;
    fs::write(&stamp, inputs).with_context(|| format!("writing {}", stamp.display()))
}

/// A hash of everything that they are built from.
fn inputs(kernel: &Kernel) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    (&kernel.release, READ_WRITE).hash(&mut hasher);
    let samples = SAMPLES.iter().map(|sample| kernel.samples().join(sample));
    for file in samples.chain(our_sources()?.into_iter().map(|file| workspace().join(file))) {
        let bytes = fs::read(&file).with_context(|| format!("reading {}", file.display()))?;
        (file, bytes).hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

/// Our files, in the workspace, in a fixed order; no object of a build by hand.
fn our_sources() -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for directory in OURS {
        let path = workspace().join(directory);
        for file in fs::read_dir(&path).with_context(|| format!("reading {}", path.display()))? {
            let name = PathBuf::from(file?.file_name());
            let source =
                name.extension().is_some_and(|extension| extension == "c" || extension == "h");
            if source && !name.to_string_lossy().ends_with(".mod.c") || name.ends_with("Makefile") {
                sources.push(Path::new(directory).join(name));
            }
        }
    }
    sources.sort();
    Ok(sources)
}

fn build(kernel: &Kernel) -> Result<()> {
    let shipped = fresh(&kernel.directory.join("build"))?;
    for sample in SAMPLES {
        copy(&kernel.samples().join(sample), &shipped.join(sample))?;
    }
    fs::write(shipped.join("Makefile"), "obj-m := mdpy.o mbochs.o\n")?;

    let read_write = fresh(&kernel.directory.join("build-rw"))?;
    let mbochs = fs::read_to_string(shipped.join("mbochs.c"))?;
    fs::write(read_write.join("mbochs.c"), patch_read_write(&mbochs)?)?;
    fs::write(read_write.join("Makefile"), "obj-m := mbochs.o\n")?;

    let tree = fresh(&kernel.directory.join("build-ours"))?;
    for directory in OURS {
        fresh(&tree.join(directory))?;
    }
    for source in our_sources()? {
        copy(&workspace().join(&source), &tree.join(&source))?;
    }
    let ours = tree.join(OURS[0]);

    make(kernel, &shipped, &[])?;
    make(kernel, &read_write, &[])?;
    make(kernel, &ours, &["W=1", "KCFLAGS=-Werror"])?;
    let done = fresh(&kernel.directory.join("modules.partial"))?;
    copy(&shipped.join("mdpy.ko"), &done.join("mdpy.ko"))?;
    copy(&shipped.join("mbochs.ko"), &done.join("mbochs.ko"))?;
    copy(&read_write.join("mbochs.ko"), &done.join("mbochs-rw.ko"))?;
    copy(&ours.join("vfbdemo.ko"), &done.join("vfbdemo.ko"))?;
    if kernel.modules().exists() {
        fs::remove_dir_all(kernel.modules())?;
    }
    fs::rename(&done, kernel.modules())?;
    Ok(())
}

fn make(kernel: &Kernel, module: &Path, arguments: &[&str]) -> Result<()> {
    let mut directory = std::ffi::OsString::from("M=");
    directory.push(module);
    command::quiet(
        program("make")
            .arg("-C")
            .arg(kernel.headers())
            .arg(directory)
            // Type information would need pahole, and nothing reads it.
            .args(["CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"])
            .args(arguments),
    )?;
    for file in fs::read_dir(module)? {
        let file = file?.path();
        if file.extension().is_some_and(|extension| extension == "ko") {
            command::quiet(program("strip").arg("-g").arg(file))?;
        }
    }
    Ok(())
}

fn patch_read_write(mbochs: &str) -> Result<String> {
    let mut patched = mbochs.to_owned();
    for (old, new) in READ_WRITE {
        let found = patched.matches(old).count();
        ensure!(found == 1, "mbochs.c: {old:?} is there {found} times, not once");
        patched = patched.replace(old, new);
    }
    Ok(patched)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_is_patched_once_or_not_at_all() {
        let shipped: String = READ_WRITE.iter().map(|(old, _)| format!("a\n{old}b")).collect();
        let patched = patch_read_write(&shipped).unwrap();
        assert!(READ_WRITE.iter().all(|(_, new)| patched.contains(new)));
        assert!(patch_read_write("a").is_err());
        assert!(patch_read_write(&shipped.repeat(2)).is_err());
    }
}
