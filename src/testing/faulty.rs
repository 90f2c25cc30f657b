// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Faults on purpose, on any device.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::op::{Op, Script};
use super::rng::Rng;
use crate::device::{
    DmabufId, GfxDevice, IrqIndex, PlaneKind, PlaneType, RegionDevice, RegionIndex,
};
use crate::error::{Call, Errno, Result};
use crate::region::RegionInfo;
use crate::sys::Mapping;
use crate::uapi::{DeviceInfo, PlaneInfo};

/// Wraps a device, a mock or a real one, and makes it worse.
///
/// Without further calls it passes everything through. Its faults follow from the seed, which
/// `Debug` prints, and from the order of the calls: a run can be had again.
///
/// ```
/// use vfio_display::device::{GfxDevice as _, PlaneKind, PlaneType};
/// use vfio_display::geometry::Size;
/// use vfio_display::testing::{Faulty, Mock, Personality};
///
/// let mock = Mock::new(Personality::Region, Size::new(640, 480))?;
/// let device = Faulty::new(mock, 7).refuse(50).corrupt(10);
/// for _ in 0..100 {
///     let _ = device.query_plane(PlaneType::Primary, PlaneKind::Region);
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Faulty<D> {
    device: D,
    seed: u64,
    refuse_percent: u8,
    corrupt_percent: u8,
    ops: Vec<Op>,
    errnos: Vec<Errno>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    script: Script,
}

impl<D> Faulty<D> {
    /// `device` with faults drawn from `seed`.
    pub fn new(device: D, seed: u64) -> Self {
        use rustix::io::Errno as E;
        Self {
            device,
            seed,
            refuse_percent: 0,
            corrupt_percent: 0,
            ops: Op::ALL.to_vec(),
            errnos: [E::NOMEM, E::FAULT, E::INVAL, E::AGAIN, E::INTR, E::BUSY, E::NOENT, E::IO]
                .map(Errno::from)
                .to_vec(),
            state: Mutex::new(State { rng: Rng::new(seed), script: Script::default() }),
        }
    }

    /// Refuses `percent` of the calls, each with one of the errnos.
    #[must_use]
    pub fn refuse(mut self, percent: u8) -> Self {
        self.refuse_percent = percent;
        self
    }

    /// Refuses calls of these kinds only.
    #[must_use]
    pub fn only(mut self, ops: &[Op]) -> Self {
        self.ops = ops.to_vec();
        self
    }

    /// Refuses with one of these; not at all, where there is none. Otherwise with those that
    /// drivers are known to answer.
    #[must_use]
    pub fn errnos(mut self, errnos: &[Errno]) -> Self {
        self.errnos = errnos.to_vec();
        self
    }

    /// Corrupts `percent` of the answers to plane queries, each in one to three fields: a bit
    /// turned, or a value from the ends of what the field can hold.
    #[must_use]
    pub fn corrupt(mut self, percent: u8) -> Self {
        self.corrupt_percent = percent;
        self
    }

    /// Refuses the `nth` call from now on, of whatever kind, with `errno`; the next one is 1.
    pub fn fail_nth(&self, nth: u64, errno: Errno) {
        self.state().script.fail_nth(nth, errno);
    }

    /// Refuses the next `calls` calls of `op` with `errno`.
    pub fn fail_next(&self, op: Op, calls: u32, errno: Errno) {
        self.state().script.fail_next(op, calls, errno);
    }

    /// How often `op` was called, refused calls included.
    pub fn calls(&self, op: Op) -> u64 {
        self.state().script.count(op)
    }

    /// The seed that it was made with.
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// The device behind it.
    pub const fn device(&self) -> &D {
        &self.device
    }

