//! The formats of the tile, put together from the parts of their records: a header and planes of codes.
//!
//! This is the table of [`crate::panel`] again, in types.

use super::format::{Codes, Factors, Format, Inner, Min, Pair};
use super::headers::{Header, Nibbles, One, Signed, Sixes, SixesCentered, SixesOffset, Two};
use super::planes::{Eight, Five, Four, Planes, Six, Table, Three, Twos};
use crate::panel::LINE;
use std::arch::x86_64::*;
use std::marker::PhantomData;

/// A format whose records have a header H and then, for each of its groups, planes of codes P.
pub(in crate::kernels) struct Record<H, P, const GROUPS: usize>(PhantomData<(H, P)>);

pub(in crate::kernels) type Q4_0 = Record<One<8>, Four, 1>;
pub(in crate::kernels) type Q4_1 = Record<Two, Four, 1>;
pub(in crate::kernels) type Q5_0 = Record<One<16>, Five, 1>;
pub(in crate::kernels) type Q5_1 = Record<Two, Five, 1>;
/// Signed bytes, which meet the wide activations; or the same plus 128 and the narrow ones.
pub(in crate::kernels) type Q8_0<const PLUS: u8> = Record<One<PLUS>, Eight<PLUS>, 1>;
pub(in crate::kernels) type Q2K = Record<Nibbles, Twos, 8>;
pub(in crate::kernels) type Q3K = Record<SixesCentered, Three, 8>;
/// INNER: whether sums are scaled as integers, where that costs nothing.
pub(in crate::kernels) type Q4K<const INNER: bool> = Record<Sixes<INNER>, Four, 8>;
/// As [`Q4K`].
pub(in crate::kernels) type Q5K<const INNER: bool> = Record<Sixes<INNER>, Five, 8>;
pub(in crate::kernels) type Q6K = Record<Signed, Six, 8>;
/// WIDE: whether its codes meet the wide activations.
pub(in crate::kernels) type Iq4Nl<const WIDE: bool> = Record<One<128>, Table<WIDE>, 1>;
/// As [`Iq4Nl`].
pub(in crate::kernels) type Iq4Xs<const WIDE: bool> = Record<SixesOffset<128>, Table<WIDE>, 8>;

impl<H: Header, P: Planes, const GROUPS: usize> Record<H, P, GROUPS> {
    const GROUP: usize = P::LINES * LINE;
    const BYTES: usize = H::BYTES + GROUPS * Self::GROUP;
}

impl<H: Header, P: Planes, const GROUPS: usize> Format for Record<H, P, GROUPS> {
    const CODES: Codes = P::CODES;
    const MIN: Min = H::MIN;
    const INNER: Inner = H::INNER;
    const GROUP_BYTES: usize = Self::BYTES / GROUPS;

    #[inline(always)]
    unsafe fn factors(panel: *const u8, first: usize, out: &mut [Factors]) {
        for (record, out) in (first / GROUPS..).zip(out.chunks_mut(GROUPS)) {
            // SAFETY: the record is inside the panel, by the caller.
            unsafe { H::factors(panel.add(record * Self::BYTES), out) };
        }
    }

    #[inline(always)]
    unsafe fn codes(panel: *const u8, g: usize, i: usize) -> [Pair<__m256i>; 2] {
        // SAFETY: the group is inside the panel, by the caller.
        unsafe { P::pair(panel.add(g / GROUPS * Self::BYTES + H::BYTES + g % GROUPS * Self::GROUP), i) }
    }
}
