//! Exact sums of code times activation, per weight row: what the instruction sets do differently.
//!
//! ```text
//! sums[n][row] = sum over 32 weights k of code[row][k] * activation[n][k]         in 32-bit integers
//! ```
//! or over one half of the 32, where each half has an inner scale. Here is the arithmetic of every 64-bit Arm, which
//! multiplies bytes to 16 bits; `dotprod` and `i8mm` have the others. All give the same integers.

use super::decode::Group;
use super::registers::{Sums, unrolled};
use std::arch::aarch64::*;
use std::arch::asm;

/// How an instruction set multiplies codes with activations. FIRST and SECOND tell which halves of the group count
/// in narrow sums.
pub(super) trait Products {
    /// What multiplies where there is one activation row.
    type Alone: Products;
    /// Whether two rows of wide activations at a time fit the registers.
    const WIDE_PAIRS: bool = true;

    /// The order in which the codes of two quads of four rows are wanted.
    #[inline(always)]
    fn arrange(quads: [int8x16_t; 2]) -> [int8x16_t; 2] {
        quads
    }

    /// Sums over a group and N rows of narrow activations.
    ///
    /// # Safety
    /// The products' ISA; 32 codes behind each pointer; the group is there.
    unsafe fn narrow<G: Group, const N: usize, const FIRST: bool, const SECOND: bool>(
        group: &G,
        acts: [*const i8; N],
    ) -> Sums<N>;

    /// Sums over a group and N rows of wide activations.
    ///
    /// # Safety
    /// As above.
    unsafe fn wide<G: Group, const N: usize>(group: &G, acts: [*const i16; N]) -> Sums<N>;
}

/// Base NEON for codes of at most 31: a 16-bit lane takes one product of each of the eight quads, at most
/// 8 * 31 * 127 = 31496.
pub(super) struct Widening;

/// Base NEON for codes of any size: a 16-bit lane takes two products, at most 2 * 127 * 127 = 32258.
pub(super) struct WideningLarge;

/// Lanes of a product of N rows: of the first two rows of each vector of codes, then of the others.
type Lanes<T, const N: usize> = [[[T; 2]; 4]; N];

impl Products for Widening {
    type Alone = Self;
    const WIDE_PAIRS: bool = false;

    #[inline(always)]
    fn arrange(quads: [int8x16_t; 2]) -> [int8x16_t; 2] {
        quads.map(hidden)
    }

    #[inline(always)]
    unsafe fn narrow<G: Group, const N: usize, const FIRST: bool, const SECOND: bool>(
        group: &G,
        acts: [*const i8; N],
    ) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut lanes: Lanes<int16x8_t, N> = [[[vdupq_n_s16(0); 2]; 4]; N];
            if FIRST {
                add_small::<G, 0, N>(&mut lanes, group, acts);
                add_small::<G, 1, N>(&mut lanes, group, acts);
            }
            if SECOND {
                add_small::<G, 2, N>(&mut lanes, group, acts);
                add_small::<G, 3, N>(&mut lanes, group, acts);
            }
            lanes.map(|rows| rows.map(|[low, high]| vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high))))
        }
    }

    /// A quad's products fill a vector of 32-bit lanes, one row after the other.
    #[inline(always)]
    unsafe fn wide<G: Group, const N: usize>(group: &G, acts: [*const i16; N]) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut sums = [[vdupq_n_s32(0); 4]; N];
            add_wide::<G, 0, 1, N>(&mut sums, group, acts);
            add_wide::<G, 2, 3, N>(&mut sums, group, acts.map(|p| p.add(16)));
            sums
        }
    }
}

impl Products for WideningLarge {
    type Alone = Self;
    const WIDE_PAIRS: bool = false;

    #[inline(always)]
    fn arrange(quads: [int8x16_t; 2]) -> [int8x16_t; 2] {
        quads.map(hidden)
    }

    #[inline(always)]
    unsafe fn narrow<G: Group, const N: usize, const FIRST: bool, const SECOND: bool>(
        group: &G,
        acts: [*const i8; N],
    ) -> Sums<N> {
        // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
        unsafe {
            let mut lanes: Lanes<int32x4_t, N> = [[[vdupq_n_s32(0); 2]; 4]; N];
            if FIRST {
                add_large::<G, 0, N>(&mut lanes, group, acts);
                add_large::<G, 1, N>(&mut lanes, group, acts);
            }
            if SECOND {
                add_large::<G, 2, N>(&mut lanes, group, acts);
                add_large::<G, 3, N>(&mut lanes, group, acts);
            }
            lanes.map(|rows| rows.map(|[low, high]| vpaddq_s32(low, high)))
        }
    }

