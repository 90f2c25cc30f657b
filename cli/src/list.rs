// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display list`: what there is to see on this host.

use serde_json::{Value, json};
use vfio_display::device::PlaneKind;
use vfio_display::display::kinds;
use vfio_display::host::{Host, Mdev, MdevType, PciDevice, Unseen, Vmm, VmmDisplay};
use vfio_display::testing::{Mock, Personality};
use vfio_display::{Error, geometry::Size};

use crate::args::List;
use crate::exit::{Failure, Status};
use crate::output::say;

/// All that was found. What could not be looked at is part of it.
struct Found {
    vmms: Vec<(Vmm, Result<Vec<VmmDisplay>, String>)>,
    unseen: Vec<Unseen>,
    mdevs: Vec<Mdev>,
    types: Vec<MdevType>,
    pci: Vec<PciDevice>,
    mocks: Vec<(Personality, Result<Vec<PlaneKind>, Error>)>,
}

pub(crate) fn run(args: &List, json: bool) -> Result<(), Failure> {
    let found = find(args.mock)?;
    if json {
        return say(&format!("{:#}", as_json(&found)));
    }
    warn_of_unseen(&found.unseen);
    say(&as_text(&found))
}

fn find(mock: bool) -> Result<Found, Failure> {
    let host = Host::new();
    let vmms = host.vmms()?;
    let with_displays = |vmm: Vmm| {
        let displays = host.displays(vmm.process.pid).map_err(|error| error.to_string());
        (vmm, displays)
    };
    let mocks = if mock { Personality::ALL.as_slice() } else { &[] };
    let mocks = mocks.iter().map(|&personality| {
        let mock = Mock::new(personality, Size::new(1024, 768)).map_err(|error| {
            Failure::new(Status::Failed, format!("mock:{personality}: {error}"))
        })?;
        Ok((personality, kinds(&mock)))
    });
    Ok(Found {
        vmms: vmms.running.into_iter().map(with_displays).collect(),
        unseen: vmms.unseen,
        mdevs: host.mdevs()?,
        types: host.mdev_types()?,
        pci: host.pci_devices()?,
        mocks: mocks.collect::<Result<_, Failure>>()?,
    })
}

fn as_text(found: &Found) -> String {
    let mut sections = Vec::new();
    let mut section = |title: &str, rows: Vec<[String; 2]>| {
        if rows.is_empty() {
            return;
        }
        let width = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or_default();
        let rows = rows.iter().map(|[name, text]| format!("\n  {name:<width$}  {text}"));
        sections.push(rows.fold(title.to_owned(), |section, row| section + &row));
    };
    section("Displays of running VMMs", found.vmms.iter().flat_map(vmm_rows).collect());
    section("Mediated devices", found.mdevs.iter().map(mdev_row).collect());
    section("Types of mediated device", found.types.iter().map(type_row).collect());
    section("PCI devices for VFIO", found.pci.iter().map(pci_row).collect());
    section("Mock devices", found.mocks.iter().map(mock_row).collect());
    if sections.is_empty() {
        return "No VFIO device, and no VMM that has one. `list --mock` shows what needs none."
            .into();
    }
    sections.join("\n\n")
}

/// Names what may not be looked at, on standard error.
pub(crate) fn warn_of_unseen(unseen: &[Unseen]) {
    if unseen.is_empty() {
        return;
    }
    let who: Vec<String> = unseen.iter().map(|unseen| unseen.process.to_string()).collect();
    let (count, who) = (who.len(), abbreviated(&who));
    eprintln!("vfio-display: {count} processes may not be looked into, any may be a VMM: {who}");
    eprintln!("  be root, or have CAP_SYS_PTRACE");
}

/// The first few of many.
fn abbreviated(names: &[String]) -> String {
    const MANY: usize = 8;
    let mut text = names[..names.len().min(MANY)].join(", ");
    if names.len() > MANY {
        text += ", …";
    }
    text
}

fn vmm_rows((vmm, displays): &(Vmm, Result<Vec<VmmDisplay>, String>)) -> Vec<[String; 2]> {
    let name = vmm.command.as_deref().unwrap_or(&vmm.process.name);
    let pid = format!("pid:{}", vmm.process.pid);
    let itself = if vmm.dmabufs.is_empty() { "" } else { ", shows it itself" };
    match displays {
        Err(error) => vec![[pid, format!("{name}: {error}")]],
        Ok(displays) if displays.is_empty() => {
            vec![[pid, format!("{name}: {} VFIO devices, no display", vmm.device_fds.len())]]
        }
        Ok(displays) => displays
            .iter()
            .map(|display| {
                let kinds = words(&display.kinds);
                [display.to_string(), format!("{name}: {kinds} planes{itself}")]
            })
            .collect(),
    }
}

