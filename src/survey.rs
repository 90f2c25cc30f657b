// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Everything that a device's display offers. What it shows stays as it is.

use crate::device::{GfxDevice, PlaneKind, PlaneType, RegionIndex};
use crate::display::{Display, Look, kinds};
use crate::edid::EdidRegisters;
use crate::error::{Error, Result};
use crate::fb_region::{self, Page};
use crate::plane::{Plane, PlaneState};
use crate::quirk::{self, Quirk};
use crate::region::{self, RegionInfo};
use crate::uapi::DeviceInfo;

/// Times that a query is repeated while it fails for no lasting reason.
const TRIES: u32 = 4;

/// What a device offers, and what it gets wrong.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What the device says of itself.
    pub device: DeviceInfo,
    /// Its framebuffer region, where there is one, and what the page in it says.
    pub fb_region: Option<(RegionIndex, Result<Page>)>,
    /// Kinds of planes that can be queried, the one that is looked at first. None only where there
    /// is a framebuffer region.
    pub kinds: Vec<PlaneKind>,
    /// Each plane, and what came of asking for it.
    pub planes: Vec<(PlaneType, Result<PlaneState>)>,
    /// Whether a picture of the screen can be copied; `None` while there is none.
    pub picture: Option<Result<()>>,
    /// Every region, with its capabilities.
    pub regions: Vec<RegionInfo>,
    /// The EDID region's registers, where there is such a region.
    pub edid: Option<Result<EdidRegisters>>,
    /// What was recognised.
    pub quirks: Vec<Quirk>,
}

impl Survey {
    /// Asks `device` all there is to ask. One dma-buf is exported, if it shows one, and one capture
    /// of a framebuffer region is made.
    ///
    /// # Errors
    ///
    /// [`Error::NoDisplay`], and what [`device_info`] answers. All other errors are findings.
    ///
    /// [`device_info`]: crate::device::RegionDevice::device_info
    pub fn new<D: GfxDevice + ?Sized>(device: &D) -> Result<Self> {
        let info = device.device_info()?;
        let fb_region = fb_region::find(device)?;
        let kinds = match kinds(device) {
            Err(Error::NoDisplay { .. }) if fb_region.is_some() => Vec::new(),
            kinds => kinds?,
        };
        let regions = region::all(device)?;
        let mut survey = Self {
            device: info,
            fb_region: fb_region.map(|region| (region.index, Page::read(device, &region))),
            planes: Vec::new(),
            picture: None,
            edid: None,
            quirks: Vec::new(),
            regions,
            kinds,
        };
        survey.look_at_planes(device);
        survey.look_at_picture(device);
        survey.look_at_edid(device);
        Ok(survey)
    }

    /// The screen, where it is on.
    pub fn primary(&self) -> Option<&Plane> {
        self.planes.iter().find_map(|(_, state)| match state {
            Ok(PlaneState::Live(plane)) if plane.plane_type == PlaneType::Primary => Some(plane),
            _ => None,
        })
    }

    fn look_at_planes<D: GfxDevice + ?Sized>(&mut self, device: &D) {
        if self.kinds.is_empty() {
            return;
        }
        for plane_type in PlaneType::ALL {
            let state = self.query(device, plane_type);
            if let Ok(PlaneState::Live(plane)) = &state {
                let found = match self.primary() {
                    None => quirk::of_plane(plane, self.device.num_regions),
                    Some(primary) => quirk::beside_primary(plane, primary),
                };
                self.quirks.extend(found);
            }
            self.planes.push((plane_type, state));
        }
    }

    /// Asks until the answer lasts, and notes how often it did not.
    fn query<D: GfxDevice + ?Sized>(
        &mut self,
        device: &D,
        plane_type: PlaneType,
    ) -> Result<PlaneState> {
        let mut failed = None;
        for times in 1..=TRIES {
            match PlaneState::query(device, plane_type, self.kinds[0]) {
                Ok(PlaneState::Transient(error)) => failed = error.errno().map(|e| (e, times)),
                answer => {
                    if let Some((errno, times)) = failed {
                        self.quirks.push(Quirk::TransientQuery { errno, times });
                    }
                    return answer;
                }
            }
        }
        PlaneState::query(device, plane_type, self.kinds[0])
    }

    fn look_at_picture<D: GfxDevice + ?Sized>(&mut self, device: &D) {
        if self.primary().is_none() && self.fb_region.is_none() {
            return;
        }
        let look = || match Display::new(device)?.look()? {
            Look::Live(..) => Ok(Some(())),
            Look::Off => Ok(None),
            Look::Held(error, _) | Look::Gone(error) => Err(error),
        };
        self.picture = look().transpose();
        if let Some(Err(Error::NotMappable { errno, .. })) = self.picture {
            self.quirks.push(Quirk::NotMappable { errno });
        }
    }

    fn look_at_edid<D: GfxDevice + ?Sized>(&mut self, device: &D) {
        let Some(region) = self.regions.iter().find(|region| region.is_edid()) else { return };
        let registers = EdidRegisters::read(device, region);
        if let Ok(EdidRegisters { blob_offset: offset, max_size, .. }) = registers {
            let end = u64::from(offset) + u64::from(max_size);
            if end > region.size {
                let region = region.size;
                self.quirks.push(Quirk::EdidOutside { offset, max_size, region });
            }
        }
        self.edid = Some(registers);
    }
}
