//! The row operations, written once in plain Rust over fixed lanes and compiled once per instruction set.
//!
//! Each function is `#[inline(always)]` and is instantiated by [`vector_ops!`] inside a `target_feature` function, so
//! the compiler turns the lane loops into that ISA's vectors. `FMA` says whether fused multiply-add is an instruction
//! there; apart from that, every ISA adds in the same order.

use crate::acts::{CodesMut, GROUP, TOP8, TOP16};

/// Independent partial sums of a reduction.
pub(crate) const LANES: usize = 16;

#[inline(always)]
pub(crate) fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Sum of the lanes, pairwise.
#[inline(always)]
pub(crate) fn fold<const N: usize>(mut v: [f32; N]) -> f32 {
    let mut n = N;
    while n > 1 {
        n /= 2;
        for i in 0..n {
            v[i] += v[i + n];
        }
    }
    v[0]
}

#[inline(always)]
pub(crate) fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut acc = [0f32; LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (ta, tb) = (ca.remainder(), cb.remainder());
    for (x, y) in ca.zip(cb) {
        for l in 0..LANES {
            acc[l] = fma::<FMA>(x[l], y[l], acc[l]);
        }
    }
    ta.iter().zip(tb).fold(fold(acc), |s, (&x, &y)| fma::<FMA>(x, y, s))
}

#[inline(always)]
pub(crate) fn rms_norm<const FMA: bool>(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) {
    let r = 1.0 / (dot::<FMA>(x, x) / x.len() as f32 + eps).sqrt();
    for ((o, &v), &w) in out.iter_mut().zip(x).zip(weight) {
        *o = v * r * w;
    }
}

#[inline(always)]
pub(crate) fn rms_norm_in_place<const FMA: bool>(x: &mut [f32], weight: &[f32], eps: f32) {
    let r = 1.0 / (dot::<FMA>(x, x) / x.len() as f32 + eps).sqrt();
    x.iter_mut().zip(weight).for_each(|(x, &w)| *x = *x * r * w);
}

#[inline(always)]
pub(crate) fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x += y);
}

#[inline(always)]
pub(crate) fn add_scaled<const FMA: bool>(x: &mut [f32], y: &[f32], by: f32) {
    x.iter_mut().zip(y).for_each(|(x, &y)| *x = fma::<FMA>(y, by, *x));
}

#[inline(always)]
pub(crate) fn scaled(x: &[f32], by: f32, out: &mut [f32]) {
    out.iter_mut().zip(x).for_each(|(o, &x)| *o = x * by);
}

/// e^x within 2 ulp over the whole range (0 below -87.3, infinity above 88.72); NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer
    let c = if x < -87.3 { -87.3 } else { x };
    let c = if c > 88.7 { 88.7 } else { c };
    let t = fma::<FMA>(c, std::f32::consts::LOG2_E, ROUND);
    let n = t - ROUND;
    let r = fma::<FMA>(n, -0.693_359_4, c);
    let r = fma::<FMA>(n, 2.121_944_4e-4, r);
    // Taylor coefficients of e^r on |r| <= ln 2 / 2; the remainder is below 1e-7.
    let p = fma::<FMA>(r, 1.0 / 5040.0, 1.0 / 720.0);
    let p = fma::<FMA>(p, r, 1.0 / 120.0);
    let p = fma::<FMA>(p, r, 1.0 / 24.0);
    let p = fma::<FMA>(p, r, 1.0 / 6.0);
    let p = fma::<FMA>(p, r, 0.5);
    let p = fma::<FMA>(p * r, r, r) + 1.0;
    // n is in -126..=128; 2^128 is reached in two steps.
    let bits = (t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) << 23;
    let half = (bits >> 1) & !0x7f_ffff;
    let two = |b: i32| f32::from_bits(b.wrapping_add(127 << 23) as u32);
    let y = p * two(half) * two(bits - half);
    let y = if x > 88.72 { f32::INFINITY } else { y };
    if x < -87.3 { 0.0 } else { y }
}

