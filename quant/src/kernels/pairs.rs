//! Vectors of 32-bit integers for sums of products of 16-bit pairs, where these are faster than products of floats.

use super::simd::Simd;

/// Vectors of i32 with as many lanes as the vectors of f32; a lane may hold two i16, the first in the low half.
pub(crate) trait Pairs: Simd {
    /// A vector.
    type I: Copy;
    /// # Safety
    /// The instruction set is there.
    unsafe fn splat_i32(x: i32) -> Self::I;
    /// # Safety
    /// The instruction set is there; `LANES` values are readable at `p`.
    unsafe fn load_i32(p: *const i32) -> Self::I;
    /// # Safety
    /// The instruction set is there; `LANES` values are writable at `p`.
    unsafe fn store_i32(v: Self::I, p: *mut i32);
    /// The low halves of the lanes.
    ///
    /// # Safety
    /// The instruction set is there; `LANES` values are writable at `p`.
    unsafe fn store_i16(v: Self::I, p: *mut i16);
    /// The low halves of both as pairs.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn join(low: Self::I, high: Self::I) -> Self::I;
    /// `sum` + the two products of pairs; exact unless it overflows.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn dot(sum: Self::I, a: Self::I, b: Self::I) -> Self::I;
    /// To the nearest float.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn to_f32(v: Self::I) -> Self::V;
    /// To the nearest integer.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn round(v: Self::V) -> Self::I;
    /// The larger of `a` and the bits of |v|, which order as the values do, infinity and NaN being largest.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn peak(a: Self::I, v: Self::V) -> Self::I;
    /// The largest lane.
    ///
    /// # Safety
    /// The instruction set is there.
    unsafe fn largest(v: Self::I) -> i32;
}
