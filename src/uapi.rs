// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What `<linux/vfio.h>` and `<linux/dma-buf.h>` put on the wire: integers only.
//!
//! Every field is a plain integer, because the kernel, or whatever stands behind it, writes it.
//! The tests compare each layout with `vfio-bindings`.

/// Character that VFIO ioctls carry, `VFIO_TYPE`.
pub(crate) const VFIO_TYPE: u8 = b';';
/// Number of the first VFIO ioctl, `VFIO_BASE`.
pub(crate) const VFIO_BASE: u8 = 100;

/// Plane query flag: only ask whether the kind is supported.
#[doc(alias = "VFIO_GFX_PLANE_TYPE_PROBE")]
pub const PLANE_PROBE: u32 = 1;
/// Plane query flag: planes are dma-bufs.
#[doc(alias = "VFIO_GFX_PLANE_TYPE_DMABUF")]
pub const PLANE_DMABUF: u32 = 2;
/// Plane query flag: planes are in a region.
#[doc(alias = "VFIO_GFX_PLANE_TYPE_REGION")]
pub const PLANE_REGION: u32 = 4;

/// Region can be read.
pub const REGION_READ: u32 = 1;
/// Region can be written.
pub const REGION_WRITE: u32 = 2;
/// Region can be mapped.
pub const REGION_MMAP: u32 = 4;
/// Region info carries a chain of capabilities.
pub const REGION_CAPS: u32 = 8;

/// Capability: only some areas of the region can be mapped.
#[doc(alias = "VFIO_REGION_INFO_CAP_SPARSE_MMAP")]
pub const CAP_SPARSE_MMAP: u16 = 1;
/// Capability: what a device-specific region is.
#[doc(alias = "VFIO_REGION_INFO_CAP_TYPE")]
pub const CAP_TYPE: u16 = 2;

/// Region type of everything about displays.
#[doc(alias = "VFIO_REGION_TYPE_GFX")]
pub const REGION_TYPE_GFX: u32 = 1;
/// Region subtype of the EDID region.
#[doc(alias = "VFIO_REGION_SUBTYPE_GFX_EDID")]
pub const REGION_SUBTYPE_GFX_EDID: u32 = 1;

/// Regions that every VFIO PCI device numbers the same way; device-specific ones follow.
#[doc(alias = "VFIO_PCI_NUM_REGIONS")]
pub const PCI_NUM_REGIONS: u32 = 9;
/// The PCI configuration space as a region.
#[doc(alias = "VFIO_PCI_CONFIG_REGION_INDEX")]
pub const PCI_CONFIG_REGION: u32 = 7;

/// Device info flag: the device is a PCI one.
pub const DEVICE_FLAGS_PCI: u32 = 2;

/// Argument of `VFIO_DEVICE_QUERY_GFX_PLANE`, `struct vfio_device_gfx_plane_info`.
///
/// Nothing in it is checked; [`Plane::new`](crate::plane::Plane::new) does that. It is all zero
/// before a query, because a device may answer "off" by leaving it untouched.
#[doc(alias = "vfio_device_gfx_plane_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlaneInfo {
    /// Bytes in this struct.
    pub argsz: u32,
    /// One of [`PLANE_DMABUF`], [`PLANE_REGION`], or either with [`PLANE_PROBE`].
    pub flags: u32,
    /// 0 overlay, 1 primary, 2 cursor, as in DRM.
    pub drm_plane_type: u32,
    /// Pixel format; 0 says that the plane is off.
    pub drm_format: u32,
    /// Layout of the pixels.
    pub drm_format_mod: u64,
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Bytes from a row to the next.
    pub stride: u32,
    /// Bytes of the plane.
    pub size: u32,
    /// Cursor position; signed in meaning.
    pub x_pos: u32,
    /// Cursor position; signed in meaning.
    pub y_pos: u32,
    /// Cursor hotspot; all ones where there is none.
    pub x_hot: u32,
    /// Cursor hotspot; all ones where there is none.
    pub y_hot: u32,
    /// The region's index, or the dma-buf's id, as the flags ask.
    pub region_or_dmabuf: u32,
    /// Unused; not in older headers.
    pub reserved: u32,
}

/// Argument of `VFIO_DEVICE_GET_INFO`, the part that every kernel fills.
#[doc(alias = "vfio_device_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Bytes in this struct.
    pub argsz: u32,
    /// Bus of the device and what it supports.
    pub flags: u32,
    /// Regions that the device admits to; display devices hide some beyond.
    pub num_regions: u32,
    /// Interrupt indices.
    pub num_irqs: u32,
}

/// Argument of `VFIO_DEVICE_SET_IRQS` with room for one eventfd.
#[doc(alias = "vfio_irq_set")]
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IrqSet {
    argsz: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    eventfd: i32,
}

impl IrqSet {
    /// `VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER` for interrupt 0 of `index`; for
    /// no fd `VFIO_IRQ_SET_DATA_NONE` and a count of 0, which lets go of the one that there was.
    pub(crate) const fn trigger(index: u32, eventfd: Option<i32>) -> Self {
        const DATA_NONE: u32 = 1;
        const DATA_EVENTFD: u32 = 1 << 2;
        const ACTION_TRIGGER: u32 = 1 << 5;
        let (argsz, data, count, eventfd) = match eventfd {
            Some(fd) => (size_of::<Self>(), DATA_EVENTFD, 1, fd),
            None => (size_of::<Self>() - size_of::<i32>(), DATA_NONE, 0, -1),
        };
        Self { argsz: argsz as u32, flags: data | ACTION_TRIGGER, index, start: 0, count, eventfd }
    }
}

