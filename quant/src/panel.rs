//! Row-interleaved panels: the layout in which integer tiles read quantized weights.
//!
//! A panel is 16 consecutive rows. Its codes are interleaved in quads: four consecutive weights of row 0, the same
//! four of row 1, ... of row 15 make a line of 64 bytes, so one vector lane belongs to one row, an activation quad is
//! broadcast, and no tile ever sums across lanes. A panel has exactly the bytes of its 16 rows in the file; it is
//! contiguous, so a thread's rows are one sequential stream. Rows beyond the tensor's last are zero.
//!
//! Layouts (r = row 0..16, g = group of 32 weights, i = pair of quads in the group 0..4; K = weights per row)
//!
//! | format | header, per panel | then |
//! |---|---|---|
//! | Q8_0 | `[K/32][16]` f16 d | `[K/32][8 quads][16][4]` s8 |
//! | Q4_K | - | per 256: d `[16]` f16, dmin `[16]` f16, scales and mins (below), codes `[8 g][4 i][16][4]` |
//! | Q6_K | `[K/256][16]` f16 d | per 256: scales `[16][16]` s8, low `[8 g][4 i][16][4]`, high `[8 g][2][16][4]` |
//!
//! Q4_K codes and Q6_K low bits: low nibble = quad 2i, high nibble = quad 2i+1. Q6_K high bits: byte of line j has
//! two bits for each of the quads 4j..4j+4, lowest first. Q4_K scales: `[4][16]` bytes, low nibble = low four bits of
//! group 2p, high nibble = of group 2p+1; the same for mins; then `[2][16]` bytes with the high two bits of four groups
//! each, scales first, then mins.

use crate::formats::q4_k::Q4_K;
use crate::formats::q6_k::Q6_K;
use crate::formats::{DType, blocks};
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

/// Whether there is an R16 layout for this format.
pub fn has_r16(dtype: DType) -> bool {
    matches!(dtype, DType::Q8_0 | DType::Q4_K | DType::Q6_K)
}

/// Arranges up to 16 rows (`src`, in the file's order) as one panel in `out`.
///
/// # Panics
/// When the format has no R16 layout, or the lengths do not fit.
pub fn pack_r16(dtype: DType, src: &[u8], cols: usize, out: &mut [u8]) {
    let row_bytes = cols / dtype.block_len() * dtype.block_bytes();
    assert!(out.len() == PANEL * row_bytes && src.len().is_multiple_of(row_bytes) && src.len() <= out.len());
    out.fill(0);
    for (r, row) in src.chunks_exact(row_bytes).enumerate() {
        match dtype {
            DType::Q8_0 => pack_q8_0(row, r, out),
            DType::Q4_K => pack_q4_k(row, r, out),
            DType::Q6_K => pack_q6_k(row, r, out),
            other => panic!("{} has no panel layout", other.name()),
        }
    }
}

/// Puts the quad of row `r` into line `line` (64 bytes each) of `lines`.
fn put_quad(lines: &mut [u8], line: usize, r: usize, quad: u32) {
    let at = line * 64 + 4 * r;
    lines[at..at + 4].copy_from_slice(&quad.to_le_bytes());
}

/// Four bytes as one word.
fn quad_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn pack_q8_0(row: &[u8], r: usize, out: &mut [u8]) {
    let groups = row.len() / 34;
    let (header, codes) = out.split_at_mut(groups * 2 * PANEL);
    for (g, block) in row.chunks_exact(34).enumerate() {
        let at = (g * PANEL + r) * 2;
        header[at..at + 2].copy_from_slice(&block[..2]);
        for q in 0..8 {
            put_quad(codes, g * 8 + q, r, quad_at(block, 2 + 4 * q));
        }
    }
}

/// Bytes of one superblock of a Q4_K panel.
pub(crate) const Q4_K_SUPER: usize = 144 * PANEL;
/// Bytes of one superblock of a Q6_K panel, without d.
pub(crate) const Q6_K_SUPER: usize = 208 * PANEL;

fn pack_q4_k(row: &[u8], r: usize, out: &mut [u8]) {
    for ((bytes, block), out) in
        row.chunks_exact(144).zip(blocks::<Q4_K, 256>(row)).zip(out.chunks_exact_mut(Q4_K_SUPER))
    {
        out[2 * r..2 * r + 2].copy_from_slice(&bytes[..2]);
        out[32 + 2 * r..34 + 2 * r].copy_from_slice(&bytes[2..4]);
        let (scales, mins) = block.scales.unpacked();
        for (g, (scale, min)) in scales.into_iter().zip(mins).enumerate() {
            let nibble = 4 * (g as u32 % 2);
            let pair = 2 * (g as u32 % 4);
            out[64 + g / 2 * 16 + r] |= (scale & 15) << nibble;
            out[128 + g / 2 * 16 + r] |= (min & 15) << nibble;
            out[192 + g / 4 * 16 + r] |= (scale >> 4) << pair;
            out[224 + g / 4 * 16 + r] |= (min >> 4) << pair;
        }
        let codes = &mut out[256..];
        for g in 0..8 {
            let low = |q: usize| quad_at(&block.qs, g / 2 * 32 + 4 * q) >> (4 * (g % 2)) & 0x0f0f_0f0f;
            for i in 0..4 {
                put_quad(codes, g * 4 + i, r, low(2 * i) | low(2 * i + 1) << 4);
            }
        }
    }
}

