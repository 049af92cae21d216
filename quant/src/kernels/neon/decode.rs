//! The formats' halves of the NEON tile: where parts lie in a panel, and how its codes become signed bytes.

use super::products::Products;
use super::tile::{Codes, Group, Rows, Sums};
use crate::acts::ActRow;
use crate::kernels::PANEL;
use crate::panel::{HALVES, LINE, Q4_K_RECORD, Q6_K_RECORD, Q8_0_RECORD};
use std::arch::aarch64::*;

/// A format's half of the tile.
pub(super) trait Decode {
    /// Where the format's parts are in a panel.
    ///
    /// # Safety
    /// A whole panel of `cols` weights per row at `weights`, which outlives the value.
    unsafe fn new(weights: *const u8, _cols: usize) -> Self;
    /// Scales of group `g`.
    ///
    /// # Safety
    /// `g < cols / 32`.
    unsafe fn group(&self, g: usize) -> Group;
    /// Unpacks the codes of group `g` as signed bytes.
    ///
    /// # Safety
    /// `g < cols / 32`.
    unsafe fn unpack(&self, g: usize, codes: &mut Codes);
    /// The group's scale and dsum of an activation row, in the form that `sums` reads.
    fn act(act: &ActRow<'_>, g: usize) -> (f32, f32);
    /// Exact integer sums of the group for the first N activation rows.
    ///
    /// # Safety
    /// The ISA of `P`; `g < cols / 32`; N rows of `cols` activations in the form that the format reads.
    unsafe fn sums<P: Products, const N: usize>(&self, g: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N>;
}

/// 16 f16 as f32.
///
/// # Safety
/// 32 bytes are readable at `p`.
#[inline(always)]
unsafe fn halves(p: *const u8) -> Rows<float32x4_t> {
    // SAFETY: by the caller; the load needs no alignment; every 64-bit Arm has NEON.
    unsafe {
        let mut out = [vdupq_n_f32(0.0); 4];
        for (v, out) in out.iter_mut().enumerate() {
            *out = vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p.add(8 * v).cast())));
        }
        out
    }
}

/// 16 unsigned bytes as f32.
#[inline(always)]
fn bytes_to_f32(v: uint8x16_t) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(v)), vmovl_high_u8(v));
        [
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(low))),
            vcvtq_f32_u32(vmovl_high_u16(low)),
            vcvtq_f32_u32(vmovl_u16(vget_low_u16(high))),
            vcvtq_f32_u32(vmovl_high_u16(high)),
        ]
    }
}

/// 16 signed bytes as 32-bit integers.
#[inline(always)]
fn bytes_to_s32(v: int8x16_t) -> Rows<int32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe {
        let (low, high) = (vmovl_s8(vget_low_s8(v)), vmovl_high_s8(v));
        [vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)]
    }
}

#[inline(always)]
fn mul(a: Rows<float32x4_t>, b: Rows<float32x4_t>) -> Rows<float32x4_t> {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1]), vmulq_f32(a[2], b[2]), vmulq_f32(a[3], b[3])] }
}

/// Low and high nibbles of bytes.
#[inline(always)]
fn nibbles(v: uint8x16_t) -> [uint8x16_t; 2] {
    // SAFETY: every 64-bit Arm has NEON.
    unsafe { [vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8::<4>(v)] }
}

/// The two halves of a group's codes, in quads.
#[inline(always)]
fn split(codes: &Codes) -> &[[int8x16_t; 16]] {
    codes.as_chunks().0
}

/// Q8_0: signed bytes as they are.
pub(super) struct Q8_0 {
    base: *const u8,
}

impl Decode for Q8_0 {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel; every 64-bit Arm has NEON.
        unsafe { Group { scale: halves(self.base.add(g * Q8_0_RECORD)), min: None } }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, codes: &mut Codes) {
        // SAFETY: group g, of eight lines of 64 bytes, is inside the panel; every 64-bit Arm has NEON.
        unsafe {
            for (i, c) in codes.iter_mut().enumerate() {
                *c = vld1q_s8(self.base.add(g * Q8_0_RECORD + HALVES + 16 * i).cast());
            }
        }
    }

    #[inline(always)]
    fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        (act.q16.scales[g], act.q16.dsums[g])
    }

    /// At most 32 * 128 * 8191 = 2^25.
    #[inline(always)]
    unsafe fn sums<P: Products, const N: usize>(&self, g: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: group g is inside the rows; the caller has the ISA; every 64-bit Arm has NEON.
        unsafe {
            let mut total = [[vdupq_n_s32(0); 4]; N];
            for (half, codes) in split(codes).iter().enumerate() {
                let sums = P::wide::<N>(32 * g + 16 * half, codes, acts);
                for (total, sums) in total.as_flattened_mut().iter_mut().zip(sums.as_flattened()) {
                    *total = vaddq_s32(*total, *sums);
                }
            }
            total
        }
    }
}

/// Q4_K: codes below 16, with scales and minima of six bits.
pub(super) struct Q4K {
    base: *const u8,
}

