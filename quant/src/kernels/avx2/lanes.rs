//! The sixteen lanes of the encoders in two AVX vectors.

use crate::quantize::lanes::{Lanes, Row, Vector};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

/// Proof that the machine has AVX2.
#[derive(Clone, Copy)]
pub(crate) struct Avx2Lanes(());

/// Sixteen lanes; made by [`Avx2Lanes`] only, hence the same proof.
#[derive(Clone, Copy)]
pub(crate) struct V(__m256, __m256);

impl Lanes for Avx2Lanes {
    type V = V;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        // SAFETY: `self` proves the instruction set.
        unsafe { V(_mm256_set1_ps(x), _mm256_set1_ps(x)) }
    }

    #[inline(always)]
    fn load(self, row: &Row) -> V {
        let p = row.0.as_ptr();
        // SAFETY: `self` proves the instruction set; a row is sixteen floats at a multiple of 64.
        unsafe { V(_mm256_load_ps(p), _mm256_load_ps(p.add(8))) }
    }
}

macro_rules! operators {
    ($($trait:ident $name:ident $intrinsic:ident)*) => {
        $(impl $trait for V {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                // SAFETY: `self` proves the instruction set.
                unsafe { V($intrinsic(self.0, other.0), $intrinsic(self.1, other.1)) }
            }
        })*
    };
}
operators!(Add add _mm256_add_ps Sub sub _mm256_sub_ps Mul mul _mm256_mul_ps Div div _mm256_div_ps);

impl Vector for V {
    #[inline(always)]
    fn store(self) -> Row {
        let mut row = Row([0.0; 16]);
        let p = row.0.as_mut_ptr();
        // SAFETY: `self` proves the instruction set; a row is sixteen floats at a multiple of 64.
        unsafe {
            _mm256_store_ps(p, self.0);
            _mm256_store_ps(p.add(8), self.1);
        }
        row
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        unsafe { V(_mm256_min_ps(self.0, other.0), _mm256_min_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        unsafe { V(_mm256_max_ps(self.0, other.0), _mm256_max_ps(self.1, other.1)) }
    }

    #[inline(always)]
    fn if_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        unsafe {
            V(
                _mm256_blendv_ps(no.0, yes.0, _mm256_cmp_ps::<_CMP_LT_OQ>(self.0, other.0)),
                _mm256_blendv_ps(no.1, yes.1, _mm256_cmp_ps::<_CMP_LT_OQ>(self.1, other.1)),
            )
        }
    }
}
