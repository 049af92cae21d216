//! The AVX2 tile skeleton: 16 interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! for each block of up to 32 activation rows:           (sums of a block stay in L1)
//!     for each group of 32 weights:
//!         unpack the group once: 32 codes of 16 rows, scales and minima as f32 per row
//!         for each activation row, four at a time:
//!             isum[row] = sum over the group of code * activation      (exact integers)
//!             sum[row] += (scale[row] * a.scale) * isum[row];  sum[row] -= min[row] * a.dsum
//! ```
//! Tricks: a lane is a row, so nothing is ever summed across lanes; activation quads are broadcast by plain loads;
//! four activation rows share each load of codes. Codes below 16 allow eight 8-bit products per 16-bit lane before
//! widening (8 * 2 * 15 * 127 = 30480), so Q4_K spends two instructions per 32 products. Six- and eight-bit codes
//! would have to be widened after one or two products anyway; there 16-bit products with the wide activations cost the
//! same four instructions per 32 and lose nothing.
//!
//! A (weight row, activation row) pair sees the same operations in the same order whatever the block it is in.

use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;

/// Activation rows whose sums are kept at once.
const BLOCK: usize = 32;
/// Activation rows that share loads of codes.
const SHARE: usize = 4;

/// Two vectors: rows 0..8 and rows 8..16.
pub(super) type Pair<T> = [T; 2];

/// One group of 32 weights of 16 rows, unpacked.
pub(super) struct Group {
    /// f32 scale per row.
    pub scale: Pair<__m256>,
    /// What a unit of the activation's dsum subtracts, per row; `None` where a format has no minima.
    pub min: Option<Pair<__m256>>,
}

/// Integer sums of up to SHARE activation rows.
pub(super) type Sums<const N: usize> = [Pair<__m256i>; N];

/// A format's half of the tile.
pub(super) trait Decode {
    /// Where the format's parts are in a panel.
    unsafe fn new(weights: *const u8, cols: usize) -> Self;
    /// Scales of group `g`.
    unsafe fn group(&self, g: usize) -> Group;
    /// Unpacks the codes of group `g` into `buf` as the format's `sums` wants them.
    unsafe fn unpack(&self, g: usize, buf: &mut Codes);
    /// The group's scale and dsum of an activation row, in the form that `sums` reads.
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32);
    /// Exact integer sums of the group for N activation rows.
    unsafe fn sums<const N: usize>(&self, g: usize, buf: &Codes, acts: &[ActRow<'_>]) -> Sums<N>;
}

/// The unpacked codes of a group, in the order that the format's `sums` reads them.
#[repr(align(64))]
pub(super) struct Codes(pub [__m256i; 32]);

/// One tile of a format.
///
/// # Safety
/// AVX2, FMA and F16C; a whole panel in `t.weights`; `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<D: Decode>(t: &Tile<'_>) {
    // SAFETY: all pointers stay inside the panel, the activation rows (whose lengths equal `cols`) and `out`.
    unsafe {
        let d = D::new(t.weights.as_ptr(), t.cols);
        for (acts, out) in t.acts.chunks(BLOCK).zip(t.out.chunks(BLOCK)) {
            let mut sums = [[_mm256_setzero_ps(); 2]; BLOCK];
            let mut codes = Codes([_mm256_setzero_si256(); 32]);
            for g in 0..t.cols / 32 {
                let group = d.group(g);
                d.unpack(g, &mut codes);
                let mut i = 0;
                while i + SHARE <= acts.len() {
                    step::<D, SHARE>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]);
                    i += SHARE;
                }
                match acts.len() - i {
                    1 => step::<D, 1>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    2 => step::<D, 2>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    3 => step::<D, 3>(&d, g, &group, &codes, &acts[i..], &mut sums[i..]),
                    _ => {}
                }
            }
            for (sum, &out) in sums.iter().zip(out) {
                store(sum, out, t.rows);
            }
        }
    }
}

#[inline(always)]
unsafe fn step<D: Decode, const N: usize>(
    d: &D,
    g: usize,
    group: &Group,
    codes: &Codes,
    acts: &[ActRow<'_>],
    sums: &mut [Pair<__m256>],
) {
    // SAFETY: passed on from `run`.
    unsafe {
        let isums = d.sums::<N>(g, codes, acts);
        for i in 0..N {
            let (scale, dsum) = D::act(&acts[i], g);
            let (scale, dsum) = (_mm256_set1_ps(scale), _mm256_set1_ps(dsum));
            for h in 0..2 {
                let s = _mm256_mul_ps(group.scale[h], scale);
                sums[i][h] = _mm256_fmadd_ps(s, _mm256_cvtepi32_ps(isums[i][h]), sums[i][h]);
                if let Some(min) = group.min {
                    sums[i][h] = _mm256_fnmadd_ps(min[h], dsum, sums[i][h]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn store(sum: &Pair<__m256>, out: *mut f32, rows: usize) {
    // SAFETY: `rows` values are writable behind `out`.
    unsafe {
        if rows == PANEL {
            _mm256_storeu_ps(out, sum[0]);
            _mm256_storeu_ps(out.add(8), sum[1]);
        } else {
            let mut all = [0f32; PANEL];
            _mm256_storeu_ps(all.as_mut_ptr(), sum[0]);
            _mm256_storeu_ps(all.as_mut_ptr().add(8), sum[1]);
            std::ptr::copy_nonoverlapping(all.as_ptr(), out, rows);
        }
    }
}

/// Scale and dsum of the narrow form.
#[inline(always)]
pub(super) unsafe fn act8(act: &ActRow<'_>, g: usize) -> (f32, f32) {
    // SAFETY: g is a group of the row.
    unsafe { (*act.q8.scales.get_unchecked(g), *act.q8.dsums.get_unchecked(g)) }
}

/// Scale and dsum of the wide form.
#[inline(always)]
pub(super) unsafe fn act16(act: &ActRow<'_>, g: usize) -> (f32, f32) {
    // SAFETY: g is a group of the row.
    unsafe { (*act.q16.scales.get_unchecked(g), *act.q16.dsums.get_unchecked(g)) }
}

/// Sums of 16-bit products: `quads` quads of a group from quad `first` on. Codes of quad q are the vectors
/// `4 * q + 2 * half + j`, where j = 0 has elements 0 and 2 of the quad and j = 1 elements 1 and 3.
#[inline(always)]
pub(super) unsafe fn sums16<const N: usize>(k: usize, quads: usize, codes: &[__m256i], acts: &[ActRow<'_>]) -> Sums<N> {
    // SAFETY: k + 4 * quads <= cols; the rest are register operations.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); 2]; N];
        let at: [*const i16; N] = std::array::from_fn(|i| acts[i].q16.codes.as_ptr().add(k));
        let codes = codes.as_ptr();
        for q in 0..rolled(quads) {
            for j in 0..2 {
                let w = [*codes.add(4 * q + j), *codes.add(4 * q + 2 + j)];
                for i in 0..N {
                    let a = _mm256_set1_epi32(at[i].add(4 * q + 2 * j).cast::<i32>().read_unaligned());
                    for h in 0..2 {
                        sums[i][h] = _mm256_add_epi32(sums[i][h], _mm256_madd_epi16(w[h], a));
                    }
                }
            }
        }
        sums
    }
}

/// A loop count that the compiler cannot see: unrolled fully, it would regroup the integer sums into trees that do not
/// fit the registers.
#[inline(always)]
pub(super) fn rolled(n: usize) -> usize {
    std::hint::black_box(n)
}
