//! The few vector operations that attention and f32 tiles are written over, so that they are written once.
//!
//! The trait is private and has only what is used. A type that implements it stands for an instruction set; its
//! functions are inlined into `target_feature` functions of that set, and nowhere else.

/// Vectors of f32 of one instruction set.
pub(crate) trait Simd {
    /// A vector.
    type V: Copy;
    /// Its lanes; a divisor of 16.
    const LANES: usize;
    /// How many vectors fit into registers: 16 or 32.
    const REGISTERS: usize;
    /// # Safety
    /// The instruction set is there.
    unsafe fn splat(x: f32) -> Self::V;
    /// # Safety
    /// The instruction set is there; `LANES` values are readable at `p`.
    unsafe fn load(p: *const f32) -> Self::V;
    /// # Safety
    /// The instruction set is there; `LANES` values are writable at `p`.
    unsafe fn store(v: Self::V, p: *mut f32);
    /// # Safety
    /// The instruction set is there.
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    /// `a - b`.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    /// # Safety
    /// The instruction set is there.
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// The larger one; NaN where `b` is.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// Zero where `x` is below `limit`, `y` elsewhere (also where `x` is NaN).
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn zero_below(x: Self::V, limit: Self::V, y: Self::V) -> Self::V;
    /// `p * 2^n`, where n is the lowest bits of `t` as an integer; p and the result are normal.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn times_power(p: Self::V, t: Self::V) -> Self::V;
    /// `a * b + c`.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// Sum of the lanes.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn sum(v: Self::V) -> f32;
    /// The sum of each vector's lanes.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn sums(v: [Self::V; 4]) -> [f32; 4];
    /// The largest lane.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn top(v: Self::V) -> f32;
    /// Four neighbouring columns of `LANES` rows that begin `step` values apart, each as a vector.
    ///
    /// # Safety
    /// The instruction set is there; four values are readable at the start of each row.
    unsafe fn columns(p: *const f32, step: usize) -> [Self::V; 4];
    /// `LANES` IEEE halves.
    ///
    /// # Safety
    /// The instruction set is there; `2 * LANES` bytes are readable at `p`.
    unsafe fn load_f16(p: *const u8) -> Self::V;
    /// `LANES` bfloat16.
    ///
    /// # Safety
    /// The instruction set is there; `2 * LANES` bytes are readable at `p`.
    unsafe fn load_bf16(p: *const u8) -> Self::V;
    /// `LANES` signed bytes.
    ///
    /// # Safety
    /// The instruction set is there; `LANES` bytes are readable at `p`.
    unsafe fn load_i8(p: *const u8) -> Self::V;
    /// An IEEE half in every lane.
    ///
    /// # Safety
    /// The instruction set is there; two bytes are readable at `p`.
    unsafe fn splat_f16(p: *const u8) -> Self::V;
    /// Asks for the cache line at `p`, which need not be readable.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn prefetch(p: *const u8);
    /// `a * b + c` of single values, rounded as `fma` rounds.
    fn fma1(a: f32, b: f32, c: f32) -> f32;
}

/// Plain Rust: four lanes, no fused operations.
pub(crate) struct Plain;

impl Simd for Plain {
    type V = [f32; 4];
    const LANES: usize = 4;
    const REGISTERS: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 4] {
        [x; 4]
    }

    #[inline(always)]
    unsafe fn load(p: *const f32) -> [f32; 4] {
        // SAFETY: four values are readable at `p`, by the caller.
        unsafe { p.cast::<[f32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(v: [f32; 4], p: *mut f32) {
        // SAFETY: four values are writable at `p`, by the caller.
        unsafe { p.cast::<[f32; 4]>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| a[l] + b[l])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| a[l] - b[l])
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| a[l] * b[l])
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| if a[l] > b[l] { a[l] } else { b[l] })
    }

    #[inline(always)]
    unsafe fn zero_below(x: [f32; 4], limit: [f32; 4], y: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| if x[l] < limit[l] { 0.0 } else { y[l] })
    }

    #[inline(always)]
    unsafe fn times_power(p: [f32; 4], t: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| f32::from_bits(p[l].to_bits().wrapping_add(t[l].to_bits() << 23)))
    }

    #[inline(always)]
    unsafe fn fma(a: [f32; 4], b: [f32; 4], c: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| a[l] * b[l] + c[l])
    }

    #[inline(always)]
    unsafe fn sum(v: [f32; 4]) -> f32 {
        (v[0] + v[2]) + (v[1] + v[3])
    }

    #[inline(always)]
    unsafe fn sums(v: [[f32; 4]; 4]) -> [f32; 4] {
        v.map(|v| (v[0] + v[2]) + (v[1] + v[3]))
    }

    #[inline(always)]
    unsafe fn top(v: [f32; 4]) -> f32 {
        v.into_iter().fold(f32::NEG_INFINITY, |top, v| if top > v { top } else { v })
    }

    #[inline(always)]
    unsafe fn columns(p: *const f32, step: usize) -> [[f32; 4]; 4] {
        // SAFETY: four values are readable at the start of each of four rows, by the caller.
        std::array::from_fn(|c| std::array::from_fn(|r| unsafe { *p.add(r * step + c) }))
    }

    #[inline(always)]
    unsafe fn load_f16(p: *const u8) -> [f32; 4] {
        // SAFETY: eight bytes are readable at `p`, by the caller.
        unsafe { p.cast::<[[u8; 2]; 4]>().read() }.map(|b| half::f16::from_le_bytes(b).to_f32_const())
    }

    #[inline(always)]
    unsafe fn load_bf16(p: *const u8) -> [f32; 4] {
        // SAFETY: eight bytes are readable at `p`, by the caller.
        unsafe { p.cast::<[[u8; 2]; 4]>().read() }.map(|b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16))
    }

    #[inline(always)]
    unsafe fn load_i8(p: *const u8) -> [f32; 4] {
        // SAFETY: four bytes are readable at `p`, by the caller.
        unsafe { p.cast::<[i8; 4]>().read() }.map(f32::from)
    }

    #[inline(always)]
    unsafe fn splat_f16(p: *const u8) -> [f32; 4] {
        // SAFETY: two bytes are readable at `p`, by the caller.
        [half::f16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() }).to_f32_const(); 4]
    }

    #[inline(always)]
    unsafe fn prefetch(_: *const u8) {}

    #[inline(always)]
    fn fma1(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

crate::kernels::page::prompt::by_floats!(Plain);

/// A float format, as it lies in a row of a file.
pub(crate) trait Stored {
    /// Bytes of a value.
    const BYTES: usize;
    /// `LANES` values.
    ///
    /// # Safety
    /// The instruction set of S is there; the values are readable at `p`.
    unsafe fn load<S: Simd>(p: *const u8) -> S::V;
    /// One value.
    ///
    /// # Safety
    /// It is readable at `p`.
    unsafe fn one(p: *const u8) -> f32;
}

/// IEEE single precision.
pub(crate) struct Single;
/// IEEE half precision.
pub(crate) struct Half;
/// bfloat16.
pub(crate) struct Brain;

impl Stored for Single {
    const BYTES: usize = 4;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::V {
        // SAFETY: passed on to the caller.
        unsafe { S::load(p.cast()) }
    }

    #[inline(always)]
    unsafe fn one(p: *const u8) -> f32 {
        // SAFETY: four bytes are readable at `p`, by the caller.
        f32::from_le_bytes(unsafe { p.cast::<[u8; 4]>().read() })
    }
}

impl Stored for Half {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::V {
        // SAFETY: passed on to the caller.
        unsafe { S::load_f16(p) }
    }

    #[inline(always)]
    unsafe fn one(p: *const u8) -> f32 {
        // SAFETY: two bytes are readable at `p`, by the caller.
        half::f16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() }).to_f32_const()
    }
}

