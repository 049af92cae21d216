//! Records of the formats with blocks of 256 weights.

use super::lines::{Field, Parts, Scales};
use crate::formats::q4_k::ScalesMins;

/// Two bits of each code, as Q2_K and Q3_K have them: halves of 32 bytes, four planes each.
#[inline(always)]
fn twos(at: usize, g: usize, q: usize) -> Field {
    Field::Bytes { at: at + g / 4 * 32 + 4 * q, from: g % 4 * 2, bits: 2, to: 0 }
}

/// Four bits of each code, as Q4_K and Q5_K have them: group 2p in low nibbles, 2p + 1 in high ones.
#[inline(always)]
fn nibbles(at: usize, g: usize, q: usize) -> Field {
    Field::Bytes { at: at + g / 2 * 32 + 4 * q, from: g % 2 * 4, bits: 4, to: 0 }
}

/// One bit of each code: of group g in bits g.
#[inline(always)]
fn ones(at: usize, g: usize, q: usize, to: usize) -> Field {
    Field::Bytes { at: at + 4 * q, from: g, bits: 1, to }
}

/// Numbers of six bits as `low` bytes with two nibbles and `high` bytes with four pairs.
fn put_sixes(numbers: &[u8], low: &mut [u8], high: &mut [u8]) {
    for (i, number) in numbers.iter().enumerate() {
        low[i / 2] |= (number & 15) << (i % 2 * 4);
        high[i / 4] |= (number >> 4) << (i % 4 * 2);
    }
}

/// Number `i` of the sixes in `low` and `high`.
fn six(low: &[u8], high: &[u8], i: usize) -> u8 {
    (low[i / 2] >> (i % 2 * 4) & 15) | (high[i / 4] >> (i % 4 * 2) & 3) << 4
}

/// Eight scales and minima of Q4_K and Q5_K, from the block's byte 4 on.
fn scales_mins(block: &[u8]) -> Scales {
    let mut out = [0; 16];
    let (scales, mins) = ScalesMins(std::array::from_fn(|i| block[4 + i])).unpacked();
    let (low, high) = out.split_at_mut(8);
    put_sixes(&scales, &mut low[..4], &mut high[..2]);
    put_sixes(&mins, &mut low[4..], &mut high[2..]);
    out
}

fn put_scales_mins(block: &mut [u8], scales: Scales) {
    let (low, high) = scales.split_at(8);
    let bytes = &mut block[4..16];
    for g in 0..8 {
        let (scale, min) = (six(&low[..4], &high[..2], g), six(&low[4..], &high[2..], g));
        if g < 4 {
            bytes[g] |= scale;
            bytes[g + 4] |= min;
        } else {
            bytes[g + 4] |= (scale & 15) | min << 4;
            bytes[g - 4] |= scale >> 4 << 6;
            bytes[g] |= min >> 4 << 6;
        }
    }
}

pub(super) struct Q2K;

impl Parts for Q2K {
    const BLOCK: usize = 84;
    const GROUPS: usize = 8;
    const BITS: usize = 2;
    const NUMBERS: &'static [usize] = &[80, 82];
    const SCALES: usize = 16;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        [twos(16, g, q), Field::NONE]
    }

    fn scales(block: &[u8]) -> Scales {
        std::array::from_fn(|i| block[i])
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        block[..16].copy_from_slice(&scales);
    }
}

pub(super) struct Q3K;

impl Parts for Q3K {
    const BLOCK: usize = 110;
    const GROUPS: usize = 8;
    const BITS: usize = 3;
    const NUMBERS: &'static [usize] = &[108];
    const SCALES: usize = 12;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        [twos(32, g, q), ones(0, g, q, 2)]
    }

    fn scales(block: &[u8]) -> Scales {
        let bytes = &block[96..108];
        let numbers: [u8; 16] =
            std::array::from_fn(|h| (bytes[h % 8] >> (h / 8 * 4) & 15) | (bytes[8 + h % 4] >> (h / 4 * 2) & 3) << 4);
        let mut out = [0; 16];
        let (low, high) = out.split_at_mut(8);
        put_sixes(&numbers, low, high);
        out
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        let bytes = &mut block[96..108];
        for h in 0..16 {
            let number = six(&scales[..8], &scales[8..], h);
            bytes[h % 8] |= (number & 15) << (h / 8 * 4);
            bytes[8 + h % 4] |= (number >> 4) << (h / 4 * 2);
        }
    }
}

pub(super) struct Q4K;

impl Parts for Q4K {
    const BLOCK: usize = 144;
    const GROUPS: usize = 8;
    const BITS: usize = 4;
    const NUMBERS: &'static [usize] = &[0, 2];
    const SCALES: usize = 12;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        [nibbles(16, g, q), Field::NONE]
    }

    fn scales(block: &[u8]) -> Scales {
        scales_mins(block)
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        put_scales_mins(block, scales);
    }
}

pub(super) struct Q5K;

impl Parts for Q5K {
    const BLOCK: usize = 176;
    const GROUPS: usize = 8;
    const BITS: usize = 5;
    const NUMBERS: &'static [usize] = &[0, 2];
    const SCALES: usize = 12;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        [nibbles(48, g, q), ones(16, g, q, 4)]
    }

    fn scales(block: &[u8]) -> Scales {
        scales_mins(block)
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        put_scales_mins(block, scales);
    }
}

pub(super) struct Q6K;

impl Parts for Q6K {
    const BLOCK: usize = 210;
    const GROUPS: usize = 8;
    const BITS: usize = 6;
    const NUMBERS: &'static [usize] = &[208];
    const SCALES: usize = 16;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        let (half, t) = (g / 4, g % 4);
        [
            Field::Bytes { at: 64 * half + t % 2 * 32 + 4 * q, from: t / 2 * 4, bits: 4, to: 0 },
            Field::Bytes { at: 128 + 32 * half + 4 * q, from: 2 * t, bits: 2, to: 4 },
        ]
    }

    fn scales(block: &[u8]) -> Scales {
        std::array::from_fn(|i| block[192 + i])
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        block[192..208].copy_from_slice(&scales);
    }
}

pub(super) struct IQ4XS;

impl Parts for IQ4XS {
    const BLOCK: usize = 136;
    const GROUPS: usize = 8;
    const BITS: usize = 4;
    const NUMBERS: &'static [usize] = &[0];
    const SCALES: usize = 6;

    #[inline(always)]
    fn fields(g: usize, q: usize) -> [Field; 2] {
        [Field::Bytes { at: 8 + 16 * g + q % 4 * 4, from: q / 4 * 4, bits: 4, to: 0 }, Field::NONE]
    }

    /// The file has sixes already, in another order: two bytes of scales_h, four of scales_l.
    fn scales(block: &[u8]) -> Scales {
        let mut out = [0; 16];
        out[..4].copy_from_slice(&block[4..8]);
        out[4..6].copy_from_slice(&block[2..4]);
        out
    }

    fn put_scales(block: &mut [u8], scales: Scales) {
        block[4..8].copy_from_slice(&scales[..4]);
        block[2..4].copy_from_slice(&scales[4..6]);
    }
}
