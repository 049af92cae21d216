//! What the formats' unpacking is made of: lines of a record taken apart into quads, scales as f32 per row.

use super::tile::Decode;
use crate::kernels::PANEL;
use crate::panel::LINE;
use std::arch::x86_64::*;

/// An array of vectors, each given by the constant of its place. No loop and no closure: what the compiler leaves
/// rolled, or does not inline in a function of this instruction set, is ten times slower.
macro_rules! vectors {
    (2, $i:ident => $value:expr) => { vectors!(@ 0 1, $i => $value) };
    (8, $i:ident => $value:expr) => { vectors!(@ 0 1 2 3 4 5 6 7, $i => $value) };
    (16, $i:ident => $value:expr) => { vectors!(@ 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15, $i => $value) };
    (@ $($n:literal)*, $i:ident => $value:expr) => { [$({ const $i: usize = $n; $value }),*] };
}
pub(super) use vectors;

/// 16 f16 as f32.
#[inline(always)]
pub(super) unsafe fn halves(p: *const u8) -> __m512 {
    // SAFETY: 32 bytes are readable at `p`, by the caller.
    unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(p.cast())) }
}

/// 16 unsigned bytes as integers.
#[inline(always)]
pub(super) unsafe fn bytes(p: *const u8) -> __m512i {
    // SAFETY: 16 bytes are readable at `p`, by the caller.
    unsafe { _mm512_cvtepu8_epi32(_mm_loadu_si128(p.cast())) }
}

/// Number `i` of the sixes at `low` and `high`, per row.
#[inline(always)]
pub(super) unsafe fn six(low: *const u8, high: *const u8, i: usize) -> __m512i {
    // SAFETY: the bytes of the sixes are readable, by the caller.
    unsafe {
        let low = _mm512_srl_epi32(bytes(low.add(i / 2 * PANEL)), _mm_cvtsi32_si128((i % 2 * 4) as i32));
        let high = _mm512_srl_epi32(bytes(high.add(i / 4 * PANEL)), _mm_cvtsi32_si128((i % 4 * 2) as i32));
        let high = _mm512_and_si512(high, _mm512_set1_epi32(3));
        _mm512_or_si512(_mm512_and_si512(low, _mm512_set1_epi32(15)), _mm512_slli_epi32::<4>(high))
    }
}

/// Line `i` from `p` on.
#[inline(always)]
pub(super) unsafe fn line(p: *const u8, i: usize) -> __m512i {
    // SAFETY: the line's 64 bytes are readable, by the caller.
    unsafe { _mm512_loadu_si512(p.add(LINE * i).cast()) }
}

#[inline(always)]
unsafe fn and(v: __m512i, byte: i8) -> __m512i {
    // SAFETY: a register operation of the caller's ISA.
    unsafe { _mm512_and_si512(v, _mm512_set1_epi8(byte)) }
}

/// `v` with bit `from` of each byte at bit `to`; other bits of a byte, and of its neighbour, may be anywhere.
#[inline(always)]
unsafe fn moved(v: __m512i, from: usize, to: usize) -> __m512i {
    // SAFETY: register operations of the caller's ISA; counts are constants after inlining.
    unsafe {
        match to as i32 - from as i32 {
            6 => _mm512_slli_epi16::<6>(v),
            4 => _mm512_slli_epi16::<4>(v),
            3 => _mm512_slli_epi16::<3>(v),
            2 => _mm512_slli_epi16::<2>(v),
            1 => _mm512_slli_epi16::<1>(v),
            0 => v,
            -1 => _mm512_srli_epi16::<1>(v),
            -2 => _mm512_srli_epi16::<2>(v),
            -3 => _mm512_srli_epi16::<3>(v),
            -4 => _mm512_srli_epi16::<4>(v),
            -5 => _mm512_srli_epi16::<5>(v),
            _ => _mm512_srli_epi16::<6>(v),
        }
    }
}

/// The eight quads of a plane of four bits.
#[inline(always)]
pub(super) unsafe fn nibbles(p: *const u8) -> [__m512i; 8] {
    // SAFETY: four lines are readable at `p`, by the caller.
    unsafe { vectors!(8, Q => and(moved(line(p, Q / 2), Q % 2 * 4, 0), 15)) }
}

/// The eight quads of a plane of two bits, at bit `to` of the codes.
#[inline(always)]
pub(super) unsafe fn twos(p: *const u8, to: usize) -> [__m512i; 8] {
    // SAFETY: two lines are readable at `p`, by the caller.
    unsafe { vectors!(8, Q => and(moved(line(p, Q / 4), Q % 4 * 2, to), 3 << to)) }
}

/// The eight quads of a plane of one bit, at bit `to` of the codes.
#[inline(always)]
pub(super) unsafe fn ones(p: *const u8, to: usize) -> [__m512i; 8] {
    // SAFETY: a line is readable at `p`, by the caller.
    unsafe { vectors!(8, Q => and(moved(line(p, 0), Q, to), 1 << to)) }
}

/// Both planes of codes together.
#[inline(always)]
pub(super) unsafe fn both(a: [__m512i; 8], b: [__m512i; 8]) -> [__m512i; 8] {
    // SAFETY: register operations of the caller's ISA.
    unsafe { vectors!(8, Q => _mm512_or_si512(a[Q], b[Q])) }
}

/// The eight quads of five-bit codes: a line of fifth bits, then four of nibbles.
#[inline(always)]
pub(super) unsafe fn fives(p: *const u8) -> [__m512i; 8] {
    // SAFETY: five lines are readable at `p`, by the caller.
    unsafe { both(ones(p, 4), nibbles(p.add(LINE))) }
}

/// Quads of signed bytes as 16-bit codes of wide activations.
#[inline(always)]
pub(super) unsafe fn widened(quads: [__m512i; 8]) -> [__m512i; 16] {
    // SAFETY: register operations of the caller's ISA.
    unsafe {
        vectors!(16, V => {
            let quad = quads[V / 2];
            _mm512_srai_epi16::<8>(if V.is_multiple_of(2) { _mm512_slli_epi16::<8>(quad) } else { quad })
        })
    }
}

/// What IQ4's codes stand for, plus 128: unsigned bytes.
pub(super) const TABLE: [u8; 16] = {
    let (mut table, mut i) = ([0; 16], 0);
    while i < 16 {
        table[i] = (crate::formats::iq4_nl::VALUES[i] as i16 + 128) as u8;
        i += 1;
    }
    table
};

/// [`nibbles`] as indices into [`TABLE`].
#[inline(always)]
pub(super) unsafe fn looked_up(p: *const u8) -> [__m512i; 8] {
    // SAFETY: four lines are readable at `p`, by the caller.
    unsafe {
        let table = _mm512_broadcast_i32x4(_mm_loadu_si128(TABLE.as_ptr().cast()));
        let codes = nibbles(p);
        vectors!(8, Q => _mm512_shuffle_epi8(table, codes[Q]))
    }
}

/// Where group `g` of a format with eight groups in a record lies: the record, and the place of the group in it.
#[inline(always)]
pub(super) unsafe fn place<D: Decode>(panel: *const u8, g: usize) -> (*const u8, usize) {
    // SAFETY: the group is inside the panel, by the caller.
    (unsafe { panel.add(g / 8 * 8 * D::BYTES) }, g % 8)
}
