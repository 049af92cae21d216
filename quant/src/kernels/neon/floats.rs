//! F16 and BF16 rows in the file's order times few activation rows: widened in registers, never stored.
//!
//! ```text
//! for each 8 weight rows, for each two activation rows:
//!     for each 8 columns:  w = f32 of 8 halves of each row;  sum[row][n] += w[0..4] * x[0..4], then w[4..8] * x[4..8]
//! ```
//! Eight rows are eight chains of additions, which hide a latency of four cycles at two additions a cycle, and read each
//! half once where a buffer of f32 would be written and read again. Additions are those of [`super::super::simd::dots`]
//! in the same order, so a generated row has the bits that it has in a prompt.

use crate::kernels::Tile;
use std::arch::aarch64::*;

/// Weight rows that share loads of activations.
const ROWS: usize = 8;

/// Floats of 16 bits.
pub(super) trait Half {
    /// Eight of them.
    ///
    /// # Safety
    /// 16 bytes are readable at `p`.
    unsafe fn widen(p: *const u8) -> [float32x4_t; 2];
    /// One.
    fn widen1(bits: u16) -> f32;
}

/// IEEE half precision.
pub(super) struct F16;
/// The upper half of an f32.
pub(super) struct BF16;

impl Half for F16 {
    #[inline(always)]
    unsafe fn widen(p: *const u8) -> [float32x4_t; 2] {
        // SAFETY: by the caller; every 64-bit Arm has NEON.
        unsafe {
            let v = vreinterpretq_f16_u16(vld1q_u16(p.cast()));
            [vcvt_f32_f16(vget_low_f16(v)), vcvt_high_f32_f16(v)]
        }
    }

    #[inline(always)]
    fn widen1(bits: u16) -> f32 {
        half::f16::from_bits(bits).to_f32_const()
    }
}

impl Half for BF16 {
    #[inline(always)]
    unsafe fn widen(p: *const u8) -> [float32x4_t; 2] {
        // SAFETY: by the caller; every 64-bit Arm has NEON.
        unsafe {
            let v = vld1q_u16(p.cast());
            let parts = [vshll_n_u16::<16>(vget_low_u16(v)), vshll_high_n_u16::<16>(v)];
            parts.map(|v| vreinterpretq_f32_u32(v))
        }
    }

    #[inline(always)]
    fn widen1(bits: u16) -> f32 {
        f32::from_bits(u32::from(bits) << 16)
    }
}

/// One tile.
///
/// # Safety
/// `t.rows` rows of halves in `t.weights`; as many writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<H: Half>(t: &Tile<'_>) {
    assert_eq!(t.weights.len(), t.rows * t.cols * 2, "bytes of rows");
    for (acts, out) in t.acts.chunks(2).zip(t.out.chunks(2)) {
        // SAFETY: activation rows have `cols` values; the rest is passed on to the caller.
        unsafe {
            match acts {
                [a, b] => all_rows::<H, 2>(t, [a.x.as_ptr(), b.x.as_ptr()], [out[0], out[1]]),
                _ => all_rows::<H, 1>(t, [acts[0].x.as_ptr()], [out[0]]),
            }
        }
    }
}

#[inline(always)]
unsafe fn all_rows<H: Half, const N: usize>(t: &Tile<'_>, x: [*const f32; N], out: [*mut f32; N]) {
    let full = t.rows / ROWS * ROWS;
    // SAFETY: row r is inside the weights and the results; the rest is passed on to the caller.
    unsafe {
        for r in (0..full).step_by(ROWS) {
            let sums = dots::<H, ROWS, N>(t.weights.as_ptr().add(r * t.cols * 2), t.cols, x);
            for n in 0..N {
                for (i, sums) in sums.iter().enumerate() {
                    *out[n].add(r + i) = sums[n];
                }
            }
        }
        for r in full..t.rows {
            let [sums] = dots::<H, 1, N>(t.weights.as_ptr().add(r * t.cols * 2), t.cols, x);
            for n in 0..N {
                *out[n].add(r) = sums[n];
            }
        }
    }
}

/// Products of R rows of `n` halves, one after the other from `w` on, with N activation rows.
#[inline(always)]
unsafe fn dots<H: Half, const R: usize, const N: usize>(w: *const u8, n: usize, x: [*const f32; N]) -> [[f32; N]; R] {
    // SAFETY: all reads are below `n`; every 64-bit Arm has NEON.
    unsafe {
        let mut acc = [[vdupq_n_f32(0.0); N]; R];
        let mut k = 0;
        while k + 8 <= n {
            let x: [[float32x4_t; 2]; N] = x.map(|x| [vld1q_f32(x.add(k)), vld1q_f32(x.add(k + 4))]);
            for r in 0..R {
                let w = H::widen(w.add((r * n + k) * 2));
                for i in 0..N {
                    acc[r][i] = vfmaq_f32(vfmaq_f32(acc[r][i], w[0], x[i][0]), w[1], x[i][1]);
                }
            }
            k += 8;
        }
        let weight = |r: usize, k: usize| H::widen1(w.add((r * n + k) * 2).cast::<u16>().read_unaligned());
        if k + 4 <= n {
            for r in 0..R {
                let four = [weight(r, k), weight(r, k + 1), weight(r, k + 2), weight(r, k + 3)];
                for i in 0..N {
                    acc[r][i] = vfmaq_f32(acc[r][i], vld1q_f32(four.as_ptr()), vld1q_f32(x[i].add(k)));
                }
            }
            k += 4;
        }
        std::array::from_fn(|r| {
            std::array::from_fn(|i| (k..n).fold(vaddvq_f32(acc[r][i]), |s, k| weight(r, k).mul_add(*x[i].add(k), s)))
        })
    }
}
