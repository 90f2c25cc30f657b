// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a device does other than `<linux/vfio.h>` says, in words for whoever writes its driver.
//!
//! A quirk is recognised by what the device answers, never by its name. The library lives with
//! each of them; a consumer that follows the header alone may not.

use std::fmt;

use crate::device::{PlaneType, RegionIndex};
use crate::error::Errno;
use crate::geometry::Point;
use crate::plane::{Buffer, Plane};

/// Pages that drivers round to.
const PAGE: u64 = 4096;

/// A deviation that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quirk {
    /// A region lies past the number of regions that the device reports.
    HiddenRegion {
        /// The region.
        index: RegionIndex,
        /// Regions that the device reports.
        num_regions: u32,
    },
    /// Asked for a cursor or an overlay, the device answers with the screen.
    AnswersPrimary(PlaneType),
    /// The size of a plane is no multiple of the page size.
    UnalignedLen {
        /// Bytes that the device reports.
        len: u32,
    },
    /// The size of a plane is more than a page above what its rows take.
    PaddedLen {
        /// Bytes that the device reports.
        len: u32,
        /// Bytes of its rows.
        rows: u64,
    },
    /// The rows of a region plane do not fill whole pages; there are drivers that leave such a
    /// region black.
    PartialPage {
        /// Bytes from a row to the next.
        stride: u32,
        /// Rows.
        height: u32,
    },
    /// A query failed for no lasting reason and then worked.
    TransientQuery {
        /// What it failed with.
        errno: Errno,
        /// How often in a row.
        times: u32,
    },
    /// A cursor is far outside the screen: a negative position whose sign was lost.
    LostSign {
        /// Where the device says that the cursor is.
        position: Point,
    },
    /// The EDID is to be written outside the region that it is part of.
    EdidOutside {
        /// Where it starts.
        offset: u32,
        /// Bytes that it may have.
        max_size: u32,
        /// Bytes of the region.
        region: u64,
    },
    /// The CPU cannot map the dma-bufs that the device exports.
    NotMappable {
        /// What `mmap(2)` said.
        errno: Errno,
    },
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HiddenRegion { index, num_regions } => write!(
                f,
                "region {index} is used, but GET_INFO reports num_regions {num_regions}: a \
                 consumer that enumerates regions never finds it"
            ),
            Self::AnswersPrimary(plane) => write!(
                f,
                "a query for the {plane} plane is answered with the primary plane: \
                 drm_plane_type is ignored, it should report drm_format 0"
            ),
            Self::UnalignedLen { len } => write!(
                f,
                "the plane's size of {len} bytes is not page-aligned, as vfio.h wants it: the \
                 end of the last page may not be mappable"
            ),
            Self::PaddedLen { len, rows } => write!(
                f,
                "the plane's size is {len} bytes, its rows take {rows}: size is the buffer's, \
                 not the picture's"
            ),
            Self::PartialPage { stride, height } => write!(
                f,
                "{height} rows of {stride} bytes do not fill whole pages: there are drivers \
                 whose region stays black in such a mode"
            ),
            Self::TransientQuery { errno, times } => write!(
                f,
                "QUERY_GFX_PLANE failed with {errno} {times} time(s) and then worked: a \
                 consumer has to tell that from a plane that is off"
            ),
            Self::LostSign { position } => write!(
                f,
                "the cursor is at {position}, far outside the screen: a cursor that hangs off \
                 the left or top edge lost its sign"
            ),
            Self::EdidOutside { offset, max_size, region } => write!(
                f,
                "the EDID of up to {max_size} bytes goes to offset {offset}, but its region is \
                 reported with {region} bytes: a bounds check refuses the write"
            ),
            Self::NotMappable { errno } => write!(
                f,
                "mmap of an exported dma-buf fails with {errno}: only a GPU can import it"
            ),
        }
    }
}

/// The quirks that a plane's description shows by itself, `num_regions` being the device's count.
pub fn of_plane(plane: &Plane, num_regions: u32) -> Vec<Quirk> {
    let mut quirks = Vec::new();
    let rows = u64::from(plane.stride) * u64::from(plane.size.height);
    if let Buffer::Region(index) = plane.buffer {
        if index.0 >= num_regions {
            quirks.push(Quirk::HiddenRegion { index, num_regions });
        }
        if rows % PAGE != 0 {
            quirks.push(Quirk::PartialPage { stride: plane.stride, height: plane.size.height });
        }
    }
    if u64::from(plane.len) % PAGE != 0 {
        quirks.push(Quirk::UnalignedLen { len: plane.len });
    }
    // Only a linear layout has rows to count.
    if plane.pixel_format().is_ok() && u64::from(plane.len) > rows.next_multiple_of(PAGE) {
        quirks.push(Quirk::PaddedLen { len: plane.len, rows });
    }
    quirks
}

/// The quirks of another plane beside the screen.
pub fn beside_primary(plane: &Plane, primary: &Plane) -> Vec<Quirk> {
    let same = Plane { plane_type: primary.plane_type, ..*plane };
    if same == *primary {
        return vec![Quirk::AnswersPrimary(plane.plane_type)];
    }
    let Point { x, y } = plane.position;
    let far = |at: i32, side: u32| i64::from(at) > i64::from(side) * 2;
    if far(x, primary.size.width) || far(y, primary.size.height) {
        return vec![Quirk::LostSign { position: plane.position }];
    }
    Vec::new()
}
