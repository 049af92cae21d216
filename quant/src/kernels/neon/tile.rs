//! The NEON tile: 16 interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! one or two activation rows:
//!     for each group of 32 weights:  fold the group as it lies in the panel; sums stay in registers
//! more:
//!     for each block of 8 groups (256 weights):
//!         unpack the groups once: signed bytes, scales and minima as f32, inner scales as integers (7 KB, in L1)
//!         for each two activation rows:  for each of the groups:  fold; sums stay in registers
//!
//! fold:  isum[row] = sum over the group of code * activation     exact integers; halves times their inner scales
//!        sum[row] += (scale[row] * a.scale) * isum[row];   sum[row] -= min[row] * a.dsum
//! ```
//! A line of a panel is four vectors, each the same quad of four rows. In the sums a lane is a row, so nothing is ever
//! summed across lanes. Two activation rows take 8 registers of integer sums and 8 of f32 sums, which leaves half of
//! the 32 for codes, activations and scales. While few rows are folded the panel is prefetched.
//!
//! A (weight row, activation row) pair sees the same operations in the same order on every way through this file: all
//! are instances of one `fold`.
//!
//! No speed was measured: there was no such machine. Instructions were counted (see the project's notes on Arm).

use super::decode::{Format, Group, Packed, Unpacked};
use super::products::Products;
use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::aarch64::*;
use std::arch::asm;

/// Groups that are unpacked at once: one record of a format with blocks of 256.
const BLOCK: usize = 8;
/// Activation rows whose sums are kept at once.
const ACTS: usize = 128;
/// Bytes between what is folded and what is prefetched.
const AHEAD: usize = 2048;

/// Four vectors: rows 0..4, 4..8, 8..12 and 12..16.
pub(super) type Rows<T> = [T; 4];

/// Integer sums of N activation rows.
pub(super) type Sums<const N: usize> = [Rows<int32x4_t>; N];

/// f32 sums of one activation row.
type Total = Rows<float32x4_t>;

/// One tile of a format.
///
/// # Safety
/// The ISA of `P`; a whole panel in `t.weights`; activation rows of `t.cols` values in the form that `F` reads;
/// `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<F: Format, P: Products>(t: &Tile<'_>) {
    assert_eq!(t.weights.len(), t.cols / (32 * F::GROUPS) * F::RECORD, "bytes of a panel");
    // SAFETY: passed on to the caller.
    unsafe {
        match t.acts.len() {
            1 => few::<F, P::Alone, 1>(t),
            2 => few::<F, P, 2>(t),
            _ => many::<F, P>(t),
        }
    }
}

/// All N activation rows of the tile at once, from the panel.
#[inline(always)]
unsafe fn few<F: Format, P: Products, const N: usize>(t: &Tile<'_>) {
    // SAFETY: the caller's promises; records and groups are inside the panel and the activation rows; every 64-bit Arm
    // has NEON.
    unsafe {
        let mut totals = [[vdupq_n_f32(0.0); 4]; N];
        for (r, record) in t.weights.chunks_exact(F::RECORD).enumerate() {
            let record = record.as_ptr();
            let head = F::head(record);
            for g in 0..F::GROUPS {
                let part = F::RECORD / F::GROUPS;
                for line in 0..part.div_ceil(64) {
                    prefetch(record.wrapping_add(AHEAD + g * part + 64 * line));
                }
                fold::<F, P, _, N>(&Packed::<F, P>::new(record, &head, g), r * F::GROUPS + g, t.acts, &mut totals);
            }
        }
        for (total, &out) in totals.iter().zip(t.out) {
            store(total, out, t.rows);
        }
    }
}

/// Any number of activation rows, from unpacked groups.
#[inline(always)]
unsafe fn many<F: Format, P: Products>(t: &Tile<'_>) {
    // SAFETY: as `few`.
    unsafe {
        let mut scratch = [Unpacked::zero(); BLOCK];
        for (acts, out) in t.acts.chunks(ACTS).zip(t.out.chunks(ACTS)) {
            let mut totals = [[vdupq_n_f32(0.0); 4]; ACTS];
            for (b, block) in t.weights.chunks(F::RECORD * (BLOCK / F::GROUPS)).enumerate() {
                let groups = block.len() / F::RECORD * F::GROUPS;
                for (record, scratch) in block.chunks_exact(F::RECORD).zip(scratch.chunks_exact_mut(F::GROUPS)) {
                    let head = F::head(record.as_ptr());
                    for (g, scratch) in scratch.iter_mut().enumerate() {
                        Packed::<F, P>::new(record.as_ptr(), &head, g).unpack(scratch);
                    }
                }
                let (first, scratch) = (b * BLOCK, &scratch[..groups]);
                let (pairs, odd) = totals[..acts.len()].as_chunks_mut::<2>();
                for (totals, acts) in pairs.iter_mut().zip(acts.chunks_exact(2)) {
                    sweep::<F, P, 2>(scratch, first, acts, totals);
                }
                if let [total] = odd {
                    sweep::<F, P, 1>(scratch, first, &acts[acts.len() - 1..], std::array::from_mut(total));
                }
            }
            for (total, &out) in totals.iter().zip(out) {
                store(total, out, t.rows);
            }
        }
    }
}