    #[inline(always)]
    unsafe fn wide<G: Group, const N: usize>(group: &G, acts: [*const i16; N]) -> Sums<N> {
        // SAFETY: passed on to the caller.
        unsafe { Widening::wide::<G, N>(group, acts) }
    }
}

/// The same bytes, of which the compiler knows nothing. What it knows (that codes are not negative, that both halves of
/// a quad's vector are equal) makes it take multiplications apart that widen to others that do not.
#[inline(always)]
fn hidden(mut v: int8x16_t) -> int8x16_t {
    // SAFETY: no instruction at all.
    unsafe { asm!("/* {v:v} */", v = inout(vreg) v, options(pure, nomem, nostack, preserves_flags)) };
    v
}

/// Quads 2 * I and 2 * I + 1 of each activation row, four times each.
#[inline(always)]
unsafe fn quads<const I: usize, const N: usize>(acts: [*const i8; N]) -> [[int8x16_t; 2]; N] {
    // SAFETY: the rows have 32 codes, by the caller; every 64-bit Arm has NEON.
    unsafe {
        acts.map(|p| {
            let quad = |q| hidden(vreinterpretq_s8_s32(vdupq_n_s32(p.add(4 * q).cast::<i32>().read_unaligned())));
            [quad(2 * I), quad(2 * I + 1)]
        })
    }
}

/// Adds the products of pair I of quads.
#[inline(always)]
unsafe fn add_small<G: Group, const I: usize, const N: usize>(
    lanes: &mut Lanes<int16x8_t, N>,
    group: &G,
    acts: [*const i8; N],
) {
    // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        let a = quads::<I, N>(acts);
        unrolled!(v in 4, {
            let codes = group.pair::<I>(v);
            unrolled!(n in N, {
                unrolled!(q in 2, {
                    let [low, high] = lanes[n][v];
                    let low = vmlal_s8(low, vget_low_s8(codes[q]), vget_low_s8(a[n][q]));
                    lanes[n][v] = [low, vmlal_high_s8(high, codes[q], a[n][q])];
                });
            });
        });
    }
}

/// The same where no more than two products fit.
#[inline(always)]
unsafe fn add_large<G: Group, const I: usize, const N: usize>(
    lanes: &mut Lanes<int32x4_t, N>,
    group: &G,
    acts: [*const i8; N],
) {
    // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        let a = quads::<I, N>(acts);
        unrolled!(v in 4, {
            let codes = group.pair::<I>(v);
            unrolled!(n in N, {
                let low = vmull_s8(vget_low_s8(codes[0]), vget_low_s8(a[n][0]));
                let low = vmlal_s8(low, vget_low_s8(codes[1]), vget_low_s8(a[n][1]));
                let high = vmlal_high_s8(vmull_high_s8(codes[0], a[n][0]), codes[1], a[n][1]);
                let lanes = &mut lanes[n][v];
                *lanes = [vpadalq_s16(lanes[0], low), vpadalq_s16(lanes[1], high)];
            });
        });
    }
}

/// Adds the products of the four quads of pairs A and B with 16 wide activations of each row.
#[inline(always)]
unsafe fn add_wide<G: Group, const A: usize, const B: usize, const N: usize>(
    sums: &mut Sums<N>,
    group: &G,
    acts: [*const i16; N],
) {
    // SAFETY: passed on to the caller; every 64-bit Arm has NEON.
    unsafe {
        unrolled!(n in N, {
            let quads = doubled_quads(acts[n]);
            unrolled!(v in 4, {
                // Vector r has parts of the sum of row 4v + r.
                let mut parts = [vdupq_n_s32(0); 4];
                let ([c0, c1], [c2, c3]) = (group.pair::<A>(v), group.pair::<B>(v));
                let codes = [c0, c1, c2, c3];
                unrolled!(q in 4, {
                    let (c01, c23) = (vmovl_s8(vget_low_s8(codes[q])), vmovl_high_s8(codes[q]));
                    let a = quads[q];
                    parts[0] = vmlal_s16(parts[0], vget_low_s16(c01), vget_low_s16(a));
                    parts[1] = vmlal_high_s16(parts[1], c01, a);
                    parts[2] = vmlal_s16(parts[2], vget_low_s16(c23), vget_low_s16(a));
                    parts[3] = vmlal_high_s16(parts[3], c23, a);
                });
                let sum = vpaddq_s32(vpaddq_s32(parts[0], parts[1]), vpaddq_s32(parts[2], parts[3]));
                sums[n][v] = vaddq_s32(sums[n][v], sum);
            });
        });
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
