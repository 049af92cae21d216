//! The integer products of AVX-VNNI: one instruction multiplies and adds up in 32 bits.

use crate::kernels::avx2::dot::Dot;
use crate::kernels::avx2::format::Pair;
use std::arch::asm;
use std::arch::x86_64::*;

/// AVX-VNNI; nothing overflows, so all eight quads of a group are added up at once.
pub(in crate::kernels) struct Vnni;

impl Dot for Vnni {
    #[inline(always)]
    fn quads(_bits: u32) -> usize {
        8
    }

    #[inline(always)]
    unsafe fn bytes<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        _first: bool,
    ) -> Pair<__m256i> {
        // SAFETY: passed on to the caller.
        unsafe { dpbusd::<AT>(sums, codes, acts) }
    }

    #[inline(always)]
    unsafe fn finish(sum: __m256i) -> __m256i {
        sum
    }

    #[inline(always)]
    unsafe fn scaled(bits: u32, sum: __m256i, by: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe {
            if bits <= 4 {
                // The sum has 16 bits. Without the upper words of `by`, the product is that of the lower ones.
                _mm256_madd_epi16(sum, _mm256_and_si256(by, _mm256_set1_epi32(0xffff)))
            } else {
                _mm256_mullo_epi32(sum, _mm256_srai_epi32::<16>(by))
            }
        }
    }

    #[inline(always)]
    unsafe fn words<const AT: usize>(
        sums: Pair<__m256i>,
        codes: Pair<__m256i>,
        acts: *const u8,
        _first: bool,
    ) -> Pair<__m256i> {
        // SAFETY: passed on to the caller.
        unsafe { dpwssd::<AT>(sums, codes, acts) }
    }
}

/// A step of one instruction per vector.
macro_rules! step {
    ($name:ident, $multiply:literal) => {
        #[inline]
        #[target_feature(enable = "avx2,avxvnni")]
        unsafe fn $name<const AT: usize>(
            [mut low, mut high]: Pair<__m256i>,
            codes: Pair<__m256i>,
            acts: *const u8,
        ) -> Pair<__m256i> {
            // SAFETY: four bytes are readable there, by the caller; the rest are register operations of this ISA.
            unsafe {
                asm!(
                    "vpbroadcastd {a}, dword ptr [{acts} + {at}]",
                    concat!("{{vex}} ", $multiply, " {low}, {c}, {a}"),
                    concat!("{{vex}} ", $multiply, " {high}, {d}, {a}"),
                    a = out(ymm_reg) _, c = in(ymm_reg) codes[0], d = in(ymm_reg) codes[1],
                    low = inout(ymm_reg) low, high = inout(ymm_reg) high, acts = in(reg) acts, at = const AT,
                    options(nostack, preserves_flags)
                );
            }
            [low, high]
        }
    };
}

step!(dpbusd, "vpdpbusd");
step!(dpwssd, "vpdpwssd");
