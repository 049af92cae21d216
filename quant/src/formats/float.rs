//! F32, F16, BF16: one number is a block.
//!
//! ```text
//! F32   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm   IEEE single
//! F16   s eeeee mmmmmmmmmm                   IEEE half
//! BF16  s eeeeeeee mmmmmmm                   the upper half of an IEEE single
//! ```
//! All little-endian. Every weight is exact as f32.

use super::Block;

/// An IEEE single.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct F32(pub [u8; 4]);

/// An IEEE half; also the scale (`d`, `m`, `dmin`) of most other formats.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct F16(pub [u8; 2]);

/// The upper half of an IEEE single.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub struct BF16(pub [u8; 2]);

impl F32 {
    /// The value.
    pub fn to_f32(self) -> f32 {
        f32::from_le_bytes(self.0)
    }
}

impl F16 {
    /// The value; exact.
    pub fn to_f32(self) -> f32 {
        half::f16::from_le_bytes(self.0).to_f32()
    }
}

impl BF16 {
    /// The value; exact.
    pub fn to_f32(self) -> f32 {
        f32::from_bits(u32::from(u16::from_le_bytes(self.0)) << 16)
    }
}

// SAFETY: transparent over bytes.
unsafe impl Block<1> for F32 {
    fn dequantize(&self, out: &mut [f32; 1]) {
        out[0] = self.to_f32();
    }
}

// SAFETY: transparent over bytes.
unsafe impl Block<1> for F16 {
    fn dequantize(&self, out: &mut [f32; 1]) {
        out[0] = self.to_f32();
    }
}

// SAFETY: transparent over bytes.
unsafe impl Block<1> for BF16 {
    fn dequantize(&self, out: &mut [f32; 1]) {
        out[0] = self.to_f32();
    }
}
