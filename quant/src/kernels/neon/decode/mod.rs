//! How a format's numbers and codes come out of a record of a panel (see [`crate::panel`]).
//!
//! The lines of codes lie alike in all formats, so [`Packed`] reads them, by the number of bits; a [`Format`] adds what
//! its scales, minima and codes mean. [`Unpacked`] is the same group after that work was done once for many rows.
//!
//! Invariant: codes that leave here are signed bytes; those of narrow formats are at most 31 in size, except where the
//! format is used with products for large ones.

mod bits;
mod small;
mod supers;

pub(super) use small::{IQ4_NL, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8Wide};
pub(super) use supers::{IQ4_XS, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K};

use super::products::Products;
use super::registers::{Rows, unrolled};
use crate::kernels::PANEL;
use crate::panel::{HALVES, LINE};
use bits::{nibbles, signed, sixes, twos, zeros};
use std::arch::aarch64::*;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// What is special about a format. `record` points at a record of it, and `g` counts groups of 32 inside of that.
pub(super) trait Format {
    /// f16 numbers of a block.
    const NUMBERS: usize;
    /// Scale bytes of a block.
    const SCALES: usize = 0;
    /// Bits of a code. Those of 3 and 5 come as signed numbers, around 4 and 16; those of 6 around 32 and four times as
    /// large as they are, see [`bits::sixes`].
    const BITS: usize;
    /// Groups of 32 weights in a block.
    const GROUPS: usize = 1;
    /// Whether its tiles read the wide activations.
    const WIDE: bool = false;
    /// Whether each half of a group has an integer scale inside of the group's.
    const INNER: bool = false;
    /// Minima of a group: none, one, or one for each half.
    const MINS: usize = 0;
    /// Bytes of a record.
    const RECORD: usize = Self::NUMBERS * HALVES + Self::SCALES * PANEL + Self::GROUPS * Self::BITS * LINE;
    /// What is read once for a record.
    type Head: Copy;

    /// # Safety
    /// A whole record.
    unsafe fn head(record: *const u8) -> Self::Head;
    /// f32 scale of the group, per row.
    ///
    /// # Safety
    /// A whole record.
    unsafe fn scale(record: *const u8, head: &Self::Head, g: usize) -> Rows<float32x4_t>;
    /// What a unit of the activations' `dsum` (or `halves`) adds, per row; the second is of the second half.
    ///
    /// # Safety
    /// A whole record.
    unsafe fn mins(_record: *const u8, _head: &Self::Head, _g: usize) -> [Rows<float32x4_t>; 2] {
        [zeros(); 2]
    }
    /// Integer scale of a half of the group, per row.
    ///
    /// # Safety
    /// A whole record.
    unsafe fn inner(_record: *const u8, _g: usize, _half: usize) -> Rows<int32x4_t> {
        // SAFETY: every 64-bit Arm has NEON.
        [unsafe { vdupq_n_s32(0) }; 4]
    }
    /// The number that a code stands for.
    #[inline(always)]
    fn code(bits: uint8x16_t) -> int8x16_t {
        // SAFETY: every 64-bit Arm has NEON.
        unsafe { vreinterpretq_s8_u8(bits) }
    }
}

/// A group of 32 weights of 16 rows.
pub(super) trait Group {
    /// The codes of quads 2 * I and 2 * I + 1 of rows `4v..4v + 4`, as the products arrange them.
    ///
    /// # Safety
    /// What the group was made of is still there.
    unsafe fn pair<const I: usize>(&self, v: usize) -> [int8x16_t; 2];
    /// See [`Format::scale`].
    ///
    /// # Safety
    /// As above.
    unsafe fn scale(&self) -> Rows<float32x4_t>;
    /// See [`Format::mins`].
    ///
    /// # Safety
    /// As above, and the format has minima.
    unsafe fn mins(&self) -> [Rows<float32x4_t>; 2];
    /// See [`Format::inner`].
    ///
    /// # Safety
    /// As above, and the format has inner scales.
    unsafe fn inner(&self, half: usize) -> Rows<int32x4_t>;
}

/// A group in its panel.
pub(super) struct Packed<'a, F: Format, P> {
    record: *const u8,
    head: &'a F::Head,
    g: usize,
    products: PhantomData<P>,
}

impl<'a, F: Format, P: Products> Packed<'a, F, P> {
    /// Group `g` of a record.
    ///
    /// # Safety
    /// A whole record, which outlives the value; `g < F::GROUPS`.
    #[inline(always)]
    pub unsafe fn new(record: *const u8, head: &'a F::Head, g: usize) -> Self {
        Self { record, head, g, products: PhantomData }
    }

