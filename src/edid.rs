// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The monitor that a guest sees: described, encoded, and plugged in.
//!
//! [`Edid`] says what monitor it is to be and [`Edid::encode`] makes the bytes, as far as
//! [`Limits`] let it. [`EdidPort`] writes them to a device's EDID region, which is told apart by
//! its type (`VFIO_REGION_SUBTYPE_GFX_EDID` of `<linux/vfio.h>`); any device may have one, whatever
//! its planes are. [`Debounce`] keeps a viewer that drags its window's edge from plugging in a
//! monitor a frame.
//!
//! ```
//! use vfio_display::edid::{Edid, Limits};
//! use vfio_display::geometry::Size;
//!
//! let monitor = Edid::for_mode(Size::new(5120, 2880));
//! let encoded = monitor.encode(Limits { max_bytes: 128, ..Limits::default() })?;
//! assert_eq!(encoded.size, Size::new(3840, 2160));
//! assert_eq!(
//!     encoded.notes[0].to_string(),
//!     "3840x2160 instead of 5120x2880: the device takes an EDID of 128 bytes, too short for it"
//! );
//! # Ok::<(), vfio_display::Error>(())
//! ```
//!
//! Layouts: VESA E-EDID 1.4 for the base block, CTA-861-G and DisplayID 1.3 for extensions.

mod base;
mod debounce;
mod error;
mod extension;
mod fit;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzz;
mod port;
mod registers;
mod timing;

use crate::error::Result;
use crate::geometry::Size;
use crate::input::UiInfo;

pub use self::debounce::{Debounce, QUIET, SPACING};
pub use self::error::{EdidError, Step};
pub use self::fit::{Limits, MAX_SIDE, MIN_SIDE, Note, mode_size};
pub use self::port::{EdidPort, LINK_TRIES, MAX_REACH, Progress, UNPLUG_PAUSE};
pub use self::registers::{EdidRegisters, LinkState};

/// Bytes of an EDID block, the base block and each extension (E-EDID 1.4, 2.2).
pub const BLOCK: usize = 128;

/// Most bytes that [`Edid::encode`] makes: the base block, CTA-861 and DisplayID.
pub const MAX_BYTES: u32 = 3 * BLOCK as u32;

/// Pictures per second where nothing else is asked for.
pub const DEFAULT_REFRESH: u32 = 60;

/// Bytes of a monitor's name (E-EDID 1.4, 3.10.3.4).
const NAME_BYTES: usize = 13;

/// What a monitor is called where nothing else is asked for.
const DEFAULT_NAME: &[u8] = b"vfio-display";

/// A monitor, as a guest is to see it.
///
/// Its maker is "VFD", which nobody has registered in the UEFI forum's PNP ID list, its product
/// code 1 and its model year 2025.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Edid {
    size: Size,
    refresh: u32,
    millimetres: Option<Size>,
    name: [u8; NAME_BYTES],
    serial: u32,
}

impl Edid {
    /// A monitor whose preferred mode is `size`, at 60 pictures a second.
    ///
    /// Any size will do; what becomes of it is [`mode_size`] and [`Encoded::notes`].
    pub const fn for_mode(size: Size) -> Self {
        let mut name = [0; NAME_BYTES];
        let (head, _) = name.split_at_mut(DEFAULT_NAME.len());
        head.copy_from_slice(DEFAULT_NAME);
        Self { size, refresh: DEFAULT_REFRESH, millimetres: None, name, serial: 0 }
    }

    /// Pictures per second of the preferred mode, 24 to 500.
    #[must_use]
    pub fn refresh(mut self, hertz: u32) -> Self {
        self.refresh = hertz.clamp(fit::MIN_REFRESH, fit::MAX_REFRESH);
        self
    }

    /// Size of the glass, in millimetres. Unknown where a side is 0; then the monitor has 96
    /// pixels to the inch, the density at which desktops scale nothing.
    #[must_use]
    pub fn millimetres(mut self, size: Size) -> Self {
        self.millimetres = (size.width > 0 && size.height > 0).then_some(size);
        self
    }

    /// What the monitor is called: 13 characters at most, the rest is cut off. Where one is not
    /// printable ASCII, there is a question mark.
    #[must_use]
    pub fn name(mut self, name: &str) -> Self {
        self.name = [0; NAME_BYTES];
        for (byte, letter) in self.name.iter_mut().zip(name.chars()) {
            *byte = if matches!(letter, ' '..='~') { letter as u8 } else { b'?' };
        }
        self
    }

    /// The serial number, by which guests keep several monitors apart; 0 for none.
    #[must_use]
    pub const fn serial(mut self, serial: u32) -> Self {
        self.serial = serial;
        self
    }

    /// The EDID where nothing limits it: one to three blocks of [`BLOCK`] bytes.
    ///
    /// The same monitor always gives the same bytes; nothing is carried over from one to the next.
    pub fn bytes(&self) -> Vec<u8> {
        self.within(Limits::default()).bytes
    }

    /// The EDID for a device with `limits`.
    ///
    /// # Errors
    ///
    /// [`EdidError::NoRoom`] where the device takes less than one block. Everything else gives an
    /// EDID, with [notes](Encoded::notes) where it is not what was asked for.
    pub fn encode(&self, limits: Limits) -> Result<Encoded> {
        if (limits.max_bytes as usize) < BLOCK {
            return Err(EdidError::NoRoom { max_size: limits.max_bytes }.into());
        }
        Ok(self.within(limits))
    }

    /// Encodes, where there is room for a block at least.
    fn within(&self, limits: Limits) -> Encoded {
        let fitted = fit::fit(self.size, self.refresh, limits);
        let monitor = base::Monitor::new(self, &fitted, limits);
        // CTA-861 first: older guests look for it in the first extension only.
        let mut extensions = Vec::from_iter(extension::cta(&monitor));
        if fitted.timing != monitor.preferred {
            extensions.push(extension::display_id(&monitor, &fitted.timing));
        }
        let mut bytes = base::block(&monitor, extensions.len() as u8).to_vec();
        bytes.extend(extensions.iter().flatten());
        Encoded { bytes, size: fitted.timing.active, refresh: fitted.refresh, notes: fitted.notes }
    }
}

impl From<UiInfo> for Edid {
    /// The monitor that a viewer's screen is.
    fn from(info: UiInfo) -> Self {
        let edid = Self::for_mode(info.size);
        info.millimetres.map_or(edid, |size| edid.millimetres(size))
    }
}

/// An EDID, as one device takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The blocks.
    pub bytes: Vec<u8>,
    /// Size of the preferred mode, in pixels.
    pub size: Size,
    /// Pictures per second of the preferred mode.
    pub refresh: u32,
    /// Why it is not the mode that was asked for; empty where it is.
    pub notes: Vec<Note>,
}

/// Sets the last byte of a block so that all of them add up to 0 (E-EDID 1.4, 3.12).
fn seal(block: &mut [u8; BLOCK]) {
    block[BLOCK - 1] = checksum(&block[..BLOCK - 1]);
}

/// The byte that makes a sum of 0.
fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_sub(*byte))
}

#[cfg(test)]
mod tests;
