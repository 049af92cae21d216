//! What a format is to the tile.

use crate::acts::ActKinds;
use std::arch::x86_64::*;

/// Groups whose scales are unpacked at once.
pub(in crate::kernels) const GROUPS: usize = 8;

/// Two vectors: rows 0..8 and rows 8..16.
pub(in crate::kernels) type Pair<T> = [T; 2];

/// What a format subtracts from its products.
#[derive(Clone, Copy)]
pub(in crate::kernels) enum Min {
    /// Nothing.
    None,
    /// So many scales per weight.
    Offset(f32),
    /// A minimum per group.
    Group,
    /// A minimum per half group.
    Halves,
}

impl Min {
    /// Of codes that are so much too large.
    pub const fn offset(by: u8) -> Self {
        if by == 0 { Self::None } else { Self::Offset(by as f32) }
    }
}

/// What has integer scales. Where something has, the f32 scale is that of a whole record of [`GROUPS`] groups.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) enum Inner {
    /// Nothing.
    None,
    /// Groups.
    Groups,
    /// Half groups.
    Halves,
}

/// How a format's codes meet activations.
#[derive(Clone, Copy)]
pub(in crate::kernels) enum Codes {
    /// Unsigned codes of so many bits and the narrow activations.
    Narrow(u32),
    /// Signed codes of eight bits and the wide activations.
    Wide,
    /// Unsigned codes of eight bits and the wide activations.
    WideUnsigned,
}

/// The scales and minima of a group, per row; what a format lacks is not written.
#[derive(Clone, Copy)]
#[repr(align(64))]
pub(in crate::kernels) struct Factors {
    /// What turns integer sums into f32.
    pub scale: Pair<__m256>,
    /// What a unit of the activation's dsum (or of each of its halves) subtracts.
    pub min: [Pair<__m256>; 2],
    /// Integer scales, of the group (the first one) or its halves: 16 bits, in both halves of the rows' lanes.
    pub inner: [Pair<__m256i>; 2],
}

impl Factors {
    #[inline(always)]
    pub unsafe fn zero() -> Self {
        // SAFETY: a register operation of the caller's ISA.
        unsafe {
            let (float, int) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_si256(); 2]);
            Self { scale: float, min: [float; 2], inner: [int; 2] }
        }
    }
}

/// A format's half of the tile.
pub(in crate::kernels) trait Format {
    /// How its codes meet activations.
    const CODES: Codes;
    /// What it subtracts.
    const MIN: Min;
    /// What its integer scales belong to.
    const INNER: Inner;
    /// Bytes of a group in a panel.
    const GROUP_BYTES: usize;
    /// Scales and minima of the groups from `first` on, `first` a multiple of [`GROUPS`].
    ///
    /// # Safety
    /// The groups are inside the panel; AVX2, FMA, F16C.
    unsafe fn factors(panel: *const u8, first: usize, out: &mut [Factors]);
    /// Codes of the quads `2 * i` and `2 * i + 1` of group `g`, one byte each: unsigned where they are narrow.
    ///
    /// # Safety
    /// The group is inside the panel; AVX2.
    unsafe fn codes(panel: *const u8, g: usize, i: usize) -> [Pair<__m256i>; 2];
}

/// The activations that a format's codes meet.
pub(in crate::kernels) fn acts<F: Format>() -> ActKinds {
    let narrow = matches!(F::CODES, Codes::Narrow(_));
    ActKinds { q8: narrow, q16: !narrow, ..ActKinds::default() }
}
