// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display probe`: what a device's display offers, and what its driver gets wrong.

use serde_json::{Value, json};
use vfio_display::device::RegionIndex;
use vfio_display::edid::EdidRegisters;
use vfio_display::fb_region::{self, Page, PlaneEntry, layout};
use vfio_display::plane::{Buffer, Plane, PlaneState};
use vfio_display::region::{Capability, RegionFlags, RegionInfo};
use vfio_display::survey::Survey;
use vfio_display::{Error, uapi};

use crate::args::Probe;
use crate::exit::Failure;
use crate::output::say;

pub(crate) fn run(args: &Probe, json: bool) -> Result<(), Failure> {
    let device = args.device.open()?;
    let survey = Survey::new(&device.gfx)?;
    let (dev, driver) = (args.device.dev.to_string(), device.driver.as_deref());
    say(&if json {
        format!("{:#}", as_json(&dev, driver, &survey))
    } else {
        as_text(&dev, driver, &survey)
    })
}

fn as_text(dev: &str, driver: Option<&str>, survey: &Survey) -> String {
    let mut lines = Vec::new();
    let mut row = |name: &str, text: &str| lines.push(format!("{name:<10}{text}"));
    row("device", dev);
    if let Some(driver) = driver {
        row("driver", driver);
    }
    let region = survey.fb_region.iter().map(|(index, _)| format!("framebuffer region {index}"));
    let kinds = survey.kinds.iter().map(|kind| format!("{kind} planes"));
    row("offers", &region.chain(kinds).collect::<Vec<_>>().join(", "));
    match &survey.fb_region {
        Some((_, Ok(page))) => {
            row("page", &page_words(page));
            page.planes().for_each(|plane| {
                row("", &format!("{}: {}", plane.plane_type, entry_words(&plane)));
            });
        }
        Some((_, Err(error))) => row("page", &format!("no use: {error}")),
        None => {}
    }
    for (plane_type, state) in &survey.planes {
        row(&plane_type.to_string(), &plane_words(state));
    }
    match &survey.picture {
        Some(Ok(())) => row("picture", "can be read"),
        Some(Err(error)) => row("picture", &format!("can't be read: {error}")),
        None => {}
    }
    match &survey.edid {
        Some(Ok(edid)) => row("EDID", &edid_words(edid)),
        Some(Err(error)) => row("EDID", &format!("registers can't be read: {error}")),
        None => row("EDID", "no region: the guest's modes can't be chosen from here"),
    }
    row("regions", &format!("{} reported by the device", survey.device.num_regions));
    let regions = survey.regions.iter().filter(|region| region.size > 0);
    lines.extend(regions.map(|region| format!("  {}", region_words(region))));
    let quirks = match survey.quirks.len() {
        0 => "none seen".to_owned(),
        count => format!("{count} seen"),
    };
    lines.push(format!("{:<10}{quirks}", "quirks"));
    lines.extend(survey.quirks.iter().map(|quirk| format!("  - {quirk}")));
    lines.join("\n")
}

fn page_words(page: &Page) -> String {
    let identity = page.identity();
    let features =
        [(layout::CAPTURE, "captures"), (layout::DAMAGE, "damage"), (layout::WAKE, "wake")];
    let features: Vec<&str> = features
        .into_iter()
        .filter_map(|(bit, name)| (identity.features & bit != 0).then_some(name))
        .collect();
    let slots = page.slots().map(|slot| slot.len).collect::<Vec<_>>();
    let room = slots.iter().min().map_or(String::new(), |room| format!(" of {room} bytes"));
    format!(
        "version {}.{}, {}, {} slots{room}, frame {}",
        layout::VERSION.0,
        identity.minor,
        features.join(", "),
        slots.len(),
        page.frame()
    )
}

fn entry_words(plane: &PlaneEntry) -> String {
    if !plane.visible {
        return "off".into();
    }
    let PlaneEntry { size, fourcc, modifier, position, .. } = plane;
    format!("{size} {fourcc} {modifier} at {position}, frame {}", plane.frame)
}

