//! What a tile keeps in registers, and how it goes through them.

use std::arch::aarch64::*;

/// Four vectors: rows 0..4, 4..8, 8..12 and 12..16.
pub(super) type Rows<T> = [T; 4];

/// Integer sums of N activation rows.
pub(super) type Sums<const N: usize> = [Rows<int32x4_t>; N];

/// f32 sums of one activation row.
pub(super) type Total = Rows<float32x4_t>;

/// Runs a block for each number below a limit of at most 4, written out: where LLVM leaves such a loop as it is, the
/// registers that its index selects live in memory.
macro_rules! unrolled {
    ($i:ident in $limit:expr, $body:block) => {
        if 0 < $limit {
            let $i = 0usize;
            $body
        }
        if 1 < $limit {
            let $i = 1usize;
            $body
        }
        if 2 < $limit {
            let $i = 2usize;
            $body
        }
        if 3 < $limit {
            let $i = 3usize;
            $body
        }
    };
}
pub(super) use unrolled;
