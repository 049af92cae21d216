//! The few vector operations that attention and f32 tiles are written over, so that they are written once.
//!
//! The trait is private and has only what is used. A type that implements it stands for an instruction set; its
//! functions are inlined into `target_feature` functions of that set, and nowhere else.

/// Vectors of f32 of one instruction set.
pub(crate) trait Simd {
    /// A vector.
    type V: Copy;
    /// Its lanes.
    const LANES: usize;
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
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
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
    /// `a * b + c` of single values, rounded as `fma` rounds.
    fn fma1(a: f32, b: f32, c: f32) -> f32;
}

/// Plain Rust: four lanes, no fused operations.
pub(crate) struct Plain;

impl Simd for Plain {
    type V = [f32; 4];
    const LANES: usize = 4;

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
    unsafe fn mul(a: [f32; 4], b: [f32; 4]) -> [f32; 4] {
        std::array::from_fn(|l| a[l] * b[l])
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
    fn fma1(a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
}

/// Products of R rows with N rows, all of `n` values: `out[r][i] = sum_k a[r][k] * b[i][k]`. Each pair has its own lanes
/// and order, so a pair's result does not depend on R and N.
///
/// # Safety
/// The instruction set of S is there; `n` values are readable at each pointer.
#[inline(always)]
pub(crate) unsafe fn dots<S: Simd, const R: usize, const N: usize>(
    a: [*const f32; R],
    b: [*const f32; N],
    n: usize,
) -> [[f32; N]; R] {
    // SAFETY: all reads are below `n`.
    unsafe {
        let mut acc = [[S::splat(0.0); N]; R];
        let full = n / S::LANES * S::LANES;
        let mut k = 0;
        while k < full {
            let b: [S::V; N] = std::array::from_fn(|i| S::load(b[i].add(k)));
            for r in 0..R {
                let a = S::load(a[r].add(k));
                for i in 0..N {
                    acc[r][i] = S::fma(a, b[i], acc[r][i]);
                }
            }
            k += S::LANES;
        }
        let mut out = [[0f32; N]; R];
        for r in 0..R {
            for i in 0..N {
                let sum = S::sum(acc[r][i]);
                out[r][i] = (full..n).fold(sum, |s, k| S::fma1(*a[r].add(k), *b[i].add(k), s));
            }
        }
        out
    }
}
