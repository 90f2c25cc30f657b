// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The content of `etc/ramfb`, shared between a vCPU's thread and the display.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::FILE_LEN;

/// The file that a fw_cfg device offers to the guest, as `etc/ramfb`, to be read and written.
///
/// A handle: its clones are the same file. No call waits for anything but another one's copying
/// of 28 bytes.
#[derive(Clone, Debug, Default)]
pub struct RamfbFile(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Counts whole structures, so that a poll that finds nothing new takes no lock.
    whole: AtomicU64,
    content: Mutex<Content>,
}

/// What the guest wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// The file's bytes, as the guest reads them back.
    pub(super) bytes: [u8; FILE_LEN],
    /// How many of them belong to a structure that is being written.
    pub(super) begun: usize,
    /// The last structure that was written whole, until the display has looked at it.
    pub(super) whole: Option<[u8; FILE_LEN]>,
}

impl RamfbFile {
    /// The bytes, as the guest reads them.
    pub fn read(&self) -> [u8; FILE_LEN] {
        self.lock().bytes
    }

    /// Takes `bytes` that the guest wrote at `offset`, and says whether it has now written a
    /// whole configuration, which is a reason to poll soon.
    ///
    /// A configuration may come in parts, in order from the start of the file. A write that does
    /// not fit the file is ignored.
    pub fn write(&self, offset: u32, bytes: &[u8]) -> bool {
        let mut content = self.lock();
        let whole = content.write(offset as usize, bytes);
        if whole {
            self.0.whole.fetch_add(1, Ordering::Release);
        }
        whole
    }

    /// How many whole structures there were.
    pub(super) fn count(&self) -> u64 {
        self.0.whole.load(Ordering::Acquire)
    }

    /// The last whole structure, if nobody has taken it.
    pub(super) fn take(&self) -> Option<[u8; FILE_LEN]> {
        self.lock().whole.take()
    }

    pub(super) fn content(&self) -> Content {
        *self.lock()
    }

    pub(super) fn set_content(&self, content: Content) {
        *self.lock() = content;
        self.0.whole.fetch_add(1, Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Content> {
        // Nothing in here panics half-way.
        self.0.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Content {
    fn write(&mut self, offset: usize, bytes: &[u8]) -> bool {
        let end = offset.saturating_add(bytes.len());
        let Some(range) = self.bytes.get_mut(offset..end) else {
            return false;
        };
        range.copy_from_slice(bytes);
        self.begun = match offset {
            _ if bytes.is_empty() => self.begun,
            // From the start: whatever was begun before is given up.
            0 => end,
            // The next part, or one that overlaps the last.
            at if at <= self.begun => end.max(self.begun),
            // A part is missing, and cannot come any more: parts come in order.
            _ => 0,
        };
        let whole = self.begun == FILE_LEN;
        if whole {
            self.begun = 0;
            self.whole = Some(self.bytes);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(writes: &[(u32, usize)]) -> Vec<bool> {
        let file = RamfbFile::default();
        writes.iter().map(|&(at, len)| file.write(at, &vec![1; len])).collect()
    }

    #[test]
    fn parts_in_order_make_a_whole() {
        assert_eq!(parts(&[(0, 28)]), [true]);
        assert_eq!(parts(&[(0, 8), (8, 4), (12, 16)]), [false, false, true]);
        assert_eq!(parts(&[(0, 16), (8, 20)]), [false, true], "overlapping");
        let bytes: Vec<_> = (0..28).map(|at| (at, 1)).collect();
        assert_eq!(parts(&bytes).iter().filter(|whole| **whole).count(), 1, "byte by byte");
    }

    #[test]
    fn a_part_alone_is_never_a_whole() {
        assert_eq!(parts(&[(16, 12)]), [false]);
        assert_eq!(parts(&[(0, 28), (16, 12)]), [true, false]);
        assert_eq!(parts(&[(16, 12), (0, 16)]), [false, false], "the rest is of an older attempt");
        assert_eq!(parts(&[(0, 8), (16, 12)]), [false, false], "a gap");
        assert_eq!(parts(&[(0, 8), (16, 12), (8, 20)]), [false; 3], "begun anew after a gap");
        assert_eq!(parts(&[(0, 16), (0, 8), (8, 8)]), [false; 3], "begun twice");
    }

    #[test]
    fn what_does_not_fit_is_ignored() {
        assert_eq!(parts(&[(0, 29), (28, 1), (u32::MAX, 4), (0, 0)]), [false; 4]);
        let file = RamfbFile::default();
        file.write(1, &[7; 28]);
        assert_eq!(file.read(), [0; 28]);
    }
}
