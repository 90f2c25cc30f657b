// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! SeaBIOS or OVMF, where it lies in memory, and what fw_cfg tells it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use vfio_display::ramfb::{self, Ramfb};
use vfio_display_fw_cfg::{FwCfg, Item};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::kvm;

/// Where a PC has holes in its memory for video memory of old, and below 4 GiB the firmware.
const VIDEO: u64 = 0xa_0000;
const SHADOW: u64 = 0xc_0000;
pub(crate) const FOUR_GIB: u64 = 1 << 32;

/// The end of the firmware's image is also below 1 MiB, where SeaBIOS runs in real mode.
const LOW_COPY: usize = 128 << 10;

/// How much of the space below 4 GiB is the firmware's, and what KVM maps it in.
pub(crate) const MAX_LEN: usize = 16 << 20;
const PAGE: usize = 4096;

/// A firmware volume, with which an image of edk2 begins, has this signature at this offset
/// (`EFI_FIRMWARE_VOLUME_HEADER`, Platform Initialization Specification, volume 3).
const VOLUME: &[u8] = b"_FVH";
const VOLUME_AT: usize = 40;

/// The kind of memory in an entry of `etc/e820`.
const E820_RAM: u32 = 1;

/// Firmware images.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// The firmware: SeaBIOS, or an OVMF that is one file, like /usr/share/ovmf/OVMF.fd
    #[arg(long, value_name = "FILE", default_value = "/usr/share/seabios/bios-256k.bin")]
    bios: PathBuf,
    /// SeaBIOS's driver for ramfb; OVMF has its own
    #[arg(long, value_name = "FILE", default_value = "/usr/share/seabios/vgabios-ramfb.bin")]
    vgabios: PathBuf,
}

/// All that a vCPU needs to find when it starts.
pub(crate) struct Firmware {
    /// RAM, with a copy of the firmware in place.
    pub(crate) memory: GuestMemoryMmap,
    /// The firmware as read-only memory; not part of what devices do DMA with.
    pub(crate) rom: GuestMemoryMmap,
    pub(crate) fw_cfg: FwCfg,
    pub(crate) ramfb: Ramfb,
}

impl Firmware {
    pub(crate) fn load(files: &Files, mib: u32) -> Result<Self> {
        let bios = read(&files.bios)?;
        let fits = (LOW_COPY..=MAX_LEN).contains(&bios.len()) && bios.len() % PAGE == 0;
        ensure!(
            fits,
            "{}: {} bytes are no firmware, which is {LOW_COPY} to {MAX_LEN} in pages of {PAGE}",
            files.bios.display(),
            bios.len()
        );
        let ram = u64::from(mib) << 20;
        let memory = kvm::allocate(&[(0, VIDEO), (SHADOW, ram - SHADOW)])?;
        let low = SHADOW + (256 << 10) - LOW_COPY as u64;
        memory.write_slice(&bios[bios.len() - LOW_COPY..], GuestAddress(low))?;

        let at = FOUR_GIB - bios.len() as u64;
        let rom = kvm::allocate(&[(at, bios.len() as u64)])?;
        rom.write_slice(&bios, GuestAddress(at))?;

        let is_edk2 = bios[VOLUME_AT..].starts_with(VOLUME);
        let vgabios = if is_edk2 { None } else { Some(read(&files.vgabios)?) };
        let ramfb = Ramfb::new();
        let fw_cfg = fw_cfg(ram, vgabios, &ramfb)?;
        Ok(Self { memory, rom, fw_cfg, ramfb })
    }
}

fn fw_cfg(ram: u64, vgabios: Option<Vec<u8>>, ramfb: &Ramfb) -> Result<FwCfg> {
    let mut e820 = Vec::new();
    e820.extend(0_u64.to_le_bytes());
    e820.extend(ram.to_le_bytes());
    e820.extend(E820_RAM.to_le_bytes());

    let mut fw_cfg = FwCfg::new();
    fw_cfg.add_file("etc/e820", Item::bytes(e820))?;
    // Milliseconds until the firmware tries again to boot: never.
    fw_cfg.add_file("etc/boot-fail-wait", Item::bytes(u32::MAX.to_le_bytes()))?;
    // SeaBIOS runs what it finds in this directory as option ROMs of displays.
    if let Some(vgabios) = vgabios {
        fw_cfg.add_file("vgaroms/vgabios-ramfb.bin", Item::bytes(vgabios))?;
    }
    // The boot display: what the guest writes goes to `ramfb`, which looks at it when polled.
    let file = ramfb.file();
    let item = Item::writable(file.read(), move |offset, bytes| {
        file.write(offset, bytes);
    });
    fw_cfg.add_file(ramfb::FILE_NAME, item)?;
    Ok(fw_cfg)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let hint = "where Debian's packages seabios and ovmf are not installed, name the file";
    fs::read(path).with_context(|| format!("{}: {hint}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_that_no_machine_can_have_is_refused_with_the_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let bios = dir.path().join("bios");
        for len in [0, LOW_COPY - PAGE, LOW_COPY + 1, MAX_LEN + PAGE] {
            fs::write(&bios, vec![0; len]).unwrap();
            let files = Files { bios: bios.clone(), vgabios: bios.clone() };
            let error = Firmware::load(&files, 256).err().unwrap().to_string();
            assert!(error.contains(&format!("bios: {len} bytes")), "{error}");
        }
    }

    #[test]
    fn only_seabios_is_given_a_driver() {
        let dir = tempfile::tempdir().unwrap();
        let (bios, vgabios) = (dir.path().join("bios"), dir.path().join("vgabios"));
        let files = Files { bios: bios.clone(), vgabios: vgabios.clone() };
        let mut image = vec![0; LOW_COPY];
        let names = |firmware: &Firmware| -> Vec<String> {
            firmware.fw_cfg.files().map(|(name, _)| name.into()).collect()
        };

        image[VOLUME_AT..][..VOLUME.len()].copy_from_slice(VOLUME);
        fs::write(&bios, &image).unwrap();
        let edk2 = names(&Firmware::load(&files, 256).unwrap());
        assert!(!edk2.iter().any(|name| name.starts_with("vgaroms/")), "{edk2:?}");

        image[VOLUME_AT] = 0;
        fs::write(&bios, &image).unwrap();
        assert!(Firmware::load(&files, 256).is_err(), "without the driver");
        fs::write(&vgabios, [0; 512]).unwrap();
        let seabios = names(&Firmware::load(&files, 256).unwrap());
        assert!(seabios.iter().any(|name| name.starts_with("vgaroms/")), "{seabios:?}");
    }
}
