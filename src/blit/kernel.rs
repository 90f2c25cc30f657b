// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Which instructions scan a row, and the one loop that all of them share.

use super::ahead::Ahead;
use super::key::Key;
use crate::damage::TILE;
use crate::sys::Span;

/// Longest segment, in bytes.
pub(super) const MAX_SEGMENT: usize = 384;

/// Bytes of a row of a tile on a screen.
const TILE_LEN: usize = TILE as usize * 4;

/// What takes in the segments of a row that count as changed.
pub(super) trait Take {
    /// Where segment `index`, whose hash is another than before, goes as it is; `None` where it is
    /// for [`changed`](Self::changed). Asked of whole segments only.
    fn direct(&mut self, index: usize) -> Option<Direct<'_>>;

    /// Segment `index` went there: those of its tiles that have a bit in `tiles` were stored.
    fn stored(&mut self, index: usize, tiles: u64);

    /// Takes in segment `index`: its bytes, which are those that were hashed, and whether their
    /// hash is another than before.
    fn changed(&mut self, index: usize, bytes: &[u8], differs: bool);
}

/// A segment's place on a screen whose pixels lie in memory as those of the plane do.
pub(super) struct Direct<'a> {
    /// As many bytes as the segment has.
    pub(super) shown: &'a mut [u32],
    /// Bits that are set in each pixel.
    pub(super) opaque: u32,
    /// How to store.
    pub(super) how: Store<'a>,
}

/// How a segment is stored.
#[derive(Clone, Copy)]
pub(super) enum Store<'a> {
    /// Those of its tiles that differ from what is there.
    Differing,
    /// All of it.
    All,
    /// All of it, around the caches where this CPU can.
    Streamed(&'a Streams),
}

/// Lets stores go around the caches. They are in memory, for whoever looks, when it is dropped.
#[derive(Debug)]
pub(crate) struct Streams;

impl Drop for Streams {
    fn drop(&mut self) {
        #[cfg(target_arch = "x86_64")]
        super::arch::x86_64::fence();
    }
}

/// A row to be scanned.
pub(super) struct Row<'a> {
    /// Its bytes.
    pub(super) bytes: Span<'a>,
    /// What will be scanned after it.
    pub(super) ahead: Option<Ahead>,
    /// The hashes of its segments, to be brought up to date.
    pub(super) hashes: &'a mut [u64],
    /// Whether each segment counts as changed.
    pub(super) force: bool,
}

/// Instructions that hash. A value other than `Scalar` is proof that this CPU has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel(Instructions);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Instructions {
    #[cfg(target_arch = "x86_64")]
    Vaes512,
    #[cfg(target_arch = "x86_64")]
    Vaes256,
    #[cfg(target_arch = "x86_64")]
    AesNi,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Scalar,
}

impl Kernel {
    /// Needs no instructions that a CPU may lack.
    #[cfg(test)]
    pub(crate) const SCALAR: Self = Self(Instructions::Scalar);

    /// The kernels that this CPU has, the fastest first.
    pub(crate) fn available() -> impl Iterator<Item = Self> {
        let kernels = [
            #[cfg(target_arch = "x86_64")]
            (
                Instructions::Vaes512,
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("vaes"),
            ),
            #[cfg(target_arch = "x86_64")]
            (
                Instructions::Vaes256,
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("vaes"),
            ),
            #[cfg(target_arch = "x86_64")]
            (Instructions::AesNi, is_x86_feature_detected!("aes")),
            #[cfg(target_arch = "aarch64")]
            (Instructions::Neon, std::arch::is_aarch64_feature_detected!("aes")),
            (Instructions::Scalar, true),
        ];
        let there = kernels.into_iter().filter(|(_, has)| *has);
        there.map(|(instructions, _)| Self(instructions)).filter(|kernel| kernel.is_right())
    }

    /// Whether the wide registers hash what the narrow ones do. There are emulators on which they
    /// do not: QEMU 7.2 without KVM takes one half of a register for both, and half of all changes
    /// would never be seen.
    fn is_right(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        if matches!(self.0, Instructions::Vaes512 | Instructions::Vaes256) {
            let bytes = std::array::from_fn(|at| (at * 37 + at / 7) as u8);
            let key = Key::random();
            return is_x86_feature_detected!("aes")
                && self.hash(&bytes, &key) == Self(Instructions::AesNi).hash(&bytes, &key);
        }
        true
    }

