//! Records of the formats with blocks of 32 weights.

use super::lines::{Field, Parts};

/// Four bits of each code: of the first 16 in low nibbles from byte `at` on, of the others in the high ones.
#[inline(always)]
fn nibbles(at: usize, q: usize) -> Field {
    Field::Bytes { at: at + q % 4 * 4, from: q / 4 * 4, bits: 4, to: 0 }
}

/// The fifth bits, in order from byte `at` on.
#[inline(always)]
fn fifth(at: usize, q: usize) -> Field {
    Field::Single { at: at + q / 2, from: q % 2 * 4, to: 4 }
}

/// Also IQ4_NL.
pub(super) struct Q4_0;

impl Parts for Q4_0 {
    const BLOCK: usize = 18;
    const GROUPS: usize = 1;
    const BITS: usize = 4;
    const NUMBERS: &'static [usize] = &[0];

    #[inline(always)]
    fn fields(_g: usize, q: usize) -> [Field; 2] {
        [nibbles(2, q), Field::NONE]
    }
}

pub(super) struct Q4_1;

impl Parts for Q4_1 {
    const BLOCK: usize = 20;
    const GROUPS: usize = 1;
    const BITS: usize = 4;
    const NUMBERS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn fields(_g: usize, q: usize) -> [Field; 2] {
        [nibbles(4, q), Field::NONE]
    }
}

pub(super) struct Q5_0;

impl Parts for Q5_0 {
    const BLOCK: usize = 22;
    const GROUPS: usize = 1;
    const BITS: usize = 5;
    const NUMBERS: &'static [usize] = &[0];

    #[inline(always)]
    fn fields(_g: usize, q: usize) -> [Field; 2] {
        [nibbles(6, q), fifth(2, q)]
    }
}

pub(super) struct Q5_1;

impl Parts for Q5_1 {
    const BLOCK: usize = 24;
    const GROUPS: usize = 1;
    const BITS: usize = 5;
    const NUMBERS: &'static [usize] = &[0, 2];

    #[inline(always)]
    fn fields(_g: usize, q: usize) -> [Field; 2] {
        [nibbles(8, q), fifth(4, q)]
    }
}

pub(super) struct Q8_0;

impl Parts for Q8_0 {
    const BLOCK: usize = 34;
    const GROUPS: usize = 1;
    const BITS: usize = 8;
    const NUMBERS: &'static [usize] = &[0];

    #[inline(always)]
    fn fields(_g: usize, q: usize) -> [Field; 2] {
        [Field::Bytes { at: 2 + 4 * q, from: 0, bits: 8, to: 0 }, Field::NONE]
    }
}
