//! Q8_0: 32 signed bytes with one scale.
//!
//! ```text
//! byte 0   d   f16      scale
//!      2   qs  [i8;32]  codes in order
//!
//! w = d * code
//! ```

use super::Block;
use super::float::F16;

/// 32 weights in 34 bytes.
#[allow(non_camel_case_types)]
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Q8_0 {
    /// Scale.
    pub d: F16,
    /// Codes.
    pub qs: [i8; 32],
}

// SAFETY: repr(C) over bytes.
unsafe impl Block<32> for Q8_0 {
    fn dequantize(&self, out: &mut [f32; 32]) {
        let d = self.d.to_f32();
        for (w, &q) in out.iter_mut().zip(&self.qs) {
            *w = d * f32::from(q);
        }
    }
}
