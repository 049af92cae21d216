//! Exact sums of code times activation, per weight row: with widening multiplies, and with the int8 dot product.
//!
//! Codes are signed bytes, at most 15 in size where they meet narrow activations. A quad's four codes of a row are
//! neighbours, so four products belong to one sum.

use super::tile::{Codes, Sums};
use crate::acts::ActRow;
use std::arch::aarch64::*;
use std::arch::asm;

/// How an instruction set multiplies codes with activations.
pub(super) trait Products {
    /// Sums over a group of 32 codes of 0..=15 and the narrow activations from `k` on, of the first N rows.
    ///
    /// # Safety
    /// The products' ISA; N rows with `k + 32` narrow codes.
    unsafe fn narrow<const N: usize>(k: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N>;

    /// Sums over 16 codes (`codes[4 * quad + v]`) and the wide activations from `k` on, of the first N rows.
    ///
    /// # Safety
    /// The products' ISA; N rows with `k + 16` wide codes.
    unsafe fn wide<const N: usize>(k: usize, codes: &[int8x16_t; 16], acts: &[ActRow<'_>]) -> Sums<N>;
}

/// Base NEON: products of bytes summed in 16 bits where they fit, else products of 16 bits summed in 32.
pub(super) struct Widening;

impl Products for Widening {
    /// A 16-bit lane takes one product of each of the eight quads: at most 8 * 15 * 127 = 15240.
    #[inline(always)]
    unsafe fn narrow<const N: usize>(k: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: the row has k + 32 narrow codes, by the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            for (act, sums) in acts.iter().zip(&mut sums) {
                let mut low = [vdupq_n_s16(0); 4];
                let mut high = low;
                for q in 0..8 {
                    let quad = act.q8.codes.as_ptr().add(k + 4 * q).cast::<i32>().read_unaligned();
                    let a = vreinterpretq_s8_s32(vdupq_n_s32(quad));
                    for v in 0..4 {
                        let c = codes[4 * q + v];
                        low[v] = vmlal_s8(low[v], vget_low_s8(c), vget_low_s8(a));
                        high[v] = vmlal_high_s8(high[v], c, a);
                    }
                }
                for v in 0..4 {
                    sums[v] = vpaddq_s32(vpaddlq_s16(low[v]), vpaddlq_s16(high[v]));
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn wide<const N: usize>(k: usize, codes: &[int8x16_t; 16], acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: the row has k + 16 wide codes, by the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut quads = [[vdupq_n_s16(0); 4]; N];
            for (act, quads) in acts.iter().zip(&mut quads) {
                *quads = doubled_quads(act.q16.codes.as_ptr().add(k));
            }
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            for v in 0..4 {
                // The lanes of `rows[r]` are parts of the sum of row 4v + r.
                let mut parts = [[vdupq_n_s32(0); 4]; N];
                for q in 0..4 {
                    let c = codes[4 * q + v];
                    let (c01, c23) = (vmovl_s8(vget_low_s8(c)), vmovl_high_s8(c));
                    for i in 0..N {
                        let (a, rows) = (quads[i][q], &mut parts[i]);
                        rows[0] = vmlal_s16(rows[0], vget_low_s16(c01), vget_low_s16(a));
                        rows[1] = vmlal_high_s16(rows[1], c01, a);
                        rows[2] = vmlal_s16(rows[2], vget_low_s16(c23), vget_low_s16(a));
                        rows[3] = vmlal_high_s16(rows[3], c23, a);
                    }
                }
                for i in 0..N {
                    let [r0, r1, r2, r3] = parts[i];
                    sums[i][v] = vpaddq_s32(vpaddq_s32(r0, r1), vpaddq_s32(r2, r3));
                }
            }
            sums
        }
    }
}

/// For each of the four quads at `p`: its wide codes in their natural order, twice.
///
/// # Safety
/// 16 codes are readable at `p`.
#[inline(always)]
unsafe fn doubled_quads(p: *const i16) -> [int16x8_t; 4] {
    // SAFETY: by the caller; FIRST has 16 bytes; every 64-bit Arm has NEON.
    unsafe {
        const FIRST: [u8; 16] = [0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7];
        let (a, b, first) = (vld1q_s16(p), vld1q_s16(p.add(8)), vld1q_u8(FIRST.as_ptr()));
        let second = vaddq_u8(first, vdupq_n_u8(8));
        let pick = |v, index| vreinterpretq_s16_u8(vqtbl1q_u8(vreinterpretq_u8_s16(v), index));
        [pick(a, first), pick(a, second), pick(b, first), pick(b, second)]
    }
}

/// The int8 dot product: a quad of four rows meets a quad of activations in one instruction.
///
/// A wide activation a is `128 * high + low` with low in -64..=63 and, as |a| <= 8191, high in -64..=64: two planes of
/// bytes. Sums of the high plane are shifted before those of the low plane are added to them.
pub(super) struct DotProd;

impl Products for DotProd {
    #[inline(always)]
    unsafe fn narrow<const N: usize>(k: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: the row has k + 32 narrow codes, by the caller; the caller has the ISA; every 64-bit Arm has NEON.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            for (half, codes) in codes.as_chunks::<16>().0.iter().enumerate() {
                let mut a = [vdupq_n_s8(0); N];
                for (act, a) in acts.iter().zip(&mut a) {
                    *a = vld1q_s8(act.q8.codes.as_ptr().add(k + 16 * half));
                }
                dot16(&mut sums, codes, &a);
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn wide<const N: usize>(k: usize, codes: &[int8x16_t; 16], acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: the row has k + 16 wide codes and the caller has the ISA; every 64-bit Arm has NEON.
        unsafe {
            let mut high = [vdupq_n_s8(0); N];
            let mut low = high;
            for (i, act) in acts.iter().take(N).enumerate() {
                (high[i], low[i]) = planes(act.q16.codes.as_ptr().add(k));
            }
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            dot16(&mut sums, codes, &high);
            for sums in &mut sums {
                *sums = sums.map(|s| vshlq_n_s32::<7>(s));
            }
            dot16(&mut sums, codes, &low);
            sums
        }
    }
}

/// The high and the low plane of the 16 wide codes at `p`, in their natural order.
///
/// # Safety
/// 16 codes are readable at `p`.
#[inline(always)]
unsafe fn planes(p: *const i16) -> (int8x16_t, int8x16_t) {
    // SAFETY: by the caller; LOW_BYTES has 16 bytes; every 64-bit Arm has NEON.
    unsafe {
        // The low bytes of 16 words, the middle two of each four exchanged.
        const LOW_BYTES: [u8; 16] = [0, 4, 2, 6, 8, 12, 10, 14, 16, 20, 18, 22, 24, 28, 26, 30];
        let (a, b, index) = (vld1q_s16(p), vld1q_s16(p.add(8)), vld1q_u8(LOW_BYTES.as_ptr()));
        let bytes = |a, b| vqtbl2q_s8(int8x16x2_t(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b)), index);
        // Rounding shift: (a + 64) >> 7, without overflow.
        let (ha, hb) = (vrshrq_n_s16::<7>(a), vrshrq_n_s16::<7>(b));
        (bytes(ha, hb), bytes(vmlsq_n_s16(a, ha, 128), vmlsq_n_s16(b, hb, 128)))
    }
}

/// Adds the products of four quads: `a[i]` has 16 activations of row i.
///
/// # Safety
/// dotprod.
#[inline(always)]
unsafe fn dot16<const N: usize>(sums: &mut Sums<N>, codes: &[int8x16_t; 16], a: &[int8x16_t; N]) {
    // SAFETY: passed on to the caller.
    unsafe {
        quad::<0, N>(sums, codes, a);
        quad::<1, N>(sums, codes, a);
        quad::<2, N>(sums, codes, a);
        quad::<3, N>(sums, codes, a);
    }
}

#[inline(always)]
unsafe fn quad<const Q: usize, const N: usize>(sums: &mut Sums<N>, codes: &[int8x16_t; 16], a: &[int8x16_t; N]) {
    for v in 0..4 {
        for i in 0..N {
            // SAFETY: passed on to the caller.
            sums[i][v] = unsafe { sdot::<Q>(sums[i][v], codes[4 * Q + v], a[i]) };
        }
    }
}

/// `acc[r] += sum over j of codes[4r + j] * a[4 * LANE + j]`. The intrinsic is not stable (Rust issue 117224).
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot<const LANE: usize>(mut acc: int32x4_t, codes: int8x16_t, a: int8x16_t) -> int32x4_t {
    const { assert!(LANE < 4) };
    // SAFETY: reads and writes registers only; the features above have the instruction.
    unsafe {
        asm!(
            "sdot {acc:v}.4s, {codes:v}.16b, {a:v}.4b[{lane}]",
            acc = inout(vreg) acc,
            codes = in(vreg) codes,
            a = in(vreg) a,
            lane = const LANE,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}
