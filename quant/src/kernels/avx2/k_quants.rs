//! The K formats' halves of the tile: superblocks of 256 weights, eight groups.

use super::bits::{Sixes, halves, line, mul, nibble_line, signed};
use super::tile::{Codes, Factors, Format, Min, Pair};
use crate::kernels::PANEL;
use crate::panel::{Q4_K_SUPER, Q6_K_SUPER};
use std::arch::x86_64::*;

/// Scales and minima of a superblock that starts like Q4_K's: d, dmin, and six-bit numbers.
#[inline(always)]
unsafe fn sixes(p: *const u8, out: &mut [Factors]) {
    // SAFETY: the header is inside the panel, by the caller.
    unsafe {
        let (d, dmin) = (halves(p), halves(p.add(32)));
        let (scales, mins) = (Sixes::new(p.add(64), p.add(192)), Sixes::new(p.add(128), p.add(224)));
        for (g, out) in out.iter_mut().enumerate() {
            out.scale = mul(d, scales.group(g));
            out.min[0] = mul(dmin, mins.group(g));
        }
    }
}

/// Q4_K: codes of four bits, a six-bit scale and minimum per group.
pub(in crate::kernels) struct Q4K {
    base: *const u8,
}

impl Format for Q4K {
    const CODES: Codes = Codes::Narrow(4);
    const MIN: Min = Min::Group;
    const GROUP_BYTES: usize = Q4_K_SUPER / 8;

    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn factors(&self, first: usize, out: &mut [Factors]) {
        // SAFETY: passed on to the caller.
        unsafe { sixes(self.base.add(first / 8 * Q4_K_SUPER), out) }
    }

    #[inline(always)]
    unsafe fn codes(&self, g: usize, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: group g is inside the panel, by the caller.
        unsafe { nibble_line(self.base.add(g / 8 * Q4_K_SUPER + 256 + g % 8 * 256 + 64 * i)) }
    }
}

/// Q6_K: codes of six bits around 32, a signed byte as scale for each 16.
pub(in crate::kernels) struct Q6K {
    d: *const u8,
    body: *const u8,
}

impl Format for Q6K {
    const CODES: Codes = Codes::Wide;
    const MIN: Min = Min::None;
    const HALVED: bool = true;
    const GROUP_BYTES: usize = Q6_K_SUPER / 8;

    #[inline(always)]
    unsafe fn new(weights: *const u8, cols: usize) -> Self {
        // SAFETY: the header's bytes are inside the panel.
        Self { d: weights, body: unsafe { weights.add(cols / 256 * 2 * PANEL) } }
    }

    #[inline(always)]
    unsafe fn factors(&self, first: usize, out: &mut [Factors]) {
        // SAFETY: the header is inside the panel, by the caller.
        let d = unsafe { halves(self.d.add(first / 8 * 2 * PANEL)) };
        out.iter_mut().for_each(|f| f.scale = d);
    }

    #[inline(always)]
    unsafe fn codes(&self, g: usize, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: group g is inside the panel, by the caller; the rest are register operations of its ISA.
        unsafe {
            let p = self.body.add(g / 8 * Q6_K_SUPER + 256);
            let low = nibble_line(p.add(g % 8 * 256 + 64 * i));
            let high = line(p.add(2048 + g % 8 * 128 + 64 * (i / 2)));
            let (top, center) = (_mm256_set1_epi8(0x30), _mm256_set1_epi8(32));
            let mut out = low;
            for (o, out) in out.iter_mut().enumerate() {
                for (out, high) in out.iter_mut().zip(high) {
                    let high = match 2 * (i % 2) + o {
                        0 => _mm256_slli_epi16::<4>(high),
                        1 => _mm256_slli_epi16::<2>(high),
                        2 => high,
                        _ => _mm256_srli_epi16::<2>(high),
                    };
                    *out = _mm256_sub_epi8(_mm256_or_si256(*out, _mm256_and_si256(high, top)), center);
                }
            }
            out
        }
    }

    #[inline(always)]
    unsafe fn inner(&self, g: usize, half: usize) -> Pair<__m256i> {
        // SAFETY: group g is inside the panel, by the caller.
        unsafe { signed(self.body.add(g / 8 * Q6_K_SUPER + (2 * (g % 8) + half) * PANEL)) }
    }
}
