// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Memory that a device or a guest writes while we look at it.
//!
//! # Why the reads are sound
//!
//! Nobody makes a Rust reference to mapped memory: its bytes change under us, which a `&[u8]` may
//! not. The only accesses are raw volatile loads, or one instruction of the CPU that the compiler
//! can't see into (`blit`). It invents, repeats and drops none of them, and each goes into memory
//! of our own. The writer is no part of this program's memory model: it is a kernel, a device or
//! another process. Each load is of an initialised integer, so a torn value is an old and a new
//! half, never undefined. Bounds are checked against the length that was mapped, before the first
//! load.

use std::fmt;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::io::Result;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::Span;

/// A shared, read-only mapping that lends nothing but copies.
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; `Mapping` owns it alone, and its
// only operation is a copy out of memory that others change anyway.
unsafe impl Send for Mapping {}
// SAFETY: as for `Send`; concurrent copies do not disturb one another.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes of `fd` at `offset`, shared and readable.
    ///
    /// # Errors
    ///
    /// What `mmap(2)` says; EINVAL for a length of 0.
    pub fn new(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self> {
        Ok(Self { base: map(fd, offset, len, ProtFlags::READ)?, len })
    }

    /// Bytes mapped.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is mapped. Never so: an empty mapping cannot be made.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All of its bytes, for loads that are as those of [`copy_out`](Self::copy_out) are.
    pub(crate) const fn span(&self) -> Span<'_> {
        // SAFETY: the mapping lives as long as `self`, and all of its bytes are initialised.
        unsafe { Span::new(self.base.as_ptr(), self.len) }
    }

    /// Copies `out.len()` bytes, from `offset` on, out of the mapping.
    ///
    /// Returns whether they lie inside; nothing is copied if not.
    #[must_use]
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) -> bool {
        // SAFETY: the mapping is readable, and `self` keeps it mapped during the call.
        unsafe { copy_out(self.base, self.len, offset, out) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.base, self.len);
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("len", &self.len).finish_non_exhaustive()
    }
}

/// A shared mapping that can be drawn into: a sink's memory that viewers map as well, or a test in
/// the part of the guest.
pub struct WritableMapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: as for `Mapping`; a write takes `&mut self`, so only one runs at a time.
unsafe impl Send for WritableMapping {}

