// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is behind a key.

use std::fmt;
use std::sync::Arc;

type Fill = Box<dyn FnMut(&mut [u8]) + Send>;
type ReadAt = Box<dyn FnMut(u32, &mut [u8]) + Send>;
type Written = Box<dyn Fn(u32, &[u8]) + Send + Sync>;

/// The content of a key.
///
/// All callbacks run on the thread that handles the guest's access, a vCPU's in most VMMs, with
/// the device borrowed. They must not wait.
pub struct Item(pub(crate) Content);

pub(crate) enum Content {
    Bytes(Arc<[u8]>),
    Generated { bytes: Vec<u8>, fill: Fill },
    ReadAt { len: usize, read: ReadAt },
    Writable { bytes: Vec<u8>, initial: Arc<[u8]>, written: Written },
}

impl Item {
    /// Bytes that the guest can only read.
    pub fn bytes(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(Content::Bytes(bytes.into()))
    }

    /// `len` bytes that `fill` makes anew each time the guest selects the key; it is lent those of
    /// the time before, zeros at first.
    pub fn generated(len: u32, fill: impl FnMut(&mut [u8]) + Send + 'static) -> Self {
        Self(Content::Generated { bytes: vec![0; len as usize], fill: Box::new(fill) })
    }

    /// `len` bytes of which `read` fetches each piece when the guest reads it, given the piece's
    /// offset: for content that is not to be held in memory, like an initial RAM disk in a file.
    pub fn read_at(len: u32, read: impl FnMut(u32, &mut [u8]) + Send + 'static) -> Self {
        Self(Content::ReadAt { len: len as usize, read: Box::new(read) })
    }

    /// Bytes that the guest can write, through DMA. They are `initial` at first and after
    /// [`FwCfg::reset`](crate::FwCfg::reset).
    ///
    /// `written` is called after each write with the offset and the bytes that were written. It
    /// should take note and signal, and leave the rest to another thread.
    pub fn writable(
        initial: impl Into<Arc<[u8]>>,
        written: impl Fn(u32, &[u8]) + Send + Sync + 'static,
    ) -> Self {
        let initial = initial.into();
        Self(Content::Writable { bytes: initial.to_vec(), initial, written: Box::new(written) })
    }

    /// Bytes of the content.
    pub fn len(&self) -> usize {
        match &self.0 {
            Content::Bytes(bytes) => bytes.len(),
            Content::Generated { bytes, .. } | Content::Writable { bytes, .. } => bytes.len(),
            Content::ReadAt { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the guest can write it.
    pub const fn is_writable(&self) -> bool {
        matches!(self.0, Content::Writable { .. })
    }

    /// Called when the guest selects it.
    pub(crate) fn select(&mut self) {
        if let Content::Generated { bytes, fill } = &mut self.0 {
            fill(bytes);
        }
    }

    /// Copies out what lies at `offset`, which has to be inside.
    pub(crate) fn read(&mut self, offset: u32, buf: &mut [u8]) {
        let range = offset as usize..offset as usize + buf.len();
        match &mut self.0 {
            Content::Bytes(bytes) => buf.copy_from_slice(&bytes[range]),
            Content::Generated { bytes, .. } | Content::Writable { bytes, .. } => {
                buf.copy_from_slice(&bytes[range]);
            }
            Content::ReadAt { read, .. } => read(offset, buf),
        }
    }

    /// Writes what has to be inside of a writable item.
    pub(crate) fn write(&mut self, offset: u32, new: &[u8]) {
        if let Content::Writable { bytes, written, .. } = &mut self.0 {
            bytes[offset as usize..offset as usize + new.len()].copy_from_slice(new);
            written(offset, new);
        }
    }

    /// Back to what it was at power-on.
    pub(crate) fn reset(&mut self) {
        if let Content::Writable { bytes, initial, .. } = &mut self.0 {
            bytes.copy_from_slice(initial);
        }
    }

    /// Bytes that only this device has, and so belong to its saved state.
    pub(crate) fn state_mut(&mut self) -> Option<&mut Vec<u8>> {
        match &mut self.0 {
            Content::Generated { bytes, .. } | Content::Writable { bytes, .. } => Some(bytes),
            Content::Bytes(_) | Content::ReadAt { .. } => None,
        }
    }

    /// The same, to be read.
    pub(crate) fn state(&self) -> Option<&[u8]> {
        match &self.0 {
            Content::Generated { bytes, .. } | Content::Writable { bytes, .. } => Some(bytes),
            Content::Bytes(_) | Content::ReadAt { .. } => None,
        }
    }
}

impl fmt::Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Content::Bytes(_) => "Bytes",
            Content::Generated { .. } => "Generated",
            Content::ReadAt { .. } => "ReadAt",
            Content::Writable { .. } => "Writable",
        };
        write!(f, "{kind}({} bytes)", self.len())
    }
}