fn words(kinds: &[PlaneKind]) -> String {
    kinds.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and ")
}

fn mdev_row(mdev: &Mdev) -> [String; 2] {
    let known = [
        mdev.type_id.clone(),
        mdev.type_name.clone().map(|name| format!("\"{name}\"")),
        mdev.parent.clone().map(|parent| format!("of {parent}")),
        mdev.iommu_group.map(|group| format!("group {group}")),
    ];
    [mdev.uuid.to_string(), known.into_iter().flatten().collect::<Vec<_>>().join(", ")]
}

fn type_row(of: &MdevType) -> [String; 2] {
    let more = of.available_instances.map_or("?".to_owned(), |count| count.to_string());
    let name = of.name.as_deref().or(of.description.as_deref()).unwrap_or_default();
    let api = of.device_api.as_deref().unwrap_or_default();
    [format!("{}/{}", of.parent, of.id), format!("{more} more  {api}  {name}")]
}

fn pci_row(pci: &PciDevice) -> [String; 2] {
    let mut text = pci.driver.clone().unwrap_or_else(|| "no driver".into());
    if pci.is_display() {
        text += ", display controller";
    }
    if let Some(vgpu) = &pci.vgpu {
        text += &match vgpu.current {
            Some(id) => format!(", vGPU type {id}"),
            None => format!(", vGPU not set, {} types can be", vgpu.creatable.len()),
        };
    }
    [pci.address.to_string(), text]
}

fn mock_row((personality, kinds): &(Personality, Result<Vec<PlaneKind>, Error>)) -> [String; 2] {
    let offers = match kinds {
        Ok(kinds) => format!("{} planes", words(kinds)),
        Err(_) => "no display".to_owned(),
    };
    [format!("mock:{personality}"), format!("{offers}; {}", personality.description())]
}

fn as_json(found: &Found) -> Value {
    let vmms: Vec<Value> = found
        .vmms
        .iter()
        .map(|(vmm, displays)| {
            let listed = displays.as_ref().map_or(&[][..], Vec::as_slice);
            json!({
                "pid": vmm.process.pid,
                "name": vmm.process.name,
                "command": vmm.command,
                "groups": vmm.iommu_groups,
                "dmabufs": vmm.dmabufs,
                "displays": listed.iter().map(|display| json!({
                    "device": display.to_string(),
                    "kinds": display.kinds.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "sysfs": display.device,
                })).collect::<Vec<_>>(),
                "error": displays.as_ref().err(),
            })
        })
        .collect();
    let mdevs: Vec<Value> = found
        .mdevs
        .iter()
        .map(|mdev| {
            json!({
                "device": mdev.uuid.to_string(),
                "type": mdev.type_id,
                "name": mdev.type_name,
                "parent": mdev.parent,
                "driver": mdev.driver,
                "group": mdev.iommu_group,
                "sysfs": mdev.path,
            })
        })
        .collect();
    let types: Vec<Value> = found
        .types
        .iter()
        .map(|of| {
            json!({
                "parent": of.parent,
                "type": of.id,
                "name": of.name,
                "description": of.description,
                "device_api": of.device_api,
                "available": of.available_instances,
                "sysfs": of.path,
            })
        })
        .collect();
    let pci: Vec<Value> = found
        .pci
        .iter()
        .map(|pci| {
            json!({
                "device": pci.address.to_string(),
                "driver": pci.driver,
                "vfio": pci.vfio,
                "display_class": pci.is_display(),
                "group": pci.iommu_group,
                "vgpu": pci.vgpu.as_ref().map(|vgpu| json!({
                    "current": vgpu.current,
                    "creatable": vgpu.creatable.iter()
                        .map(|of| json!({ "id": of.id, "name": of.name }))
                        .collect::<Vec<_>>(),
                })),
                "sysfs": pci.path,
            })
        })
        .collect();
    let mocks: Vec<Value> = found
        .mocks
        .iter()
        .map(|(personality, kinds)| {
            let listed = kinds.as_ref().map_or(&[][..], Vec::as_slice);
            json!({
                "device": format!("mock:{personality}"),
                "description": personality.description(),
                "kinds": listed.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "error": kinds.as_ref().err().map(ToString::to_string),
            })
        })
        .collect();
    let unseen: Vec<Value> = found
        .unseen
        .iter()
        .map(|unseen| {
            let (process, errno) = (&unseen.process, unseen.errno.to_string());
            json!({ "pid": process.pid, "name": process.name, "error": errno })
        })
        .collect();
    json!({
        "vmms": vmms,
        "mdevs": mdevs,
        "mdev_types": types,
        "pci": pci,
        "mocks": mocks,
        "not_permitted": unseen,
    })
}
