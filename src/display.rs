// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The façade: a device's screen, looked at when the caller says so.

use crate::device::{GfxDevice, PlaneKind, PlaneType};
use crate::error::{Error, Result};
use crate::picture::Picture;
use crate::plane::{Plane, PlaneState};
use crate::scanout::Scanout;

/// What a look at the screen found.
#[derive(Clone, Debug, PartialEq)]
pub enum Look<'a> {
    /// The device shows nothing.
    Off,
    /// The device shows this, copied just now.
    Live(Plane, &'a Picture),
    /// The device could not say just now. Hold the last picture, if there was one, and look again
    /// soon.
    Held(Error, Option<&'a Picture>),
    /// The device will never show anything again. Drop the display, so that others can have it.
    Gone(Error),
}

/// One plane of a device.
///
/// It owns a copy of the last picture and what it needs to make the next one. It starts no
/// thread, sets no timer and reads no clock. A look costs one plane query and one copy of the
/// plane; a change of mode adds an export or a mapping.
#[derive(Debug)]
pub struct Display<D> {
    device: D,
    kind: PlaneKind,
    plane_type: PlaneType,
    scanout: Scanout,
    picture: Picture,
    has_picture: bool,
}

impl<D: GfxDevice> Display<D> {
    /// The primary plane of `device`, of the kind that it offers.
    ///
    /// # Errors
    ///
    /// [`Error::NoDisplay`] where it offers none.
    pub fn new(device: D) -> Result<Self> {
        let kind = kinds(&device)?[0];
        Ok(Self::with_plane(device, PlaneType::Primary, kind))
    }

    /// A certain plane of `device`, which has to offer planes of `kind`.
    pub fn with_plane(device: D, plane_type: PlaneType, kind: PlaneKind) -> Self {
        Self {
            device,
            kind,
            plane_type,
            scanout: Scanout::new(),
            picture: Picture::default(),
            has_picture: false,
        }
    }

    /// The device.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// Where the plane's pixels are.
    pub const fn kind(&self) -> PlaneKind {
        self.kind
    }

    /// Looks at the plane and copies what it shows.
    ///
    /// # Errors
    ///
    /// What no later look will mend by itself: a description that cannot be, a format that is not
    /// read, memory that cannot be reached. The display stays usable.
    pub fn look(&mut self) -> Result<Look<'_>> {
        let state = PlaneState::query(&self.device, self.plane_type, self.kind)?;
        let state = match state {
            PlaneState::Live(plane) => {
                match self.scanout.copy(&self.device, &plane, &mut self.picture) {
                    Ok(()) => PlaneState::Live(plane),
                    Err(error) => PlaneState::of_error(error)?,
                }
            }
            other => other,
        };
        Ok(match state {
            PlaneState::Live(plane) => {
                self.has_picture = true;
                Look::Live(plane, &self.picture)
            }
            PlaneState::Off => {
                self.has_picture = false;
                Look::Off
            }
            PlaneState::Transient(error) => Look::Held(error, self.picture()),
            PlaneState::Gone(error) => Look::Gone(error),
        })
    }

    /// The last picture, while the plane has not been off since.
    pub fn picture(&self) -> Option<&Picture> {
        self.has_picture.then_some(&self.picture)
    }

    /// Lets go of every mapping and dma-buf: to be called when the device has been reset.
    pub fn reset(&mut self) {
        self.scanout.reset();
        self.has_picture = false;
    }
}

/// The kinds of planes that `device` offers, at least one; the one that a CPU reads best first.
///
/// # Errors
///
/// [`Error::NoDisplay`] where it offers none.
pub fn kinds<D: GfxDevice + ?Sized>(device: &D) -> Result<Vec<PlaneKind>> {
    let probe = |kind| match device.probe(kind) {
        Err(error) if error.is_gone() => Err(error),
        answer => Ok(answer),
    };
    let (region, dmabuf) = (probe(PlaneKind::Region)?, probe(PlaneKind::Dmabuf)?);
    let errno = |error: Error| error.errno().ok_or(error);
    match (region, dmabuf) {
        (Ok(()), Ok(())) => Ok(vec![PlaneKind::Region, PlaneKind::Dmabuf]),
        (Ok(()), Err(_)) => Ok(vec![PlaneKind::Region]),
        (Err(_), Ok(())) => Ok(vec![PlaneKind::Dmabuf]),
        (Err(region), Err(dmabuf)) => {
            Err(Error::NoDisplay { dmabuf: errno(dmabuf)?, region: errno(region)? })
        }
    }
}