/// Folds unpacked groups, the first of which is group `first`.
#[inline(always)]
unsafe fn sweep<F: Format, P: Products, const N: usize>(
    groups: &[Unpacked],
    first: usize,
    acts: &[ActRow<'_>],
    totals: &mut [Total; N],
) {
    let mut sums = *totals;
    for (g, group) in groups.iter().enumerate() {
        // SAFETY: passed on to the caller.
        unsafe { fold::<F, P, _, N>(group, first + g, acts, &mut sums) };
    }
    *totals = sums;
}

/// Adds group `g` times the first N activation rows to their sums.
#[inline(always)]
unsafe fn fold<F: Format, P: Products, G: Group, const N: usize>(
    group: &G,
    g: usize,
    acts: &[ActRow<'_>],
    totals: &mut [Total; N],
) {
    // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        let isums = integers::<F, P, G, N>(group, g, acts);
        let scale = group.scale();
        for n in 0..N {
            let (a, mins) = numbers::<F>(&acts[n], g);
            for v in 0..4 {
                let s = vmulq_n_f32(scale[v], a);
                totals[n][v] = vfmaq_f32(totals[n][v], s, vcvtq_f32_s32(isums[n][v]));
            }
            if F::MINS > 0 {
                let by = group.mins();
                for m in 0..F::MINS {
                    for v in 0..4 {
                        totals[n][v] = vfmsq_n_f32(totals[n][v], by[m][v], mins[m]);
                    }
                }
            }
        }
    }
}

/// The group's exact sums, inner scales included.
#[inline(always)]
unsafe fn integers<F: Format, P: Products, G: Group, const N: usize>(
    group: &G,
    g: usize,
    acts: &[ActRow<'_>],
) -> Sums<N> {
    // SAFETY: group g is inside the rows; the rest is passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        let narrow: [*const i8; N] = std::array::from_fn(|n| acts[n].q8.codes.as_ptr().wrapping_add(32 * g));
        let wide: [*const i16; N] = std::array::from_fn(|n| acts[n].q16.codes.as_ptr().wrapping_add(32 * g));
        if !F::INNER {
            return if F::WIDE {
                P::wide::<G, N, true, true>(group, wide)
            } else {
                P::narrow::<G, N, true, true>(group, narrow)
            };
        }
        let (first, second): (Sums<N>, Sums<N>);
        if F::WIDE {
            first = P::wide::<G, N, true, false>(group, wide);
            second = P::wide::<G, N, false, true>(group, wide);
        } else {
            first = P::narrow::<G, N, true, false>(group, narrow);
            second = P::narrow::<G, N, false, true>(group, narrow);
        }
        let (one, two) = (group.inner(0), group.inner(1));
        std::array::from_fn(|n| {
            std::array::from_fn(|v| vmlaq_s32(vmulq_s32(first[n][v], one[v]), second[n][v], two[v]))
        })
    }
}

/// An activation row's scale of group `g`, and what minima are multiplied with.
///
/// # Safety
/// The row has group `g` in the form that `F` reads.
#[inline(always)]
unsafe fn numbers<F: Format>(act: &ActRow<'_>, g: usize) -> (f32, [f32; 2]) {
    let (scales, dsums, halves) = if F::WIDE {
        (act.q16.scales, act.q16.dsums, act.q16.halves)
    } else {
        (act.q8.scales, act.q8.dsums, act.q8.halves)
    };
    // SAFETY: by the caller.
    unsafe {
        let mins = match F::MINS {
            0 => [0.0; 2],
            1 => [*dsums.get_unchecked(g), 0.0],
            _ => [*halves.get_unchecked(2 * g), *halves.get_unchecked(2 * g + 1)],
        };
        (*scales.get_unchecked(g), mins)
    }
}

/// Asks for the line of memory at `p`, which need not be there.
#[inline(always)]
fn prefetch(p: *const u8) {
    // SAFETY: a prefetch reads nothing and never faults.
    unsafe { asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(nomem, nostack, preserves_flags)) }
}

#[inline(always)]
unsafe fn store(total: &Total, out: *mut f32, rows: usize) {
    // SAFETY: `part` has four floats; `rows` (at most PANEL) values are writable behind `out`, by the caller;
    // every 64-bit Arm has NEON.
    unsafe {
        let mut all = [0f32; PANEL];
        for (part, &sum) in all.as_chunks_mut::<4>().0.iter_mut().zip(total) {
            vst1q_f32(part.as_mut_ptr(), sum);
        }
        std::ptr::copy_nonoverlapping(all.as_ptr(), out, rows.min(PANEL));
    }
}
