//! The halves of the tile of formats with blocks of 32 weights: a group is a block, its f16 scales lie in a header.

use super::bits::{halves, line};
use super::tile::{Codes, Factors, Format, Min, Pair};
use crate::kernels::PANEL;
use std::arch::x86_64::*;

/// Bytes of the f16 numbers of a group's 16 rows.
const HEADER: usize = 2 * PANEL;

/// Q8_0: signed bytes.
pub(in crate::kernels) struct Q8_0 {
    scales: *const u8,
    codes: *const u8,
}

impl Format for Q8_0 {
    const CODES: Codes = Codes::Wide;
    const MIN: Min = Min::None;
    const GROUP_BYTES: usize = 34 * PANEL;

    #[inline(always)]
    unsafe fn new(weights: *const u8, cols: usize) -> Self {
        // SAFETY: the header's bytes are inside the panel.
        Self { scales: weights, codes: unsafe { weights.add(cols / 32 * HEADER) } }
    }

    #[inline(always)]
    unsafe fn factors(&self, first: usize, out: &mut [Factors]) {
        for (g, out) in (first..).zip(out) {
            // SAFETY: group g is inside the panel, by the caller.
            out.scale = unsafe { halves(self.scales.add(g * HEADER)) };
        }
    }

    #[inline(always)]
    unsafe fn codes(&self, g: usize, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: group g is inside the panel, by the caller.
        unsafe {
            let p = self.codes.add(g * 32 * PANEL + 128 * i);
            [line(p), line(p.add(64))]
        }
    }
}