impl Stored for Brain {
    const BYTES: usize = 2;

    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u8) -> S::V {
        // SAFETY: passed on to the caller.
        unsafe { S::load_bf16(p) }
    }

    #[inline(always)]
    unsafe fn one(p: *const u8) -> f32 {
        // SAFETY: two bytes are readable at `p`, by the caller.
        f32::from_bits(u32::from(u16::from_le_bytes(unsafe { p.cast::<[u8; 2]>().read() })) << 16)
    }
}

/// Products of R rows with N rows, all of `n` values: `out[r][i] = sum_k a[r][k] * b[i][k]`. Each pair has its own lanes
/// and order, so a pair's result does not depend on R and N, nor on the format in which the same values of `a` are
/// stored. What lies `ahead` bytes further in the rows of `a` is asked for in advance, unless that is 0.
///
/// # Safety
/// The instruction set of S is there; `n` values are readable at each pointer.
#[inline(always)]
pub(crate) unsafe fn dots<S: Simd, W: Stored, const R: usize, const N: usize>(
    a: [*const u8; R],
    b: [*const f32; N],
    n: usize,
    ahead: usize,
) -> [[f32; N]; R] {
    // SAFETY: all reads are below `n`; a prefetch may have any address.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; R];
        let full = n / S::LANES * S::LANES;
        let mut k = 0;
        while k < full {
            if ahead > 0 && (k * W::BYTES).is_multiple_of(64) {
                for r in 0..R {
                    S::prefetch(a[r].wrapping_add(k * W::BYTES + ahead));
                }
            }
            let mut x = [S::splat(0.0); N];
            for i in 0..N {
                x[i] = S::load(b[i].add(k));
            }
            for r in 0..R {
                let a = W::load::<S>(a[r].add(k * W::BYTES));
                for i in 0..N {
                    acc[r][i] = S::fma(a, x[i], acc[r][i]);
                }
            }
            k += S::LANES;
        }
        let mut out = [[0f32; N]; R];
        for r in 0..R {
            for i in 0..N {
                let sum = S::sum(acc[r][i]);
                out[r][i] = (full..n).fold(sum, |s, k| S::fma1(W::one(a[r].add(k * W::BYTES)), *b[i].add(k), s));
            }
        }
        out
    }
}

/// 2^x for x up to 126, within 2e-7 of it: exactly 1 for 0, and 0 below -126. NaN stays NaN.
///
/// # Safety
/// The instruction set of S is there.
#[inline(always)]
pub(crate) unsafe fn exp2<S: Simd>(x: S::V) -> S::V {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, in the lowest bits
    /// 2^f = 1 + f * (polynomial in f) on |f| <= 1/2, fitted for the least relative error (1e-7).
    const FIT: [f32; 5] = [std::f32::consts::LN_2, 0.240_222_83, 0.055_505_585, 0.009_669_691, 0.001_330_060_5];
    // SAFETY: the caller has the instruction set.
    unsafe {
        let least = S::splat(-126.0);
        let c = S::max(least, x);
        let t = S::add(c, S::splat(ROUND));
        let f = S::sub(c, S::sub(t, S::splat(ROUND)));
        let p = S::fma(S::splat(FIT[4]), f, S::splat(FIT[3]));
        let p = S::fma(p, f, S::splat(FIT[2]));
        let p = S::fma(p, f, S::splat(FIT[1]));
        let p = S::fma(p, f, S::splat(FIT[0]));
        let p = S::fma(p, f, S::splat(1.0));
        S::zero_below(x, least, S::times_power(p, t))
    }
}
