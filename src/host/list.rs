// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What sysfs says of devices that may have a display.
//!
//! Sources: `Documentation/driver-api/vfio-mediated-device.rst` and
//! `Documentation/ABI/testing/sysfs-bus-{pci,vfio-mdev}` of the kernel. The attributes of vendor
//! vGPUs are those of NVIDIA's vGPU 17 and newer.

use std::path::{Path, PathBuf};

use super::error::{HostError, Result};
use super::tree::{clean, line, link_name, names_if_there, number, text};
use super::{Host, PciAddress, Uuid};

/// A mediated device that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mdev {
    /// Its name.
    pub uuid: Uuid,
    /// Its directory in sysfs, links resolved.
    pub path: PathBuf,
    /// The device that it is a part of: a PCI address, or the name of a virtual device.
    pub parent: Option<String>,
    /// Id of its type, as `mdpy-vga` or `i915-GVTg_V5_4`.
    pub type_id: Option<String>,
    /// What its driver calls the type.
    pub type_name: Option<String>,
    /// Its driver.
    pub driver: Option<String>,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
}

/// A type of mediated device that can be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MdevType {
    /// The device that creates it.
    pub parent: String,
    /// Id of the type.
    pub id: String,
    /// What its driver calls it; not every driver does.
    pub name: Option<String>,
    /// What its driver says of it; not every driver does.
    pub description: Option<String>,
    /// What kind of device it makes; `vfio-pci` for those with a display.
    pub device_api: Option<String>,
    /// How many more can be created.
    pub available_instances: Option<u32>,
    /// The directory whose `create` takes a UUID.
    pub path: PathBuf,
}

/// A PCI device that VFIO may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciDevice {
    /// Its address.
    pub address: PciAddress,
    /// Its directory in sysfs, links resolved.
    pub path: PathBuf,
    /// The driver that it is bound to.
    pub driver: Option<String>,
    /// PCI class, 24 bits.
    pub class: Option<u32>,
    /// PCI vendor id.
    pub vendor: Option<u32>,
    /// PCI device id.
    pub device: Option<u32>,
    /// Its IOMMU group.
    pub iommu_group: Option<u32>,
    /// Whether a VFIO driver has it.
    pub vfio: bool,
    /// Its vGPU, where it is a virtual function that can be one.
    pub vgpu: Option<VgpuTypes>,
}

/// The vendor-specific attributes of a virtual function that can be a vGPU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VgpuTypes {
    /// Number of its type; `None` where none is set.
    pub current: Option<u32>,
    /// The types that can be set now.
    pub creatable: Vec<VgpuType>,
}

/// A type that a virtual function can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgpuType {
    /// Its number, which `current_vgpu_type` takes.
    pub id: u32,
    /// Its name.
    pub name: String,
}

impl PciDevice {
    /// Whether it calls itself a display controller: PCI base class 3.
    pub fn is_display(&self) -> bool {
        self.class.is_some_and(|class| class >> 16 == 3)
    }
}

impl Host {
    /// The mediated devices that exist, by UUID.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`] where `bus/mdev/devices` is there and can't be listed.
    pub fn mdevs(&self) -> Result<Vec<Mdev>> {
        let dir = self.sys("bus/mdev/devices");
        let names = names_if_there(&dir).map_err(HostError::io("list", &dir))?;
        let mut mdevs: Vec<Mdev> = names
            .iter()
            .filter_map(|name| {
                let uuid = Uuid::parse(name.to_str()?)?;
                // A device that was removed meanwhile is a dangling link, and no device.
                Some(mdev(uuid, dir.join(name).canonicalize().ok()?))
            })
            .collect();
        mdevs.sort_by_key(|mdev| mdev.uuid);
        Ok(mdevs)
    }

