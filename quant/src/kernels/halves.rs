//! The scalar row operations on halves, and the f16 conversions that an ISA without instructions for them uses.

use half::f16;

pub(crate) fn widen_f16(src: &[u8], out: &mut [f32]) {
    for (s, o) in src.chunks_exact(2).zip(out) {
        *o = f16::from_le_bytes([s[0], s[1]]).to_f32_const();
    }
}

pub(crate) fn narrow_f16(src: &[f32], out: &mut [u8]) {
    for (&s, o) in src.iter().zip(out.chunks_exact_mut(2)) {
        o.copy_from_slice(&f16::from_f32_const(s).to_le_bytes());
    }
}
