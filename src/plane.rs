// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Unchecked numbers become a checked [`Plane`], here and nowhere else.

use crate::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionIndex};
use crate::error::{Error, Result, Unsupported};
use crate::format::{Fourcc, Modifier, PixelFormat};
use crate::geometry::{Point, Size};
use crate::uapi::PlaneInfo;

/// Longest side of a plane, in pixels. The largest that GPUs scan out today is 16384.
pub const MAX_SIDE: u32 = 16384;

/// Longest side of a cursor, in pixels. GPUs take 64 to 256.
pub(crate) const MAX_CURSOR: u32 = 512;

/// What is wrong with a plane's description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlaneError {
    /// A side is 0 or longer than [`MAX_SIDE`].
    #[error("size {0} is not within 1x1 and {MAX_SIDE}x{MAX_SIDE}")]
    Size(Size),
    /// A row does not fit the distance to the next row.
    #[error("stride of {stride} bytes is less than a row of {width} pixels in {format}, {row}")]
    Stride {
        /// Bytes from a row to the next.
        stride: u32,
        /// Pixels of a row.
        width: u32,
        /// Their format.
        format: PixelFormat,
        /// Bytes of a row.
        row: u32,
    },
    /// The rows do not fit the bytes that the plane is said to have.
    #[error("{needed} bytes of {size} at stride {stride} do not fit the plane's {len} bytes")]
    Len {
        /// Bytes that the picture takes.
        needed: u64,
        /// Its size in pixels.
        size: Size,
        /// Bytes from a row to the next.
        stride: u32,
        /// Bytes that the device says the plane has.
        len: u32,
    },
}

/// Where a plane's pixels are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Buffer {
    /// In a region; at its start, if a plane query told of it.
    Region(RegionIndex),
    /// At the start of a dma-buf.
    Dmabuf(DmabufId),
}

/// A plane that is on, whose numbers agree with one another.
///
/// Whether the bytes are really there is for the owner of the memory to check: a region's size
/// when it is mapped, a dma-buf's when it is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Which layer it is.
    pub plane_type: PlaneType,
    /// Its pixels, 1 to [`MAX_SIDE`] a side.
    pub size: Size,
    /// Their format, which this crate need not know.
    pub fourcc: Fourcc,
    /// Their layout.
    pub modifier: Modifier,
    /// Bytes from a row to the next, at least a row's for formats that this crate knows.
    pub stride: u32,
    /// Bytes of the buffer, as the device says.
    pub len: u32,
    /// Where they are.
    pub buffer: Buffer,
    /// Where a cursor is drawn; left of or above the screen is negative.
    pub position: Point,
    /// The pixel of a cursor that points, where the device tells.
    pub hotspot: Option<Point>,
}

impl Plane {
    /// Checks what a device answered about `plane_type`, asked as `kind`. `None` is off.
    ///
    /// # Errors
    ///
    /// [`PlaneError`] for numbers that cannot be.
    pub fn new(
        plane_type: PlaneType,
        kind: PlaneKind,
        info: &PlaneInfo,
    ) -> Result<Option<Self>, PlaneError> {
        if info.drm_format == 0 {
            return Ok(None);
        }
        let plane = Self {
            plane_type,
            size: Size::new(info.width, info.height),
            fourcc: Fourcc::from_raw(info.drm_format),
            modifier: Modifier::from_raw(info.drm_format_mod),
            stride: info.stride,
            len: info.size,
            buffer: match kind {
                PlaneKind::Region => Buffer::Region(RegionIndex(info.region_or_dmabuf)),
                PlaneKind::Dmabuf => Buffer::Dmabuf(DmabufId(info.region_or_dmabuf)),
            },
            position: Point::new(coordinate(info.x_pos), coordinate(info.y_pos)),
            hotspot: hotspot(info),
        };
        plane.check()?;
        Ok(Some(plane))
    }

    /// Whether its numbers agree with one another.
    pub(crate) fn check(&self) -> Result<(), PlaneError> {
        let Size { width, height } = self.size;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(PlaneError::Size(self.size));
        }
        let Ok(format) = self.pixel_format() else { return Ok(()) };
        let (row, stride) = (width * format.bytes_per_pixel(), self.stride);
        if stride < row {
            return Err(PlaneError::Stride { stride, width, format, row });
        }
        let needed = picture_len(self, row);
        if needed > u64::from(self.len) {
            return Err(PlaneError::Len { needed, size: self.size, stride, len: self.len });
        }
        Ok(())
    }

    /// The format, if this crate reads it and the layout.
    ///
    /// # Errors
    ///
    /// [`Unsupported`] with both.
    pub fn pixel_format(&self) -> Result<PixelFormat, Unsupported> {
        let unsupported = Unsupported { fourcc: self.fourcc, modifier: self.modifier };
        if !self.modifier.is_linear() {
            return Err(unsupported);
        }
        PixelFormat::from_fourcc(self.fourcc).ok_or(unsupported)
    }
}

/// Bytes from the first pixel to the last: the last row has no padding.
fn picture_len(plane: &Plane, row: u32) -> u64 {
    u64::from(plane.size.height - 1) * u64::from(plane.stride) + u64::from(row)
}

