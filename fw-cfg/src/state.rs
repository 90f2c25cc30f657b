// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the guest did to the device, as bytes: for snapshots and for live migration.
//!
//! Layout of version 1, little-endian: `FWCFG\0`, version u16, selector u16, directory read u8,
//! offset u32, DMA address u64; then the items by key, count u32, each key u16, length u32, kind
//! u8 and, of kind 1, the bytes; then the files in the same way, with their names (length u8)
//! instead of a key.

use crate::device::{FwCfg, tells_of_files};
use crate::error::RestoreError;
use crate::item::Item;

/// The version that is written, and the only one that is read.
pub(crate) const VERSION: u16 = 1;

const MAGIC: [u8; 6] = *b"FWCFG\0";

impl FwCfg {
    /// The state, for [`restore`](Self::restore). Items that the guest cannot change are only
    /// named in it.
    pub fn save(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend(self.selected.to_le_bytes());
        out.push(self.directory_read.into());
        out.extend(self.offset.to_le_bytes());
        out.extend(self.dma_address.to_le_bytes());
        out.extend((self.items.len() as u32).to_le_bytes());
        for (key, item) in &self.items {
            out.extend(key.to_le_bytes());
            save_item(item, &mut out);
        }
        out.extend((self.files.len() as u32).to_le_bytes());
        for file in &self.files {
            out.push(file.name.len() as u8);
            out.extend(file.name.as_bytes());
            save_item(&file.item, &mut out);
        }
        out
    }

    /// Takes over a state. The device has to have the items that the saved one had: the guest
    /// may know their keys and sizes. No callback is called.
    ///
    /// # Errors
    ///
    /// [`RestoreError`], and the device is as it was.
    pub fn restore(&mut self, state: &[u8]) -> Result<(), RestoreError> {
        let mut from = Reader { bytes: state, at: 0 };
        if from.take::<6>().ok() != Some(MAGIC) {
            return Err(RestoreError::Magic);
        }
        match u16::from_le_bytes(from.take()?) {
            VERSION => {}
            other => return Err(RestoreError::Version(other)),
        }
        let selected = u16::from_le_bytes(from.take()?);
        let directory_read = match from.take()? {
            [flag @ (0 | 1)] => flag == 1,
            _ => return Err(from.damaged()),
        };
        let offset = u32::from_le_bytes(from.take()?);
        let dma_address = u64::from_le_bytes(from.take()?);

        let mut contents = Vec::new();
        from.count(self.items.len(), "items")?;
        for (key, item) in &self.items {
            let there = u16::from_le_bytes(from.take()?);
            if there != *key {
                return Err(RestoreError::Items(format!("key {there:#06x}")));
            }
            contents.push(from.item(item, || format!("key {key:#06x}"))?);
        }
        from.count(self.files.len(), "files")?;
        for file in &self.files {
            let [len] = from.take()?;
            let name = from.slice(len.into())?;
            if name != file.name.as_bytes() {
                return Err(RestoreError::Items(String::from_utf8_lossy(name).into()));
            }
            contents.push(from.item(&file.item, || file.name.clone())?);
        }
        if from.at != state.len() {
            return Err(from.damaged());
        }

        let before = std::mem::replace(&mut self.selected, selected);
        if offset > self.selected().len() {
            self.selected = before;
            return Err(RestoreError::Damaged(11));
        }
        self.offset = offset;
        self.dma_address = dma_address;
        self.directory_read = directory_read || tells_of_files(selected);
        let items = self.items.values_mut().chain(self.files.iter_mut().map(|file| &mut file.item));
        for (item, content) in items.zip(contents) {
            if let (Some(bytes), Some(content)) = (item.state_mut(), content) {
                bytes.copy_from_slice(content);
            }
        }
        Ok(())
    }
}

fn save_item(item: &Item, out: &mut Vec<u8>) {
    out.extend((item.len() as u32).to_le_bytes());
    out.push(item.state().is_some().into());
    out.extend(item.state().unwrap_or_default());
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    const fn damaged(&self) -> RestoreError {
        RestoreError::Damaged(self.at)
    }

    fn slice(&mut self, len: usize) -> Result<&'a [u8], RestoreError> {
        let rest = &self.bytes[self.at..];
        let slice = rest.get(..len).ok_or(RestoreError::Damaged(self.at))?;
        self.at += len;
        Ok(slice)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let slice = self.slice(N)?;
        slice.try_into().map_err(|_| RestoreError::Damaged(self.at))
    }

    fn count(&mut self, here: usize, what: &str) -> Result<(), RestoreError> {
        let there = u32::from_le_bytes(self.take()?);
        if there as usize == here {
            return Ok(());
        }
        Err(RestoreError::Items(format!("{there} {what}, here {here}")))
    }

    /// The content of an item that is like `item`.
    fn item(
        &mut self,
        item: &Item,
        name: impl Fn() -> String,
    ) -> Result<Option<&'a [u8]>, RestoreError> {
        let len = u32::from_le_bytes(self.take()?) as usize;
        let [kind] = self.take()?;
        if len != item.len() {
            return Err(RestoreError::Items(format!("{}: {len} bytes", name())));
        }
        match (kind, item.state()) {
            (0, None) => Ok(None),
            (1, Some(_)) => self.slice(len).map(Some),
            (0 | 1, _) => Err(RestoreError::Items(format!("{}: written or not", name()))),
            _ => Err(self.damaged()),
        }
    }
}
