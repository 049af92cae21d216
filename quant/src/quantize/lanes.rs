//! Sixteen f32 at once, with the same bits on every instruction set.
//!
//! The searches are written over [`Lanes`] once; each instruction set brings its own, and [`Plain`] is the meaning. Only
//! operations that IEEE 754 defines to the last bit are here, and none that is fused.
//!
//! A value of a type that implements [`Lanes`] is the proof that the machine has its instruction set: those types are
//! only made inside functions compiled for that set ([`encoder`]).

use std::ops::{Add, Div, Mul, Sub};

/// Lanes of a vector.
pub(crate) const LANES: usize = 16;

/// One value for each lane, in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Row(pub [f32; LANES]);

/// An instruction set's vectors, and how to get one.
pub(crate) trait Lanes: Copy {
    /// A vector.
    type V: Vector;
    /// # Safety
    /// The machine has the instruction set.
    unsafe fn new() -> Self;
    /// The same value in each lane.
    fn splat(self, x: f32) -> Self::V;
    /// A value for each lane.
    fn load(self, row: &Row) -> Self::V;
}

/// Sixteen f32 in registers. All operations work lane by lane.
pub(crate) trait Vector:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// The values in memory.
    fn store(self) -> Row;
    /// `if self < other { self } else { other }`: with a NaN, `other`.
    fn min(self, other: Self) -> Self;
    /// `if self > other { self } else { other }`: with a NaN, `other`.
    fn max(self, other: Self) -> Self;
    /// `if self < other { yes } else { no }`: with a NaN, `no`.
    fn if_less(self, other: Self, yes: Self, no: Self) -> Self;
}

/// Plain Rust, for machines without an implementation of their own.
#[derive(Clone, Copy)]
pub(crate) struct Plain;

/// What [`Plain`] calculates with.
#[derive(Clone, Copy)]
pub(crate) struct PlainVector([f32; LANES]);

impl Lanes for Plain {
    type V = PlainVector;

    #[inline(always)]
    unsafe fn new() -> Self {
        Self
    }

    #[inline(always)]
    fn splat(self, x: f32) -> PlainVector {
        PlainVector([x; LANES])
    }

    #[inline(always)]
    fn load(self, row: &Row) -> PlainVector {
        PlainVector(row.0)
    }
}

macro_rules! plain_operators {
    ($($trait:ident $name:ident $op:tt)*) => {
        $(impl $trait for PlainVector {
            type Output = Self;

            #[inline(always)]
            fn $name(mut self, other: Self) -> Self {
                for l in 0..LANES {
                    self.0[l] $op other.0[l];
                }
                self
            }
        })*
    };
}
plain_operators!(Add add += Sub sub -= Mul mul *= Div div /=);

impl Vector for PlainVector {
    #[inline(always)]
    fn store(self) -> Row {
        Row(self.0)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.if_less(other, self, other)
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        other.if_less(self, self, other)
    }

    #[inline(always)]
    fn if_less(self, other: Self, yes: Self, mut no: Self) -> Self {
        for l in 0..LANES {
            no.0[l] = if self.0[l] < other.0[l] { yes.0[l] } else { no.0[l] };
        }
        no
    }
}

/// Compiles all encoders for one instruction set, as a function `encode`.
macro_rules! encoder {
    ($(enable = $feature:literal,)? lanes = $lanes:path) => {
        $(#[target_feature(enable = $feature)])?
        fn encode(dtype: crate::DType, tile: &crate::quantize::tile::Tile, out: &mut [u8]) -> usize {
            // SAFETY: this function is only called where the machine has its instruction set.
            let lanes = unsafe { <$lanes as crate::quantize::lanes::Lanes>::new() };
            crate::formats::encode(lanes, dtype, tile, out)
        }
    };
}
pub(crate) use encoder;
