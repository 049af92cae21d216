//! Products by the int8 dot product: a quad of four rows meets a quad of activations in one instruction.
//!
//! ```text
//! sums[n][4v..4v+4] += quad q of rows 4v..4v+4 (16 bytes)  .  quad q of activation n (4 bytes of a register of 16)
//! ```
//! A wide activation a is `128 * high + low` with low in -64..=63 and, as |a| <= 8191, high in -64..=64: two planes of
//! bytes, which share each load of codes. The low plane is kept twice as large, which is one shift instead of two; its
//! sums are halved when they are added to those of the high plane.

use super::decode::Group;
use super::products::Products;
use super::registers::{Sums, unrolled};
use std::arch::aarch64::*;
use std::arch::asm;

/// The products of this file.
pub(super) struct DotProd;

impl Products for DotProd {
    type Alone = Self;

    #[inline(always)]
    unsafe fn narrow<G: Group, const N: usize, const FIRST: bool, const SECOND: bool>(
        group: &G,
        acts: [*const i8; N],
    ) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            if FIRST {
                dot16::<G, 0, 1, N>(&mut sums, group, acts.map(|p| vld1q_s8(p)));
            }
            if SECOND {
                dot16::<G, 2, 3, N>(&mut sums, group, acts.map(|p| vld1q_s8(p.add(16))));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn wide<G: Group, const N: usize>(group: &G, acts: [*const i16; N]) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let (first, second) = (acts.map(|p| planes(p)), acts.map(|p| planes(p.add(16))));
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            unrolled!(v in 4, {
                let mut parts = [[vdupq_n_s32(0); 2]; N];
                dot16_planes::<G, 0, 1, N>(&mut parts, group, v, &first);
                dot16_planes::<G, 2, 3, N>(&mut parts, group, v, &second);
                unrolled!(n in N, {
                    sums[n][v] = whole(parts[n]);
                });
            });
            sums
        }
    }
}

/// The high plane, and twice the low plane, of the 16 wide codes at `p`, in their natural order.
///
/// # Safety
/// 16 codes are readable at `p`.
#[inline(always)]
pub(super) unsafe fn planes(p: *const i16) -> [int8x16_t; 2] {
    // SAFETY: by the caller; LOW_BYTES has 16 bytes; every 64-bit Arm has NEON.
    unsafe {
        // The low bytes of 16 words, the middle two of each four exchanged.
        const LOW_BYTES: [u8; 16] = [0, 4, 2, 6, 8, 12, 10, 14, 16, 20, 18, 22, 24, 28, 26, 30];
        let (a, b, index) = (vld1q_s16(p), vld1q_s16(p.add(8)), vld1q_u8(LOW_BYTES.as_ptr()));
        let bytes = |a, b| vqtbl2q_s8(int8x16x2_t(vreinterpretq_s8_s16(a), vreinterpretq_s8_s16(b)), index);
        // Rounding shift: (a + 64) >> 7, without overflow. What is left over are the low seven bits, with their sign.
        [bytes(vrshrq_n_s16::<7>(a), vrshrq_n_s16::<7>(b)), vshlq_n_s8::<1>(bytes(a, b))]
    }
}

/// The whole sum of both planes' sums.
#[inline(always)]
pub(super) fn whole([high, low]: [int32x4_t; 2]) -> int32x4_t {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { vsraq_n_s32::<1>(vshlq_n_s32::<7>(high), low) }
}

/// Adds the products of the four quads of pairs A and B: `a[n]` has 16 activations of row n.
///
/// # Safety
/// dotprod; the group is there.
#[inline(always)]
unsafe fn dot16<G: Group, const A: usize, const B: usize, const N: usize>(
    sums: &mut Sums<N>,
    group: &G,
    a: [int8x16_t; N],
) {
    unrolled!(v in 4, {
        // SAFETY: passed on to the caller.
        unsafe {
            let ([q0, q1], [q2, q3]) = (group.pair::<A>(v), group.pair::<B>(v));
            unrolled!(n in N, {
                let sum = sdot::<1>(sdot::<0>(sums[n][v], q0, a[n]), q1, a[n]);
                sums[n][v] = sdot::<3>(sdot::<2>(sum, q2, a[n]), q3, a[n]);
            });
        }
    });
}

/// Adds the products of the four quads of pairs A and B of rows `4v..4v + 4` with both planes of each row.
///
/// # Safety
/// As [`dot16`].
#[inline(always)]
unsafe fn dot16_planes<G: Group, const A: usize, const B: usize, const N: usize>(
    parts: &mut [[int32x4_t; 2]; N],
    group: &G,
    v: usize,
    a: &[[int8x16_t; 2]; N],
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let ([q0, q1], [q2, q3]) = (group.pair::<A>(v), group.pair::<B>(v));
        unrolled!(n in N, {
            unrolled!(plane in 2, {
                let sum = sdot::<1>(sdot::<0>(parts[n][plane], q0, a[n][plane]), q1, a[n][plane]);
                parts[n][plane] = sdot::<3>(sdot::<2>(sum, q2, a[n][plane]), q3, a[n][plane]);
            });
        });
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