    /// The hash of one segment.
    #[cfg(target_arch = "x86_64")]
    fn hash(self, bytes: &[u8; 256], key: &Key) -> u64 {
        let mut hashes = [0];
        let row = Row { bytes: Span::of(bytes), ahead: None, hashes: &mut hashes, force: true };
        self.scan(row, false, key, &mut Nowhere);
        hashes[0]
    }

    /// Whether it can store around the caches.
    pub(super) fn streams(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Instructions::Vaes512 | Instructions::Vaes256 | Instructions::AesNi => true,
            #[cfg(target_arch = "aarch64")]
            Instructions::Neon => false,
            Instructions::Scalar => false,
        }
    }

    /// The fastest that this CPU has.
    pub(crate) fn best() -> Self {
        Self::available().next().unwrap_or(Self(Instructions::Scalar))
    }

    /// Hashes the segments of `row`, each of 384 bytes if `long` and of 256 if not, and hands on
    /// those that changed.
    pub(super) fn scan(self, row: Row<'_>, long: bool, key: &Key, take: &mut impl Take) {
        let segments = row.bytes.len().div_ceil(if long { MAX_SEGMENT } else { 256 });
        assert_eq!(row.hashes.len(), segments, "a hash for each segment");
        // SAFETY: a value of `Instructions` other than `Scalar` is made by `available` alone, of
        // what this CPU was found to have. There is a hash for each segment, as just checked.
        unsafe {
            match self.0 {
                #[cfg(target_arch = "x86_64")]
                Instructions::Vaes512 => super::arch::x86_64::vaes512(row, long, key, take),
                #[cfg(target_arch = "x86_64")]
                Instructions::Vaes256 => super::arch::x86_64::vaes256(row, long, key, take),
                #[cfg(target_arch = "x86_64")]
                Instructions::AesNi => super::arch::x86_64::aes_ni(row, long, key, take),
                #[cfg(target_arch = "aarch64")]
                Instructions::Neon => super::arch::aarch64::neon(row, long, key, take),
                Instructions::Scalar => super::arch::all::scalar(row, long, key, take),
            }
        }
    }
}

/// Takes in nothing.
#[cfg(target_arch = "x86_64")]
struct Nowhere;

#[cfg(target_arch = "x86_64")]
impl Take for Nowhere {
    fn direct(&mut self, _: usize) -> Option<Direct<'_>> {
        None
    }

    fn stored(&mut self, _: usize, _: u64) {}

    fn changed(&mut self, _: usize, _: &[u8], _: bool) {}
}

/// A register, or what stands for one.
///
/// # Safety
///
/// Every function may be called only where the CPU has the instructions of the type; `load` only
/// of `LEN` bytes that are as [`Span`] says, `store` and `stream` only into as many that are the
/// caller's, and those of `stream` are a multiple of `LEN` and read only after a [`Streams`] is gone.
pub(super) unsafe trait Register: Copy {
    /// Its bytes.
    const LEN: usize;

    /// All zeros.
    unsafe fn zero() -> Self;
    /// Loads bytes that others may be writing: once, as they are at that moment.
    unsafe fn load(from: *const u8) -> Self;
    /// Stores into our own memory.
    unsafe fn store(self, to: *mut u8);
    /// Stores into our own memory, around the caches where it can.
    unsafe fn stream(self, to: *mut u8) {
        // SAFETY: as the caller says.
        unsafe { self.store(to) }
    }
    /// Words of 32 bits, all the same.
    unsafe fn of_words(word: u32) -> Self;
    /// Whether all bits are those of the other.
    unsafe fn is(self, other: Self) -> bool;
    /// The bits of both.
    unsafe fn or(self, other: Self) -> Self;
    /// Loads from our own memory.
    unsafe fn of_ours(from: *const u8) -> Self;
    /// Mixes a block with the key of its place in the segment and with two that all share.
    unsafe fn mix(self, place: Self, shared: [Self; 2]) -> Self;
    /// The sum of mixed blocks, in any order.
    unsafe fn add(self, other: Self) -> Self;
    /// The hash out of the sum.
    unsafe fn finish(self, shared: [Self; 2]) -> u64;
}

