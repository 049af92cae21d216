//! Activation rows as a tile reads them: pointers to what it needs, taken out of [`ActRow`] before the loops.

use super::decode::Format;
use crate::acts::ActRow;

/// N activation rows, from some group on.
#[derive(Clone, Copy)]
pub(super) struct Acts<const N: usize> {
    /// Codes of the form that the format reads: bytes, or words where it is the wide one.
    codes: [*const u8; N],
    /// Scale of each group.
    pub scales: [*const f32; N],
    /// What minima are multiplied with: `F::MINS` numbers for each group.
    pub sums: [*const f32; N],
}

impl<const N: usize> Acts<N> {
    /// From group `first` on.
    #[inline(always)]
    pub fn new<F: Format>(rows: &[ActRow<'_>], first: usize) -> Self {
        let mut new = Self { codes: [std::ptr::null(); N], scales: [std::ptr::null(); N], sums: [std::ptr::null(); N] };
        for (n, row) in rows[..N].iter().enumerate() {
            let (codes, scales, dsums, halves) = if F::WIDE {
                (row.q16.codes.as_ptr().cast::<u8>(), row.q16.scales, row.q16.dsums, row.q16.halves)
            } else {
                (row.q8.codes.as_ptr().cast::<u8>(), row.q8.scales, row.q8.dsums, row.q8.halves)
            };
            let sums = if F::MINS == 2 { halves } else { dsums };
            new.codes[n] = codes.wrapping_add(first * Self::group_bytes::<F>());
            new.scales[n] = scales.as_ptr().wrapping_add(first);
            new.sums[n] = sums.as_ptr().wrapping_add(first * F::MINS);
        }
        new
    }

    const fn group_bytes<F: Format>() -> usize {
        if F::WIDE { 64 } else { 32 }
    }

    /// The codes of group `g`.
    #[inline(always)]
    pub fn codes<F: Format, T>(&self, g: usize) -> [*const T; N] {
        self.codes.map(|p| p.wrapping_add(g * Self::group_bytes::<F>()).cast())
    }
}
