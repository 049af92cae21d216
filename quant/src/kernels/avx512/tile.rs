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
/// Code vectors whose products the compiler is to write out, so that activations are read at constant offsets.
const UNROLL: usize = 4;

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
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>]) -> [__m512i; N];
}

impl Sums for Narrow {
    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: g is a group of the row.
        unsafe { (*act.q8.scales.get_unchecked(g), *act.q8.dsums.get_unchecked(g)) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>]) -> [__m512i; N] {
        // SAFETY: the 32 codes from 32 * g on are inside the row; the rest are register operations.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); N];
            for (part, codes) in self.as_chunks::<UNROLL>().0.iter().enumerate() {
                for (q, &codes) in codes.iter().enumerate() {
                    let at = 32 * g + 4 * (UNROLL * part + q);
                    for (sum, act) in sums.iter_mut().zip(acts) {
                        let quad = act.q8.codes.as_ptr().add(at).cast::<i32>().read_unaligned();
                        *sum = _mm512_dpbusd_epi32(*sum, codes, _mm512_set1_epi32(quad));
                    }
                }
            }
            sums
        }
    }
}

/// `sum` plus, per 32-bit lane, both products of the 16-bit halves of `a` and `b`.
///
/// The same as `_mm512_dpwssd_epi32`, which LLVM, for processors where a chain of it would be slow, takes apart into a
/// multiplication and an addition: twice the instructions in a loop that their number limits.
#[inline]
#[target_feature(enable = "avx512f,avx512vnni")]
fn dpwssd(mut sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
    // SAFETY: a register operation of this function's ISA.
    unsafe {
        std::arch::asm!("vpdpwssd {}, {}, {}", inout(zmm_reg) sum, in(zmm_reg) a, in(zmm_reg) b,
            options(pure, nomem, nostack, preserves_flags));
    }
    sum
}

impl Sums for Wide {
    #[inline(always)]
    unsafe fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        // SAFETY: g is a group of the row.
        unsafe { (*act.q16.scales.get_unchecked(g), *act.q16.dsums.get_unchecked(g)) }
    }

    #[inline(always)]
    unsafe fn sums<const N: usize>(&self, g: usize, acts: &[ActRow<'_>]) -> [__m512i; N] {
        // SAFETY: the 32 codes from 32 * g on are inside the row; the rest are register operations.
        unsafe {
            let mut sums = [_mm512_setzero_si512(); N];
            for (part, codes) in self.as_chunks::<UNROLL>().0.iter().enumerate() {
                for (v, &codes) in codes.iter().enumerate() {
                    let at = 32 * g + 2 * (UNROLL * part + v);
                    for (sum, act) in sums.iter_mut().zip(acts) {
                        let pair = act.q16.codes.as_ptr().add(at).cast::<i32>().read_unaligned();
                        *sum = dpwssd(*sum, codes, _mm512_set1_epi32(pair));
                    }
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
        match t.acts.len() {
            1 => few::<D, 1>(&d, t),
            2 => few::<D, 2>(&d, t),
            3 => few::<D, 3>(&d, t),
            4 => few::<D, 4>(&d, t),
            _ => many(&d, t),
        }
    }
}

/// All N activation rows of the tile at once, sums in registers.
#[inline(always)]
unsafe fn few<D: Decode, const N: usize>(d: &D, t: &Tile<'_>) {
    // SAFETY: passed on from `run`.
    unsafe {
        let mut sums = [_mm512_setzero_ps(); N];
        for g in 0..t.cols / 32 {
            step::<D::Codes, N>(&d.group(g), g, t.acts, &mut sums);
        }
        for (&sum, &out) in sums.iter().zip(t.out) {
            store(sum, out, t.rows);
        }
    }
}

/// Blocks of activation rows, sums in L1.
#[inline(always)]
unsafe fn many<D: Decode>(d: &D, t: &Tile<'_>) {
    for first in (0..t.acts.len()).step_by(BLOCK) {
        let acts = &t.acts[first..t.acts.len().min(first + BLOCK)];
        // SAFETY: passed on from `run`.
        unsafe {
            let mut sums = [_mm512_setzero_ps(); BLOCK];
            for g in 0..t.cols / 32 {
                let group = d.group(g);
                let mut i = 0;
                while i + SHARE <= acts.len() {
                    step::<D::Codes, SHARE>(&group, g, &acts[i..], &mut sums[i..]);
                    i += SHARE;
                }
                if i + 4 <= acts.len() {
                    step::<D::Codes, 4>(&group, g, &acts[i..], &mut sums[i..]);
                    i += 4;
                }
                if i + 2 <= acts.len() {
                    step::<D::Codes, 2>(&group, g, &acts[i..], &mut sums[i..]);
                    i += 2;
                }
                if i < acts.len() {
                    step::<D::Codes, 1>(&group, g, &acts[i..], &mut sums[i..]);
                }
            }
            for (&sum, &out) in sums[..acts.len()].iter().zip(&t.out[first..]) {
                store(sum, out, t.rows);
            }
        }
    }
}

/// Adds group `g` times the first N activation rows to their sums.
#[inline(always)]
unsafe fn step<C: Sums, const N: usize>(group: &Group<C>, g: usize, acts: &[ActRow<'_>], sums: &mut [__m512]) {
    let (acts, sums) = (&acts[..N], &mut sums[..N]);
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
