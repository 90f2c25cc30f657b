// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Reading the page: all of it in one state, and not at all while nothing changes.

use crate::device::RegionDevice;
use crate::error::Result;
use crate::fb_region::layout::{self, PAGE_LEN};
use crate::fb_region::{FbRegionError, Page, read_steady, sequence};
use crate::region::RegionInfo;

#[derive(Debug)]
pub(super) struct Reader {
    page: Page,
    /// What the next state is read into.
    spare: Box<[u8; PAGE_LEN]>,
    /// The page's sequence, once there is nothing left to do about it.
    settled: Option<u64>,
}

impl Reader {
    /// Reads the page of `region` for the first time, and checks it.
    ///
    /// # Errors
    ///
    /// What the device answers, and [`FbRegionError`].
    pub(super) fn new<D: RegionDevice + ?Sized>(device: &D, region: &RegionInfo) -> Result<Self> {
        let page = Page::read(device, region)?;
        Ok(Self { page, spare: Box::new([0; PAGE_LEN]), settled: None })
    }

    /// The page as it was last read.
    pub(super) const fn page(&self) -> &Page {
        &self.page
    }

    /// Nothing is left to do about the page as it was last read.
    pub(super) fn settle(&mut self) {
        self.settled = Some(self.page.sequence());
    }

    /// Something is.
    pub(super) const fn unsettle(&mut self) {
        self.settled = None;
    }

    /// Reads the page, unless it is settled. Answers whether it did.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn refresh<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        region: &RegionInfo,
    ) -> Result<bool> {
        let sequence = sequence(device, region)?;
        if self.settled == Some(sequence) {
            return Ok(false);
        }
        self.read_from(device, region, sequence)?;
        Ok(true)
    }

    /// Reads the page.
    ///
    /// # Errors
    ///
    /// What the device answers, and [`FbRegionError`]: counters that went back are those of the page
    /// from then on.
    pub(super) fn read<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        region: &RegionInfo,
    ) -> Result<()> {
        let sequence = sequence(device, region)?;
        self.read_from(device, region, sequence)
    }

    fn read_from<D: RegionDevice + ?Sized>(
        &mut self,
        device: &D,
        region: &RegionInfo,
        sequence: u64,
    ) -> Result<()> {
        self.settled = None;
        read_steady(device, region, sequence, &mut self.spare)?;
        self.page.replace(&mut self.spare)?;
        for (name, counter) in [
            ("sequence", layout::SEQUENCE),
            ("generation", layout::GENERATION),
            ("frame", layout::FRAME),
        ] {
            // The spare bytes are those of the page before.
            let (from, to) = (counter.get(&*self.spare), counter.get(self.page.bytes()));
            if to < from {
                return Err(FbRegionError::Backwards { name, from, to }.into());
            }
        }
        Ok(())
    }

    /// The request of slot `index` as it is now.
    ///
    /// # Errors
    ///
    /// What the device answers.
    pub(super) fn slot_request<D: RegionDevice + ?Sized>(
        &self,
        device: &D,
        region: &RegionInfo,
        index: u16,
    ) -> Result<u32> {
        let entry = self.page.identity().slots.entry(index);
        let mut request = [0; 4];
        device.read(region, (entry.start + layout::slot::REQUEST.offset) as u64, &mut request)?;
        Ok(u32::from_le_bytes(request))
    }
}
