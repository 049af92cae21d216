//! The integer products that the tile is written over: bytes and 16-bit words, added up in the lanes of rows.
//!
//! A step is one piece of assembly: a broadcast and its products with two vectors. From intrinsics the compiler would
//! make trees of additions, or run through one vector's steps and then the other's, and keep in memory what it
//! broadcast: up to a third slower.

use super::format::Pair;
use std::arch::asm;
use std::arch::x86_64::*;

/// How an instruction set multiplies quads of codes by broadcast quads of activations. A type that implements it stands
/// for an instruction set; its functions are inlined into `target_feature` functions of that set, and nowhere else.
pub(in crate::kernels) trait Dot {
    /// How many quads of codes below `2^bits` may be added up by [`Dot::bytes`] before [`Dot::finish`].
    fn quads(bits: u32) -> usize;
    /// `sums` plus the products of unsigned codes and the four signed activations `AT` bytes from `acts` on, bytes both.
    /// The first ones of a sum may be written instead of added to zeros.
    ///
    /// # Safety
    /// The instruction set is there; the activations are readable.
    unsafe fn bytes<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        first: bool,
    ) -> Pair<__m256i>;
    /// A sum of [`Dot::bytes`] as 32-bit lanes.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn finish(sum: __m256i) -> __m256i;
    /// A sum of [`Dot::bytes`] of codes below `2^bits`, at most half a group where the sum has 32 bits, times a 16-bit
    /// number, which is in both halves of the lanes.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn scaled(bits: u32, sum: __m256i, by: __m256i) -> __m256i;
    /// `sums` plus, per 32-bit lane, both products of 16-bit codes and the two activations `AT` bytes from `acts` on.
    /// The first ones of a sum may be written instead of added to zeros.
    ///
    /// # Safety
    /// The instruction set is there; the activations are readable.
    unsafe fn words<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        first: bool,
    ) -> Pair<__m256i>;
}

/// AVX2: products of bytes are added up in 16 bits. Two codes of b bits times activations of at most 127 make
/// `2 * 127 * (2^b - 1)`: eight of those fit for four bits, four for five,
/// two for six.
pub(in crate::kernels) struct Maddubs;

impl Dot for Maddubs {
    #[inline(always)]
    fn quads(bits: u32) -> usize {
        match bits {
            0..=4 => 8,
            5 => 4,
            6 => 2,
            _ => unreachable!(),
        }
    }

    #[inline(always)]
    unsafe fn bytes<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        first: bool,
    ) -> Pair<__m256i> {
        // SAFETY: passed on to the caller.
        unsafe { if first { maddubs_first::<AT>(codes, acts) } else { maddubs::<AT>(sums, codes, acts) } }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) }
    }

    #[inline(always)]
    unsafe fn scaled(_bits: u32, sum: __m256i, by: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_madd_epi16(sum, by) }
    }

    #[inline(always)]
    unsafe fn words<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        first: bool,
    ) -> Pair<__m256i> {
        // SAFETY: passed on to the caller.
        unsafe { if first { madd_first::<AT>(codes, acts) } else { madd::<AT>(sums, codes, acts) } }
    }
}

/// A step of two instructions per vector, a multiplication and an addition, and the step that begins a sum.
macro_rules! step {
    ($name:ident, $first:ident, $multiply:literal, $add:literal) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $name<const AT: usize>(
            [mut low, mut high]: Pair<__m256i>,
            codes: Pair<__m256i>,
            acts: *const u8,
        ) -> Pair<__m256i> {
            // SAFETY: four bytes are readable there, by the caller; the rest are register operations of this ISA.
            unsafe {
                asm!(
                    "vpbroadcastd {a}, dword ptr [{acts} + {at}]",
                    concat!($multiply, " {p}, {c}, {a}"),
                    concat!($multiply, " {a}, {d}, {a}"),
                    concat!($add, " {low}, {low}, {p}"),
                    concat!($add, " {high}, {high}, {a}"),
                    a = out(ymm_reg) _, p = out(ymm_reg) _, c = in(ymm_reg) codes[0], d = in(ymm_reg) codes[1],
                    low = inout(ymm_reg) low, high = inout(ymm_reg) high, acts = in(reg) acts, at = const AT,
                    options(nostack, preserves_flags)
                );
            }
            [low, high]
        }

        #[inline]
        #[target_feature(enable = "avx2")]
        unsafe fn $first<const AT: usize>(codes: Pair<__m256i>, acts: *const u8) -> Pair<__m256i> {
            let (low, high): (__m256i, __m256i);
            // SAFETY: as above.
            unsafe {
                asm!(
                    "vpbroadcastd {high}, dword ptr [{acts} + {at}]",
                    concat!($multiply, " {low}, {c}, {high}"),
                    concat!($multiply, " {high}, {d}, {high}"),
                    c = in(ymm_reg) codes[0], d = in(ymm_reg) codes[1],
                    low = out(ymm_reg) low, high = out(ymm_reg) high, acts = in(reg) acts, at = const AT,
                    options(nostack, preserves_flags)
                );
            }
            [low, high]
        }
    };
}

step!(maddubs, maddubs_first, "vpmaddubsw", "vpaddw");
step!(madd, madd_first, "vpmaddwd", "vpaddd");