fn plane_words(state: &Result<PlaneState, Error>) -> String {
    let plane = match state {
        Ok(PlaneState::Live(plane)) => plane,
        Ok(PlaneState::Off) => return "off".into(),
        Ok(PlaneState::Transient(error)) => return format!("not known just now: {error}"),
        Ok(PlaneState::Gone(error)) => return format!("gone: {error}"),
        Err(error) => return format!("not answered: {error}"),
    };
    let place = match plane.buffer {
        Buffer::Region(index) => format!("region {index}"),
        Buffer::Dmabuf(id) => format!("dma-buf {id}"),
    };
    let Plane { size, fourcc, modifier, stride, len, .. } = plane;
    let mut words = format!("{size} {fourcc} {modifier}, stride {stride}, {len} bytes in {place}");
    if plane.plane_type == vfio_display::device::PlaneType::Cursor {
        words += &format!(", at {}", plane.position);
        if let Some(hotspot) = plane.hotspot {
            words += &format!(", hotspot {hotspot}");
        }
    }
    words
}

fn edid_words(edid: &EdidRegisters) -> String {
    let largest = match (edid.max_width, edid.max_height) {
        (None, None) => "modes of any size".to_owned(),
        (width, height) => {
            let side = |limit: Option<u32>| limit.map_or("any".into(), |side| side.to_string());
            format!("modes up to {} by {}", side(width), side(height))
        }
    };
    let EdidRegisters { max_size, blob_offset, link, .. } = edid;
    format!("{largest}, {max_size} bytes at {blob_offset:#x}, link {link}")
}

fn region_words(region: &RegionInfo) -> String {
    let access: String = access(region).iter().map(|(letter, _)| *letter).collect();
    let mut words = format!("{:>3}  {access:<4}{:>12} bytes", region.index, region.size);
    if let Some(name) = name(region) {
        words += &format!("  {name}");
    }
    for capability in &region.capabilities {
        words += &match capability {
            Capability::Type { kind, subtype } => format!("  type {kind}/{subtype}"),
            Capability::SparseMmap(areas) => {
                let areas: Vec<_> =
                    areas.iter().map(|area| format!("{:#x}-{:#x}", area.start, area.end)).collect();
                format!("  mappable {}", areas.join(" "))
            }
            Capability::Other { id, version } => format!("  capability {id} version {version}"),
            _ => String::new(),
        };
    }
    words
}

fn access(region: &RegionInfo) -> Vec<(char, &'static str)> {
    let all = [
        (RegionFlags::READ, 'r', "read"),
        (RegionFlags::WRITE, 'w', "write"),
        (RegionFlags::MMAP, 'm', "mmap"),
    ];
    let has = all.into_iter().filter(|(flag, ..)| region.flags.contains(*flag));
    has.map(|(_, letter, word)| (letter, word)).collect()
}

/// What the region is for, as far as the header says.
fn name(region: &RegionInfo) -> Option<&'static str> {
    if region.is_edid() {
        return Some("EDID");
    }
    if region.is_type(uapi::REGION_TYPE_GFX, fb_region::SUBTYPE) {
        return Some("framebuffer region");
    }
    const NAMES: [&str; uapi::PCI_NUM_REGIONS as usize] =
        ["BAR 0", "BAR 1", "BAR 2", "BAR 3", "BAR 4", "BAR 5", "ROM", "PCI config space", "VGA"];
    NAMES.get(region.index.0 as usize).copied()
}

