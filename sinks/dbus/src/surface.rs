// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The screen in memory that clients can map and can't hurt.
//!
//! It is a memfd, sealed before anybody has its fd: a client can neither shrink it under us, which
//! would be a SIGBUS, nor write to it. All of its pages are there from the beginning, so that a
//! machine without memory refuses it here and not amid a copy.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use rustix::fs::{
    FallocateFlags, MemfdFlags, SealFlags, fallocate, fcntl_add_seals, ftruncate, memfd_create,
};
use vfio_display::geometry::{Rect, Size};
use vfio_display::{Picture, WritableMapping};

/// Bytes of a pixel: XRGB8888, in memory B, G, R, 0xff.
pub(crate) const PIXEL: usize = 4;

/// A picture's pixels in a sealed memfd, rows without padding.
#[derive(Debug)]
pub(crate) struct Surface {
    size: Size,
    memory: WritableMapping,
    fd: Arc<OwnedFd>,
    /// A row's bytes, on their way in.
    row: Vec<u8>,
}

impl Surface {
    /// Memory for a picture of `size`, which has pixels.
    pub(crate) fn new(size: Size) -> io::Result<Self> {
        let len = size.area() * PIXEL as u64;
        let fd = memfd_create("vfio-display", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        ftruncate(&fd, len)?;
        fallocate(&fd, FallocateFlags::empty(), 0, len)?;
        let bytes = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let memory = WritableMapping::new(fd.as_fd(), 0, bytes)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fcntl_add_seals(&fd, seals)?;
        Ok(Self { size, memory, fd: Arc::new(fd), row: Vec::new() })
    }

    pub(crate) const fn size(&self) -> Size {
        self.size
    }

    /// What clients map.
    pub(crate) fn fd(&self) -> Arc<OwnedFd> {
        Arc::clone(&self.fd)
    }

    /// Copies the pixels in `rect` from a picture of this size.
    pub(crate) fn take(&mut self, picture: &Picture, rect: Rect) {
        let columns = rect.x as usize..(rect.x + rect.width) as usize;
        let rows = (rect.y..).zip(picture.rows().skip(rect.y as usize));
        for (y, row) in rows.take(rect.height as usize) {
            // Damage lies inside the picture; what does not is of no frame.
            let Some(pixels) = row.get(columns.clone()) else { return };
            self.row.resize(pixels.len() * PIXEL, 0);
            for (bytes, pixel) in self.row.chunks_exact_mut(PIXEL).zip(pixels) {
                bytes.copy_from_slice(&pixel.to_le_bytes());
            }
            let inside = self.memory.copy_in(offset(self.size, rect.x, y), &self.row);
            debug_assert!(inside, "{rect} of {}", self.size);
        }
    }

    /// The bytes of the pixels in `rect`, row after row; it lies inside.
    pub(crate) fn bytes(&self, rect: Rect) -> Vec<u8> {
        let stride = rect.width as usize * PIXEL;
        let mut bytes = vec![0; stride * rect.height as usize];
        if rect.width == self.size.width {
            let inside = self.memory.copy_out(offset(self.size, 0, rect.y), &mut bytes);
            debug_assert!(inside, "{rect} of {}", self.size);
            return bytes;
        }
        for (y, row) in (rect.y..).zip(bytes.chunks_exact_mut(stride.max(1))) {
            let inside = self.memory.copy_out(offset(self.size, rect.x, y), row);
            debug_assert!(inside, "{rect} of {}", self.size);
        }
        bytes
    }
}

const fn offset(size: Size, x: u32, y: u32) -> usize {
    (y as usize * size.width as usize + x as usize) * PIXEL
}

#[cfg(test)]
mod tests {
    use rustix::fs::fcntl_get_seals;
    use rustix::io::{Errno, pwrite};

    use super::*;

    const SIZE: Size = Size::new(7, 5);

    #[test]
    fn pixels_go_in_and_come_out() {
        let mut picture = Picture::new(SIZE);
        for (y, row) in picture.rows_mut().enumerate() {
            row.iter_mut().enumerate().for_each(|(x, p)| *p = 0xff00_0000 | (y << 8 | x) as u32);
        }
        let mut surface = Surface::new(SIZE).unwrap();
        let rect = Rect { x: 2, y: 1, width: 3, height: 2 };
        surface.take(&picture, rect);
        let bytes = surface.bytes(rect);
        assert_eq!(bytes[..8], [2, 1, 0, 0xff, 3, 1, 0, 0xff]);
        assert_eq!(bytes[12..16], [2, 2, 0, 0xff]);
        let all = surface.bytes(SIZE.rect());
        assert_eq!(all.iter().filter(|byte| **byte == 0xff).count(), 6, "and nothing else");
    }

    #[test]
    fn nobody_else_shrinks_or_writes_it() {
        let surface = Surface::new(SIZE).unwrap();
        let fd = surface.fd();
        assert!(fcntl_get_seals(&fd).unwrap().contains(SealFlags::FUTURE_WRITE));
        assert_eq!(ftruncate(&fd, 0), Err(Errno::PERM));
        assert_eq!(ftruncate(&fd, 1 << 20), Err(Errno::PERM));
        assert_eq!(pwrite(&fd, &[1], 0), Err(Errno::PERM));
        assert_eq!(fcntl_add_seals(&fd, SealFlags::WRITE), Err(Errno::PERM));
        assert_eq!(WritableMapping::new(fd.as_fd(), 0, 16).unwrap_err(), Errno::PERM);
    }
}