    /// The types of mediated device that can be created, by parent and id.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`] where `class/mdev_bus` is there and can't be listed.
    pub fn mdev_types(&self) -> Result<Vec<MdevType>> {
        let parents = self.sys("class/mdev_bus");
        let mut types = Vec::new();
        for parent in names_if_there(&parents).map_err(HostError::io("list", &parents))? {
            let dir = parents.join(&parent).join("mdev_supported_types");
            for id in names_if_there(&dir).map_err(HostError::io("list", &dir))? {
                let path = dir.join(&id);
                types.push(MdevType {
                    parent: clean(&parent.to_string_lossy()),
                    id: clean(&id.to_string_lossy()),
                    name: line(&path.join("name")),
                    description: text(&path.join("description"))
                        .ok()
                        .map(|text| clean(&text.lines().collect::<Vec<_>>().join(", ")))
                        .filter(|text| !text.is_empty()),
                    device_api: line(&path.join("device_api")),
                    available_instances: number(&path.join("available_instances")),
                    path,
                });
            }
        }
        Ok(types)
    }

    /// The PCI devices that a VFIO driver has, and the virtual functions that can be a vGPU.
    ///
    /// # Errors
    ///
    /// [`HostError::Io`] where `bus/pci/devices` is there and can't be listed.
    pub fn pci_devices(&self) -> Result<Vec<PciDevice>> {
        let dir = self.sys("bus/pci/devices");
        let names = names_if_there(&dir).map_err(HostError::io("list", &dir))?;
        let mut devices: Vec<PciDevice> = names
            .iter()
            .filter_map(|name| {
                let address = PciAddress::parse(name.to_str()?)?;
                Some(pci(address, dir.join(name).canonicalize().ok()?))
            })
            .filter(|device| device.vfio || device.vgpu.is_some())
            .collect();
        devices.sort_by_key(|device| device.address);
        Ok(devices)
    }
}

fn mdev(uuid: Uuid, path: PathBuf) -> Mdev {
    let parent = path.parent().and_then(Path::file_name);
    Mdev {
        uuid,
        parent: parent.map(|name| clean(&name.to_string_lossy())),
        type_id: link_name(&path.join("mdev_type")),
        type_name: line(&path.join("mdev_type/name")),
        driver: link_name(&path.join("driver")),
        iommu_group: iommu_group(&path),
        path,
    }
}

fn pci(address: PciAddress, path: PathBuf) -> PciDevice {
    PciDevice {
        address,
        driver: link_name(&path.join("driver")),
        class: number(&path.join("class")),
        vendor: number(&path.join("vendor")),
        device: number(&path.join("device")),
        iommu_group: iommu_group(&path),
        vfio: is_vfio(&path),
        vgpu: vgpu(&path.join("nvidia")),
        path,
    }
}

/// Number of the IOMMU group of the device at `path`.
pub(super) fn iommu_group(path: &Path) -> Option<u32> {
    link_name(&path.join("iommu_group"))?.parse().ok()
}

/// Whether a VFIO driver has the device at `path`.
///
/// Such a driver registers a `vfio-dev` since kernel 6.1, whatever it is called itself: a vGPU
/// of NVIDIA stays bound to `nvidia`. Before that, the name is what there is.
pub(super) fn is_vfio(path: &Path) -> bool {
    path.join("vfio-dev").is_dir()
        || link_name(&path.join("driver")).is_some_and(|driver| driver.contains("vfio"))
}

fn vgpu(dir: &Path) -> Option<VgpuTypes> {
    let current = dir.join("current_vgpu_type");
    if !current.exists() {
        return None;
    }
    // A header line, then `number : name` in columns.
    let creatable = text(&dir.join("creatable_vgpu_types")).unwrap_or_default();
    let creatable = creatable.lines().filter_map(|row| {
        let (id, name) = row.split_once(':')?;
        Some(VgpuType { id: id.trim().parse().ok()?, name: clean(name.trim()) })
    });
    Some(VgpuTypes {
        current: number(&current).filter(|&id| id != 0),
        creatable: creatable.collect(),
    })
}
