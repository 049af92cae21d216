//! f32 vectors of AVX2 with FMA: eight lanes.

use crate::kernels::pairs::Pairs;
use crate::kernels::simd::Simd;
use std::arch::x86_64::*;

/// Eight lanes.
pub(crate) struct Avx2;

impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> __m256 {
        // SAFETY: eight values are readable at `p`, by the caller.
        unsafe { _mm256_loadu_ps(p) }
    }

    #[inline(always)]
    unsafe fn store(v: __m256, p: *mut f32) {
        // SAFETY: eight values are writable at `p`, by the caller.
        unsafe { _mm256_storeu_ps(p, v) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn sum(v: __m256) -> f32 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let s = _mm_add_ps(s, _mm_movehl_ps(s, s));
            _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)))
        }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn zero_below(x: __m256, limit: __m256, y: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_andnot_ps(_mm256_cmp_ps::<_CMP_LT_OQ>(x, limit), y) }
    }

    #[inline(always)]
    unsafe fn times_power(p: __m256, t: __m256) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let n = _mm256_slli_epi32::<23>(_mm256_castps_si256(t));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), n))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [__m256; 4]) -> [f32; 4] {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let s = _mm256_hadd_ps(_mm256_hadd_ps(v[0], v[1]), _mm256_hadd_ps(v[2], v[3]));
            let mut out = [0f32; 4];
            _mm_storeu_ps(out.as_mut_ptr(), _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps::<1>(s)));
            out
        }
    }

    #[inline(always)]
    unsafe fn top(v: __m256) -> f32 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let m = _mm_max_ps(m, _mm_movehl_ps(m, m));
            _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)))
        }
    }

    #[inline(always)]
    unsafe fn columns(p: *const f32, step: usize) -> [__m256; 4] {
        // SAFETY: four values are readable at the start of each of eight rows, by the caller.
        unsafe {
            let rows: [__m256; 4] = std::array::from_fn(|r| {
                let low = _mm256_castps128_ps256(_mm_loadu_ps(p.add(r * step)));
                _mm256_insertf128_ps::<1>(low, _mm_loadu_ps(p.add((r + 4) * step)))
            });
            let (a, b) = (_mm256_unpacklo_ps(rows[0], rows[1]), _mm256_unpacklo_ps(rows[2], rows[3]));
            let (c, d) = (_mm256_unpackhi_ps(rows[0], rows[1]), _mm256_unpackhi_ps(rows[2], rows[3]));
            [
                _mm256_shuffle_ps::<0x44>(a, b),
                _mm256_shuffle_ps::<0xee>(a, b),
                _mm256_shuffle_ps::<0x44>(c, d),
                _mm256_shuffle_ps::<0xee>(c, d),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u8) -> __m256 {
        // SAFETY: sixteen bytes are readable at `p`, by the caller.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(p.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u8) -> __m256 {
        // SAFETY: sixteen bytes are readable at `p`, by the caller.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(p.cast())))) }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const u8) -> __m256 {
        // SAFETY: eight bytes are readable at `p`, by the caller.
        unsafe { _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(p.cast()))) }
    }

    #[inline(always)]
    unsafe fn splat_f16(p: *const u8) -> __m256 {
        // SAFETY: two bytes are readable at `p`, by the caller.
        unsafe { _mm256_cvtph_ps(_mm_set1_epi16(p.cast::<i16>().read_unaligned())) }
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

impl Pairs for Avx2 {
    type I = __m256i;

    #[inline(always)]
    unsafe fn splat_i32(x: i32) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_set1_epi32(x) }
    }

    #[inline(always)]
    unsafe fn load_i32(p: *const i32) -> __m256i {
        // SAFETY: eight values are readable at `p`, by the caller.
        unsafe { _mm256_loadu_si256(p.cast()) }
    }

    #[inline(always)]
    unsafe fn store_i32(v: __m256i, p: *mut i32) {
        // SAFETY: eight values are writable at `p`, by the caller.
        unsafe { _mm256_storeu_si256(p.cast(), v) }
    }

    #[inline(always)]
    unsafe fn store_i16(v: __m256i, p: *mut i16) {
        // SAFETY: eight values are writable at `p`, by the caller.
        unsafe {
            let v = _mm256_permute4x64_epi64::<8>(_mm256_packs_epi32(v, v));
            _mm_storeu_si128(p.cast(), _mm256_castsi256_si128(v))
        }
    }

    #[inline(always)]
    unsafe fn join(low: __m256i, high: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_blend_epi16::<0xaa>(low, _mm256_slli_epi32::<16>(high)) }
    }

    #[inline(always)]
    unsafe fn dot(sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_add_epi32(sum, _mm256_madd_epi16(a, b)) }
    }

    #[inline(always)]
    unsafe fn to_f32(v: __m256i) -> __m256 {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_cvtepi32_ps(v) }
    }

    #[inline(always)]
    unsafe fn round(v: __m256) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_cvtps_epi32(v) }
    }

    #[inline(always)]
    unsafe fn peak(a: __m256i, v: __m256) -> __m256i {
        // SAFETY: the caller has the instruction set.
        unsafe { _mm256_max_epi32(a, _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(i32::MAX))) }
    }

    #[inline(always)]
    unsafe fn largest(v: __m256i) -> i32 {
        // SAFETY: the caller has the instruction set.
        unsafe {
            let m = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256::<1>(v));
            let m = _mm_max_epi32(m, _mm_shuffle_epi32::<0x4e>(m));
            _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32::<0xb1>(m)))
        }
    }
}

crate::kernels::page::prompt::by_integers!(Avx2);
