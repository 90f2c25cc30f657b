// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The device: its items, the selected one, and the two register layouts.

use std::collections::BTreeMap;
use std::sync::Arc;

use vm_memory::{Bytes, GuestAddress};

use crate::error::{AddError, GuestError, Report};
use crate::item::Item;
use crate::registers::{DMA_SIGNATURE, ID_DMA, ID_TRADITIONAL, key};

/// Bits of a selector that are a key's number within its table.
const INDEX: u16 = !(key::ARCH_LOCAL | key::WRITE_CHANNEL);

/// Most files that there are keys for.
pub const MAX_FILES: usize = (INDEX - key::FILE_FIRST) as usize + 1;

/// Bytes of an entry in the directory, and of a name in it with its NUL.
const ENTRY: usize = 64;
const NAME: usize = 56;

/// The device.
///
/// It is `Send`; to share it between vCPUs, a lock around it is enough, since no access waits.
#[derive(Debug, Default)]
pub struct FwCfg {
    pub(crate) items: BTreeMap<u16, Item>,
    /// In the order of their names, as QEMU has them: their keys do not depend on the order in
    /// which they were added, which is what makes them the same after a migration.
    pub(crate) files: Vec<File>,
    /// Made when the guest selects it, dropped when it no longer holds.
    directory: Option<Arc<[u8]>>,
    pub(crate) directory_read: bool,
    pub(crate) selected: u16,
    pub(crate) offset: u32,
    pub(crate) dma_address: u64,
    report: Option<Report>,
}

#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) item: Item,
}

/// What a selector stands for.
pub(crate) enum Selected<'a> {
    Nothing,
    Directory(Arc<[u8]>),
    Item(&'a mut Item),
}

impl Selected<'_> {
    pub(crate) fn len(&self) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Directory(bytes) => bytes.len() as u32,
            Self::Item(item) => item.len() as u32,
        }
    }

    /// Copies out what lies at `offset`, which has to be inside.
    pub(crate) fn read(&mut self, offset: u32, buf: &mut [u8]) {
        match self {
            Self::Nothing => {}
            Self::Directory(bytes) => {
                buf.copy_from_slice(&bytes[offset as usize..offset as usize + buf.len()]);
            }
            Self::Item(item) => item.read(offset, buf),
        }
    }
}

impl FwCfg {
    /// A device with the signature, the features and an empty directory.
    pub fn new() -> Self {
        let id = ID_TRADITIONAL | ID_DMA;
        let items =
            [(key::SIGNATURE, Item::bytes(*b"QEMU")), (key::ID, Item::bytes(id.to_le_bytes()))];
        Self { items: items.into(), ..Self::default() }
    }

    /// Adds a file under the next free key.
    ///
    /// # Errors
    ///
    /// [`AddError::DirectoryRead`] once the guest has selected the directory or a file: it would
    /// never know. The others for names that are taken or that cannot be.
    pub fn add_file(&mut self, name: &str, item: Item) -> Result<(), AddError> {
        if self.directory_read {
            return Err(AddError::DirectoryRead(name.into()));
        }
        if name.is_empty() || name.len() >= NAME || name.contains('\0') {
            return Err(AddError::Name(name.into()));
        }
        let at = match self.files.binary_search_by(|file| file.name.as_str().cmp(name)) {
            Ok(_) => return Err(AddError::Exists(name.into())),
            Err(at) => at,
        };
        if self.files.len() >= MAX_FILES {
            return Err(AddError::TooMany);
        }
        check_len(&item)?;
        self.files.insert(at, File { name: name.into(), item });
        self.directory = None;
        Ok(())
    }

    /// Adds an item that is no file, under its well-known `key`: below [`key::FILE_FIRST`], or
    /// with [`key::ARCH_LOCAL`].
    ///
    /// # Errors
    ///
    /// [`AddError::Key`] for keys that are taken or mean something else.
    pub fn add_item(&mut self, key: u16, item: Item) -> Result<(), AddError> {
        let free = key & key::WRITE_CHANNEL == 0
            && (key & key::ARCH_LOCAL != 0 || key < key::FILE_FIRST)
            && key != key::FILE_DIR
            && !self.items.contains_key(&key);
        if !free {
            return Err(AddError::Key(key));
        }
        check_len(&item)?;
        self.items.insert(key, item);
        Ok(())
    }

    /// The names of the files and their keys, in the order of the directory. The keys hold once
    /// no more files are added.
    pub fn files(&self) -> impl Iterator<Item = (&str, u16)> {
        self.files.iter().zip(key::FILE_FIRST..).map(|(file, key)| (file.name.as_str(), key))
    }

    /// What the guest did wrong since this was last asked. One report stands for all of it.
    pub const fn take_report(&mut self) -> Option<Report> {
        self.report.take()
    }

    /// What a reset of the machine does: nothing is selected, writable items have their initial
    /// content, and files can be added until the guest reads the directory again. No callback is
    /// called.
    pub fn reset(&mut self) {
        let items = self.items.values_mut().chain(self.files.iter_mut().map(|file| &mut file.item));
        items.for_each(Item::reset);
        self.selected = 0;
        self.offset = 0;
        self.dma_address = 0;
        self.directory_read = false;
    }

    /// Reads x86 ports; `offset` is from [`PIO_BASE`](crate::PIO_BASE). Repeated input (`rep
    /// insb`) may come as one read of the data port.
    pub fn pio_read(&mut self, offset: u16, data: &mut [u8]) {
        match offset {
            1 => self.read_data(data),
            4..12 if usize::from(offset) + data.len() <= 12 => signature(offset - 4, data),
            _ => self.no_register_read(offset.into(), data),
        }
    }

