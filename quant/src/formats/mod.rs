//! The tensor formats: one list, from which names, ids, sizes and dispatch are derived.
//!
//! A format's file says what its bytes mean: a picture of the block, a struct of bytes that lies over it, and its
//! weights as f32. That meaning is the oracle for every faster kernel. It agrees bit for bit with the `gguf` Python
//! package (f32 arithmetic, the same order of operations, nothing fused), except that a NaN is only promised to be
//! some NaN; tests/fixtures/formats has the proof.
//!
//! To add a format: write its file with one struct that implements [`Block`], name the module below, add one line to
//! the list, and write how it is made in a file under [`crate::quantize`]. The compiler checks size and alignment. For the tests, add the format to scripts/dequant_golden.py,
//! run it, and name the new fixture in quant/tests/formats.rs.

use crate::quantize::lanes::Lanes;
use crate::quantize::tile::{Encode, Tile};

// Named one by one and not by the list's macro, because rustfmt does not look for modules inside macros.
pub mod float;
pub mod iq4_nl;
pub mod iq4_xs;
pub mod q2_k;
pub mod q3_k;
pub mod q4_0;
pub mod q4_1;
pub mod q4_k;
pub mod q5_0;
pub mod q5_1;
pub mod q5_k;
pub mod q6_k;
pub mod q8_0;

/// One block of a format, exactly as it lies in a file: `N` weights.
///
/// # Safety
/// The type must be `repr(C)` or `repr(transparent)` over byte-sized integers only (`u8`, `i8`, arrays of them, or
/// structs of those): then it has alignment 1 and no padding, and any bytes are a valid value. [`blocks`] relies on it.
pub unsafe trait Block<const N: usize>: Copy + 'static {
    /// The block's weights in order.
    fn dequantize(&self, out: &mut [f32; N]);
}

/// Sees `bytes` as blocks of one format, without copying.
///
/// # Panics
/// If `bytes` is not a whole number of blocks.
pub fn blocks<B: Block<N>, const N: usize>(bytes: &[u8]) -> &[B] {
    const { assert!(align_of::<B>() == 1 && size_of::<B>() > 0) };
    let count = bytes.len() / size_of::<B>();
    assert_eq!(count * size_of::<B>(), bytes.len(), "{} bytes are not whole blocks", bytes.len());
    // SAFETY: `bytes` covers exactly `count` values of `B`; `B` has alignment 1, and by the contract of `Block` any
    // bytes are a valid `B`. The result borrows from `bytes`.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), count) }
}

/// [`blocks`], to be written.
///
/// # Panics
/// If `bytes` is not a whole number of blocks.
fn blocks_mut<B: Block<N>, const N: usize>(bytes: &mut [u8]) -> &mut [B] {
    const { assert!(align_of::<B>() == 1 && size_of::<B>() > 0) };
    let count = bytes.len() / size_of::<B>();
    assert_eq!(count * size_of::<B>(), bytes.len(), "{} bytes are not whole blocks", bytes.len());
    // SAFETY: as in `blocks`; and a `B` is nothing but bytes without padding, so any value of it is bytes.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), count) }
}

/// Dequantizes whole blocks of `B`.
fn dequantize_blocks<B: Block<N>, const N: usize>(bytes: &[u8], out: &mut [f32]) {
    let blocks = blocks::<B, N>(bytes);
    assert_eq!(out.len(), blocks.len() * N, "{} blocks of {N} weights do not fill {}", blocks.len(), out.len());
    for (block, out) in blocks.iter().zip(out.as_chunks_mut().0) {
        block.dequantize(out);
    }
}

/// Multiplies whole blocks of `B` with `x`: the products summed in order, in one f32.
fn dot_blocks<B: Block<N>, const N: usize>(bytes: &[u8], x: &[f32]) -> f32 {
    let blocks = blocks::<B, N>(bytes);
    assert_eq!(x.len(), blocks.len() * N, "{} blocks of {N} weights do not meet {}", blocks.len(), x.len());
    let mut weights = [0.0; N];
    let mut sum = 0.0;
    for (block, x) in blocks.iter().zip(x.as_chunks::<N>().0) {
        block.dequantize(&mut weights);
        for (w, x) in weights.iter().zip(x) {
            sum += w * x;
        }
    }
    sum
}

