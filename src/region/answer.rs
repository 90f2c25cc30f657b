// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The bytes of an answer, and what can be wrong with them.

use std::ops::Range;

use super::{Capability, MAX_ANSWER, RegionFlags, RegionInfo};
use crate::device::RegionIndex;
use crate::uapi::{CAP_SPARSE_MMAP, CAP_TYPE, REGION_HEAD_BYTES};

/// Bytes of `vfio_info_cap_header`.
const CAP_HEAD: usize = 8;
/// Bytes of `vfio_region_info_cap_sparse_mmap` before its areas, and of one area.
const SPARSE_HEAD: usize = 16;
const SPARSE_AREA: usize = 16;
/// Bytes of `vfio_region_info_cap_type`.
const TYPE_BYTES: usize = 16;

/// What is wrong with a region's answer. Offsets are in bytes from the start of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegionError {
    /// The answer is shorter than its fixed head.
    #[error("answer of {len} bytes, its head alone has {REGION_HEAD_BYTES}")]
    Short {
        /// Bytes that came.
        len: usize,
    },
    /// The answer is said to need more bytes than any sensible one.
    #[error("answer said to need {argsz} bytes, at most {MAX_ANSWER} are taken")]
    TooLong {
        /// `argsz` as the device set it.
        argsz: u32,
    },
    /// The answer is about another region.
    #[error("answer is about region {got}")]
    OtherRegion {
        /// The index in the answer.
        got: u32,
    },
    /// The region does not lie in a file.
    #[error("{size:#x} bytes at file offset {offset:#x} pass the end of any file")]
    Wraps {
        /// Its offset in the device's file.
        offset: u64,
        /// Its bytes.
        size: u64,
    },
    /// A capability does not lie in the answer.
    #[error("capability at {at} with {needed} bytes lies outside the answer of {len}")]
    CapabilityOutside {
        /// Where it starts.
        at: u32,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that came.
        len: usize,
    },
    /// A capability points back, so the chain may never end.
    #[error("capability at {at} is followed by {next}, which is not behind it")]
    CapabilityLoop {
        /// Where the capability starts.
        at: u32,
        /// Where it says the next one is.
        next: u32,
    },
    /// A part that can be mapped lies outside the region.
    #[error("mappable area of {len:#x} bytes at {start:#x} lies outside the region's {size:#x}")]
    AreaOutside {
        /// Where the area starts.
        start: u64,
        /// Its bytes.
        len: u64,
        /// Bytes of the region.
        size: u64,
    },
}

pub(super) fn parse(index: RegionIndex, answer: &[u8]) -> Result<RegionInfo, RegionError> {
    let short = RegionError::Short { len: answer.len() };
    let flags = RegionFlags::from_bits_retain(u32_at(answer, 4).ok_or(short)?);
    let got = u32_at(answer, 8).ok_or(short)?;
    let first = u32_at(answer, 12).ok_or(short)?;
    let size = u64_at(answer, 16).ok_or(short)?;
    let offset = u64_at(answer, 24).ok_or(short)?;
    if got != index.0 {
        return Err(RegionError::OtherRegion { got });
    }
    // A file offset is signed in the kernel.
    if offset.checked_add(size).is_none_or(|end| end > i64::MAX as u64) {
        return Err(RegionError::Wraps { offset, size });
    }
    let mut capabilities = Vec::new();
    if flags.contains(RegionFlags::CAPS) && first != 0 {
        let mut at = first;
        loop {
            let (capability, next) = parse_capability(answer, at, size)?;
            capabilities.push(capability);
            if next == 0 {
                break;
            }
            if (next as usize) < at as usize + CAP_HEAD {
                return Err(RegionError::CapabilityLoop { at, next });
            }
            at = next;
        }
    }
    Ok(RegionInfo { index, flags, size, offset, capabilities })
}

/// Reads the capability at `at`; answers with it and where the next one is, 0 for none.
fn parse_capability(
    answer: &[u8],
    at: u32,
    region_size: u64,
) -> Result<(Capability, u32), RegionError> {
    let outside = |needed: u64| RegionError::CapabilityOutside { at, needed, len: answer.len() };
    let start = at as usize;
    // An offset inside the head would read the region's own fields as a capability.
    let bytes = match answer.get(start..) {
        Some(bytes) if start >= REGION_HEAD_BYTES => bytes,
        _ => return Err(outside(CAP_HEAD as u64)),
    };
    let field = |at: usize, needed: usize| u32_at(bytes, at).ok_or(outside(needed as u64));
    let id_version = field(0, CAP_HEAD)?.to_ne_bytes();
    let id = u16::from_ne_bytes([id_version[0], id_version[1]]);
    let version = u16::from_ne_bytes([id_version[2], id_version[3]]);
    let next = field(4, CAP_HEAD)?;
    let capability = match id {
        CAP_TYPE => {
            Capability::Type { kind: field(8, TYPE_BYTES)?, subtype: field(12, TYPE_BYTES)? }
        }
        CAP_SPARSE_MMAP => {
            let count = field(8, SPARSE_HEAD)?;
            let needed = SPARSE_HEAD as u64 + u64::from(count) * SPARSE_AREA as u64;
            if needed > bytes.len() as u64 {
                return Err(outside(needed));
            }
            Capability::SparseMmap(parse_areas(&bytes[SPARSE_HEAD..needed as usize], region_size)?)
        }
        _ => Capability::Other { id, version },
    };
    Ok((capability, next))
}