/// A position, which the header calls unsigned and which may be negative. There are drivers that
/// cut it to 16 bits.
fn coordinate(raw: u32) -> i32 {
    match u16::try_from(raw) {
        Ok(cut) => cut.cast_signed().into(),
        Err(_) => raw.cast_signed(),
    }
}

/// The pixel that points. All ones says that there is none; a device that reports one far
/// outside any cursor has none either.
fn hotspot(info: &PlaneInfo) -> Option<Point> {
    let inside = |value: u32| i32::try_from(value).ok().filter(|&value| value < MAX_SIDE as i32);
    Some(Point::new(inside(info.x_hot)?, inside(info.y_hot)?))
}

/// What a plane is at one moment. No two of these are ever taken for one another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaneState {
    /// The device shows nothing there.
    Off,
    /// The device shows this.
    Live(Plane),
    /// The device could not say just now: hold the last picture, ask again soon.
    Transient(Error),
    /// The device will never say again.
    Gone(Error),
}

impl PlaneState {
    /// Asks `device` about a plane.
    ///
    /// # Errors
    ///
    /// What is neither of the four states: an answer that cannot be, or a refusal for good.
    pub fn query<D: GfxDevice + ?Sized>(
        device: &D,
        plane_type: PlaneType,
        kind: PlaneKind,
    ) -> Result<Self> {
        match device.query_plane(plane_type, kind) {
            Ok(info) => Ok(match Plane::new(plane_type, kind, &info)? {
                Some(plane) => Self::Live(plane),
                None => Self::Off,
            }),
            Err(error) => Self::of_error(error),
        }
    }

    /// The state that an error stands for.
    pub(crate) fn of_error(error: Error) -> Result<Self> {
        if error.is_transient() {
            Ok(Self::Transient(error))
        } else if error.is_gone() {
            Ok(Self::Gone(error))
        } else {
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> PlaneInfo {
        PlaneInfo {
            drm_format: Fourcc::new(b"XR24").raw(),
            width: 1024,
            height: 768,
            stride: 4096,
            size: 4 << 20,
            x_hot: u32::MAX,
            y_hot: u32::MAX,
            region_or_dmabuf: 16,
            ..Default::default()
        }
    }

    fn check(info: PlaneInfo) -> Result<Option<Plane>, PlaneError> {
        Plane::new(PlaneType::Primary, PlaneKind::Region, &info)
    }

    #[test]
    fn a_plane_says_what_the_device_said() {
        let plane = check(info()).unwrap().unwrap();
        assert_eq!(plane.size, Size::new(1024, 768));
        assert_eq!(plane.buffer, Buffer::Region(RegionIndex(16)));
        assert_eq!(plane.hotspot, None);
        assert_eq!(plane.pixel_format(), Ok(PixelFormat::Xrgb8888));
    }

    #[test]
    fn an_untouched_answer_is_off() {
        assert_eq!(check(PlaneInfo::default()), Ok(None));
    }

    #[test]
    fn sides_are_bounded() {
        for (width, height) in [(0, 768), (1024, 0), (16385, 1), (1, u32::MAX)] {
            let error = check(PlaneInfo { width, height, ..info() });
            assert_eq!(error, Err(PlaneError::Size(Size::new(width, height))));
        }
    }

    #[test]
    fn a_row_fits_the_stride() {
        let error = check(PlaneInfo { stride: 4095, ..info() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "stride of 4095 bytes is less than a row of 1024 pixels in XR24, 4096"
        );
    }

    #[test]
    fn the_picture_fits_the_plane() {
        let exact = 767 * 8192 + 4096;
        assert!(check(PlaneInfo { stride: 8192, size: exact, ..info() }).is_ok());
        let error = check(PlaneInfo { stride: 8192, size: exact - 1, ..info() }).unwrap_err();
        assert_eq!(
            error.to_string(),
            "6287360 bytes of 1024x768 at stride 8192 do not fit the plane's 6287359 bytes"
        );
        let error = check(PlaneInfo { stride: u32::MAX, size: u32::MAX, ..info() });
        assert!(matches!(error, Err(PlaneError::Len { .. })), "nothing wraps: {error:?}");
    }

    #[test]
    fn formats_and_layouts_that_are_not_read_are_still_planes() {
        for (drm_format, drm_format_mod) in
            [(Fourcc::new(b"C8  ").raw(), 0), (info().drm_format, 1 << 56 | 1)]
        {
            let plane = check(PlaneInfo { drm_format, drm_format_mod, ..info() }).unwrap().unwrap();
            assert!(plane.pixel_format().is_err());
        }
    }

    #[test]
    fn a_cursor_may_hang_off_an_edge() {
        let at =
            PlaneInfo { x_pos: (-5_i32).cast_unsigned(), y_pos: 7, x_hot: 3, y_hot: 4, ..info() };
        let plane = check(at).unwrap().unwrap();
        assert_eq!(plane.position, Point::new(-5, 7));
        assert_eq!(plane.hotspot, Some(Point::new(3, 4)));
    }
}