/// Scans a row by segments of `N` registers.
///
/// # Safety
///
/// The CPU has the instructions of `R`; `row` has a hash for each segment, a short one at its end
/// included; `N` registers are at most [`MAX_SEGMENT`] bytes.
#[inline(always)]
pub(super) unsafe fn scan<R: Register, const N: usize>(
    row: Row<'_>,
    key: &Key,
    take: &mut impl Take,
) {
    let (segment, segments) = (N * R::LEN, row.hashes.len());
    let (base, len) = (row.bytes.as_ptr(), row.bytes.len());
    let mut out = [0; MAX_SEGMENT];
    for (index, seen) in row.hashes.iter_mut().enumerate() {
        let at = index * segment;
        let count = segment.min(len - at);
        if let Some(ahead) = row.ahead {
            ahead.ask(index, segments, segment);
        }
        let from = if count == segment {
            base.wrapping_add(at)
        } else {
            // The rest of a row, with zeros behind it: as many in each scan.
            out.fill(0);
            for (byte, out) in out[..count].iter_mut().enumerate() {
                // SAFETY: `at + byte` is below `len`.
                *out = unsafe { base.add(at + byte).read_volatile() };
            }
            out.as_ptr()
        };
        // SAFETY: `segment` bytes from `from` on are inside the row, or they are ours.
        let (blocks, hash) = unsafe { hash::<R, N>(from, key) };
        let differs = hash != *seen;
        if !differs && !row.force {
            continue;
        }
        *seen = hash;
        if differs
            && count == segment
            && let Some(direct) = take.direct(index)
        {
            // SAFETY: the caller vouches for the instructions.
            let tiles = unsafe { put(&blocks, direct) };
            take.stored(index, tiles);
        } else {
            for (block, out) in blocks.iter().zip(out.chunks_exact_mut(R::LEN)) {
                // SAFETY: `out` is `LEN` bytes of ours.
                unsafe { block.store(out.as_mut_ptr()) };
            }
            take.changed(index, &out[..count], differs);
        }
    }
}

/// Stores a segment where it goes as it is. Answers with a bit for each tile that was stored.
///
/// # Safety
///
/// The CPU has the instructions of `R`.
#[inline(always)]
unsafe fn put<R: Register, const N: usize>(blocks: &[R; N], direct: Direct<'_>) -> u64 {
    let Direct { shown, opaque, how } = direct;
    assert_eq!(shown.len() * 4, N * R::LEN, "a segment's place");
    let to = shown.as_mut_ptr().cast::<u8>();
    // SAFETY: the caller vouches for the instructions.
    let opaque = unsafe { R::of_words(opaque) };
    let blocks_of = |tile: usize| tile * TILE_LEN / R::LEN..(tile + 1) * TILE_LEN / R::LEN;
    let store = |tile: usize, stream: bool| {
        blocks_of(tile).for_each(|at| {
            // SAFETY: the place has `N` times `LEN` bytes. For a stream it begins at a multiple of
            // `LEN`, so each block does, and the `Streams` outlives the loan of the screen.
            unsafe {
                let (block, to) = (blocks[at].or(opaque), to.add(at * R::LEN));
                if stream { block.stream(to) } else { block.store(to) }
            }
        });
    };
    let tiles = N * R::LEN / TILE_LEN;
    let mut stored = 0;
    match how {
        Store::Differing => {
            for tile in 0..tiles {
                // SAFETY: block `at` of the place is `LEN` bytes of it.
                let same = blocks_of(tile)
                    .all(|at| unsafe { blocks[at].or(opaque).is(R::of_ours(to.add(at * R::LEN))) });
                if !same {
                    store(tile, false);
                    stored |= 1 << tile;
                }
            }
            return stored;
        }
        Store::Streamed(Streams) if to.addr().is_multiple_of(R::LEN) => {
            (0..tiles).for_each(|tile| store(tile, true));
        }
        Store::All | Store::Streamed(_) => (0..tiles).for_each(|tile| store(tile, false)),
    }
    (1 << tiles) - 1
}

/// A segment, in registers, and its hash.
#[inline(always)]
unsafe fn hash<R: Register, const N: usize>(from: *const u8, key: &Key) -> ([R; N], u64) {
    let places = key.places.as_ptr();
    // SAFETY: the caller vouches for the instructions and for the segment; a key has as many
    // bytes for places as the longest segment has, and 64 for each shared one.
    unsafe {
        let shared = [R::of_ours(key.shared[0].as_ptr()), R::of_ours(key.shared[1].as_ptr())];
        let mut blocks = [R::zero(); N];
        for (at, block) in blocks.iter_mut().enumerate() {
            *block = R::load(from.wrapping_add(at * R::LEN));
        }
        let mut sum = R::zero();
        for (at, block) in blocks.iter().enumerate() {
            let place = R::of_ours(places.wrapping_add(at * R::LEN));
            sum = sum.add(block.mix(place, shared));
        }
        (blocks, sum.finish(shared))
    }
}
