// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How fast polls are to be, as ratios of what is measured in the same run.

/// One of them: what it is about, what of the bench's lines it is measured by, and its bound.
pub(crate) struct Goal {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) of: &'static str,
    pub(crate) bound: Bound,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

use Bound::{AtLeast, AtMost};

impl Bound {
    /// Whether `figure` is inside, or outside by no more than `slack` of the bound.
    pub(crate) fn is_met(self, figure: f64, slack: f64) -> bool {
        match self {
            AtMost(bound) => figure <= bound * (1.0 + slack),
            AtLeast(bound) => figure >= bound * (1.0 - slack),
        }
    }

    pub(crate) fn text(self) -> String {
        match self {
            AtMost(bound) => format!("at most {bound}"),
            AtLeast(bound) => format!("at least {bound}"),
        }
    }
}

const fn goal(id: &'static str, what: &'static str, of: &'static str, bound: Bound) -> Goal {
    Goal { id, what, of, bound }
}

#[rustfmt::skip]
pub(crate) const GOALS: &[Goal] = &[
    goal("G1", "unchanged, verified, of memcmp", "case|1920x1080|XR24|cold|unchanged|verified|ours/memcmp", AtMost(0.55)),
    goal("G1", "unchanged, verified, of a pure read", "case|1920x1080|XR24|cold|unchanged|verified|ours/read", AtMost(1.08)),
    goal("G1", "unchanged, verified, times QEMU, cold", "case|1920x1080|XR24|cold|unchanged|verified|qemu/ours", AtLeast(2.6)),
    goal("G1", "unchanged, verified, times QEMU, warm", "case|1920x1080|XR24|warm|unchanged|verified|qemu/ours", AtLeast(2.1)),
    goal("G1", "unchanged, verified, AES-NI alone, of memcmp", "case|1920x1080|XR24|cold|unchanged|verified, AES-NI|ours/memcmp", AtMost(0.66)),
    goal("G1", "unchanged, verified, AES-NI alone, times QEMU, cold", "case|1920x1080|XR24|cold|unchanged|verified, AES-NI|qemu/ours", AtLeast(2.2)),
    goal("G1", "unchanged, verified, AES-NI alone, times QEMU, warm", "case|1920x1080|XR24|warm|unchanged|verified, AES-NI|qemu/ours", AtLeast(2.1)),
    goal("G2", "unchanged, sampled, times QEMU, 1080p cold", "case|1920x1080|XR24|cold|unchanged|sampled|qemu/ours", AtLeast(12.0)),
    goal("G2", "unchanged, sampled, times QEMU, 1080p warm", "case|1920x1080|XR24|warm|unchanged|sampled|qemu/ours", AtLeast(11.0)),
    goal("G2", "unchanged, sampled, times QEMU, 4K cold", "case|3840x2160|XR24|cold|unchanged|sampled|qemu/ours", AtLeast(12.0)),
    goal("G2", "unchanged, sampled, times QEMU, 4K warm", "case|3840x2160|XR24|warm|unchanged|sampled|qemu/ours", AtLeast(11.0)),
    goal("G3", "1 % changed, verified, times QEMU", "case|1920x1080|XR24|cold|1 % window|verified|qemu/ours", AtLeast(2.5)),
    goal("G3", "1 % changed, sampled, times QEMU", "case|1920x1080|XR24|cold|1 % window|sampled|qemu/ours", AtLeast(7.5)),
    goal("G4", "10 % changed, into a surface, times QEMU", "case|1920x1080|XR24|cold|10 % window|verified|qemu/ours", AtLeast(2.5)),
    goal("G5", "all changed, into a surface, of memcpy", "case|1920x1080|XR24|cold|all|verified|ours/memcpy", AtMost(0.78)),
    goal("G5", "all changed, into a surface, times QEMU", "case|1920x1080|XR24|cold|all|verified|qemu/ours", AtLeast(1.9)),
    goal("G6", "all changed, visitor, its pass included, times QEMU and a pass", "other|1920x1080|XR24|cold|all|visitor, its pass included: x QEMU and a pass", AtLeast(3.3)),
    goal("G7", "two threads, unchanged, times one", "other|1920x1080|XR24|cold|unchanged|two threads: x one", AtLeast(1.85)),
    goal("G7", "two threads, all changed, times one", "other|1920x1080|XR24|cold|all|two threads: x one", AtLeast(1.85)),
    goal("G8", "unchanged XBGR8888, times QEMU", "case|1920x1080|XB24|cold|unchanged|verified|qemu/ours", AtLeast(5.5)),
    goal("G8", "unchanged RGB888, times QEMU", "case|1920x1080|RG24|cold|unchanged|verified|qemu/ours", AtLeast(6.5)),
    goal("G9", "decoding XBGR8888, times libyuv", "conversion|XB24|libyuv/ours", AtLeast(1.0)),
    goal("G9", "decoding XBGR8888, times pixman", "conversion|XB24|pixman/ours", AtLeast(8.0)),
    goal("G9", "decoding RGB888, times libyuv", "conversion|RG24|libyuv/ours", AtLeast(1.0)),
    goal("G9", "decoding XRGB2101010, times libyuv", "conversion|XR30|libyuv/ours", AtLeast(1.0)),
    goal("G9", "decoding XRGB2101010, times pixman", "conversion|XR30|pixman/ours", AtLeast(100.0)),
    goal("G10", "idle viewer at 60 Hz, 1080p, % of a core", "idle|1920x1080|dma-buf", AtMost(1.0)),
    goal("G10", "idle viewer at 60 Hz, 4K, % of a core", "idle|3840x2160|dma-buf", AtMost(3.0)),
    goal("G12", "a poll beside its scan and queries, us", "other|64x64|XR24|warm|unchanged|a poll beside its scan: us", AtMost(2.0)),
    goal("G13", "a poll that is told of no change, beside its queries, us", "other|1920x1080|XR24|warm|unchanged|a poll that is told of no change: us", AtMost(1.0)),
    goal("G14", "state, of the frame", "state|1920x1080|XR24", AtMost(0.032)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_met_or_not() {
        assert!(AtMost(2.0).is_met(2.0, 0.0) && !AtMost(2.0).is_met(2.1, 0.0));
        assert!(AtMost(2.0).is_met(2.1, 0.1) && !AtMost(2.0).is_met(2.3, 0.1));
        assert!(AtLeast(2.0).is_met(2.0, 0.0) && !AtLeast(2.0).is_met(1.9, 0.0));
        assert!(AtLeast(2.0).is_met(1.9, 0.1) && !AtLeast(2.0).is_met(1.7, 0.1));
    }
}
