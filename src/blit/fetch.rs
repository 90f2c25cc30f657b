// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Bytes out of write-combined memory, a line at a time.
//!
//! Source: Intel SDM volume 1, "Streaming Load Hint Instruction". An ordinary load of such memory goes
//! out alone, whatever its width. `MOVNTDQA` has a whole line fetched into a buffer of its own, of
//! which the loads of the rest of the line are served.

use crate::sys::Span;

/// Copies `from`, each byte of which is loaded once, into `to`, which is as long.
pub(super) fn fetch(from: Span<'_>, to: &mut [u8]) {
    assert_eq!(from.len(), to.len(), "a row and its copy");
    let at = from.as_ptr();
    let head = at.align_offset(16).min(to.len());
    let (start, rest) = to.split_at_mut(head);
    bytes(at, start);
    let at = at.wrapping_add(head);
    let end = rest.len() / 16 * 16;
    let (blocks, tail) = rest.split_at_mut(end);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("sse4.1") {
        lines(at, blocks);
        return bytes(at.wrapping_add(end), tail);
    }
    bytes(at, blocks);
    bytes(at.wrapping_add(end), tail);
}

/// A buffer may hold a line of the poll before: no load passes this.
pub(super) fn wait_for_loads() {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every x86_64 has it.
    unsafe {
        std::arch::x86_64::_mm_mfence();
    }
}

/// Each byte alone, as `Span` asks for. Only `fetch` calls it, of bytes in its span.
fn bytes(from: *const u8, to: &mut [u8]) {
    for (at, byte) in to.iter_mut().enumerate() {
        // SAFETY: `fetch` splits its span as it splits `to`.
        *byte = unsafe { from.add(at).read_volatile() };
    }
}

/// Blocks of 16 bytes from a multiple of 16 on. Only `fetch` calls it, of bytes in its span, where
/// the CPU has SSE4.1.
#[cfg(target_arch = "x86_64")]
fn lines(from: *const u8, to: &mut [u8]) {
    let (lines, rest) = to.as_chunks_mut::<64>();
    for (at, line) in lines.iter_mut().enumerate() {
        // SAFETY: four blocks of the span and of `line`; the address is a multiple of 16.
        unsafe {
            std::arch::asm!(
                "movntdqa {a}, [{from}]", "movntdqa {b}, [{from} + 16]",
                "movntdqa {c}, [{from} + 32]", "movntdqa {d}, [{from} + 48]",
                "movups [{to}], {a}", "movups [{to} + 16], {b}",
                "movups [{to} + 32], {c}", "movups [{to} + 48], {d}",
                from = in(reg) from.add(at * 64), to = in(reg) line.as_mut_ptr(),
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack, preserves_flags)
            );
        }
    }
    let from = from.wrapping_add(lines.len() * 64);
    for (at, block) in rest.chunks_exact_mut(16).enumerate() {
        // SAFETY: a block of the span, and as much of `to`; the address is a multiple of 16.
        unsafe {
            std::arch::asm!(
                "movntdqa {a}, [{from}]", "movups [{to}], {a}",
                from = in(reg) from.add(at * 16), to = in(reg) block.as_mut_ptr(),
                a = out(xmm_reg) _, options(nostack, preserves_flags)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_fetched_is_what_is_there() {
        let bytes: Vec<u8> = (0..600_u32).map(|at| (at * 7 + at / 251) as u8).collect();
        for start in (0..70).step_by(if cfg!(miri) { 23 } else { 1 }) {
            for len in (0..200).step_by(if cfg!(miri) { 37 } else { 1 }).chain([256, 511]) {
                let mut out = vec![0; len];
                fetch(Span::of(&bytes[start..start + len]), &mut out);
                assert_eq!(out, bytes[start..start + len], "{len} bytes from {start}");
            }
        }
        wait_for_loads();
    }
}