fn pack_q6_k(row: &[u8], r: usize, out: &mut [u8]) {
    let supers = row.len() / 210;
    let (header, body) = out.split_at_mut(supers * 2 * PANEL);
    for (s, (block, out)) in blocks::<Q6_K, 256>(row).iter().zip(body.chunks_exact_mut(Q6_K_SUPER)).enumerate() {
        let at = (s * PANEL + r) * 2;
        header[at..at + 2].copy_from_slice(&row[s * 210 + 208..s * 210 + 210]);
        for (g, &scale) in block.scales.iter().enumerate() {
            out[g * PANEL + r] = scale as u8;
        }
        for g in 0..8 {
            let (half, t) = (g / 4, g % 4);
            let low = |q: usize| quad_at(&block.ql, 64 * half + 32 * (t % 2) + 4 * q) >> (4 * (t / 2)) & 0x0f0f_0f0f;
            let high = |q: usize| quad_at(&block.qh, 32 * half + 4 * q) >> (2 * t) & 0x0303_0303;
            for i in 0..4 {
                put_quad(&mut out[256..], g * 4 + i, r, low(2 * i) | low(2 * i + 1) << 4);
            }
            for j in 0..2 {
                let fields = (0..4).fold(0, |all, i| all | high(4 * j + i) << (2 * i));
                put_quad(&mut out[2304..], g * 2 + j, r, fields);
            }
        }
    }
}

/// Row `r` of a panel as f32.
///
/// # Panics
/// When the format has no R16 layout.
pub fn unpack_row(dtype: DType, panel: &[u8], r: usize, out: &mut [f32]) {
    let mut row = vec![0u8; panel.len() / PANEL];
    match dtype {
        DType::Q8_0 => unpack_q8_0(panel, r, &mut row),
        DType::Q4_K => unpack_q4_k(panel, r, &mut row),
        DType::Q6_K => unpack_q6_k(panel, r, &mut row),
        other => panic!("{} has no panel layout", other.name()),
    }
    crate::formats::dequantize(dtype, &row, out);
}

fn quad(lines: &[u8], line: usize, r: usize) -> [u8; 4] {
    let at = line * 64 + 4 * r;
    [lines[at], lines[at + 1], lines[at + 2], lines[at + 3]]
}

fn unpack_q8_0(panel: &[u8], r: usize, row: &mut [u8]) {
    let (header, codes) = panel.split_at(row.len() / 34 * 2 * PANEL);
    for (g, block) in row.chunks_exact_mut(34).enumerate() {
        let at = (g * PANEL + r) * 2;
        block[..2].copy_from_slice(&header[at..at + 2]);
        for q in 0..8 {
            block[2 + 4 * q..6 + 4 * q].copy_from_slice(&quad(codes, g * 8 + q, r));
        }
    }
}

fn unpack_q4_k(panel: &[u8], r: usize, row: &mut [u8]) {
    for (block, src) in row.chunks_exact_mut(144).zip(panel.chunks_exact(Q4_K_SUPER)) {
        block[..2].copy_from_slice(&src[2 * r..2 * r + 2]);
        block[2..4].copy_from_slice(&src[32 + 2 * r..34 + 2 * r]);
        for g in 0..8 {
            let six = |low: usize, high: usize| {
                let low = src[low + g / 2 * 16 + r] >> (4 * (g % 2)) & 15;
                low | (src[high + g / 4 * 16 + r] >> (2 * (g % 4)) & 3) << 4
            };
            let (scale, min) = (six(64, 192), six(128, 224));
            if g < 4 {
                block[4 + g] |= scale;
                block[8 + g] |= min;
            } else {
                block[8 + g] |= (scale & 15) | min << 4;
                block[g] |= scale >> 4 << 6;
                block[4 + g] |= min >> 4 << 6;
            }
            for q in 0..8 {
                for (i, b) in quad(&src[256..], g * 4 + q / 2, r).into_iter().enumerate() {
                    block[16 + g / 2 * 32 + 4 * q + i] |= (b >> (4 * (q % 2)) & 15) << (4 * (g % 2));
                }
            }
        }
    }
}

fn unpack_q6_k(panel: &[u8], r: usize, row: &mut [u8]) {
    let (header, body) = panel.split_at(row.len() / 210 * 2 * PANEL);
    for (s, (block, src)) in row.chunks_exact_mut(210).zip(body.chunks_exact(Q6_K_SUPER)).enumerate() {
        let at = (s * PANEL + r) * 2;
        block[208..210].copy_from_slice(&header[at..at + 2]);
        for g in 0..16 {
            block[192 + g] = src[g * PANEL + r];
        }
        for k in 0..256 {
            let (g, q) = (k / 32, k % 32 / 4);
            let low = quad(&src[256..], g * 4 + q / 2, r)[k % 4] >> (4 * (q % 2)) & 15;
            let high = quad(&src[2304..], g * 2 + q / 4, r)[k % 4] >> (2 * (q % 4)) & 3;
            let (half, t, l) = (k / 128, k % 128 / 32, k % 32);
            block[64 * half + 32 * (t % 2) + l] |= low << (4 * (t / 2));
            block[128 + 32 * half + l] |= high << (2 * t);
        }
    }
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
        for dtype in [DType::Q8_0, DType::Q4_K, DType::Q6_K] {
            assert!(has_r16(dtype));
            for rows in [1, 5, 16] {
                let cols = 512;
                let row_bytes = dtype.row_bytes(cols).unwrap();
                let src: Vec<u8> = (0..rows * row_bytes).map(|_| byte()).collect();
                let mut panel = vec![0; PANEL * row_bytes];
                pack_r16(dtype, &src, cols, &mut panel);
                let (mut got, mut want) = (vec![0f32; cols], vec![0f32; cols]);
                for (r, row) in src.chunks_exact(row_bytes).enumerate() {
                    unpack_row(dtype, &panel, r, &mut got);
                    crate::formats::dequantize(dtype, row, &mut want);
                    let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&got), bits(&want), "{} row {r} of {rows}", dtype.name());
                }
            }
        }
    }
}
