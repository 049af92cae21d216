//! f32 vectors of NEON: four lanes.

use crate::kernels::simd::Simd;
use std::arch::aarch64::*;

/// Four lanes.
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(x: f32) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> float32x4_t {
        // SAFETY: four values are readable at `p`, by the caller; every 64-bit Arm has NEON.
        unsafe { vld1q_f32(p) }
    }

    #[inline(always)]
    unsafe fn store(v: float32x4_t, p: *mut f32) {
        // SAFETY: four values are writable at `p`, by the caller; every 64-bit Arm has NEON.
        unsafe { vst1q_f32(p, v) }
    }

    #[inline(always)]
    unsafe fn mul(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn fma(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }

    #[inline(always)]
    unsafe fn sum(v: float32x4_t) -> f32 {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vaddvq_f32(v) }
    }

    #[inline(always)]
    fn fma1(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}
