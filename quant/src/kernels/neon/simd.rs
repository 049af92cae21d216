//! f32 vectors of NEON: four lanes.

use crate::kernels::simd::Simd;
use std::arch::aarch64::*;

/// Four lanes.
pub(crate) struct Neon;

impl Simd for Neon {
    type V = float32x4_t;
    const LANES: usize = 4;
    const REGISTERS: usize = 32;

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
    unsafe fn add(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    unsafe fn zero_below(x: float32x4_t, limit: float32x4_t, y: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(y), vcltq_f32(x, limit))) }
    }

    #[inline(always)]
    unsafe fn times_power(p: float32x4_t, t: float32x4_t) -> float32x4_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe {
            let n = vshlq_n_u32::<23>(vreinterpretq_u32_f32(t));
            vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(p), n))
        }
    }

    #[inline(always)]
    unsafe fn sums(v: [float32x4_t; 4]) -> [f32; 4] {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe {
            let mut out = [0f32; 4];
            vst1q_f32(out.as_mut_ptr(), vpaddq_f32(vpaddq_f32(v[0], v[1]), vpaddq_f32(v[2], v[3])));
            out
        }
    }

    #[inline(always)]
    unsafe fn top(v: float32x4_t) -> f32 {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vmaxvq_f32(v) }
    }

    #[inline(always)]
    unsafe fn columns(p: *const f32, step: usize) -> [float32x4_t; 4] {
        // SAFETY: four values are readable at the start of each of four rows, by the caller.
        unsafe {
            let r: [float32x4_t; 4] = std::array::from_fn(|r| vld1q_f32(p.add(r * step)));
            let pair = |a, b| {
                let (low, high) = (vtrn1q_f32(a, b), vtrn2q_f32(a, b));
                (vreinterpretq_f64_f32(low), vreinterpretq_f64_f32(high))
            };
            let ((a, b), (c, d)) = (pair(r[0], r[1]), pair(r[2], r[3]));
            [vtrn1q_f64(a, c), vtrn1q_f64(b, d), vtrn2q_f64(a, c), vtrn2q_f64(b, d)].map(|v| vreinterpretq_f32_f64(v))
        }
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u8) -> float32x4_t {
        // SAFETY: eight bytes are readable at `p`, by the caller.
        unsafe { vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p))) }
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u8) -> float32x4_t {
        // SAFETY: eight bytes are readable at `p`, by the caller.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vmovl_u16(vreinterpret_u16_u8(vld1_u8(p))))) }
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const u8) -> float32x4_t {
        // SAFETY: four bytes are readable at `p`, by the caller.
        unsafe {
            let bytes = vreinterpret_s8_u32(vdup_n_u32(p.cast::<u32>().read_unaligned()));
            vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))))
        }
    }

    #[inline(always)]
    unsafe fn splat_f16(p: *const u8) -> float32x4_t {
        // SAFETY: two bytes are readable at `p`, by the caller.
        unsafe { vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(p.cast::<u16>().read_unaligned()))) }
    }

    #[inline(always)]
    unsafe fn prefetch(p: *const u8) {
        // SAFETY: a prefetch reads nothing that the program sees.
        unsafe { std::arch::asm!("prfm pldl1keep, [{p}]", p = in(reg) p, options(nostack, readonly, preserves_flags)) }
    }

    #[inline(always)]
    fn fma1(a: f32, b: f32, c: f32) -> f32 {
        a.mul_add(b, c)
    }
}

crate::kernels::page::prompt::by_floats!(Neon);
