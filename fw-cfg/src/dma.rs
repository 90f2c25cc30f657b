// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Transfers to and from guest memory: `FWCfgDmaAccess`, as `fw_cfg_dma_transfer` does them.

use vm_memory::{Bytes, GuestAddress};

use crate::device::{FwCfg, Selected};
use crate::error::GuestError;
use crate::registers::control;

/// Bytes that are copied at a time, so that a long item is not held twice.
const CHUNK: usize = 4096;

/// What the control word asks for. Only the first of READ, WRITE and SKIP counts.
enum Command {
    Read,
    Write,
    Skip,
    Nothing,
}

impl Command {
    const fn of(word: u32) -> Self {
        if word & control::READ != 0 {
            Self::Read
        } else if word & control::WRITE != 0 {
            Self::Write
        } else if word & control::SKIP != 0 {
            Self::Skip
        } else {
            Self::Nothing
        }
    }
}

impl FwCfg {
    /// Does what the structure at `address` says, and writes back 0 or ERROR.
    pub(crate) fn transfer<M>(&mut self, memory: &M, address: u64)
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        let done = self.transfer_struct(memory, address);
        let word = if done.is_ok() { 0 } else { control::ERROR };
        // A guest that has the structure half outside its memory is told as far as that goes.
        let told = write_all(memory, address, &word.to_be_bytes());
        if let Err(error) = done {
            self.guest_error(error);
        } else if told.is_none() {
            self.guest_error(GuestError::DmaStruct { address });
        }
    }

    fn transfer_struct<M>(&mut self, memory: &M, address: u64) -> Result<(), GuestError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        // Read once: whatever the transfer itself writes over it no longer matters.
        let mut access = [0; 16];
        read_all(memory, address, &mut access).ok_or(GuestError::DmaStruct { address })?;
        let [a, b, c, d, e, f, g, h, buffer @ ..] = access;
        let word = u32::from_be_bytes([a, b, c, d]);
        let len = u32::from_be_bytes([e, f, g, h]);
        let buffer = u64::from_be_bytes(buffer);

        if word & control::SELECT != 0 {
            self.select((word >> 16) as u16);
        }
        match Command::of(word) {
            Command::Read => self.read_into(memory, buffer, len),
            Command::Write if len > 0 => self.write_from(memory, buffer, len),
            Command::Skip => {
                let left = self.selected().len() - self.offset;
                self.offset += left.min(len);
                Ok(())
            }
            Command::Write | Command::Nothing => Ok(()),
        }
    }

    /// The item's bytes, then zeros. On an error the offset stays, and how much of the buffer was
    /// written is not said.
    fn read_into<M>(&mut self, memory: &M, address: u64, len: u32) -> Result<(), GuestError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        let (key, offset) = (self.selected, self.offset);
        let outside = GuestError::DmaBuffer { key, address, len };
        address.checked_add(len.into()).ok_or(outside)?;
        let mut selected = self.selected();
        let there = (selected.len() - offset).min(len);
        let mut chunk = [0; CHUNK];
        let mut at = 0;
        while at < len {
            let rest = if at < there { there } else { len } - at;
            let bytes = &mut chunk[..CHUNK.min(rest as usize)];
            if at < there {
                selected.read(offset + at, bytes);
            } else {
                bytes.fill(0);
            }
            write_all(memory, address + u64::from(at), bytes).ok_or(outside)?;
            at += bytes.len() as u32;
        }
        self.offset += there;
        Ok(())
    }

    /// All of the bytes, or none. On an error the offset stays.
    fn write_from<M>(&mut self, memory: &M, address: u64, len: u32) -> Result<(), GuestError>
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        let (key, offset) = (self.selected, self.offset);
        let item = match self.selected() {
            Selected::Item(item) if item.is_writable() => item,
            _ => return Err(GuestError::NotWritable { key, len }),
        };
        let item_len = item.len() as u32;
        if len > item_len - offset {
            return Err(GuestError::DoesNotFit { key, offset, len, item_len });
        }
        let mut bytes = vec![0; len as usize];
        read_all(memory, address, &mut bytes).ok_or(GuestError::DmaBuffer { key, address, len })?;
        item.write(offset, &bytes);
        self.offset += len;
        Ok(())
    }
}

fn read_all<M>(memory: &M, address: u64, bytes: &mut [u8]) -> Option<()>
where
    M: Bytes<GuestAddress> + ?Sized,
{
    memory.read_slice(bytes, GuestAddress(address)).ok()
}

fn write_all<M>(memory: &M, address: u64, bytes: &[u8]) -> Option<()>
where
    M: Bytes<GuestAddress> + ?Sized,
{
    memory.write_slice(bytes, GuestAddress(address)).ok()
}
