//! The sixteen lanes of the encoders in one AVX-512 vector.

use crate::quantize::lanes::{Lanes, Row, Vector};
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Sub};

/// Proof that the machine has AVX-512 F.
#[derive(Clone, Copy)]
pub(crate) struct Avx512Lanes(());

/// Sixteen lanes; made by [`Avx512Lanes`] only, hence the same proof.
#[derive(Clone, Copy)]
pub(crate) struct V(__m512);

impl Lanes for Avx512Lanes {
    type V = V;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self(())
    }

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        // SAFETY: `self` proves the instruction set.
        V(unsafe { _mm512_set1_ps(x) })
    }

    #[inline(always)]
    fn load(self, row: &Row) -> V {
        // SAFETY: `self` proves the instruction set; a row is sixteen floats at a multiple of 64.
        V(unsafe { _mm512_load_ps(row.0.as_ptr()) })
    }
}

macro_rules! operators {
    ($($trait:ident $name:ident $intrinsic:ident)*) => {
        $(impl $trait for V {
            type Output = Self;

            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                // SAFETY: `self` proves the instruction set.
                V(unsafe { $intrinsic(self.0, other.0) })
            }
        })*
    };
}
operators!(Add add _mm512_add_ps Sub sub _mm512_sub_ps Mul mul _mm512_mul_ps Div div _mm512_div_ps);

impl Vector for V {
    #[inline(always)]
    fn store(self) -> Row {
        let mut row = Row([0.0; 16]);
        // SAFETY: `self` proves the instruction set; a row is sixteen floats at a multiple of 64.
        unsafe { _mm512_store_ps(row.0.as_mut_ptr(), self.0) };
        row
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        V(unsafe { _mm512_min_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        V(unsafe { _mm512_max_ps(self.0, other.0) })
    }

    #[inline(always)]
    fn if_less(self, other: Self, yes: Self, no: Self) -> Self {
        // SAFETY: `self` proves the instruction set.
        V(unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(self.0, other.0), no.0, yes.0) })
    }
}