#[inline(always)]
pub(crate) fn silu_mul<const FMA: bool>(gate: &[f32], up: &[f32], out: &mut [f32]) {
    for ((o, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *o = g / (1.0 + exp::<FMA>(-g)) * u;
    }
}

#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut m = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder();
    for c in chunks {
        for l in 0..LANES {
            m[l] = if c[l] > m[l] { c[l] } else { m[l] };
        }
    }
    m.iter().chain(tail).fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

/// `x = exp(x - shift)`; gives the sum.
#[inline(always)]
pub(crate) fn exp_sum<const FMA: bool>(x: &mut [f32], shift: f32) -> f32 {
    let mut sum = [0f32; LANES];
    let mut chunks = x.chunks_exact_mut(LANES);
    for c in &mut chunks {
        for l in 0..LANES {
            c[l] = exp::<FMA>(c[l] - shift);
            sum[l] += c[l];
        }
    }
    chunks.into_remainder().iter_mut().fold(fold(sum), |s, v| {
        *v = exp::<FMA>(*v - shift);
        s + *v
    })
}

#[inline(always)]
pub(crate) fn softmax<const FMA: bool>(x: &mut [f32]) {
    let m = max(x);
    let inv = 1.0 / exp_sum::<FMA>(x, m);
    x.iter_mut().for_each(|v| *v *= inv);
}

#[inline(always)]
pub(crate) fn rope<const FMA: bool>(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = x.split_at_mut(cos.len());
    for (((a, b), &c), &s) in a.iter_mut().zip(b).zip(cos).zip(sin) {
        let (x, y) = (*a, *b);
        *a = fma::<FMA>(x, c, -(y * s));
        *b = fma::<FMA>(y, c, x * s);
    }
}

#[inline(always)]
pub(crate) fn quantize_q8(x: &[f32], out: CodesMut<'_, i8>) {
    quantize(x, out, TOP8, |q, codes| {
        for l in 0..GROUP {
            codes[l] = q[l] as i8;
        }
    });
}

#[inline(always)]
pub(crate) fn quantize_q16(x: &[f32], out: CodesMut<'_, i16>) {
    quantize(x, out, TOP16, |q, codes| {
        for l in (0..GROUP).step_by(4) {
            codes[l] = q[l] as i16;
            codes[l + 1] = q[l + 2] as i16;
            codes[l + 2] = q[l + 1] as i16;
            codes[l + 3] = q[l + 3] as i16;
        }
    });
}

/// Groups of 32 values as integers of at most `limit`; `put` stores them.
#[inline(always)]
fn quantize<T>(x: &[f32], out: CodesMut<'_, T>, limit: f32, put: impl Fn(&[i32; GROUP], &mut [T; GROUP])) {
    const ROUND: f32 = 12_582_912.0;
    for (g, (x, codes)) in x.as_chunks::<GROUP>().0.iter().zip(out.codes.as_chunks_mut().0).enumerate() {
        let mut top = [0f32; LANES];
        // Stays 0 unless a value is infinite or NaN; then the group's scale becomes NaN, and so does every result.
        let mut broken = [0f32; LANES];
        for c in x.as_chunks::<LANES>().0 {
            for l in 0..LANES {
                let a = c[l].abs();
                top[l] = if a > top[l] { a } else { top[l] };
                broken[l] += c[l] * 0.0;
            }
        }
        let top = top.iter().fold(0f32, |m, &v| if v > m { v } else { m });
        let inv = if top > 0.0 { limit / top } else { 0.0 };
        let mut q = [0i32; GROUP];
        for l in 0..GROUP {
            // |x * inv| is at most `limit`, so adding 1.5 * 2^23 leaves the nearest integer in the low mantissa bits.
            q[l] = ((x[l] * inv + ROUND).to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
        }
        put(&q, codes);
        let scale = top / limit + fold(broken);
        out.scales[g] = scale;
        let sums: [i32; 2] =
            std::array::from_fn(|h| q[16 * h..16 * h + 16].iter().fold(0, |s: i32, &q| s.wrapping_add(q)));
        out.dsums[g] = scale * sums[0].wrapping_add(sums[1]) as f32;
        for h in 0..2 {
            out.halves[2 * g + h] = scale * sums[h] as f32;
            out.sums[2 * g + h] = sums[h];
        }
    }
}

#[inline(always)]
pub(crate) fn widen_f32(src: &[u8], out: &mut [f32]) {
    for (s, o) in src.chunks_exact(4).zip(out) {
        *o = f32::from_le_bytes([s[0], s[1], s[2], s[3]]);
    }
}

#[inline(always)]
pub(crate) fn widen_bf16(src: &[u8], out: &mut [f32]) {
    for (s, o) in src.chunks_exact(2).zip(out) {
        *o = f32::from_bits(u32::from(u16::from_le_bytes([s[0], s[1]])) << 16);
    }
}

#[inline(always)]
pub(crate) fn narrow_bf16(src: &[f32], out: &mut [u8]) {
    for (&s, o) in src.iter().zip(out.chunks_exact_mut(2)) {
        let bits = s.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let nan = (bits >> 16) | 0x40;
        let b = if s.is_nan() { nan } else { rounded >> 16 };
        o.copy_from_slice(&(b as u16).to_le_bytes());
    }
}

#[inline(always)]
pub(crate) fn widen_q8_0(src: &[u8], out: &mut [f32]) {
    for (b, o) in src.chunks_exact(34).zip(out.chunks_exact_mut(32)) {
        let d = half::f16::from_le_bytes([b[0], b[1]]).to_f32_const();
        for (&q, o) in b[2..].iter().zip(o) {
            *o = d * f32::from(q as i8);
        }
    }
}

/// The scale is rounded to f16 first and the codes are made with the rounded one, so its rounding costs nothing.
#[inline(always)]
pub(crate) fn narrow_q8_0(src: &[f32], out: &mut [u8]) {
    for (x, o) in src.chunks_exact(32).zip(out.chunks_exact_mut(34)) {
        let top = x.iter().fold(0f32, |m, &v| if v.abs() > m { v.abs() } else { m });
        let d = half::f16::from_f32_const(top / 127.0);
        let inv = if d.to_f32_const() > 0.0 { 1.0 / d.to_f32_const() } else { 0.0 };
        o[..2].copy_from_slice(&d.to_le_bytes());
        for (o, &x) in o[2..].iter_mut().zip(x) {
            *o = (x * inv).round_ties_even().clamp(-127.0, 127.0) as i8 as u8;
        }
    }
}

/// Instantiates the row operations for one instruction set, as a module `vector` with a const `OPS`.
macro_rules! vector_ops {
    (enable = $feature:literal, fma = $fma:literal, simd = $simd:path, widen_f16 = $widen:path, narrow_f16 = $narrow:path) => {
        crate::kernels::body::vector_ops!(@ [#[target_feature(enable = $feature)]], $fma, $simd, $widen, $narrow);
    };
    (fma = $fma:literal, simd = $simd:path, widen_f16 = $widen:path, narrow_f16 = $narrow:path) => {
        crate::kernels::body::vector_ops!(@ [], $fma, $simd, $widen, $narrow);
    };
    (@ [$($attr:tt)*], $fma:literal, $simd:path, $widen:path, $narrow:path) => {
        mod vector {
            use crate::acts::CodesMut;
            use crate::kernels::{VectorOps, body, page};

            crate::kernels::body::vector_ops!(@fns [$($attr)*]
                dot(a: &[f32], b: &[f32]) -> f32 = body::dot::<$fma>;
                rms_norm(x: &[f32], w: &[f32], eps: f32, out: &mut [f32]) -> () = body::rms_norm::<$fma>;
                rms_norm_in_place(x: &mut [f32], w: &[f32], eps: f32) -> () = body::rms_norm_in_place::<$fma>;
                add(x: &mut [f32], y: &[f32]) -> () = body::add;
                add_scaled(x: &mut [f32], y: &[f32], by: f32) -> () = body::add_scaled::<$fma>;
                scaled(x: &[f32], by: f32, out: &mut [f32]) -> () = body::scaled;
                silu_mul(g: &[f32], u: &[f32], out: &mut [f32]) -> () = body::silu_mul::<$fma>;
                softmax(x: &mut [f32]) -> () = body::softmax::<$fma>;
                rope(x: &mut [f32], cos: &[f32], sin: &[f32]) -> () = body::rope::<$fma>;
                quantize_q8(x: &[f32], out: CodesMut<'_, i8>) -> () = body::quantize_q8;
                quantize_q16(x: &[f32], out: CodesMut<'_, i16>) -> () = body::quantize_q16;
                widen_f16(src: &[u8], out: &mut [f32]) -> () = $widen;
                narrow_f16(src: &[f32], out: &mut [u8]) -> () = $narrow;
                widen_bf16(src: &[u8], out: &mut [f32]) -> () = body::widen_bf16;
                narrow_bf16(src: &[f32], out: &mut [u8]) -> () = body::narrow_bf16;
                widen_f32(src: &[u8], out: &mut [f32]) -> () = body::widen_f32;
                widen_q8_0(src: &[u8], out: &mut [f32]) -> () = body::widen_q8_0;
                narrow_q8_0(src: &[f32], out: &mut [u8]) -> () = body::narrow_q8_0;
            );

            $($attr)*
            unsafe fn prompt_queries(q: &mut [f32], width: usize, exact: bool) {
                // SAFETY: this function has the instruction set; its caller checked the lengths.
                unsafe { <$simd as page::Prompt>::queries(q, width, exact) }
            }

            $($attr)*
            unsafe fn attend_prompt(args: page::PromptArgs<'_>) {
                // SAFETY: this function has the instruction set; its caller checked the lengths.
                unsafe { <$simd as page::Prompt>::page(args) }
            }

            $($attr)*
            unsafe fn attend_generated(args: page::GeneratedArgs<'_>) {
                // SAFETY: this function has the instruction set; its caller checked the lengths.
                unsafe { page::generated::attend::<$simd>(args) }
            }

            pub(crate) const OPS: VectorOps = VectorOps {
                dot,
                rms_norm,
                rms_norm_in_place,
                add,
                add_scaled,
                scaled,
                silu_mul,
                softmax,
                rope,
                quantize_q8,
                quantize_q16,
                widen_f16,
                narrow_f16,
                widen_bf16,
                narrow_bf16,
                widen_f32,
                widen_q8_0,
                narrow_q8_0,
                prompt_queries,
                attend_prompt,
                attend_generated,
            };
        }
    };
    (@fns $attrs:tt $($name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:path;)*) => {
        $(crate::kernels::body::vector_ops!(@one $attrs $name($($arg: $ty),*) -> $ret = $body);)*
    };
    (@one [$($attr:tt)*] $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty = $body:path) => {
        $($attr)*
        fn $name($($arg: $ty),*) -> $ret {
            $body($($arg),*)
        }
    };
}
pub(crate) use vector_ops;
