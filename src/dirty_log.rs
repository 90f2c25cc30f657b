// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Pages that a guest's CPUs wrote, as damage: looking at a screen then costs what changed.
//!
//! A hypervisor that logs writes ("dirty log") says which pages of guest memory were written since
//! it was last asked. [`PageDamage`] turns pages into rectangles of a picture that is in that
//! memory: of the boot display, or of a framebuffer in a BAR that is guest memory, whoever reads
//! the log. With feature `kvm`, [`KvmDirtyLog`] reads it from KVM.
//!
//! The log knows the guest's CPUs alone. What the VMM writes into guest memory, for DMA or on a
//! restore, is not in it, so after such things the whole picture is damaged.

use crate::geometry::Rect;
use crate::ramfb::RamPlane;

#[cfg(feature = "kvm")]
mod kvm;
#[cfg(feature = "kvm")]
pub use kvm::{KvmDirtyLog, Slot};

/// Rectangles from pages.
///
/// A row that a page covers in part is damaged in those columns if the page covers no other row,
/// and all along otherwise. It keeps its memory from one time to the next.
#[derive(Clone, Debug, Default)]
pub struct PageDamage {
    /// For each row the columns that are damaged; `0..0` if none.
    rows: Vec<(u32, u32)>,
}

impl PageDamage {
    /// No damage yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts over, for a picture of `plane`'s size.
    pub fn begin(&mut self, plane: &RamPlane) {
        self.rows.clear();
        self.rows.resize(plane.size().height as usize, (0, 0));
    }

    /// Adds the pages whose bits are set in `log`, the least significant bit of the first word
    /// being the page of `page_size` bytes at guest physical address `start`.
    pub fn add(&mut self, plane: &RamPlane, start: u64, page_size: u64, log: &[u64]) {
        let (first, end) = (plane.address(), plane.address() + plane.len());
        if end <= start {
            return;
        }
        // Only the words that are about the picture: the log may be that of all memory.
        let word = |address: u64| (address.saturating_sub(start) / page_size / 64) as usize;
        let words = (word(first)..).zip(log.get(word(first)..).unwrap_or_default());
        for (index, word) in words.take(word(end - 1) - word(first) + 1) {
            let mut word = *word;
            while word != 0 {
                let bit = word.trailing_zeros();
                word &= word - 1;
                let at = start + (index as u64 * 64 + u64::from(bit)) * page_size;
                let (from, to) = (at.max(first), (at + page_size).min(end));
                if from < to {
                    self.add_bytes(plane, from - first, to - first);
                }
            }
        }
    }

    /// Adds bytes, counted from the first pixel.
    fn add_bytes(&mut self, plane: &RamPlane, from: u64, to: u64) {
        let stride = u64::from(plane.stride());
        let (top, bottom) = (from / stride, (to - 1) / stride);
        let width = plane.size().width;
        let columns = if top == bottom {
            let pixel = u64::from(plane.format().bytes_per_pixel());
            let left = (from % stride / pixel) as u32;
            let right = ((to - 1) % stride / pixel) as u32 + 1;
            (left, right.min(width))
        } else {
            (0, width)
        };
        // Of padding there is no damage.
        if columns.0 >= columns.1 {
            return;
        }
        for row in &mut self.rows[top as usize..=bottom as usize] {
            *row = match *row {
                (0, 0) => columns,
                (left, right) => (left.min(columns.0), right.max(columns.1)),
            };
        }
    }

    /// The damage, from the top: rectangles that do not overlap, added to `rects`.
    pub fn rects(&self, rects: &mut Vec<Rect>) {
        let mut y = 0;
        for same in self.rows.chunk_by(|above, below| above == below) {
            let height = same.len() as u32;
            let (x, right) = same[0];
            if x < right {
                rects.push(Rect { x, y, width: right - x, height });
            }
            y += height;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ramfb::Config;

    const XRGB: Config = Config::XRGB;

    fn damage(config: Config, pages: &[u64]) -> Vec<String> {
        let plane = RamPlane::new(&config).unwrap();
        let mut log = [0; 8];
        for page in pages {
            log[*page as usize / 64] |= 1 << (page % 64);
        }
        let (mut damage, mut rects) = (PageDamage::new(), Vec::new());
        damage.begin(&plane);
        damage.add(&plane, 0x1000, 4096, &log);
        damage.rects(&mut rects);
        rects.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_page_is_a_row_where_strides_are_pages() {
        let config = Config { address: 0x3000, width: 1024, height: 64, ..XRGB };
        assert!(damage(config, &[]).is_empty());
        assert_eq!(damage(config, &[2]), ["1024x1+0+0"]);
        assert_eq!(damage(config, &[3, 4, 5, 9]), ["1024x3+0+1", "1024x1+0+7"]);
        assert!(damage(config, &[0, 1, 66, 511]).is_empty(), "other memory");
        assert_eq!(damage(config, &[65]), ["1024x1+0+63"]);
    }

    #[test]
    fn a_page_of_several_rows_damages_them_all() {
        let config = Config { address: 0x1000, width: 640, height: 64, ..XRGB };
        assert_eq!(damage(config, &[0]), ["640x2+0+0"]);
        assert_eq!(damage(config, &[1]), ["640x3+0+1"]);
        // The picture begins in the middle of a page: of the first, 0x100 bytes are in it.
        let config = Config { address: 0x1f00, ..config };
        assert_eq!(damage(config, &[0]), ["64x1+0+0"]);
        assert_eq!(damage(config, &[1]), ["640x2+0+0"]);
    }

    #[test]
    fn a_part_of_a_row_is_damaged_in_its_columns() {
        let config = Config { address: 0x1000, width: 4096, height: 16, ..XRGB };
        assert_eq!(damage(config, &[1]), ["1024x1+1024+0"]);
        assert_eq!(damage(config, &[1, 2, 5, 6]), ["2048x2+1024+0"]);
        // Padding alone is no damage, and a column in part is a whole one.
        let config = Config { width: 1000, stride: 0x2000, ..config };
        assert!(damage(config, &[1, 3]).is_empty());
        let rg24 = u32::from_le_bytes(*b"RG24");
        let config = Config { fourcc: rg24, width: 4000, stride: 12000, ..config };
        assert_eq!(damage(config, &[1]), ["1366x1+1365+0"]);
    }
}
