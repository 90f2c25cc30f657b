// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Numbers of the interface.

/// First of the x86 ports.
pub const PIO_BASE: u16 = 0x510;

/// Number of the x86 ports: selector, data, and after a gap the eight of DMA.
pub const PIO_LEN: u16 = 12;

/// Bytes of the MMIO layout: data, selector, and after a gap DMA.
pub const MMIO_LEN: u64 = 24;

/// Keys with a meaning of their own, `<linux/qemu_fw_cfg.h>`.
pub mod key {
    /// `FW_CFG_SIGNATURE`: the four letters `QEMU`.
    pub const SIGNATURE: u16 = 0x00;
    /// `FW_CFG_ID`: which interfaces there are.
    pub const ID: u16 = 0x01;
    /// `FW_CFG_FILE_DIR`: the directory.
    pub const FILE_DIR: u16 = 0x19;
    /// `FW_CFG_FILE_FIRST`: the first file in the directory.
    pub const FILE_FIRST: u16 = 0x20;
    /// `FW_CFG_ARCH_LOCAL`: keys that mean something else on each architecture have this bit.
    pub const ARCH_LOCAL: u16 = 0x8000;
    /// `FW_CFG_WRITE_CHANNEL`: once asked to write. It means nothing since QEMU 2.4.
    pub(crate) const WRITE_CHANNEL: u16 = 0x4000;
}

/// What the DMA register reads as: `QEMU CFG`.
pub(crate) const DMA_SIGNATURE: [u8; 8] = *b"QEMU CFG";

/// `FW_CFG_VERSION`: selector and data register.
pub(crate) const ID_TRADITIONAL: u32 = 1;
/// `FW_CFG_VERSION_DMA`.
pub(crate) const ID_DMA: u32 = 2;

/// Bits of `FWCfgDmaAccess.control`, `FW_CFG_DMA_CTL_*`.
pub(crate) mod control {
    pub(crate) const ERROR: u32 = 0x01;
    pub(crate) const READ: u32 = 0x02;
    pub(crate) const SKIP: u32 = 0x04;
    pub(crate) const SELECT: u32 = 0x08;
    pub(crate) const WRITE: u32 = 0x10;
}