/// Reads the areas of a sparse capability; empty ones, which drivers do report, are left out.
fn parse_areas(bytes: &[u8], size: u64) -> Result<Vec<Range<u64>>, RegionError> {
    let mut areas = Vec::new();
    for area in bytes.chunks_exact(SPARSE_AREA) {
        let start = u64_at(area, 0).unwrap_or_default();
        let len = u64_at(area, 8).unwrap_or_default();
        match start.checked_add(len) {
            _ if len == 0 => {}
            Some(end) if end <= size => areas.push(start..end),
            _ => return Err(RegionError::AreaOutside { start, len, size }),
        }
    }
    Ok(areas)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_ne_bytes(*field))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    /// A `vfio_region_info` with `tail` behind its head.
    fn answer(flags: u32, index: u32, cap_offset: u32, size: u64, tail: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for word in [(REGION_HEAD_BYTES + tail.len()) as u32, flags, index, cap_offset] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(size.to_ne_bytes());
        bytes.extend((u64::from(index) << 40).to_ne_bytes());
        bytes.extend(tail);
        bytes
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    fn cap_head(id: u16, version: u16) -> u32 {
        let (id, version) = (id.to_ne_bytes(), version.to_ne_bytes());
        u32::from_ne_bytes([id[0], id[1], version[0], version[1]])
    }

    fn error(bytes: &[u8]) -> RegionError {
        match RegionInfo::parse(RegionIndex(9), bytes) {
            Err(Error::Region { error, .. }) => error,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_chain_is_read_in_order() {
        let tail = words(&[
            cap_head(CAP_TYPE, 1),
            48,
            1,
            1,
            cap_head(CAP_SPARSE_MMAP, 1),
            96,
            2,
            0,
            0,
            0,
            4096,
            0,
            0,
            0,
            0,
            0,
            cap_head(7, 3),
            0,
        ]);
        let info = RegionInfo::parse(RegionIndex(9), &answer(15, 9, 32, 8192, &tail)).unwrap();
        assert!(info.is_edid());
        assert_eq!(
            info.capabilities[1],
            Capability::SparseMmap(std::iter::once(0..4096).collect())
        );
        assert_eq!(info.capabilities[2], Capability::Other { id: 7, version: 3 });
        assert_eq!(info.mappable_len(0, 4096), Ok(4096));
        assert_eq!(
            info.mappable_len(0, 4097).unwrap_err().to_string(),
            "region 9: 4097 bytes at 0x0 do not fit its 4096 bytes"
        );
    }

    #[test]
    fn a_chain_that_turns_back_ends() {
        let tail = words(&[cap_head(7, 1), 32]);
        assert_eq!(
            error(&answer(8, 9, 32, 0, &tail)),
            RegionError::CapabilityLoop { at: 32, next: 32 }
        );
        // A link into the middle of its own head is no step forward either.
        let tail = words(&[cap_head(7, 1), 36, 0]);
        assert_eq!(
            error(&answer(8, 9, 32, 0, &tail)),
            RegionError::CapabilityLoop { at: 32, next: 36 }
        );
    }

    #[test]
    fn nothing_is_read_outside_the_answer() {
        assert_eq!(error(&[0; 31]), RegionError::Short { len: 31 });
        for at in [16, 33, 40, u32::MAX] {
            let tail = words(&[cap_head(7, 1)]);
            assert!(matches!(
                error(&answer(8, 9, at, 0, &tail)),
                RegionError::CapabilityOutside { .. }
            ));
        }
        let tail = words(&[cap_head(CAP_SPARSE_MMAP, 1), 0, u32::MAX, 0]);
        assert_eq!(
            error(&answer(12, 9, 32, 4096, &tail)),
            RegionError::CapabilityOutside { at: 32, needed: 16 + 16 * 0xffff_ffff, len: 48 }
        );
    }

    #[test]
    fn numbers_that_wrap_are_refused() {
        let tail = words(&[cap_head(CAP_SPARSE_MMAP, 1), 0, 1, 0, !0, !0, 1, 0]);
        assert!(matches!(
            error(&answer(12, 9, 32, 4096, &tail)),
            RegionError::AreaOutside { start: u64::MAX, len: 1, size: 4096 }
        ));
        assert!(matches!(error(&answer(0, 9, 0, u64::MAX, &[])), RegionError::Wraps { .. }));
        assert_eq!(error(&answer(0, 8, 0, 0, &[])), RegionError::OtherRegion { got: 8 });
    }

    #[test]
    fn an_access_has_to_fit() {
        let info = RegionInfo::parse(RegionIndex(9), &answer(3, 9, 0, 100, &[])).unwrap();
        assert_eq!(info.file_offset(96, 4), Ok((9 << 40) + 96));
        assert!(info.file_offset(97, 4).is_err());
        assert!(info.file_offset(u64::MAX, 2).is_err());
        assert_eq!(info.mappable_from_start(), 0, "no MMAP flag");
    }

    #[test]
    fn the_second_answer_counts() {
        let full = answer(15, 9, 32, 8192, &words(&[cap_head(CAP_TYPE, 1), 0, 1, 1]));
        let mut asked = Vec::new();
        let info = RegionInfo::query(RegionIndex(9), |buf| {
            asked.push(buf.len());
            if buf.len() == REGION_HEAD_BYTES {
                buf.fill(0);
                buf[..4].copy_from_slice(&full[..4]);
            } else {
                buf.copy_from_slice(&full);
            }
            Ok(())
        });
        assert_eq!(asked, [32, 48]);
        assert!(info.unwrap().is_edid());

        let huge = RegionInfo::query(RegionIndex(9), |buf| {
            buf[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
            Ok(())
        });
        let error = RegionError::TooLong { argsz: u32::MAX };
        assert_eq!(huge, Err(Error::Region { index: RegionIndex(9), error }));
    }
}
