//! The AVX-512 tile skeleton: 16 interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! for each block of up to 32 activation rows:           (sums of a block stay in L1)
//!     for each group of 32 weights:
//!         unpack the group once: 32 codes of 16 rows, scales and minima as f32 per row
//!         for each activation row, eight at a time:
//!             isum[row] = sum over the group of code * activation      (exact integers)
//!             sum[row] += (scale[row] * a.scale) * isum[row];  sum[row] -= min[row] * a.dsum
//! ```
//! Tricks: a vector is a line of the panel, so a lane is a row and nothing is ever summed across lanes; a VNNI
//! instruction multiplies a line by a broadcast quad (8-bit) or pair (16-bit) and adds to 32-bit sums, with no step
//! between; eight activation rows are eight chains of additions, which hide most of the latency of five cycles, and
//! share the codes, which stay in registers. Up to four activation rows (generated tokens) keep their f32 sums in
//! registers, too.
//!
//! A (weight row, activation row) pair sees the same operations in the same order whatever the block it is in: all
//! paths are instances of one `step`.

use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;

/// Activation rows whose sums are kept at once.
const BLOCK: usize = 32;
/// Activation rows that share loads of codes.
const SHARE: usize = 8;

/// One group of 32 weights of 16 rows, unpacked; `C` is the codes, as the format's `sums` reads them.
pub(super) struct Group<C> {
    /// The codes.
    pub codes: C,
    /// f32 scale per row.
    pub scale: __m512,
    /// What a unit of the activation's dsum subtracts, per row; `None` where a format has no minima.
    pub min: Option<__m512>,
}

/// Codes of 8 bits, unsigned: vector q is quad q of the group.
pub(super) type Narrow = [__m512i; 8];
/// Codes of 16 bits: vector `2 * q` has elements 0 and 2 of quad q, the next one elements 1 and 3.
pub(super) type Wide = [__m512i; 16];

/// A format's half of the tile.
pub(super) trait Decode {
    /// [`Narrow`] or [`Wide`].
    type Codes: Sums;
    /// Where the format's parts are in a panel.
    unsafe fn new(weights: *const u8, cols: usize) -> Self;
    /// Unpacks group `g`.
    unsafe fn group(&self, g: usize) -> Group<Self::Codes>;
}

/// Codes of a group, and how they meet activations.
pub(super) trait Sums {
    /// The group's scale and dsum of an activation row, in the form that `sums` reads.
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32);
    /// Exact integer sums of group `g` for N activation rows.
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>; N]) -> [__m512i; N];
}

impl Sums for Narrow {
    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: g is a group of the row.
        unsafe { (*act.q8.scales.get_unchecked(g), *act.q8.dsums.get_unchecked(g)) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>; N]) -> [__m512i; N] {
        // SAFETY: the 32 codes from 32 * g on are inside the row; the rest are register operations.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); N];
            for q in 0..8 {
                for i in 0..N {
                    let quad = acts[i].q8.codes.as_ptr().add(32 * g + 4 * q).cast::<i32>().read_unaligned();
                    sums[i] = _mm512_dpbusd_epi32(sums[i], self[q], _mm512_set1_epi32(quad));
                }
            }
            sums
        }
    }
}

impl Sums for Wide {
    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: g is a group of the row.
        unsafe { (*act.q16.scales.get_unchecked(g), *act.q16.dsums.get_unchecked(g)) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>; N]) -> [__m512i; N] {
        // SAFETY: the 32 codes from 32 * g on are inside the row; the rest are register operations.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); N];
            for v in 0..16 {
                for i in 0..N {
                    let pair = acts[i].q16.codes.as_ptr().add(32 * g + 2 * v).cast::<i32>().read_unaligned();
                    sums[i] = _mm512_dpwssd_epi32(sums[i], self[v], _mm512_set1_epi32(pair));
                }
            }
            sums
        }
    }
}

