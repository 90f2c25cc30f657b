// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the embedder can get wrong, and what the guest can.

use std::fmt;

/// Why an item was not added.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddError {
    /// The guest has read the directory, and would never learn of another file.
    #[error("{0}: the guest has read the directory of fw_cfg, files can't be hot-plugged")]
    DirectoryRead(String),
    /// There is a file of this name. Of a file that one owner has, like `etc/ramfb`, this says
    /// that somebody else owns it.
    #[error("{0}: fw_cfg has a file of this name already")]
    Exists(String),
    /// A name is 1 to 55 bytes, none of them NUL: `FWCfgFile.name` is 56 bytes with a NUL.
    #[error("{0:?} is no name of a fw_cfg file: 1 to 55 bytes, none of them NUL")]
    Name(String),
    /// All keys of files are taken.
    #[error("fw_cfg has {} files, its keys are used up", crate::MAX_FILES)]
    TooMany,
    /// The key is taken, or stands for the signature, the features, the directory or a file.
    #[error("key {0:#06x} of fw_cfg is taken or reserved")]
    Key(u16),
    /// Lengths are 32-bit.
    #[error("an item of {0} bytes does not fit the 32 bits of its size")]
    TooLong(usize),
}

/// Something that the guest did and that was refused. The guest learns of it by
/// `FW_CFG_DMA_CTL_ERROR` where it used DMA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GuestError {
    /// `FWCfgDmaAccess` is not all in guest memory.
    #[error("fw_cfg: a DMA structure at {address:#x} is not in guest memory")]
    DmaStruct {
        /// Guest physical address.
        address: u64,
    },
    /// The bytes to read or to write are not all in guest memory.
    #[error("fw_cfg: {len} bytes at {address:#x}, for key {key:#06x}, are not in guest memory")]
    DmaBuffer {
        /// The selected key.
        key: u16,
        /// Guest physical address.
        address: u64,
        /// Bytes.
        len: u32,
    },
    /// A write to an item that is not writable, or to none.
    #[error("fw_cfg: a write of {len} bytes to key {key:#06x}, which is not writable")]
    NotWritable {
        /// The selected key.
        key: u16,
        /// Bytes.
        len: u32,
    },
    /// A write that does not fit whole.
    #[error("fw_cfg: {len} bytes at {offset} do not fit the {item_len} bytes of key {key:#06x}")]
    DoesNotFit {
        /// The selected key.
        key: u16,
        /// Offset in the item.
        offset: u32,
        /// Bytes.
        len: u32,
        /// Bytes of the item.
        item_len: u32,
    },
    /// An access to a register in a width or at an offset that it does not have.
    #[error("fw_cfg: a {} of {len} bytes at register offset {offset:#x}", if *.write { "write" } else { "read" })]
    Register {
        /// Offset from the first register of the layout in use.
        offset: u64,
        /// Bytes.
        len: usize,
        /// Whether it was a write.
        write: bool,
    },
}

/// What the guest did wrong since the last report.
///
/// However much the guest does, there is one of these: how often it is printed is the embedder's
/// choice, by how often it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first thing.
    pub error: GuestError,
    /// How many there were, the first one included.
    pub count: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        match self.count {
            0 | 1 => Ok(()),
            n => write!(f, " (and {} more refused)", n - 1),
        }
    }
}

/// Why a saved state was not taken over. The device is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// It does not begin with this crate's mark.
    #[error("not a saved state of fw_cfg")]
    Magic,
    /// It is of a version that this crate does not read.
    #[error("a state of fw_cfg in version {0}, only version 1 is read")]
    Version(u16),
    /// It ends early, goes on too long, or contradicts itself.
    #[error("a damaged state of fw_cfg, at byte {0}")]
    Damaged(usize),
    /// The items here are not those of the device that was saved.
    #[error("the items of fw_cfg differ from those saved: {0}")]
    Items(String),
}
