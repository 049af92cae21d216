//! Products by the int8 matrix product: two rows of eight codes meet two activation rows in one instruction.
//!
//! ```text
//! arrange: (quad 2i of rows 4v..4v+4, quad 2i+1 of them) -> (8 codes of rows 4v and 4v+1, 8 of rows 4v+2 and 4v+3)
//! acc[row pair] += codes of the pair (2 x 8)  *  activations (8 x 2)                      [r a, r b, r' a, r' b]
//! at the end of a group, even and odd lanes apart: sums[a][4v..4v+4], sums[b][4v..4v+4]
//! ```
//! Twice the products of a dot product per instruction; the codes are arranged once, when a group is unpacked. After
//! the integer sums everything is as in the other tables, lane for lane, so results have the same bits. A single
//! activation row would leave half of each product unused: it is left to the dot product.
//!
//! Left out: to keep scales and f32 sums in the order of the 2 x 2 results would save the eight `uzp` of a group (of
//! about 80 instructions for a pair of activation rows), for a second form of every scale and sum.

use super::decode::Group;
use super::dotprod::{DotProd, planes, whole};
use super::products::Products;
use super::registers::{Sums, unrolled};
use std::arch::aarch64::*;
use std::arch::asm;

/// The products of this file.
pub(super) struct MatMul;

/// 2 x 2 sums of the eight pairs of rows.
type Squares = [int32x4_t; 8];

impl Products for MatMul {
    type Alone = DotProd;

    #[inline(always)]
    fn arrange([a, b]: [int8x16_t; 2]) -> [int8x16_t; 2] {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe {
            let (a, b) = (vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b));
            [vreinterpretq_s8_s32(vzip1q_s32(a, b)), vreinterpretq_s8_s32(vzip2q_s32(a, b))]
        }
    }

    #[inline(always)]
    unsafe fn narrow<G: Group, const N: usize, const FIRST: bool, const SECOND: bool>(
        group: &G,
        acts: [*const i8; N],
    ) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut squares = [vdupq_n_s32(0); 8];
            if FIRST {
                mul16::<G, 0, 1>(&mut squares, group, eights(acts.map(|p| vld1q_s8(p))));
            }
            if SECOND {
                mul16::<G, 2, 3>(&mut squares, group, eights(acts.map(|p| vld1q_s8(p.add(16)))));
            }
            apart(squares)
        }
    }

    /// The planes are those of the dot product.
    #[inline(always)]
    unsafe fn wide<G: Group, const N: usize>(group: &G, acts: [*const i16; N]) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let (first, second) = (eight_planes(acts), eight_planes(acts.map(|p| p.add(16))));
            let mut squares = [vdupq_n_s32(0); 8];
            unrolled!(v in 4, {
                let mut parts = [[vdupq_n_s32(0); 2]; 2];
                mul16_planes::<G, 0, 1>(&mut parts, group, v, &first);
                mul16_planes::<G, 2, 3>(&mut parts, group, v, &second);
                unrolled!(o in 2, {
                    squares[2 * v + o] = whole(parts[o]);
                });
            });
            apart(squares)
        }
    }
}

/// [`eights`] of the high and of the low plane.
///
/// # Safety
/// 16 codes are readable at each pointer.
#[inline(always)]
unsafe fn eight_planes<const N: usize>(acts: [*const i16; N]) -> [[int8x16_t; 2]; 2] {
    // SAFETY: by the caller.
    let planes = acts.map(|p| unsafe { planes(p) });
    [eights(planes.map(|p| p[0])), eights(planes.map(|p| p[1]))]
}

/// The first eight codes of both rows, and the last eight; a row without a neighbour is its own.
#[inline(always)]
fn eights<const N: usize>(a: [int8x16_t; N]) -> [int8x16_t; 2] {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let (a, b) = (vreinterpretq_s64_s8(a[0]), vreinterpretq_s64_s8(a[N - 1]));
        [vreinterpretq_s8_s64(vzip1q_s64(a, b)), vreinterpretq_s8_s64(vzip2q_s64(a, b))]
    }
}

/// Adds the products of pairs A and B of quads with 16 activations of two rows.
///
/// # Safety
/// i8mm; the group is there.
#[inline(always)]
unsafe fn mul16<G: Group, const A: usize, const B: usize>(squares: &mut Squares, group: &G, a: [int8x16_t; 2]) {
    unrolled!(v in 4, {
        // SAFETY: passed on to the caller.
        unsafe {
            let (first, second) = (group.pair::<A>(v), group.pair::<B>(v));
            unrolled!(o in 2, {
                squares[2 * v + o] = smmla(smmla(squares[2 * v + o], first[o], a[0]), second[o], a[1]);
            });
        }
    });
}

/// Adds the products of pairs A and B of quads of rows `4v..4v + 4` with 16 activations of two rows, in planes.
///
/// # Safety
/// As [`mul16`].
#[inline(always)]
unsafe fn mul16_planes<G: Group, const A: usize, const B: usize>(
    parts: &mut [[int32x4_t; 2]; 2],
    group: &G,
    v: usize,
    a: &[[int8x16_t; 2]; 2],
) {
    // SAFETY: passed on to the caller.
    unsafe {
        let (first, second) = (group.pair::<A>(v), group.pair::<B>(v));
        unrolled!(o in 2, {
            unrolled!(plane in 2, {
                let part = smmla(parts[o][plane], first[o], a[plane][0]);
                parts[o][plane] = smmla(part, second[o], a[plane][1]);
            });
        });
    }
}

/// The sums of each activation row, rows in order.
#[inline(always)]
fn apart<const N: usize>(s: Squares) -> Sums<N> {
    const { assert!(N == 1 || N == 2) };
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        std::array::from_fn(|n| {
            std::array::from_fn(|v| {
                let (a, b) = (s[2 * v], s[2 * v + 1]);
                if n == 0 { vuzp1q_s32(a, b) } else { vuzp2q_s32(a, b) }
            })
        })
    }
}

/// `acc[2i + j] += sum over k of codes[8i + k] * a[8j + k]`. The intrinsic is not stable (Rust issue 117223).
#[inline]
#[target_feature(enable = "neon,i8mm")]
fn smmla(mut acc: int32x4_t, codes: int8x16_t, a: int8x16_t) -> int32x4_t {
    // SAFETY: reads and writes registers only; the features above have the instruction.
    unsafe {
        asm!(
            "smmla {acc:v}.4s, {codes:v}.16b, {a:v}.16b",
            acc = inout(vreg) acc,
            codes = in(vreg) codes,
            a = in(vreg) a,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    acc
}
