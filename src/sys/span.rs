// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bytes that can be read and that others may be writing: less than a slice.

use std::marker::PhantomData;

/// Bytes that are mapped, readable and initialised for `'a`, and that may change at any time.
///
/// It lends an address to the loads of `blit`, each of which is one instruction that the compiler
/// can't see into. It never becomes a reference.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span<'a> {
    base: *const u8,
    len: usize,
    of: PhantomData<&'a ()>,
}

// SAFETY: it is as a shared reference is, to bytes that any thread may load.
unsafe impl Send for Span<'_> {}
// SAFETY: as for `Send`.
unsafe impl Sync for Span<'_> {}

impl<'a> Span<'a> {
    /// # Safety
    ///
    /// `len` bytes from `base` on are mapped, readable and initialised for `'a`.
    pub(super) const unsafe fn new(base: *const u8, len: usize) -> Self {
        Self { base, len, of: PhantomData }
    }

    /// Ordinary memory, which nobody changes meanwhile.
    pub(crate) const fn of(bytes: &'a [u8]) -> Self {
        Self { base: bytes.as_ptr(), len: bytes.len(), of: PhantomData }
    }

    /// `len` bytes from `offset` on.
    ///
    /// # Panics
    ///
    /// Where they are not all inside.
    pub(crate) fn part(self, offset: usize, len: usize) -> Self {
        let inside = offset.checked_add(len).is_some_and(|end| end <= self.len);
        assert!(inside, "{len} bytes at {offset} of {}", self.len);
        // The offset was just checked, so this does not wrap.
        Self { base: self.base.wrapping_add(offset), len, of: PhantomData }
    }

    /// The first of [`len`](Self::len) bytes.
    pub(crate) const fn as_ptr(self) -> *const u8 {
        self.base
    }

    /// Bytes.
    pub(crate) const fn len(self) -> usize {
        self.len
    }
}
