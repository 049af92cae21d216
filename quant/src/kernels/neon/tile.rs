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
//!        sum[row] += (scale[row] * a.scale) * isum[row];   sum[row] += min[row] * a.dsum
//! ```
//! A line of a panel is four vectors, each the same quad of four rows. In the sums a lane is a row, so nothing is ever
//! summed across lanes. Two activation rows take 8 registers of integer sums and 8 of f32 sums, which leaves half of
//! the 32 for codes, activations and scales. While few rows are folded the panel is prefetched.
//!
//! A (weight row, activation row) pair sees the same operations in the same order on every way through this file: all
//! are instances of one `fold`.
//!
//! No speed was measured: there was no such machine. Vector instructions for a group (512 weights), loads, stores and
//! zeroings apart, counted in what rustc 1.95 makes of it (Q8_0 with wide activations; the same fold as Q3_K, Q6_K has its
//! figures):
//!
//! | | Q4_0 | Q4_K | Q5_0 | Q5_K | Q2_K | Q3_K | IQ4_XS | Q8_0 | Q6_K |
//! |---|---|---|---|---|---|---|---|---|---|
//! | dotprod, one row in the panel | 88 | 120 | 132 | 178 | 152 | 167 | 130 | 98 | |
//! | dotprod, two rows, unpacked | 96 | 96 | 88 | 96 | 120 | 104 | 88 | 192 | 104 |
//! | i8mm, two rows, unpacked | 76 | 76 | 68 | 76 | 108 | 92 | 68 | 142 | 92 |
//! | unpacking, dotprod | 40 | 72 | 100 | 159 | 92 | 127 | 86 | 4 | 116 |
//! | neither, one row in the panel | 132 | 166 | | 225 | 210 | 231 | | 262 | |
//!
//! Of 96 instructions for two rows of Q4_K 64 are dot products; 32 bring integers into the f32 sums.
//!
//! Tried and left: loops over registers as loops (LLVM does not unroll them all, and what an index selects then lives in
//! memory: see `unrolled`); the planes of wide activations one after the other in the same sums (all codes are loaded
//! twice, 60 spills); two rows of wide activations where there is no dot product (270 spills).

use super::act_rows::Acts;
use super::decode::{Format, Group, Packed, Unpacked};
use super::products::Products;
use super::registers::{Sums, Total, unrolled};
use crate::kernels::{PANEL, Tile};
use std::arch::aarch64::*;
use std::arch::asm;
use std::mem::MaybeUninit;

/// Groups that are unpacked at once: one record of a format with blocks of 256.
const BLOCK: usize = 8;
/// Activation rows whose sums are kept at once.
const ACTS: usize = 128;
/// Bytes between what is folded and what is prefetched.
const AHEAD: usize = 2048;

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
            2 if pairs::<F, P>() => few::<F, P, 2>(t),
            _ => many::<F, P>(t),
        }
    }
}

/// Whether activation rows are folded two at a time.
const fn pairs<F: Format, P: Products>() -> bool {
    P::WIDE_PAIRS || !F::WIDE
}