    /// The device, back.
    pub fn into_inner(self) -> D {
        self.device
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and refuses it where the script or chance says so.
    fn enter(&self, op: Op, call: Call) -> Result<()> {
        let mut state = self.state();
        if let Some(errno) = state.script.enter(op) {
            return Err(call.refused(errno));
        }
        if !self.ops.contains(&op)
            || self.errnos.is_empty()
            || !state.rng.percent(self.refuse_percent)
        {
            return Ok(());
        }
        let at = state.rng.below(self.errnos.len() as u64);
        Err(call.refused(self.errnos[at as usize]))
    }
}

impl<D: RegionDevice> RegionDevice for Faulty<D> {
    fn device_info(&self) -> Result<DeviceInfo> {
        self.enter(Op::DeviceInfo, Call::DeviceInfo)?;
        self.device.device_info()
    }

    fn region_info(&self, index: RegionIndex) -> Result<RegionInfo> {
        self.enter(Op::RegionInfo, Call::RegionInfo(index))?;
        self.device.region_info(index)
    }

    fn read(&self, region: &RegionInfo, offset: u64, buf: &mut [u8]) -> Result<()> {
        let (index, len) = (region.index, buf.len() as u64);
        self.enter(Op::Read, Call::Read { index, offset, len })?;
        self.device.read(region, offset, buf)
    }

    fn write(&self, region: &RegionInfo, offset: u64, data: &[u8]) -> Result<()> {
        let (index, len) = (region.index, data.len() as u64);
        self.enter(Op::Write, Call::Write { index, offset, len })?;
        self.device.write(region, offset, data)
    }

    fn map(&self, region: &RegionInfo, offset: u64, len: u64) -> Result<Mapping> {
        let index = region.index;
        self.enter(Op::Map, Call::Map { index, offset, len })?;
        self.device.map(region, offset, len)
    }

    fn set_eventfd(&self, index: IrqIndex, eventfd: Option<BorrowedFd<'_>>) -> Result<()> {
        self.device.set_eventfd(index, eventfd)
    }
}

impl<D: GfxDevice> GfxDevice for Faulty<D> {
    fn probe(&self, kind: PlaneKind) -> Result<()> {
        self.enter(Op::Probe, Call::Probe(kind))?;
        self.device.probe(kind)
    }

    fn query_plane(&self, plane: PlaneType, kind: PlaneKind) -> Result<PlaneInfo> {
        self.enter(Op::QueryPlane, Call::QueryPlane { plane, kind })?;
        let mut info = self.device.query_plane(plane, kind)?;
        let mut state = self.state();
        if state.rng.percent(self.corrupt_percent) {
            for _ in 0..=state.rng.below(3) {
                corrupt(&mut info, &mut state.rng);
            }
        }
        Ok(info)
    }

    fn export_dmabuf(&self, id: DmabufId) -> Result<OwnedFd> {
        self.enter(Op::ExportDmabuf, Call::ExportDmabuf(id))?;
        self.device.export_dmabuf(id)
    }
}

impl<D: AsFd> AsFd for Faulty<D> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

/// Makes one field of `info` wrong.
fn corrupt(info: &mut PlaneInfo, rng: &mut Rng) {
    let wrong = |value: u64, bits: u32, rng: &mut Rng| match rng.below(8) {
        0 => 0,
        1 => 1,
        2 => u64::MAX,
        3 => 1 << (bits - 1),
        // Around the longest side of a plane, and one off from the truth.
        4 => 16384 + rng.below(2),
        5 => value.wrapping_add(rng.below(2) * 2).wrapping_sub(1),
        _ => value ^ 1 << rng.below(u64::from(bits)),
    };
    let fields = [
        &mut info.drm_format,
        &mut info.width,
        &mut info.height,
        &mut info.stride,
        &mut info.size,
        &mut info.x_pos,
        &mut info.y_pos,
        &mut info.x_hot,
        &mut info.y_hot,
        &mut info.region_or_dmabuf,
    ];
    match fields.into_iter().nth(rng.below(11) as usize) {
        Some(field) => *field = wrong(u64::from(*field), 32, rng) as u32,
        None => info.drm_format_mod = wrong(info.drm_format_mod, 64, rng),
    }
}
