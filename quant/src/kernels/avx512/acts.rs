//! Activations in integers. The same bits as the shared body gives.
//!
//! ```text
//! for sixteen groups of 32 values at a time:
//!     tops = the largest size in each group            (one vector: a lane is a group)
//!     inverses = limit / tops;  scales = tops / limit
//!     codes = round(values * inverse of their group);  sums of codes of each half of each group, a lane a group again
//! ```
//! What took most of the time one group at a time were two divisions and three reductions across lanes; here sixteen
//! groups share them.

use crate::acts::{CodesMut, GROUP, TOP8, TOP16};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Groups at a time.
const AT_ONCE: usize = 16;

/// Sixteen vectors reduced, each to its lane of the result.
macro_rules! reduced {
    ($op:path, $v:expr) => {{
        let v: [__m512i; AT_ONCE] = $v;
        // Each step halves both the vectors and what is left to add up of each; `SLOT` has the order that comes of it.
        let (mut a, mut b, mut c) = ([v[0]; 8], [v[0]; 4], [v[0]; 2]);
        for i in 0..8 {
            let (x, y) = (v[SLOT[i]], v[SLOT[i + 8]]);
            a[i] = $op(_mm512_shuffle_i32x4::<0x44>(x, y), _mm512_shuffle_i32x4::<0xee>(x, y));
        }
        for i in 0..4 {
            let (x, y) = (a[i], a[i + 4]);
            b[i] = $op(_mm512_shuffle_i32x4::<0x88>(x, y), _mm512_shuffle_i32x4::<0xdd>(x, y));
        }
        for i in 0..2 {
            let (x, y) = (b[i], b[i + 2]);
            c[i] = $op(_mm512_unpacklo_epi64(x, y), _mm512_unpackhi_epi64(x, y));
        }
        let (x, y) = (_mm512_castsi512_ps(c[0]), _mm512_castsi512_ps(c[1]));
        let (even, odd) = (_mm512_shuffle_ps::<0x88>(x, y), _mm512_shuffle_ps::<0xdd>(x, y));
        $op(_mm512_castps_si512(even), _mm512_castps_si512(odd))
    }};
}

/// Which vector goes where, for the results to be in order.
const SLOT: [usize; AT_ONCE] = [0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15];

