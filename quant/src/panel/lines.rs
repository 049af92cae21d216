//! The parts that all records are made of: f16 numbers, scale bytes, and codes in lines.
//!
//! A format tells, once for both directions, where its block has them. All loops have constant bounds and work on words
//! of four codes, so that packing keeps up with memory.

use super::{HALVES, Interleaving, LINE};
use crate::kernels::PANEL;

/// Scale bytes of one block: at most 16.
pub(super) type Scales = [u8; 16];

/// Where a block has its parts.
pub(super) trait Parts {
    /// Bytes of a block.
    const BLOCK: usize;
    /// Groups of 32 weights in a block.
    const GROUPS: usize;
    /// Bits of a code.
    const BITS: usize;
    /// Offsets of the block's f16 numbers.
    const NUMBERS: &'static [usize];
    /// Scale bytes of a row's block in the record.
    const SCALES: usize = 0;

    /// Where the block has the codes of quad `q` of group `g`.
    fn fields(g: usize, q: usize) -> [Field; 2];

    /// The first `SCALES` scale bytes of the record.
    fn scales(_block: &[u8]) -> Scales {
        [0; 16]
    }

    /// Puts them back into a block that has zeros there.
    fn put_scales(_block: &mut [u8], _scales: Scales) {}
}

/// Some bits of four consecutive codes of a block.
pub(super) enum Field {
    /// In four bytes from `at` on: `bits` from bit `from` up, which are the codes' bits from `to` up.
    Bytes { at: usize, from: usize, bits: usize, to: usize },
    /// One bit each, in four neighbouring bits from bit `from` of byte `at` up; the codes' bit `to`.
    Single { at: usize, from: usize, to: usize },
}

impl Field {
    /// For formats that have all bits of a code in one place.
    pub const NONE: Self = Self::Bytes { at: 0, from: 0, bits: 0, to: 0 };
}

/// A word whose bytes are all `byte`.
const fn every(byte: u32) -> u32 {
    0x0101_0101 * byte
}

#[inline(always)]
fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

#[inline(always)]
fn put_word(bytes: &mut [u8], at: usize, word: u32) {
    bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
}

impl Field {
    #[inline(always)]
    fn get(&self, block: &[u8]) -> u32 {
        match *self {
            Self::Bytes { at, from, bits, to } => (word(block, at) >> from & every((1 << bits) - 1)) << to,
            // Shifts by 0, 7, 14, 21 bring bit i to the lowest of byte i.
            Self::Single { at, from, to } => {
                (u32::from(block[at] >> from & 15).wrapping_mul(0x0020_4081) & every(1)) << to
            }
        }
    }

    #[inline(always)]
    fn put(&self, block: &mut [u8], codes: u32) {
        match *self {
            Self::Bytes { at, from, bits, to } => {
                let all = word(block, at) | (codes >> to & every((1 << bits) - 1)) << from;
                put_word(block, at, all);
            }
            Self::Single { at, from, to } => {
                for i in 0..4 {
                    block[at] |= ((codes >> (8 * i + to) & 1) << (from + i)) as u8;
                }
            }
        }
    }
}

/// What one direction does with a plane of W bits, whose lowest is bit `shift` of the code, and which starts at `line`.
trait Direction {
    fn plane<const W: usize>(&mut self, quads: &mut [u32; 8], line: usize, shift: usize);
}

/// Goes through the planes of a group with codes of `bits`, in their order.
#[inline(always)]
fn planes(bits: usize, quads: &mut [u32; 8], to: &mut impl Direction) {
    match bits {
        2 => to.plane::<2>(quads, 0, 0),
        3 => {
            to.plane::<1>(quads, 0, 2);
            to.plane::<2>(quads, 1, 0);
        }
        4 => to.plane::<4>(quads, 0, 0),
        5 => {
            to.plane::<1>(quads, 0, 4);
            to.plane::<4>(quads, 1, 0);
        }
        6 => {
            to.plane::<2>(quads, 0, 4);
            to.plane::<4>(quads, 2, 0);
        }
        8 => to.plane::<8>(quads, 0, 0),
        _ => unreachable!("no format has codes of {bits} bits"),
    }
}

