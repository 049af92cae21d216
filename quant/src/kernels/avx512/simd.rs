//! f32 vectors of AVX-512 F: sixteen lanes.

use crate::kernels::avx2::Avx2;
use crate::kernels::pairs::Pairs;
use crate::kernels::simd::Simd;
use std::arch::x86_64::*;

/// Sixteen lanes.
pub(crate) struct Avx512;

impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m512 {
        // SAFETY: sixteen values are readable at `p`, by the caller.
        unsafe { _mm512_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(v: __m512, p: *mut f32) {
        // SAFETY: sixteen values are writable at `p`, by the caller.
        unsafe { _mm512_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn sum(v: __m512) -> f32 {
        // SAFETY: the caller has the instruction set, which includes AVX2's.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
            Avx2::sum(_mm256_add_ps(_mm512_castps512_ps256(v), high))
        }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn zero_below(x: __m512, limit: __m512, y: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_NLT_UQ>(x, limit), y) }
    }

    #[inline(always)]
    unsafe fn times_power(p: __m512, t: __m512) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let n = _mm512_slli_epi32::<23>(_mm512_castps_si512(t));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(p), n))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [__m512; 4]) -> [f32; 4] {
        // SAFETY: the caller has the instruction set, which includes AVX2's.
        unsafe {
            // No closure: it would not be compiled for the instruction set.
            let mut halves = [_mm256_setzero_ps(); 4];
            for i in 0..4 {
                let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v[i])));
                halves[i] = _mm256_add_ps(_mm512_castps512_ps256(v[i]), high);
            }
            Avx2::sums(halves)
        }
    }

    #[inline(always)]
    unsafe fn top(v: __m512) -> f32 {
        // SAFETY: the caller has the instruction set, which includes AVX2's.
        unsafe {
            let high = _mm256_castpd_ps(_mm512_extractf64x4_pd::<1>(_mm512_castps_pd(v)));
            Avx2::top(_mm256_max_ps(_mm512_castps512_ps256(v), high))
        }
    }

    #[inline(always)]
    unsafe fn columns(p: *const f32, step: usize) -> [__m512; 4] {
        // SAFETY: four values are readable at the start of each of sixteen rows, by the caller.
        unsafe {
            // Lane group g of vector r: four values of row r + 4 g.
            let rows: [__m512; 4] = std::array::from_fn(|r| {
                let part = |g: usize| _mm_loadu_ps(p.add((r + 4 * g) * step));
                let v = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(part(0)), part(1));
                _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(v, part(2)), part(3))
            });
            let (a, b) = (_mm512_unpacklo_ps(rows[0], rows[1]), _mm512_unpacklo_ps(rows[2], rows[3]));
            let (c, d) = (_mm512_unpackhi_ps(rows[0], rows[1]), _mm512_unpackhi_ps(rows[2], rows[3]));
            [
                _mm512_shuffle_ps::<0x44>(a, b),
                _mm512_shuffle_ps::<0xee>(a, b),
                _mm512_shuffle_ps::<0x44>(c, d),
                _mm512_shuffle_ps::<0xee>(c, d),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u8) -> __m512 {
        // SAFETY: 32 bytes are readable at `p`, by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u8) -> __m512 {
        // SAFETY: 32 bytes are readable at `p`, by the caller.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(p.cast())))) }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const u8) -> __m512 {
        // SAFETY: sixteen bytes are readable at `p`, by the caller.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn splat_f16(p: *const u8) -> __m512 {
        // SAFETY: two bytes are readable at `p`, by the caller.
        unsafe { _mm512_cvtph_ps(_mm256_set1_epi16(p.cast::<i16>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: a prefetch reads nothing that the program sees.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }

    #[inline(always)]
    fn fma1(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

impl Pairs for Avx512 {
    type I = __m512i;

    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> __m512i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> __m512i {
        // SAFETY: sixteen values are readable at `p`, by the caller.
        unsafe { _mm512_loadu_si512(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_i32(v: __m512i, p: *mut i32) {
        // SAFETY: sixteen values are writable at `p`, by the caller.
        unsafe { _mm512_storeu_si512(p.cast(), v) }
    }

    #[inline(always)]
    unsafe fn store_i16(v: __m512i, p: *mut i16) {
        // SAFETY: sixteen values are writable at `p`, by the caller.
        unsafe { _mm256_storeu_si256(p.cast(), _mm512_cvtepi32_epi16(v)) }
    }

    #[inline(always)]
    unsafe fn join(low: __m512i, high: __m512i) -> __m512i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_mask_blend_epi16(0xaaaa_aaaa, low, _mm512_slli_epi32::<16>(high)) }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the caller has the instruction set.
        unsafe { super::group::dpwssd(sum, a, b) }
    }

    #[inline(always)]
    unsafe fn to_f32(v: __m512i) -> __m512 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_cvtepi32_ps(v) }
    }

    #[inline(always)]
    unsafe fn round(v: __m512) -> __m512i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_cvtps_epi32(v) }
    }

    #[inline(always)]
    unsafe fn peak(a: __m512i, v: __m512) -> __m512i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_max_epi32(a, _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(i32::MAX))) }
    }

    #[inline(always)]
    unsafe fn largest(v: __m512i) -> i32 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm512_reduce_max_epi32(v) }
    }
}

crate::kernels::page::prompt::by_integers!(Avx512);
