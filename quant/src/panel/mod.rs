//! Row-interleaved panels: the layout in which integer tiles read quantized weights.
//!
//! A panel is 16 consecutive rows, and a sequence of records, one for each block of a row: a record is the 16 rows'
//! blocks of that place in exactly their 16 times the bytes, interleaved. So a panel has the bytes of its rows in the
//! file, and whatever part of it a tile reads is one sequential stream. Rows beyond the tensor's last are zero.
//!
//! A record, in this order (r = row 0..16, always the inner index of what has one value per row and group):
//!
//! 1. the block's f16 numbers, `[16]` each;
//! 2. its scales: bytes, `[16]` each;
//! 3. its codes, group after group of 32 weights, in the planes of the table below.
//!
//! Codes are interleaved in quads: four consecutive weights of row 0, the same four of row 1, ... of row 15 are a line
//! of 64 bytes, so one 32-bit vector lane belongs to one row, an activation quad is broadcast, and no tile ever sums
//! across lanes. A plane holds some bits of all of a group's codes: with w bits it has w lines, and line j has, from its
//! bit 0 up, w bits for each of the quads j * 8/w .. (j+1) * 8/w. (So of a 4-bit plane's line i the low nibbles are quad
//! 2i, the high ones quad 2i+1; line j of a 2-bit plane has the quads 4j to 4j+3; of a 1-bit plane, bit q is quad q's.)
//!
//! | format | f16 numbers | bytes of scales | planes of a group, bits of the code | groups | record |
//! |---|---|---|---|---|---|
//! | Q4_0, IQ4_NL | d | - | 0-3 | 1 | 288 |
//! | Q4_1 | d, m | - | 0-3 | 1 | 320 |
//! | Q5_0 | d | - | 4; 0-3 | 1 | 352 |
//! | Q5_1 | d, m | - | 4; 0-3 | 1 | 384 |
//! | Q8_0 | d | - | 0-7 | 1 | 544 |
//! | Q2_K | d, dmin | 16: scale of 16 weights in the low nibble, minimum in the high one | 0-1 | 8 | 1344 |
//! | Q3_K | d | 12: sixes of 16 scales | 2; 0-1 | 8 | 1760 |
//! | IQ4_XS | d | 6: sixes of 8 scales | 0-3 | 8 | 2176 |
//! | Q4_K | d, dmin | 12: 4 + 4 low bytes of scales, minima, 2 + 2 high bytes | 0-3 | 8 | 2304 |
//! | Q5_K | d, dmin | 12: as Q4_K | 4; 0-3 | 8 | 2816 |
//! | Q6_K | d | 16: scales of 16 weights, signed | 4-5; 0-3 | 8 | 3360 |
//!
//! Sixes are n six-bit numbers in n/2 low bytes, then n/4 high bytes: low byte p has the low four bits of number 2p in
//! its low nibble and of 2p+1 in its high one; high byte p has two bits for each of the numbers 4p to 4p+3, lowest first.
//! Numbers and codes are those of the file, without what the format's meaning subtracts.

mod lines;
mod small;
mod supers;

use crate::formats::DType;
use crate::kernels::PANEL;

/// How a weight's bytes are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As in the file, row after row.
    Rows,
    /// Panels of 16 interleaved rows.
    R16,
}

/// Bytes of `rows` rows in a layout, whole panels where it has panels.
pub fn layout_bytes(layout: Layout, rows: usize, row_bytes: usize) -> usize {
    match layout {
        Layout::Rows => rows * row_bytes,
        Layout::R16 => rows.next_multiple_of(PANEL) * row_bytes,
    }
}

/// Bytes of the f16 numbers of one kind at the front of a record.
pub(crate) const HALVES: usize = 2 * PANEL;
/// Bytes of one line.
pub(crate) const LINE: usize = 4 * PANEL;

/// Both ways between a row's block and its part of a record.
struct Interleaving {
    /// Puts the blocks of a row into the row's places of the records.
    pack: fn(row: &[u8], r: usize, panel: &mut [u8]),
    /// Adds the bits of a row's blocks to zeroed blocks.
    unpack: fn(panel: &[u8], r: usize, row: &mut [u8]),
}

/// The R16 layout of a format; `None` for the floats, which stay in rows.
fn interleaving(dtype: DType) -> Option<Interleaving> {
    Some(match dtype {
        DType::Q4_0 | DType::IQ4_NL => lines::both::<small::Q4_0>(),
        DType::Q4_1 => lines::both::<small::Q4_1>(),
        DType::Q5_0 => lines::both::<small::Q5_0>(),
        DType::Q5_1 => lines::both::<small::Q5_1>(),
        DType::Q8_0 => lines::both::<small::Q8_0>(),
        DType::Q2_K => lines::both::<supers::Q2K>(),
        DType::Q3_K => lines::both::<supers::Q3K>(),
        DType::Q4_K => lines::both::<supers::Q4K>(),
        DType::Q5_K => lines::both::<supers::Q5K>(),
        DType::Q6_K => lines::both::<supers::Q6K>(),
        DType::IQ4_XS => lines::both::<supers::IQ4XS>(),
        DType::F32 | DType::F16 | DType::BF16 => return None,
    })
}

fn needed(dtype: DType) -> Interleaving {
    interleaving(dtype).unwrap_or_else(|| panic!("{} has no panel layout", dtype.name()))
}

/// Arranges up to 16 rows (`src`, in the file's order) as one panel in `out`.
///
/// # Panics
/// When the format has no R16 layout, or the lengths do not fit.
pub fn pack_r16(dtype: DType, src: &[u8], cols: usize, out: &mut [u8]) {
    let row_bytes = cols / dtype.block_len() * dtype.block_bytes();
    assert!(out.len() == PANEL * row_bytes && src.len().is_multiple_of(row_bytes) && src.len() <= out.len());
    if src.len() < out.len() {
        out.fill(0);
    }
    let pack = needed(dtype).pack;
    for (r, row) in src.chunks_exact(row_bytes).enumerate() {
        pack(row, r, out);
    }
}

/// Row `r` of a panel as f32.
///
/// # Panics
/// When the format has no R16 layout.
pub fn unpack_row(dtype: DType, panel: &[u8], r: usize, out: &mut [f32]) {
    let mut row = vec![0u8; panel.len() / PANEL];
    (needed(dtype).unpack)(panel, r, &mut row);
    crate::formats::dequantize(dtype, &row, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_loses_nothing() {
        let mut seed = 7u32;
        let mut byte = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        for &dtype in DType::ALL {
            let Some(both) = interleaving(dtype) else {
                assert_eq!(dtype.block_len(), 1, "only floats stay in rows");
                continue;
            };
            for (rows, cols) in [(1, 512), (5, 256), (16, 768), (16, 96)] {
                let Some(row_bytes) = dtype.row_bytes(cols) else { continue };
                let src: Vec<u8> = (0..rows * row_bytes).map(|_| byte()).collect();
                let mut panel = vec![0xa5; PANEL * row_bytes];
                pack_r16(dtype, &src, cols, &mut panel);
                for r in 0..PANEL {
                    let mut row = vec![0; row_bytes];
                    (both.unpack)(&panel, r, &mut row);
                    let want = src.chunks_exact(row_bytes).nth(r).map_or(vec![0; row_bytes], <[u8]>::to_vec);
                    assert!(row == want, "{} row {r} of {rows}, {cols} columns", dtype.name());
                }
            }
        }
    }
}