    /// Writes x86 ports; `offset` is from [`PIO_BASE`](crate::PIO_BASE).
    pub fn pio_write<M>(&mut self, memory: &M, offset: u16, data: &[u8])
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        match (offset, data) {
            (0, &[low, high]) => self.select(u16::from_le_bytes([low, high])),
            // Since QEMU 2.4 the data register is not written through.
            (1, _) => {}
            (4..12, _) if self.write_dma(memory, offset - 4, data) => {}
            _ => self.guest_error(register(offset.into(), data.len(), true)),
        }
    }

    /// Reads the registers as MMIO, as on arm64 and riscv; `offset` is from the first.
    pub fn mmio_read(&mut self, offset: u64, data: &mut [u8]) {
        match (offset, data.len()) {
            (0..8, len) if offset + len as u64 <= 8 => self.read_data(data),
            (16..24, len) if offset + len as u64 <= 24 => signature(offset as u16 - 16, data),
            _ => self.no_register_read(offset, data),
        }
    }

    /// Writes the registers as MMIO; `offset` is from the first.
    pub fn mmio_write<M>(&mut self, memory: &M, offset: u64, data: &[u8])
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        match (offset, data) {
            (0..8, _) => {}
            (8, &[high, low]) => self.select(u16::from_be_bytes([high, low])),
            (16..24, _) if self.write_dma(memory, offset as u16 - 16, data) => {}
            _ => self.guest_error(register(offset, data.len(), true)),
        }
    }

    /// The DMA address register, big-endian. Its low half starts the transfer, and so does all of
    /// it at once; a transfer leaves it 0 (`fw_cfg_dma_mem_write`). False for any other access.
    fn write_dma<M>(&mut self, memory: &M, offset: u16, data: &[u8]) -> bool
    where
        M: Bytes<GuestAddress> + ?Sized,
    {
        if let (0, &[a, b, c, d]) = (offset, data) {
            self.dma_address = u64::from(u32::from_be_bytes([a, b, c, d])) << 32;
            return true;
        }
        let address = match (offset, data) {
            (4, &[a, b, c, d]) => self.dma_address | u64::from(u32::from_be_bytes([a, b, c, d])),
            (0, &[a, b, c, d, e, f, g, h]) => u64::from_be_bytes([a, b, c, d, e, f, g, h]),
            _ => return false,
        };
        self.dma_address = 0;
        self.transfer(memory, address);
        true
    }

    pub(crate) fn select(&mut self, selector: u16) {
        self.selected = selector;
        self.offset = 0;
        self.directory_read |= tells_of_files(selector);
        if let Selected::Item(item) = self.selected() {
            item.select();
        }
    }

    pub(crate) fn selected(&mut self) -> Selected<'_> {
        let key = self.selected & !key::WRITE_CHANNEL;
        if key == key::FILE_DIR {
            let files = &self.files;
            return Selected::Directory(
                self.directory.get_or_insert_with(|| directory(files)).clone(),
            );
        }
        let file = key.checked_sub(key::FILE_FIRST).filter(|_| key & key::ARCH_LOCAL == 0);
        let item = match file {
            Some(index) => self.files.get_mut(usize::from(index)).map(|file| &mut file.item),
            None => self.items.get_mut(&key),
        };
        item.map_or(Selected::Nothing, Selected::Item)
    }

    /// The next bytes of the selected item; after its end, zeros, and the offset stays.
    fn read_data(&mut self, data: &mut [u8]) {
        data.fill(0);
        let offset = self.offset;
        let mut selected = self.selected();
        let there = (selected.len() - offset).min(u32::try_from(data.len()).unwrap_or(u32::MAX));
        selected.read(offset, &mut data[..there as usize]);
        self.offset += there;
    }

    fn no_register_read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        self.guest_error(register(offset, data.len(), false));
    }

    pub(crate) fn guest_error(&mut self, error: GuestError) {
        let report = self.report.get_or_insert(Report { error, count: 0 });
        report.count = report.count.saturating_add(1);
    }
}

/// Whether a guest that selects this knows, or acts as if it knew, what files there are.
pub(crate) const fn tells_of_files(selector: u16) -> bool {
    let key = selector & !key::WRITE_CHANNEL;
    key == key::FILE_DIR || (key::FILE_FIRST <= key && key < key::ARCH_LOCAL)
}

fn check_len(item: &Item) -> Result<(), AddError> {
    u32::try_from(item.len()).map(drop).map_err(|_| AddError::TooLong(item.len()))
}

const fn register(offset: u64, len: usize, write: bool) -> GuestError {
    GuestError::Register { offset, len, write }
}

/// The DMA register, read: `data` has to end inside it.
fn signature(offset: u16, data: &mut [u8]) {
    let offset = usize::from(offset);
    data.copy_from_slice(&DMA_SIGNATURE[offset..offset + data.len()]);
}

/// The directory as the guest reads it: `FWCfgFiles`, big-endian.
fn directory(files: &[File]) -> Arc<[u8]> {
    let mut bytes = Vec::with_capacity(4 + files.len() * ENTRY);
    bytes.extend((files.len() as u32).to_be_bytes());
    for (file, key) in files.iter().zip(key::FILE_FIRST..) {
        bytes.extend((file.item.len() as u32).to_be_bytes());
        bytes.extend(key.to_be_bytes());
        bytes.extend([0; 2]);
        let mut name = [0; NAME];
        name[..file.name.len()].copy_from_slice(file.name.as_bytes());
        bytes.extend(name);
    }
    bytes.into()
}