fn as_json(dev: &str, driver: Option<&str>, survey: &Survey) -> Value {
    let planes: serde_json::Map<String, Value> = survey
        .planes
        .iter()
        .map(|(plane_type, state)| (plane_type.to_string(), plane_json(state)))
        .collect();
    let picture = survey.picture.as_ref().map(|picture| match picture {
        Ok(()) => json!({ "readable": true }),
        Err(error) => json!({ "readable": false, "error": error.to_string() }),
    });
    json!({
        "device": dev,
        "driver": driver,
        "framebuffer_region": survey.fb_region.as_ref().map(page_json),
        "kinds": survey.kinds.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "planes": planes,
        "picture": picture,
        "edid": survey.edid.as_ref().map(edid_json),
        "num_regions": survey.device.num_regions,
        "regions": survey.regions.iter().map(region_json).collect::<Vec<_>>(),
        "quirks": survey.quirks.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn page_json((index, page): &(RegionIndex, Result<Page, Error>)) -> Value {
    let page = match page {
        Ok(page) => page,
        Err(error) => return json!({ "region": index.0, "error": error.to_string() }),
    };
    let identity = page.identity();
    let planes = page.planes().map(|plane| {
        json!({
            "type": plane.plane_type.to_string(),
            "visible": plane.visible,
            "width": plane.size.width,
            "height": plane.size.height,
            "format": plane.fourcc.to_string(),
            "modifier": plane.modifier.raw(),
            "x": plane.position.x,
            "y": plane.position.y,
            "frame": plane.frame,
        })
    });
    json!({
        "region": index.0,
        "version": [layout::VERSION.0, identity.minor],
        "features": identity.features,
        "wake": identity.wake.map(|index| index.0),
        "slots": page.slots().map(|slot| slot.len).collect::<Vec<_>>(),
        "planes": planes.collect::<Vec<_>>(),
        "generation": page.generation(),
        "frame": page.frame(),
    })
}

fn plane_json(state: &Result<PlaneState, Error>) -> Value {
    let plane = match state {
        Ok(PlaneState::Live(plane)) => plane,
        Ok(PlaneState::Off) => return json!({ "state": "off" }),
        Ok(PlaneState::Transient(error)) => {
            return json!({ "state": "transient", "error": error.to_string() });
        }
        Ok(PlaneState::Gone(error)) => {
            return json!({ "state": "gone", "error": error.to_string() });
        }
        Err(error) => return json!({ "state": "error", "error": error.to_string() }),
    };
    let (region, dmabuf) = match plane.buffer {
        Buffer::Region(index) => (Some(index.0), None),
        Buffer::Dmabuf(id) => (None, Some(id.0)),
    };
    json!({
        "state": "live",
        "width": plane.size.width,
        "height": plane.size.height,
        "format": plane.fourcc.to_string(),
        "modifier": plane.modifier.raw(),
        "stride": plane.stride,
        "size": plane.len,
        "x": plane.position.x,
        "y": plane.position.y,
        "hotspot": plane.hotspot.map(|spot| [spot.x, spot.y]),
        "region": region,
        "dmabuf": dmabuf,
    })
}

fn edid_json(edid: &Result<EdidRegisters, Error>) -> Value {
    match edid {
        Ok(edid) => json!({
            "max_width": edid.max_width,
            "max_height": edid.max_height,
            "offset": edid.blob_offset,
            "max_size": edid.max_size,
            "size": edid.size,
            "link": edid.link.to_string(),
        }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

fn region_json(region: &RegionInfo) -> Value {
    let capabilities: Vec<Value> = region
        .capabilities
        .iter()
        .map(|capability| match capability {
            Capability::Type { kind, subtype } => json!({ "type": kind, "subtype": subtype }),
            Capability::SparseMmap(areas) => {
                let areas: Vec<_> = areas.iter().map(|area| [area.start, area.end]).collect();
                json!({ "mappable": areas })
            }
            Capability::Other { id, version } => json!({ "id": id, "version": version }),
            _ => Value::Null,
        })
        .collect();
    json!({
        "index": region.index.0,
        "name": name(region),
        "size": region.size,
        "access": access(region).iter().map(|(_, word)| *word).collect::<Vec<_>>(),
        "capabilities": capabilities,
    })
}
