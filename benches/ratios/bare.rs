// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a scan can't be faster than: memory that is read, or copied, in the order and by the
//! instructions of the engine, and nothing else done.

use super::rivals;

/// Rows of which lines are asked for in turn.
const GROUP: usize = 4;
const LINE: usize = 64;

/// Reads rows of `row_len` bytes, and copies them to `to`, which is as long, where there is one.
/// Without AVX-512 it is a plain read, or memcpy.
pub(crate) fn pass(bytes: &[u8], row_len: usize, to: Option<&mut [u8]>) -> u64 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        assert!(to.as_ref().is_none_or(|to| to.len() == bytes.len()), "as long");
        let to = to.map(<[u8]>::as_mut_ptr);
        // SAFETY: the CPU has it, and there are as many bytes to copy to.
        return unsafe { wide(bytes, row_len, to) };
    }
    match to {
        Some(to) => {
            to.copy_from_slice(bytes);
            0
        }
        None => rivals::read(bytes),
    }
}

/// # Safety
///
/// `to` has room for `bytes`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn wide(bytes: &[u8], row_len: usize, to: Option<*mut u8>) -> u64 {
    use std::arch::x86_64::*;

    // Around the caches whole lines alone can be stored.
    let to = to.filter(|to| to.addr().is_multiple_of(LINE));
    let mut sum = _mm512_setzero_si512();
    for (group, rows) in bytes.chunks(GROUP * row_len).enumerate() {
        let next = bytes.as_ptr().wrapping_add((group + 1) * GROUP * row_len);
        for (n, line) in rows.as_chunks::<LINE>().0.iter().enumerate() {
            let at = group * GROUP * row_len + n * LINE;
            let ahead = next.wrapping_add(n % GROUP * row_len + n / GROUP * LINE);
            // SAFETY: a prefetch may be of any address, and the line is there twice.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(ahead.cast());
                let line = _mm512_loadu_si512(line.as_ptr().cast());
                match to {
                    Some(to) => _mm512_stream_si512(to.add(at).cast(), line),
                    None => sum = _mm512_xor_si512(sum, line),
                }
            }
        }
    }
    _mm_sfence();
    _mm512_reduce_add_epi64(sum) as u64
}