    /// Does the work on everything that is read more than once.
    ///
    /// # Safety
    /// The ISA of P.
    #[inline(always)]
    pub unsafe fn unpack(&self, out: &mut MaybeUninit<Unpacked>) {
        let out = out.as_mut_ptr();
        // SAFETY: writes inside of `out`; the rest is passed on to the caller.
        unsafe {
            let codes = &raw mut (*out).codes;
            unrolled!(v in 4, {
                (&raw mut (*codes)[0][v]).write(self.pair::<0>(v));
                (&raw mut (*codes)[1][v]).write(self.pair::<1>(v));
                (&raw mut (*codes)[2][v]).write(self.pair::<2>(v));
                (&raw mut (*codes)[3][v]).write(self.pair::<3>(v));
            });
            (&raw mut (*out).scale).write(self.scale());
            if F::MINS > 0 {
                (*out).mins.write(self.mins());
            }
            if F::INNER {
                (*out).inner.write([self.inner(0), self.inner(1)]);
            }
        }
    }

    /// 16 bytes of line `line` of the group.
    #[inline(always)]
    unsafe fn line(&self, line: usize, v: usize) -> uint8x16_t {
        let front = F::NUMBERS * HALVES + F::SCALES * PANEL;
        // SAFETY: a group has F::BITS lines and a line four vectors; the load needs no alignment.
        unsafe { vld1q_u8(self.record.add(front + (self.g * F::BITS + line) * LINE + 16 * v)) }
    }
}

impl<F: Format, P: Products> Group for Packed<'_, F, P> {
    #[inline(always)]
    unsafe fn pair<const I: usize>(&self, v: usize) -> [int8x16_t; 2] {
        // SAFETY: by the caller; every 64-bit Arm has NEON.
        unsafe {
            let codes = match F::BITS {
                2 => twos::<I>(self.line(I / 2, v)),
                3 => {
                    let (high, low) = (self.line(0, v), self.line(1 + I / 2, v));
                    let low = match I % 2 {
                        0 => [low, vshrq_n_u8::<2>(low)],
                        _ => [vshrq_n_u8::<4>(low), vshrq_n_u8::<6>(low)],
                    };
                    [0, 1].map(|o| signed::<2>(low[o], high, 2 * I + o))
                }
                4 => nibbles(self.line(I, v)),
                5 => {
                    let (high, low) = (self.line(0, v), self.line(1 + I, v));
                    [signed::<4>(low, high, 2 * I), signed::<4>(vshrq_n_u8::<4>(low), high, 2 * I + 1)]
                }
                6 => sixes::<I>(self.line(I / 2, v), self.line(2 + I, v)),
                8 => [self.line(2 * I, v), self.line(2 * I + 1, v)],
                _ => unreachable!(),
            };
            P::arrange(codes.map(F::code))
        }
    }

    #[inline(always)]
    unsafe fn scale(&self) -> Rows<float32x4_t> {
        // SAFETY: passed on to the caller.
        unsafe { F::scale(self.record, self.head, self.g) }
    }

    #[inline(always)]
    unsafe fn mins(&self) -> [Rows<float32x4_t>; 2] {
        // SAFETY: passed on to the caller.
        unsafe { F::mins(self.record, self.head, self.g) }
    }

    #[inline(always)]
    unsafe fn inner(&self, half: usize) -> Rows<int32x4_t> {
        // SAFETY: passed on to the caller.
        unsafe { F::inner(self.record, self.g, half) }
    }
}

/// A group after [`Packed::unpack`]; parts that the format does not have are never read.
pub(super) struct Unpacked {
    codes: [Rows<[int8x16_t; 2]>; 4],
    scale: Rows<float32x4_t>,
    mins: MaybeUninit<[Rows<float32x4_t>; 2]>,
    inner: MaybeUninit<[Rows<int32x4_t>; 2]>,
}

impl Group for Unpacked {
    #[inline(always)]
    unsafe fn pair<const I: usize>(&self, v: usize) -> [int8x16_t; 2] {
        self.codes[I][v]
    }

    #[inline(always)]
    unsafe fn scale(&self) -> Rows<float32x4_t> {
        self.scale
    }

    #[inline(always)]
    unsafe fn mins(&self) -> [Rows<float32x4_t>; 2] {
        // SAFETY: a format with minima was unpacked with them.
        unsafe { self.mins.assume_init() }
    }

    #[inline(always)]
    unsafe fn inner(&self, half: usize) -> Rows<int32x4_t> {
        // SAFETY: a format with inner scales was unpacked with them.
        unsafe { self.inner.assume_init_ref()[half] }
    }
}
