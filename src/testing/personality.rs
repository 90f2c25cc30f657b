// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which driver a mock plays.

use std::fmt;
use std::str::FromStr;

use crate::device::PlaneKind;
use crate::format::PixelFormat;

/// A driver to play, quirks included; the [table](super) says which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Personality {
    /// Does what `<linux/vfio.h>` says: mappable dma-bufs, a cursor, EDID.
    WellBehaved,
    /// Does what `<linux/vfio.h>` says, with its planes in regions.
    Region,
    /// The kernel's sample driver `mdpy`.
    Mdpy,
    /// The kernel's sample driver `mbochs` as shipped: its dma-bufs cannot be mapped.
    Mbochs,
    /// `mbochs` with the one line changed that makes its dma-bufs mappable.
    MbochsRw,
    /// Intel's GVT-g, in i915 (`kvmgt`).
    GvtG,
    /// NVIDIA's vGPU manager.
    Nvidia,
    /// A passed-through PCI device without a display.
    VfioPci,
}

impl Personality {
    /// Every one, in the order of a help text.
    pub const ALL: [Self; 8] = [
        Self::WellBehaved,
        Self::Region,
        Self::Mdpy,
        Self::Mbochs,
        Self::MbochsRw,
        Self::GvtG,
        Self::Nvidia,
        Self::VfioPci,
    ];

    /// The name that it is chosen by.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WellBehaved => "well-behaved",
            Self::Region => "region",
            Self::Mdpy => "mdpy",
            Self::Mbochs => "mbochs",
            Self::MbochsRw => "mbochs-rw",
            Self::GvtG => "gvt-g",
            Self::Nvidia => "nvidia",
            Self::VfioPci => "vfio-pci",
        }
    }

    /// What it is, in one line for a help text.
    pub const fn description(self) -> &'static str {
        match self {
            Self::WellBehaved => "mappable dma-bufs, a cursor and EDID, by the book",
            Self::Region => "planes in regions, a cursor and EDID, by the book",
            Self::Mdpy => "kernel sample: one fixed mode in hidden region 16",
            Self::Mbochs => "kernel sample as shipped: dma-bufs that can't be mapped, EDID",
            Self::MbochsRw => "kernel sample with mappable dma-bufs, EDID",
            Self::GvtG => "Intel GVT-g: GPU-only dma-bufs, tiled layouts, a cursor, EDID",
            Self::Nvidia => "NVIDIA vGPU: padded rows in hidden region 9",
            Self::VfioPci => "a passed-through device without a display",
        }
    }

    /// The kind of plane that it offers, `None` where there is no display.
    pub const fn plane_kind(self) -> Option<PlaneKind> {
        match self {
            Self::WellBehaved | Self::Mbochs | Self::MbochsRw | Self::GvtG => {
                Some(PlaneKind::Dmabuf)
            }
            Self::Region | Self::Mdpy | Self::Nvidia => Some(PlaneKind::Region),
            Self::VfioPci => None,
        }
    }

    /// Whether the CPU can read what it shows.
    pub const fn cpu_readable(self) -> bool {
        !matches!(self, Self::Mbochs | Self::GvtG | Self::VfioPci)
    }

    /// Whether it has a cursor plane of its own.
    pub const fn has_cursor(self) -> bool {
        matches!(self, Self::WellBehaved | Self::Region | Self::GvtG)
    }

    /// Whether it has an EDID region.
    pub const fn has_edid(self) -> bool {
        matches!(
            self,
            Self::WellBehaved | Self::Region | Self::Mbochs | Self::MbochsRw | Self::GvtG
        )
    }

    /// Whether its mode is programmed through VBE registers in BAR 2.
    pub(super) const fn has_vbe(self) -> bool {
        matches!(self, Self::Mbochs | Self::MbochsRw)
    }

    /// The formats that its guests can set.
    pub const fn formats(self) -> &'static [PixelFormat] {
        use PixelFormat as P;
        match self {
            Self::WellBehaved | Self::Region => &P::ALL,
            // Sixteen bits a pixel can be set on mbochs, and turns its plane off.
            Self::Mbochs | Self::MbochsRw => &[P::Xrgb8888, P::Rgb565],
            Self::Mdpy => &[P::Xrgb8888],
            Self::GvtG => &[
                P::Xrgb8888,
                P::Xbgr8888,
                P::Argb8888,
                P::Abgr8888,
                P::Xrgb2101010,
                P::Xbgr2101010,
                P::Rgb565,
            ],
            Self::Nvidia => &[P::Xrgb8888, P::Argb8888],
            Self::VfioPci => &[],
        }
    }
}

impl fmt::Display for Personality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name that is no [`Personality`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no personality {0:?}; there are well-behaved, region, mdpy, mbochs, mbochs-rw, gvt-g, nvidia and vfio-pci"
)]
pub struct UnknownPersonality(String);

impl FromStr for Personality {
    type Err = UnknownPersonality;

    fn from_str(name: &str) -> Result<Self, UnknownPersonality> {
        Self::ALL
            .into_iter()
            .find(|personality| personality.name() == name)
            .ok_or_else(|| UnknownPersonality(name.to_owned()))
    }
}