/// Quads into the lines of a group, at the places of row r.
struct Into<'a> {
    lines: &'a mut [u8],
    r: usize,
}

impl Direction for Into<'_> {
    #[inline(always)]
    fn plane<const W: usize>(&mut self, quads: &mut [u32; 8], line: usize, shift: usize) {
        for j in 0..W {
            let mut all = 0;
            for i in 0..8 / W {
                all |= (quads[8 / W * j + i] >> shift & every((1 << W) - 1)) << (i * W);
            }
            put_word(self.lines, (line + j) * LINE + 4 * self.r, all);
        }
    }
}

/// Quads out of the lines of a group.
struct From<'a> {
    lines: &'a [u8],
    r: usize,
}

impl Direction for From<'_> {
    #[inline(always)]
    fn plane<const W: usize>(&mut self, quads: &mut [u32; 8], line: usize, shift: usize) {
        for j in 0..W {
            let all = word(self.lines, (line + j) * LINE + 4 * self.r);
            for i in 0..8 / W {
                quads[8 / W * j + i] |= (all >> (i * W) & every((1 << W) - 1)) << shift;
            }
        }
    }
}

/// Bytes before the first group's lines.
const fn front<P: Parts>() -> usize {
    P::NUMBERS.len() * HALVES + P::SCALES * PANEL
}

/// Both directions of a format.
pub(super) fn both<P: Parts>() -> Interleaving {
    const { assert!(front::<P>() + P::GROUPS * P::BITS * LINE == P::BLOCK * PANEL) };
    Interleaving { pack: pack::<P>, unpack: unpack::<P> }
}

fn pack<P: Parts>(row: &[u8], r: usize, panel: &mut [u8]) {
    assert!(r < PANEL);
    for (block, record) in row.chunks_exact(P::BLOCK).zip(panel.chunks_exact_mut(P::BLOCK * PANEL)) {
        for (i, &at) in P::NUMBERS.iter().enumerate() {
            let to = i * HALVES + 2 * r;
            record[to..to + 2].copy_from_slice(&block[at..at + 2]);
        }
        let scales = P::scales(block);
        for (i, &scale) in scales[..P::SCALES].iter().enumerate() {
            record[P::NUMBERS.len() * HALVES + i * PANEL + r] = scale;
        }
        let lines = record[front::<P>()..].chunks_exact_mut(P::BITS * LINE);
        for (g, lines) in lines.enumerate() {
            let mut quads = [0u32; 8];
            for (q, quad) in quads.iter_mut().enumerate() {
                let [a, b] = P::fields(g, q);
                *quad = a.get(block) | b.get(block);
            }
            planes(P::BITS, &mut quads, &mut Into { lines, r });
        }
    }
}

fn unpack<P: Parts>(panel: &[u8], r: usize, row: &mut [u8]) {
    for (block, record) in row.chunks_exact_mut(P::BLOCK).zip(panel.chunks_exact(P::BLOCK * PANEL)) {
        for (i, &at) in P::NUMBERS.iter().enumerate() {
            let from = i * HALVES + 2 * r;
            block[at..at + 2].copy_from_slice(&record[from..from + 2]);
        }
        let at = |i: usize| if i < P::SCALES { record[P::NUMBERS.len() * HALVES + i * PANEL + r] } else { 0 };
        P::put_scales(block, std::array::from_fn(at));
        for (g, lines) in record[front::<P>()..].chunks_exact(P::BITS * LINE).enumerate() {
            let mut quads = [0u32; 8];
            planes(P::BITS, &mut quads, &mut From { lines, r });
            for (q, &quad) in quads.iter().enumerate() {
                P::fields(g, q).iter().for_each(|field| field.put(block, quad));
            }
        }
    }
}