impl Q4K {
    /// Six-bit numbers of group `g` of a superblock, whose low bits start at `low` and high bits at `high`.
    ///
    /// # Safety
    /// A superblock's header is readable at `p`, and g < 8.
    #[inline(always)]
    unsafe fn six(p: *const u8, g: usize, low: usize, high: usize) -> uint8x16_t {
        // SAFETY: by the caller; every 64-bit Arm has NEON.
        unsafe {
            let (low, high) = (vld1q_u8(p.add(low + g / 2 * 16)), vld1q_u8(p.add(high + g / 4 * 16)));
            // A shift to the left by a negative number is one to the right.
            let high = vshlq_u8(high, vdupq_n_s8(-2 * (g % 4) as i8));
            let high = vshlq_n_u8::<4>(vandq_u8(high, vdupq_n_u8(3)));
            vorrq_u8(nibbles(low)[g % 2], high)
        }
    }
}

impl Decode for Q4K {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel; every 64-bit Arm has NEON.
        unsafe {
            let p = self.base.add(g / 8 * Q4_K_RECORD);
            let scale = mul(halves(p), bytes_to_f32(Self::six(p, g % 8, 64, 192)));
            let min = mul(halves(p.add(32)), bytes_to_f32(Self::six(p, g % 8, 128, 224)));
            Group { scale, min: Some(min) }
        }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, codes: &mut Codes) {
        // SAFETY: group g, of four lines of 64 bytes, is inside the panel; every 64-bit Arm has NEON.
        unsafe {
            for i in 0..4 {
                for v in 0..4 {
                    let both = vld1q_u8(self.base.add(g / 8 * Q4_K_RECORD + 256 + g % 8 * 256 + 64 * i + 16 * v));
                    let [low, high] = nibbles(both);
                    codes[8 * i + v] = vreinterpretq_s8_u8(low);
                    codes[8 * i + 4 + v] = vreinterpretq_s8_u8(high);
                }
            }
        }
    }

    #[inline(always)]
    fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        (act.q8.scales[g], act.q8.dsums[g])
    }

    #[inline(always)]
    unsafe fn sums<P: Products, const N: usize>(&self, g: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: group g is inside the rows; the caller has the ISA; every 64-bit Arm has NEON.
        unsafe { P::narrow::<N>(32 * g, codes, acts) }
    }
}

/// Q6_K: codes below 64 around 32, a signed byte as scale for each 16.
pub(super) struct Q6K {
    base: *const u8,
}

impl Decode for Q6K {
    #[inline(always)]
    unsafe fn new(weights: *const u8, _cols: usize) -> Self {
        Self { base: weights }
    }

    #[inline(always)]
    unsafe fn group(&self, g: usize) -> Group {
        // SAFETY: group g is inside the panel; every 64-bit Arm has NEON.
        unsafe { Group { scale: halves(self.base.add(g / 8 * Q6_K_RECORD)), min: None } }
    }

    #[inline(always)]
    unsafe fn unpack(&self, g: usize, codes: &mut Codes) {
        // SAFETY: group g, of four lines of low bits and two of high bits, is inside the panel;
        // every 64-bit Arm has NEON.
        unsafe {
            let top_bits = vdupq_n_u8(0x30);
            for i in 0..4 {
                for v in 0..4 {
                    let (low, high) = {
                        let p = self.base.add(g / 8 * Q6_K_RECORD + HALVES + 16 * PANEL + g % 8 * 6 * LINE + 16 * v);
                        (vld1q_u8(p.add((2 + i) * LINE)), vld1q_u8(p.add(i / 2 * LINE)))
                    };
                    let high = if i % 2 == 0 { high } else { vshrq_n_u8::<4>(high) };
                    let tops = [vshlq_n_u8::<4>(high), vshlq_n_u8::<2>(high)];
                    for (o, low) in nibbles(low).into_iter().enumerate() {
                        let code = vorrq_u8(low, vandq_u8(tops[o], top_bits));
                        codes[8 * i + 4 * o + v] = vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(32));
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn act(act: &ActRow<'_>, g: usize) -> (f32, f32) {
        (act.q16.scales[g], act.q16.dsums[g])
    }

    /// At most 2 * 16 * 32 * 8191 * 128 = 2^30.
    #[inline(always)]
    unsafe fn sums<P: Products, const N: usize>(&self, g: usize, codes: &Codes, acts: &[ActRow<'_>]) -> Sums<N> {
        // SAFETY: group g and its scales are inside the panel and the rows; the caller has the ISA;
        // every 64-bit Arm has NEON.
        unsafe {
            let mut total = [[vdupq_n_s32(0); 4]; N];
            for (half, codes) in split(codes).iter().enumerate() {
                let (scales, sums) = {
                    let p = self.base.add(g / 8 * Q6_K_RECORD + HALVES + (2 * (g % 8) + half) * PANEL);
                    (bytes_to_s32(vld1q_s8(p.cast())), P::wide::<N>(32 * g + 16 * half, codes, acts))
                };
                for (total, sums) in total.iter_mut().zip(sums) {
                    for v in 0..4 {
                        total[v] = vmlaq_s32(total[v], sums[v], scales[v]);
                    }
                }
            }
            total
        }
    }
}
