//! What AVX-512 reads of Q4_K.

use std::arch::x86_64::*;

/// Six-bit numbers of group `g` (0 to 7) of the Q4_K superblock at `p`, one byte per row: low bits start at `low`, high
/// bits at `high`.
#[inline(always)]