impl WritableMapping {
    /// Maps `len` bytes of `fd` at `offset`, shared, readable and writable.
    ///
    /// # Errors
    ///
    /// What `mmap(2)` says; EINVAL for a length of 0.
    pub fn new(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self> {
        Ok(Self { base: map(fd, offset, len, ProtFlags::READ | ProtFlags::WRITE)?, len })
    }

    /// Copies `data` into the mapping at `offset`.
    ///
    /// Returns whether it fits; nothing is written if not.
    #[must_use]
    pub fn copy_in(&mut self, offset: usize, data: &[u8]) -> bool {
        if !inside(self.len, offset, data.len()) {
            return false;
        }
        // SAFETY: `offset` is inside the mapping, as was just checked.
        let to = unsafe { self.base.add(offset) };
        // SAFETY: `data.len()` bytes from there are inside the writable mapping, and `data` is
        // ordinary memory that cannot overlap it.
        unsafe { ptr::copy_nonoverlapping(data.as_ptr(), to.as_ptr(), data.len()) };
        true
    }

    /// Copies `out.len()` bytes, from `offset` on, out of the mapping.
    ///
    /// Returns whether they lie inside; nothing is copied if not.
    #[must_use]
    pub fn copy_out(&self, offset: usize, out: &mut [u8]) -> bool {
        // SAFETY: as a `Mapping`, it is readable, and `self` keeps it mapped during the call.
        unsafe { copy_out(self.base, self.len, offset, out) }
    }
}

impl Drop for WritableMapping {
    fn drop(&mut self) {
        unmap(self.base, self.len);
    }
}

impl fmt::Debug for WritableMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritableMapping").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Copies `out.len()` bytes, from `offset` on, out of `len` mapped ones; whether they lie inside.
///
/// # Safety
///
/// `len` bytes from `base` on are mapped and readable.
unsafe fn copy_out(base: NonNull<u8>, len: usize, offset: usize, out: &mut [u8]) -> bool {
    if !inside(len, offset, out.len()) {
        return false;
    }
    // SAFETY: `offset` is inside the mapping, as was just checked.
    let from = unsafe { base.add(offset) };
    // SAFETY: `out.len()` bytes from there are inside the mapping, and every byte of a mapping is
    // initialised. `out` is ours alone, so it cannot overlap memory that no reference may point to.
    unsafe { volatile_copy(from, out) };
    true
}

fn inside(len: usize, offset: usize, count: usize) -> bool {
    offset.checked_add(count).is_some_and(|end| end <= len)
}

fn map(fd: BorrowedFd<'_>, offset: u64, len: usize, prot: ProtFlags) -> Result<NonNull<u8>> {
    // SAFETY: with a null hint and no MAP_FIXED the kernel picks free addresses, so no memory
    // that Rust knows of changes.
    let base = unsafe { mmap(ptr::null_mut(), len, prot, MapFlags::SHARED, fd, offset) }?;
    NonNull::new(base.cast()).ok_or(rustix::io::Errno::NOMEM)
}

fn unmap(base: NonNull<u8>, len: usize) {
    // SAFETY: `base` and `len` are what `map` returned for the owner that is being dropped, and
    // no pointer into the mapping outlives a call. munmap of such a range does not fail.
    let result = unsafe { munmap(base.as_ptr().cast(), len) };
    debug_assert!(result.is_ok(), "munmap of our own mapping: {result:?}");
}

/// A block that is loaded at a time; the compiler makes a row of plain loads of it.
type Block = [u64; 8];

/// Copies `out.len()` bytes from `from`, which others may be writing.
///
/// # Safety
///
/// `out.len()` bytes from `from` on are mapped, readable and initialised.
unsafe fn volatile_copy(from: NonNull<u8>, out: &mut [u8]) {
    let from = from.as_ptr().cast_const();
    let head = from.align_offset(align_of::<Block>()).min(out.len());
    let blocks = (out.len() - head) / size_of::<Block>();
    let tail = head + blocks * size_of::<Block>();
    for (at, byte) in out[..head].iter_mut().enumerate() {
        // SAFETY: `at` is below `out.len()`, so inside what the caller vouches for.
        *byte = unsafe { from.add(at).read_volatile() };
    }
    for (block, out) in out[head..tail].chunks_exact_mut(size_of::<Block>()).enumerate() {
        // SAFETY: the block ends at or before `tail`, inside what the caller vouches for.
        let at = unsafe { from.add(head + block * size_of::<Block>()) };
        // SAFETY: `head` made the pointer aligned, and a `Block` is valid for any bits.
        let words = unsafe { at.cast::<Block>().read_volatile() };
        for (word, out) in words.iter().zip(out.chunks_exact_mut(8)) {
            out.copy_from_slice(&word.to_ne_bytes());
        }
    }
    for (at, byte) in out[tail..].iter_mut().enumerate() {
        // SAFETY: `tail + at` is below `out.len()`, inside what the caller vouches for.
        *byte = unsafe { from.add(tail + at).read_volatile() };
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::fd::AsFd as _;

    use super::*;

    fn file(len: usize) -> (std::fs::File, Vec<u8>) {
        let bytes: Vec<u8> = (0..len).map(|at| (at * 7 + at / 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        (file, bytes)
    }

    #[test]
    fn copies_are_exact_at_every_alignment() {
        let (file, bytes) = file(4096);
        let mapping = Mapping::new(file.as_fd(), 0, bytes.len()).unwrap();
        for start in 0..80 {
            for len in [0, 1, 7, 8, 63, 64, 65, 127, 200, 1000] {
                let mut out = vec![0; len];
                assert!(mapping.copy_out(start, &mut out));
                assert_eq!(out, bytes[start..start + len], "{len} bytes from {start}");
            }
        }
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let (file, bytes) = file(4096);
        let mapping = Mapping::new(file.as_fd(), 0, bytes.len()).unwrap();
        let mut out = [0xAA; 16];
        assert!(!mapping.copy_out(4081, &mut out));
        assert!(!mapping.copy_out(usize::MAX, &mut out));
        assert_eq!(out, [0xAA; 16]);
        assert!(mapping.copy_out(4080, &mut out));
        assert_eq!(out, bytes[4080..]);
    }

    #[test]
    fn an_empty_mapping_is_refused() {
        let (file, _) = file(16);
        assert_eq!(Mapping::new(file.as_fd(), 0, 0).unwrap_err(), rustix::io::Errno::INVAL);
    }
}