macro_rules! formats {
    ($($module:ident::$variant:ident = $id:literal, $block:literal weights in $bytes:literal bytes;)*) => {
        /// A tensor type this program can load, run and mix.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(non_camel_case_types)]
        pub enum DType { $(#[doc = stringify!($variant)] $variant,)* }

        impl DType {
            /// Every format, in the order of the list.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];
            /// The format with this id in GGUF files (ggml's type id).
            pub fn from_ggml_id(id: u32) -> Option<DType> {
                match id { $($id => Some(DType::$variant),)* _ => None }
            }
            /// The id in GGUF files.
            pub fn ggml_id(self) -> u32 { match self { $(DType::$variant => $id,)* } }
            /// The name users know: `Q4_K`, `BF16`.
            pub fn name(self) -> &'static str { match self { $(DType::$variant => stringify!($variant),)* } }
            /// Weights in a block.
            pub fn block_len(self) -> usize { match self { $(DType::$variant => $block,)* } }
            /// Bytes of a block.
            pub fn block_bytes(self) -> usize { match self { $(DType::$variant => $bytes,)* } }
        }

        /// Writes the weights of whole blocks to `out`, as f32, in order.
        ///
        /// # Panics
        /// If `bytes` is not a whole number of blocks or `out` has not exactly their weights.
        pub fn dequantize(dtype: DType, bytes: &[u8], out: &mut [f32]) {
            match dtype { $(DType::$variant => dequantize_blocks::<$module::$variant, $block>(bytes, out),)* }
        }

        /// The dot product of whole blocks with `x`: dequantized weights times `x`, summed in order in one f32.
        /// What every kernel must come close to; too slow to run a model with.
        ///
        /// # Panics
        /// If `bytes` is not a whole number of blocks or `x` has not exactly as many values as they have weights.
        pub fn dot(dtype: DType, bytes: &[u8], x: &[f32]) -> f32 {
            match dtype { $(DType::$variant => dot_blocks::<$module::$variant, $block>(bytes, x),)* }
        }

        /// Quantizes the first weights of a tile to whole blocks, as many as `out` holds; see [`crate::quantize`].
        /// Gives the number of blocks that were clamped to the format's range.
        ///
        /// # Panics
        /// If `out` is not a whole number of blocks.
        #[inline(always)]
        pub(crate) fn encode<L: Lanes>(l: L, dtype: DType, tile: &Tile, out: &mut [u8]) -> usize {
            match dtype {
                $(DType::$variant => {
                    $module::$variant::encode(l, tile, blocks_mut::<$module::$variant, $block>(out))
                })*
            }
        }

        $(const _: () = assert!(size_of::<$module::$variant>() == $bytes && align_of::<$module::$variant>() == 1);)*
    };
}

formats! {
    float::F32 = 0, 1 weights in 4 bytes;
    float::F16 = 1, 1 weights in 2 bytes;
    float::BF16 = 30, 1 weights in 2 bytes;
    q4_0::Q4_0 = 2, 32 weights in 18 bytes;
    q4_1::Q4_1 = 3, 32 weights in 20 bytes;
    q5_0::Q5_0 = 6, 32 weights in 22 bytes;
    q5_1::Q5_1 = 7, 32 weights in 24 bytes;
    q8_0::Q8_0 = 8, 32 weights in 34 bytes;
    q2_k::Q2_K = 10, 256 weights in 84 bytes;
    q3_k::Q3_K = 11, 256 weights in 110 bytes;
    q4_k::Q4_K = 12, 256 weights in 144 bytes;
    q5_k::Q5_K = 13, 256 weights in 176 bytes;
    q6_k::Q6_K = 14, 256 weights in 210 bytes;
    iq4_nl::IQ4_NL = 20, 32 weights in 18 bytes;
    iq4_xs::IQ4_XS = 23, 256 weights in 136 bytes;
}

/// Whether the weights of whole blocks are finite numbers, told from the blocks' f16 scales (or the floats themselves):
/// a scale that is infinite or NaN makes its whole block so.
pub fn is_finite(dtype: DType, bytes: &[u8]) -> bool {
    let finite = |at: usize| bytes.iter().skip(at + 1).step_by(dtype.block_bytes()).all(|high| high & 0x7c != 0x7c);
    match dtype {
        DType::F32 => bytes.as_chunks::<4>().0.iter().all(|&b| f32::from_le_bytes(b).is_finite()),
        DType::BF16 => bytes.as_chunks::<2>().0.iter().all(|&b| u16::from_le_bytes(b) & 0x7f80 != 0x7f80),
        DType::F16 | DType::Q4_0 | DType::Q5_0 | DType::Q8_0 | DType::IQ4_NL | DType::IQ4_XS => finite(0),
        DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => finite(0) && finite(2),
        DType::Q2_K => finite(80) && finite(82),
        DType::Q3_K => finite(108),
        DType::Q6_K => finite(208),
    }
}

impl DType {
    /// Bytes of a row of `cols` weights; `None` when `cols` is no multiple of the block.
    pub fn row_bytes(self, cols: usize) -> Option<usize> {
        cols.is_multiple_of(self.block_len()).then(|| cols / self.block_len() * self.block_bytes())
    }
}
