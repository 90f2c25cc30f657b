// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The EDID region of a mock: `vfio_region_gfx_edid` and the blob.
//!
//! Sources: `<linux/vfio.h>`; mbochs.c (`handle_edid_regs`, `handle_edid_blob`) and i915's
//! gvt/kvmgt.c (`handle_edid_regs`, `handle_edid_blob`) for what each driver takes.

use rustix::io::{Errno, Result};

/// Where the blob lies in the region.
pub(super) const BLOB: u64 = 2048;
/// The link is up.
pub(super) const LINK_UP: u32 = 1;

const SIZE: usize = 2;
const LINK: usize = 5;

/// One write that a host made to an EDID region, in the order it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EdidWrite {
    /// The link state: 1 up, 2 down, anything else as it came.
    Link(u32),
    /// The size of the EDID, in bytes.
    Size(u32),
    /// A part of the EDID.
    Blob {
        /// First byte, from the start of the EDID.
        offset: u32,
        /// Bytes.
        len: u32,
    },
}

/// The region's registers and blob.
#[derive(Clone, Debug)]
pub(super) struct EdidRegion {
    /// The six words of `vfio_region_gfx_edid`.
    words: [u32; 6],
    blob: Vec<u8>,
    /// Whether it refuses what makes no sense, as GVT-g does and mbochs does not.
    strict: bool,
    writes: Vec<EdidWrite>,
}

impl EdidRegion {
    pub(super) fn new(max_size: u32, strict: bool) -> Self {
        Self {
            // GVT-g starts with the size of the EDID that it has made up itself.
            words: [BLOB as u32, max_size, if strict { max_size } else { 0 }, 0, 0, 0],
            blob: vec![0; max_size as usize],
            strict,
            writes: Vec::new(),
        }
    }

    /// Fills `buf` from `at` of the region on.
    ///
    /// Where the drivers fill nothing, what was on the kernel's stack goes out: junk, not zero.
    pub(super) fn read(&self, at: u64, buf: &mut [u8]) -> Result<()> {
        buf.fill(0xA5);
        if let Some(start) = at.checked_sub(BLOB) {
            match self.blob_range(start, buf.len()) {
                Some(range) => buf.copy_from_slice(&self.blob[range]),
                None if self.strict => return Err(Errno::INVAL),
                None => {}
            }
        } else if let (Some(word), 4) = (self.word(at), buf.len()) {
            buf.copy_from_slice(&self.words[word].to_ne_bytes());
        } else if self.strict {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Takes a write; one that mbochs ignores is ignored.
    pub(super) fn write(&mut self, at: u64, data: &[u8]) -> Result<()> {
        if let Some(start) = at.checked_sub(BLOB) {
            let size = if self.strict { self.words[SIZE] as usize } else { self.blob.len() };
            return match self.blob_range(start, data.len()) {
                Some(range) if range.end <= size => {
                    self.blob[range].copy_from_slice(data);
                    self.wrote_blob(start as u32, data.len() as u32);
                    Ok(())
                }
                _ if self.strict => Err(Errno::INVAL),
                _ => Ok(()),
            };
        }
        let (Some(word @ (SIZE | LINK)), Ok(value)) = (self.word(at), data.try_into()) else {
            return if self.strict { Err(Errno::INVAL) } else { Ok(()) };
        };
        let value = u32::from_ne_bytes(value);
        if self.strict && !self.makes_sense(word, value) {
            return Err(Errno::INVAL);
        }
        self.words[word] = value;
        self.writes.push(match word {
            SIZE => EdidWrite::Size(value),
            _ => EdidWrite::Link(value),
        });
        Ok(())
    }

    fn makes_sense(&self, word: usize, value: u32) -> bool {
        let size = self.words[SIZE] as usize;
        match (word, value) {
            (SIZE, _) => value as usize <= self.blob.len(),
            (_, LINK_UP) => {
                size >= 128
                    && self.blob[..128].iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)) == 0
            }
            (_, value) => value == 2,
        }
    }

    /// What the guest reads of the EDID: nothing while the link is not up.
    pub(super) fn seen_by_guest(&self) -> Option<&[u8]> {
        let size = self.blob.len().min(self.words[SIZE] as usize);
        (self.words[LINK] == LINK_UP && size > 0).then(|| &self.blob[..size])
    }

    pub(super) fn link_state(&self) -> u32 {
        self.words[LINK]
    }

    pub(super) fn writes(&self) -> &[EdidWrite] {
        &self.writes
    }

    fn word(&self, at: u64) -> Option<usize> {
        let word = usize::try_from(at / 4).ok()?;
        (at.is_multiple_of(4) && word < self.words.len()).then_some(word)
    }

    fn blob_range(&self, start: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(len)?;
        (end <= self.blob.len()).then_some(start..end)
    }

    /// Notes a write of the blob, joined to one that ends where it starts.
    fn wrote_blob(&mut self, offset: u32, len: u32) {
        if let Some(EdidWrite::Blob { offset: first, len: before }) = self.writes.last_mut()
            && *first + *before == offset
        {
            *before += len;
            return;
        }
        self.writes.push(EdidWrite::Blob { offset, len });
    }
}