/// All N activation rows of the tile at once, from the panel.
#[inline(always)]
unsafe fn few<F: Format, P: Products, const N: usize>(t: &Tile<'_>) {
    // SAFETY: the caller's promises; records and groups are inside the panel and the activation rows; every 64-bit Arm
    // has NEON.
    unsafe {
        let mut totals = [[vdupq_n_f32(0.0); 4]; N];
        let acts = Acts::<N>::new::<F>(t.acts, 0);
        for (r, record) in t.weights.chunks_exact(F::RECORD).enumerate() {
            let record = record.as_ptr();
            let head = F::head(record);
            for g in 0..F::GROUPS {
                let part = F::RECORD / F::GROUPS;
                for line in 0..part.div_ceil(64) {
                    prefetch(record.wrapping_add(AHEAD + g * part + 64 * line));
                }
                fold::<F, P, _, N>(&Packed::<F, P>::new(record, &head, g), r * F::GROUPS + g, &acts, &mut totals);
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
    // SAFETY: as `few`; what is read of `scratch` and `totals` was written before.
    unsafe {
        let mut scratch = [const { MaybeUninit::<Unpacked>::uninit() }; BLOCK];
        let mut totals = [const { MaybeUninit::<Total>::uninit() }; ACTS];
        for (acts, out) in t.acts.chunks(ACTS).zip(t.out.chunks(ACTS)) {
            let totals = &mut totals[..acts.len()];
            totals.iter_mut().for_each(|t| _ = t.write([vdupq_n_f32(0.0); 4]));
            let totals = totals.assume_init_mut();
            for (b, block) in t.weights.chunks(F::RECORD * (BLOCK / F::GROUPS)).enumerate() {
                let groups = block.len() / F::RECORD * F::GROUPS;
                for (record, scratch) in block.chunks_exact(F::RECORD).zip(scratch.chunks_exact_mut(F::GROUPS)) {
                    let head = F::head(record.as_ptr());
                    for (g, scratch) in scratch.iter_mut().enumerate() {
                        Packed::<F, P>::new(record.as_ptr(), &head, g).unpack(scratch);
                    }
                }
                let (first, scratch) = (b * BLOCK, scratch[..groups].assume_init_ref());
                let (twos, ones) = totals.split_at_mut(if pairs::<F, P>() { acts.len() / 2 * 2 } else { 0 });
                let rest = &acts[twos.len()..];
                for (totals, acts) in twos.as_chunks_mut::<2>().0.iter_mut().zip(acts.chunks_exact(2)) {
                    sweep::<F, P, 2>(scratch, &Acts::new::<F>(acts, first), totals);
                }
                for (total, acts) in ones.as_chunks_mut::<1>().0.iter_mut().zip(rest.chunks_exact(1)) {
                    sweep::<F, P, 1>(scratch, &Acts::new::<F>(acts, first), total);
                }
            }
            for (total, &out) in totals.iter().zip(out) {
                store(total, out, t.rows);
            }
        }
    }
}

/// Folds unpacked groups, the first of which is the first of `acts`.
#[inline(always)]
unsafe fn sweep<F: Format, P: Products, const N: usize>(groups: &[Unpacked], acts: &Acts<N>, totals: &mut [Total; N]) {
    let mut sums = *totals;
    for (g, group) in groups.iter().enumerate() {
        // SAFETY: passed on to the caller.
        unsafe { fold::<F, P, _, N>(group, g, acts, &mut sums) };
    }
    *totals = sums;
}

/// Adds group `g` of the activation rows to their sums.
#[inline(always)]
unsafe fn fold<F: Format, P: Products, G: Group, const N: usize>(
    group: &G,
    g: usize,
    acts: &Acts<N>,
    totals: &mut [Total; N],
) {
    // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        let isums = integers::<F, P, G, N>(group, g, acts);
        let scale = group.scale();
        unrolled!(n in N, {
            let a = *acts.scales[n].add(g);
            unrolled!(v in 4, {
                totals[n][v] = vfmaq_f32(totals[n][v], vmulq_n_f32(scale[v], a), vcvtq_f32_s32(isums[n][v]));
            });
        });
        if F::MINS > 0 {
            let mins = group.mins();
            unrolled!(n in N, {
                unrolled!(m in 2, {
                    if m < F::MINS {
                        let by = *acts.sums[n].add(g * F::MINS + m);
                        unrolled!(v in 4, {
                            totals[n][v] = vfmaq_n_f32(totals[n][v], mins[m][v], by);
                        });
                    }
                });
            });
        }
    }
}

/// The group's exact sums, inner scales included.
#[inline(always)]
unsafe fn integers<F: Format, P: Products, G: Group, const N: usize>(group: &G, g: usize, acts: &Acts<N>) -> Sums<N> {
    // SAFETY: group g is inside the rows; the rest is passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        const { assert!(!(F::INNER && F::WIDE), "inner scales are those of narrow formats") };
        if !F::INNER {
            return if F::WIDE {
                P::wide::<G, N>(group, acts.codes::<F, i16>(g))
            } else {
                P::narrow::<G, N, true, true>(group, acts.codes::<F, i8>(g))
            };
        }
        let mut sums = P::narrow::<G, N, true, false>(group, acts.codes::<F, i8>(g));
        let inner = group.inner(0);
        unrolled!(n in N, {
            unrolled!(v in 4, {
                sums[n][v] = vmulq_s32(sums[n][v], inner[v]);
            });
        });
        let second = P::narrow::<G, N, false, true>(group, acts.codes::<F, i8>(g));
        let inner = group.inner(1);
        unrolled!(n in N, {
            unrolled!(v in 4, {
                sums[n][v] = vmlaq_s32(sums[n][v], second[n][v], inner[v]);
            });
        });
        sums
    }
}

/// Asks for the line of memory at `p`, which need not be there.
#[inline(always)]
fn prefetch(p: *const u8) {
    // SAFETY: a prefetch reads nothing and never faults.
    unsafe { asm!("prfm pldl1keep, [{p}]", p = in(reg) p.addr(), options(nomem, nostack, preserves_flags)) }
}

#[inline(always)]
unsafe fn store(total: &Total, out: *mut f32, rows: usize) {
    // SAFETY: `part` has four floats; `rows` (at most PANEL) values are writable behind `out`, by the caller;
    // every 64-bit Arm has NEON.
    unsafe {
        if rows == PANEL {
            for (v, &sum) in total.iter().enumerate() {
                vst1q_f32(out.add(4 * v), sum);
            }
            return;
        }
        let mut all = [0f32; PANEL];
        for (part, &sum) in all.as_chunks_mut::<4>().0.iter_mut().zip(total) {
            vst1q_f32(part.as_mut_ptr(), sum);
        }
        std::ptr::copy_nonoverlapping(all.as_ptr(), out, rows.min(PANEL));
    }
}