/// Fixed head of `VFIO_DEVICE_GET_REGION_INFO`'s argument; capabilities follow it.
#[doc(alias = "vfio_region_info")]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegionHead {
    /// Bytes that the whole answer needs.
    pub argsz: u32,
    /// [`REGION_READ`] and its neighbours.
    pub flags: u32,
    /// The region asked about.
    pub index: u32,
    /// Where the chain of capabilities starts, from the start of this struct; 0 for none.
    pub cap_offset: u32,
    /// Bytes in the region.
    pub size: u64,
    /// Where it lies in the device's file.
    pub offset: u64,
}

/// Bytes of [`RegionHead`].
pub const REGION_HEAD_BYTES: usize = size_of::<RegionHead>();

const _: () = assert!(size_of::<PlaneInfo>() == 64 && align_of::<PlaneInfo>() == 8);
const _: () = assert!(size_of::<DeviceInfo>() == 16);
const _: () = assert!(REGION_HEAD_BYTES == 32);

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use vfio_bindings::bindings::vfio;

    use super::*;

    #[test]
    fn plane_info_has_the_kernel_layout() {
        type Theirs = vfio::vfio_device_gfx_plane_info;
        // The `reserved` word is newer than some headers; up to it both agree.
        assert!(size_of::<Theirs>() == 64);
        assert_eq!(offset_of!(PlaneInfo, drm_format), offset_of!(Theirs, drm_format));
        assert_eq!(offset_of!(PlaneInfo, drm_format_mod), offset_of!(Theirs, drm_format_mod));
        assert_eq!(offset_of!(PlaneInfo, width), offset_of!(Theirs, width));
        assert_eq!(offset_of!(PlaneInfo, stride), offset_of!(Theirs, stride));
        assert_eq!(offset_of!(PlaneInfo, size), offset_of!(Theirs, size));
        assert_eq!(offset_of!(PlaneInfo, x_pos), offset_of!(Theirs, x_pos));
        assert_eq!(offset_of!(PlaneInfo, y_hot), offset_of!(Theirs, y_hot));
        assert_eq!(offset_of!(PlaneInfo, region_or_dmabuf), offset_of!(Theirs, __bindgen_anon_1));
        assert_eq!(PLANE_PROBE, vfio::VFIO_GFX_PLANE_TYPE_PROBE);
        assert_eq!(PLANE_DMABUF, vfio::VFIO_GFX_PLANE_TYPE_DMABUF);
        assert_eq!(PLANE_REGION, vfio::VFIO_GFX_PLANE_TYPE_REGION);
    }

    #[test]
    fn region_info_has_the_kernel_layout() {
        type Theirs = vfio::vfio_region_info;
        assert_eq!(REGION_HEAD_BYTES, size_of::<Theirs>());
        assert_eq!(offset_of!(RegionHead, flags), offset_of!(Theirs, flags));
        assert_eq!(offset_of!(RegionHead, cap_offset), offset_of!(Theirs, cap_offset));
        assert_eq!(offset_of!(RegionHead, size), offset_of!(Theirs, size));
        assert_eq!(offset_of!(RegionHead, offset), offset_of!(Theirs, offset));
        assert_eq!(u32::from(CAP_TYPE), vfio::VFIO_REGION_INFO_CAP_TYPE);
        assert_eq!(u32::from(CAP_SPARSE_MMAP), vfio::VFIO_REGION_INFO_CAP_SPARSE_MMAP);
        assert_eq!(REGION_TYPE_GFX, vfio::VFIO_REGION_TYPE_GFX);
        assert_eq!(REGION_SUBTYPE_GFX_EDID, vfio::VFIO_REGION_SUBTYPE_GFX_EDID);
        assert_eq!(REGION_READ | REGION_WRITE | REGION_MMAP, 7);
        assert_eq!(REGION_CAPS, vfio::VFIO_REGION_INFO_FLAG_CAPS);
    }

    #[test]
    fn irq_set_has_the_kernel_layout() {
        type Theirs = vfio::vfio_irq_set;
        let set = IrqSet::trigger(3, Some(7));
        assert_eq!(offset_of!(IrqSet, count), offset_of!(Theirs, count));
        assert_eq!(offset_of!(IrqSet, eventfd), size_of::<Theirs>());
        assert_eq!(set.argsz as usize, size_of::<Theirs>() + 4);
        let trigger = vfio::VFIO_IRQ_SET_ACTION_TRIGGER;
        assert_eq!(set.flags, trigger | vfio::VFIO_IRQ_SET_DATA_EVENTFD);
        let none = IrqSet::trigger(3, None);
        assert_eq!(none.flags, trigger | vfio::VFIO_IRQ_SET_DATA_NONE);
        assert_eq!((none.argsz as usize, none.count), (size_of::<Theirs>(), 0));
    }

    #[test]
    fn device_info_has_the_kernel_layout() {
        type Theirs = vfio::vfio_device_info;
        assert_eq!(offset_of!(DeviceInfo, num_regions), offset_of!(Theirs, num_regions));
        assert_eq!(offset_of!(DeviceInfo, num_irqs), offset_of!(Theirs, num_irqs));
        assert_eq!(DEVICE_FLAGS_PCI, vfio::VFIO_DEVICE_FLAGS_PCI);
        assert_eq!(PCI_NUM_REGIONS, vfio::VFIO_PCI_NUM_REGIONS);
        assert_eq!(PCI_CONFIG_REGION, vfio::VFIO_PCI_CONFIG_REGION_INDEX);
        assert_eq!(VFIO_TYPE, vfio::VFIO_TYPE);
        assert_eq!(u32::from(VFIO_BASE), vfio::VFIO_BASE);
    }
}