/// One tile of a format.
///
/// # Safety
/// AVX-512 F, BW, VL and VNNI; a whole panel in `t.weights`; `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<D: Decode>(t: &Tile<'_>) {
    // SAFETY: all pointers stay inside the panel, the activation rows (whose lengths equal `cols`) and `out`.
    unsafe {
        let d = D::new(t.weights.as_ptr(), t.cols);
        match *t.acts {
            [a] => few::<D, 1>(&d, t, &[a]),
            [a, b] => few::<D, 2>(&d, t, &[a, b]),
            [a, b, c] => few::<D, 3>(&d, t, &[a, b, c]),
            [a, b, c, e] => few::<D, 4>(&d, t, &[a, b, c, e]),
            _ => many(&d, t),
        }
    }
}

/// All of the tile's activation rows at once, sums in registers.
#[inline(always)]
unsafe fn few<D: Decode, const N: usize>(d: &D, t: &Tile<'_>, acts: &[ActRow<'_>; N]) {
    // SAFETY: passed on from `run`.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); N];
        for g in 0..t.cols / 32 {
            step(&d.group(g), g, acts, &mut sums);
        }
        for (&sum, &out) in sums.iter().zip(t.out) {
            store(sum, out, t.rows);
        }
    }
}

/// Blocks of activation rows, sums in L1.
#[inline(always)]
unsafe fn many<D: Decode>(d: &D, t: &Tile<'_>) {
    // SAFETY: passed on from `run`.
    unsafe {
        for (acts, out) in t.acts.chunks(BLOCK).zip(t.out.chunks(BLOCK)) {
            let mut sums = [_mm512_setzero_ps(); BLOCK];
            for g in 0..t.cols / 32 {
                let group = d.group(g);
                let (shared, rest) = acts.as_chunks::<SHARE>();
                let (sums, rest_sums) = sums.split_at_mut(shared.len() * SHARE);
                for (acts, sums) in shared.iter().zip(sums.as_chunks_mut::<SHARE>().0) {
                    step(&group, g, acts, sums);
                }
                let (rest, rest_sums) = steps::<D::Codes, 4>(&group, g, rest, rest_sums);
                let (rest, rest_sums) = steps::<D::Codes, 2>(&group, g, rest, rest_sums);
                steps::<D::Codes, 1>(&group, g, rest, rest_sums);
            }
            for (&sum, &out) in sums.iter().zip(out) {
                store(sum, out, t.rows);
            }
        }
    }
}

/// A step for the first N activation rows, if there are so many; gives the others.
#[inline(always)]
unsafe fn steps<'a, 'b, C: Sums, const N: usize>(
    group: &Group<C>,
    g: usize,
    acts: &'a [ActRow<'a>],
    sums: &'b mut [__m512],
) -> (&'a [ActRow<'a>], &'b mut [__m512]) {
    match (acts.split_first_chunk::<N>(), sums.len() >= N) {
        (Some((first, rest)), true) => {
            let (sums, rest_sums) = sums.split_at_mut(N);
            for sums in sums.as_chunks_mut::<N>().0 {
                // SAFETY: passed on from `run`.
                unsafe { step(group, g, first, sums) };
            }
            (rest, rest_sums)
        }
        _ => (acts, sums),
    }
}

/// Adds group `g` times N activation rows to their sums.
#[inline(always)]
unsafe fn step<C: Sums, const N: usize>(group: &Group<C>, g: usize, acts: &[ActRow<'_>; N], sums: &mut [__m512; N]) {
    // SAFETY: passed on from `run`.
    unsafe {
        let isums = group.codes.sums::<N>(g, acts);
        for i in 0..N {
            let (scale, dsum) = C::act(&acts[i], g);
            let scale = _mm512_mul_ps(group.scale, _mm512_set1_ps(scale));
            sums[i] = _mm512_fmadd_ps(scale, _mm512_cvtepi32_ps(isums[i]), sums[i]);
            if let Some(min) = group.min {
                sums[i] = _mm512_fnmadd_ps(min, _mm512_set1_ps(dsum), sums[i]);
            }
        }
    }
}

#[inline(always)]
unsafe fn store(sum: __m512, out: *mut f32, rows: usize) {
    // SAFETY: `rows` (1 to 16) values are writable behind `out`; the mask leaves the others alone.
    unsafe { _mm512_mask_storeu_ps(out, (0xffff_u32 >> (PANEL - rows)) as u16, sum) }
}