/// One row; `put` stores a group's codes.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn quantize<T>(x: &[f32], out: CodesMut<'_, T>, limit: f32, put: impl Fn([__m512i; 2], &mut [T; GROUP])) {
    let (groups, codes) = (x.as_chunks::<GROUP>().0, out.codes.as_chunks_mut::<GROUP>().0);
    for (at, (x, codes)) in groups.chunks(AT_ONCE).zip(codes.chunks_mut(AT_ONCE)).enumerate() {
        let (first, some) = (at * AT_ONCE, (0xffff_u32 >> (AT_ONCE - x.len())) as __mmask16);
        let mut tops = [_mm512_setzero_si512(); AT_ONCE];
        for (x, top) in x.iter().zip(&mut tops) {
            let size = load(x).map(|v| _mm512_castps_si512(_mm512_abs_ps(v)));
            *top = _mm512_max_epu32(size[0], size[1]);
        }
        // As integers, sizes have the order that they have as floats, and infinity and NaN are above all of them.
        let tops = reduced!(_mm512_max_epu32, tops);
        let (top, limits) = (_mm512_castsi512_ps(tops), _mm512_set1_ps(limit));
        let broken = _mm512_cmpge_epu32_mask(tops, _mm512_set1_epi32(f32::INFINITY.to_bits() as i32));
        // An infinite or NaN value must be seen in every result.
        let scale = _mm512_mask_blend_ps(broken, _mm512_div_ps(top, limits), _mm512_set1_ps(f32::NAN));
        let mut inverses = [0f32; AT_ONCE];
        let mut sums = [const { [const { MaybeUninit::<__m512i>::uninit() }; AT_ONCE] }; 2];
        // SAFETY: sixteen inverses.
        unsafe {
            let inverse = _mm512_maskz_div_ps(_mm512_test_epi32_mask(tops, tops), limits, top);
            _mm512_storeu_ps(inverses.as_mut_ptr(), inverse);
        }
        for (g, (x, codes)) in x.iter().zip(codes).enumerate() {
            let inverse = _mm512_set1_ps(inverses[g]);
            let q = load(x).map(|v| _mm512_cvtps_epi32(_mm512_mul_ps(v, inverse)));
            put(q, codes);
            (sums[0][g], sums[1][g]) = (MaybeUninit::new(q[0]), MaybeUninit::new(q[1]));
        }
        // Zeroes only where there is no group: 2 KiB of them each time took more than a hundredth of a prompt's time.
        for g in x.len()..AT_ONCE {
            sums.iter_mut().for_each(|half| _ = half[g].write(_mm512_setzero_si512()));
        }
        // SAFETY: each is written, above or further above; the two types have the same layout.
        let sums =
            unsafe { std::mem::transmute::<[[MaybeUninit<__m512i>; AT_ONCE]; 2], [[__m512i; AT_ONCE]; 2]>(sums) };
        let [a, b] = [reduced!(_mm512_add_epi32, sums[0]), reduced!(_mm512_add_epi32, sums[1])];
        let times = |sum| _mm512_mul_ps(scale, _mm512_cvtepi32_ps(sum));
        // Those of groups 0 0 1 1 2 2 .., from both halves in turn.
        let (halves, low) =
            ([a, b].map(times), _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
        let high = _mm512_add_epi32(low, _mm512_set1_epi32(8));
        let pairs = [low, high].map(|order| _mm512_permutex2var_ps(halves[0], order, halves[1]));
        let whole = [low, high].map(|order| _mm512_permutex2var_epi32(a, order, b));
        let n = 2 * x.len();
        let (scales, dsums) = (&mut out.scales[first..], &mut out.dsums[first..]);
        let (to, sums) = (&mut out.halves[2 * first..][..n], &mut out.sums[2 * first..][..n]);
        // SAFETY: masks let through what is there: `x.len()` scales and sums, twice as many of halves and of their sums.
        unsafe {
            _mm512_mask_storeu_ps(scales.as_mut_ptr(), some, scale);
            _mm512_mask_storeu_ps(dsums.as_mut_ptr(), some, times(_mm512_add_epi32(a, b)));
            let masks = 0xffff_ffff_u32 >> (2 * AT_ONCE - n);
            for (i, mask) in [masks as __mmask16, (masks >> 16) as __mmask16].into_iter().enumerate() {
                _mm512_mask_storeu_ps(to.as_mut_ptr().wrapping_add(AT_ONCE * i), mask, pairs[i]);
                _mm512_mask_storeu_epi32(sums.as_mut_ptr().wrapping_add(AT_ONCE * i), mask, whole[i]);
            }
        }
    }
}

/// A group in two vectors.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
fn load(x: &[f32; GROUP]) -> [__m512; 2] {
    // SAFETY: a group has 32 values.
    unsafe { [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x.as_ptr().add(16))] }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn quantize_q8(x: &[f32], out: CodesMut<'_, i8>) {
    quantize(x, out, TOP8, |q, codes| {
        // SAFETY: 32 codes of one byte.
        unsafe {
            _mm_storeu_si128(codes.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(q[0]));
            _mm_storeu_si128(codes.as_mut_ptr().add(16).cast(), _mm512_cvtepi32_epi8(q[1]));
        }
    });
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
pub(super) fn quantize_q16(x: &[f32], out: CodesMut<'_, i16>) {
    quantize(x, out, TOP16, |q, codes| {
        // SAFETY: 32 codes of two bytes; quads are stored in the order 0, 2, 1, 3.
        unsafe {
            let halves = q.map(|q| _mm512_cvtepi32_epi16(_mm512_shuffle_epi32::<0b11_01_10_00>(q)));
            _mm256_storeu_si256(codes.as_mut_ptr().cast(), halves[0]);
            _mm256_storeu_si256(codes.as_mut_ptr().add(16).cast(), halves[1]);
        }
    });
}
