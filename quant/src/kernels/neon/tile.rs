//! The NEON tile skeleton: 16 interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! for each block of up to 32 activation rows:           (sums of a block stay in L1)
//!     for each group of 32 weights:
//!         unpack the group once: 32 signed bytes of 16 rows, scales and minima as f32 per row
//!         for each activation row, four at a time:
//!             isum[row] = sum over the group of code * activation      (exact integers, see `products`)
//!             sum[row] += (scale[row] * a.scale) * isum[row];  sum[row] -= min[row] * a.dsum
//! ```
//! A line of a panel is four vectors, each the same quad of four rows. In the sums a lane is a row.
//!
//! A (weight row, activation row) pair sees the same operations in the same order whatever the block it is in.

use super::decode::Decode;
use super::products::Products;
use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::aarch64::*;

/// Activation rows whose sums are kept at once.
const BLOCK: usize = 32;
/// Activation rows that share loads of codes.
const SHARE: usize = 4;

/// Four vectors: rows 0..4, 4..8, 8..12 and 12..16.
pub(super) type Rows<T> = [T; 4];

/// One group of 32 weights of 16 rows, unpacked.
pub(super) struct Group {
    /// f32 scale per row.
    pub scale: Rows<float32x4_t>,
    /// What a unit of the activation's dsum subtracts, per row; `None` where a format has no minima.
    pub min: Option<Rows<float32x4_t>>,
}

/// Integer sums of N activation rows.
pub(super) type Sums<const N: usize> = [Rows<int32x4_t>; N];

/// The unpacked codes of a group: rows `4v..4v + 4` of quad q are vector `4q + v`.
pub(super) type Codes = [int8x16_t; 32];

/// One tile of a format.
///
/// # Safety
/// The ISA of `P`; a whole panel in `t.weights`; activation rows of `t.cols` values in the form that `D` reads;
/// `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<D: Decode, P: Products>(t: &Tile<'_>) {
    // SAFETY: the caller's promises; groups g < cols / 32 are inside the panel and the activation rows;
    // every 64-bit Arm has NEON.
    unsafe {
        let d = D::new(t.weights.as_ptr(), t.cols);
        for (acts, out) in t.acts.chunks(BLOCK).zip(t.out.chunks(BLOCK)) {
            let mut sums = [[vdupq_n_f32(0.0); 4]; BLOCK];
            let mut codes = [vdupq_n_s8(0); 32];
            for g in 0..t.cols / 32 {
                let group = d.group(g);
                d.unpack(g, &mut codes);
                let mut i = 0;
                while i + SHARE <= acts.len() {
                    step::<D, P, SHARE>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]);
                    i += SHARE;
                }
                match acts.len() - i {
                    1 => step::<D, P, 1>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    2 => step::<D, P, 2>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    3 => step::<D, P, 3>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    _ => {}
                }
            }
            for (sum, &out) in sums.iter().zip(out) {
                store(sum, out, t.rows);
            }
        }
    }
}

/// Adds group `g` of the first N activation rows to their sums.
#[inline(always)]
unsafe fn step<D: Decode, P: Products, const N: usize>(
    d: &D,
    g: usize,
    group: &Group,
    codes: &Codes,
    acts: &[ActRow<'_>],
    sums: &mut [Rows<float32x4_t>],
) {
    // SAFETY: passed on from `run`; every 64-bit Arm has NEON.
    unsafe {
        let isums = d.sums::<P, N>(g, codes, acts);
        for i in 0..N {
            let (scale, dsum) = D::act(&acts[i], g);
            for v in 0..4 {
                let s = vmulq_n_f32(group.scale[v], scale);
                sums[i][v] = vfmaq_f32(sums[i][v], s, vcvtq_f32_s32(isums[i][v]));
                if let Some(min) = group.min {
                    sums[i][v] = vfmsq_f32(sums[i][v], min[v], vdupq_n_f32(dsum));
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn store(sum: &Rows<float32x4_t>, out: *mut f32, rows: usize) {
    // SAFETY: `part` has four floats; `rows` (at most PANEL) values are writable behind `out`, by the caller;
    // every 64-bit Arm has NEON.
    unsafe {
        let mut all = [0f32; PANEL];
        for (part, &sum) in all.as_chunks_mut::<4>().0.iter_mut().zip(sum) {
            vst1q_f32(part.as_mut_ptr(), sum);
        }
        std::ptr::copy_nonoverlapping(all.as_ptr(), out, rows.min(PANEL));
    }
}
