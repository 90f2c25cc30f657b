// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Finding the region: by its type, or by a PCI capability that names it.
//!
//! Source: `docs/framebuffer-region.md`, "Finding it".

use super::layout::{MAGIC_VALUE, pci};
use crate::device::{RegionDevice, RegionIndex};
use crate::error::Result;
use crate::region::{self, RegionInfo};
use crate::uapi::{PCI_CONFIG_REGION, REGION_TYPE_GFX};

/// Subtype that the region has within [`REGION_TYPE_GFX`]: this crate's own proposal, far from the
/// numbers that the kernel gives out.
pub const SUBTYPE: u32 = 0x7666_6201;

/// Bytes of configuration space that capabilities are in.
const CONFIG_LEN: usize = 256;
/// As many as fit behind the header, at least 4 bytes each.
const MAX_CAPABILITIES: usize = 48;
/// The status register; bit 4 says that there are capabilities.
const STATUS: usize = 0x06;
/// Where the first capability is.
const FIRST: usize = 0x34;

/// The framebuffer region of `device`, `None` where it has none. Nothing is read of any region
/// but PCI configuration space.
///
/// # Errors
///
/// What [`RegionDevice::device_info`] answers, and [`RegionDevice::region_info`] of a region that a
/// capability names.
pub fn find<D: RegionDevice + ?Sized>(device: &D) -> Result<Option<RegionInfo>> {
    find_subtype(device, SUBTYPE)
}

/// As [`find`], for a producer that uses another subtype than [`SUBTYPE`].
///
/// # Errors
///
/// As [`find`].
pub fn find_subtype<D: RegionDevice + ?Sized>(
    device: &D,
    subtype: u32,
) -> Result<Option<RegionInfo>> {
    let regions = region::all(device)?;
    if let Some(found) = regions.into_iter().find(|info| info.is_type(REGION_TYPE_GFX, subtype)) {
        return Ok(Some(found));
    }
    let Some(index) = named_by_capability(device) else { return Ok(None) };
    device.region_info(index).map(Some)
}

/// What the capability in configuration space says. A device without one, or whose configuration
/// space can't be read, says nothing.
fn named_by_capability<D: RegionDevice + ?Sized>(device: &D) -> Option<RegionIndex> {
    let info = device.region_info(RegionIndex(PCI_CONFIG_REGION)).ok()?;
    let mut config = [0; CONFIG_LEN];
    device.read(&info, 0, &mut config).ok()?;
    region_in(&config)
}

/// The region that a capability in `config` names.
fn region_in(config: &[u8; CONFIG_LEN]) -> Option<RegionIndex> {
    let listed = config[STATUS] & 0x10 != 0;
    let mut at = if listed { config[FIRST] & !3 } else { 0 };
    for _ in 0..MAX_CAPABILITIES {
        if at < 0x40 {
            return None;
        }
        let capability = &config[usize::from(at)..];
        if let [pci::ID, _, length, pci::VERSION, ..] = *capability
            && length >= pci::LEN
            && capability.len() >= pci::LEN.into()
            && pci::SIGNATURE.get(capability) == MAGIC_VALUE
        {
            return Some(RegionIndex(pci::REGION.get(capability)));
        }
        at = capability[1] & !3;
    }
    None
}

/// The capability that names region `index`; the producer links it into its configuration space.
pub fn pci_capability(index: RegionIndex, next: u8) -> [u8; pci::LEN as usize] {
    let mut bytes = [0; pci::LEN as usize];
    bytes[..4].copy_from_slice(&[pci::ID, next, pci::LEN, pci::VERSION]);
    pci::SIGNATURE.put(&mut bytes, MAGIC_VALUE);
    pci::REGION.put(&mut bytes, index.0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(capabilities: &[(u8, &[u8])]) -> [u8; CONFIG_LEN] {
        let mut config = [0; CONFIG_LEN];
        config[STATUS] = 0x10;
        config[FIRST] = capabilities.first().map_or(0, |(at, _)| *at);
        for (at, bytes) in capabilities {
            let at = usize::from(*at);
            config[at..at + bytes.len()].copy_from_slice(bytes);
        }
        config
    }

    #[test]
    fn a_capability_names_the_region_wherever_it_is_in_the_list() {
        let ours = pci_capability(RegionIndex(11), 0);
        assert_eq!(region_in(&config(&[(0x40, &ours)])), Some(RegionIndex(11)));
        let other = [pci::ID, 0xf0, 16, 0, 1, 2, 3, 4];
        assert_eq!(region_in(&config(&[(0x80, &other), (0xf0, &ours)])), Some(RegionIndex(11)));
    }

    #[test]
    fn a_list_that_turns_back_leaves_or_lies_names_nothing() {
        assert_eq!(region_in(&[0; CONFIG_LEN]), None);
        assert_eq!(region_in(&[0xff; CONFIG_LEN]), None);
        assert_eq!(region_in(&config(&[(0x40, &[0x05, 0x40])])), None, "a loop");
        let ours = pci_capability(RegionIndex(11), 0);
        // Cut by the end of the space.
        assert_eq!(region_in(&config(&[(0xf4, &ours[..12])])), None);
        for (at, byte) in [(0, 8), (2, 12), (3, 2), (4, 0)] {
            let mut wrong = ours;
            wrong[at] = byte;
            assert_eq!(region_in(&config(&[(0x40, &wrong)])), None, "byte {at}");
        }
        let mut unlisted = config(&[(0x40, &ours)]);
        unlisted[STATUS] = 0;
        assert_eq!(region_in(&unlisted), None);
    }
}
