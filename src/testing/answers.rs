// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The host's side of a mock: its answers, by the paths that a real device's take.

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

use super::mock::Mock;
use super::op::Op;
use crate::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionDevice, RegionIndex};
use crate::error::{Call, Result};
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DEVICE_FLAGS_PCI, DeviceInfo, PLANE_PROBE, PlaneInfo};

impl RegionDevice for Mock {
    fn device_info(&self) -> Result<DeviceInfo> {
        let mut state = self.state();
        let result = state.enter(Op::DeviceInfo);
        result.map_err(|errno| Call::DeviceInfo.refused(errno))?;
        Ok(DeviceInfo {
            argsz: size_of::<DeviceInfo>() as u32,
            flags: DEVICE_FLAGS_PCI,
            num_regions: state.layout.num_regions(),
            num_irqs: 5,
        })
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        let mut state = self.state();
        let entered = state.enter(Op::RegionInfo);
        let scripted = state.region_answers.pop_front();
        RegionInfo::query(index, |answer| {
            entered?;
            let Some(bytes) = &scripted else {
                return state.region_answer(index.0, answer);
            };
            let count = bytes.len().min(answer.len());
            answer[..count].copy_from_slice(&bytes[..count]);
            answer[count..].fill(0);
            Ok(())
        })
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        let len = buf.len() as u64;
        let call = Call::Read { index: region.index, offset, len };
        let start = region.file_offset(offset, len)?;
        let mut state = self.state();
        let result = state.enter(Op::Read).and_then(|()| state.pread(start, buf));
        result.map_err(|errno| call.refused(errno))
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        let len = data.len() as u64;
        let call = Call::Write { index: region.index, offset, len };
        let start = region.file_offset(offset, len)?;
        let mut state = self.state();
        let result = state.enter(Op::Write).and_then(|()| state.pwrite(start, data));
        result.map_err(|errno| call.refused(errno))
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        let call = Call::Map { index: region.index, offset, len };
        let bytes = region.mappable_len(offset, len)?;
        let mut state = self.state();
        let map = || -> Result<Mapping, Errno> {
            state.enter(Op::Map)?;
            state.layout.check_mmap(region.offset + offset, len)?;
            Mapping::new(self.as_fd(), region.offset + offset, bytes)
        };
        let mut map = map;
        map().map_err(|errno| call.refused(errno))
    }
}

impl GfxDevice for Mock {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        let mut info = PlaneInfo {
            argsz: size_of::<PlaneInfo>() as u32,
            flags: PLANE_PROBE | kind.flag(),
            ..Default::default()
        };
        let mut state = self.state();
        let result = state.enter(Op::Probe).and_then(|()| state.query(&mut info));
        result.map_err(|errno| Call::Probe(kind).refused(errno))
    }

    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        let mut info = PlaneInfo {
            argsz: size_of::<PlaneInfo>() as u32,
            flags: kind.flag(),
            drm_plane_type: plane.raw(),
            ..Default::default()
        };
        let mut state = self.state();
        let result = state.enter(Op::QueryPlane).and_then(|()| {
            match state.plane_answers.pop_front() {
                Some(scripted) => info = scripted,
                None => state.query(&mut info)?,
            }
            Ok(info)
        });
        result.map_err(|errno| Call::QueryPlane { plane, kind }.refused(errno))
    }

    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        let mut state = self.state();
        let result = state.enter(Op::ExportDmabuf).and_then(|()| state.export(id.0));
        result.map_err(|errno| Call::ExportDmabuf(id).refused(errno))
    }
}
