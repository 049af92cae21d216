//! The AMX tile: up to 16 panels of weights times up to 512 prompt rows, in bfloat16 with f32 sums.
//!
//! ```text
//! for each block of 512 k:                                              (512 KB of activations, which stay in L2)
//!     for each two panels:
//!         b = their weights as bf16                                     (32 KB, written to L1 and read there)
//!         for each 32 activation rows:
//!             c[2][2] = sums so far;  c += a[2] * b[2], 32 k at a time, in the eight tile registers;  sums = c
//! out = sums, two panels at a time
//! ```
//! Tricks: sums stay f32 inside the matrix unit over all of a block, so there is no scaling of partial sums at all, and
//! the error is bf16's rounding of weights and activations (on the golden files a third to a tenth of the KL divergence
//! of 8-bit activations); activations are read where they lie, as their rows have one distance; a 2 x 2 block loads two
//! tiles for each two it multiplies. A tile of b or c is one kilobyte in a row: lines at a distance of 4 KB take ten times
//! as long to store, which is also why sums are kept in tile order and copied to their rows at the end. Activations are
//! loaded with the hint that keeps them out of L1, where b is; with them there, nothing of b would be left when its turn
//! comes again (b, a and c are 68 KB of 48).
//!
//! A (weight row, activation row) pair sees the same products in the same order whatever block it is in: the matrix
//! unit adds pairs of k in order, and rows of a tile never meet. Rows that a block lacks are zeros, a second panel that
//! a pair lacks is what was there before; neither has a result.
//!
//! None of the following was measured on such a machine; it is computed from figures of single instructions (a product
//! of tiles 16 cycles, a tile load 8.4 from L1, a tile store 16, L2 48 bytes a cycle, L3 9):
//!
//! * Per 32 k of a 2 x 2 block: 4 products (64 cycles), 4 loads (34 cycles, beside them): 32 of the 64 bytes a cycle
//!   come from L2. Per block of 512 k (1024 cycles) four tiles of sums are loaded and stored, 98 cycles of which a part
//!   is hidden, and 8 bytes a cycle: 80 % of the peak of 512 products a cycle, at most 90 %.
//! * A block of activations is read from L3 once per call: with 16 panels for 8192 cycles per 32 rows of it, 4 bytes a
//!   cycle; all of K at once, for two panels at a time, would be 32, which L3 has not.
//! * A weight is made into bf16 in 0.12 to 0.16 cycles (`floats`), and is multiplied with 512 rows in 1 cycle, with 128
//!   in 0.25: so a call has all rows of a forward pass.
//! * Attention stays AVX-512's, at about 25 products a cycle (measured on a Zen 5 core). Of 512 tokens of a 0.6B model,
//!   with 15 G products of attention to 225 G of weights, it would take 0.11 s of 0.24 on two cores of 2.8 GHz; behind
//!   4096 others, 1.8 s of 1.9. So from some hundred tokens on, small models wait for attention, and its products are
//!   what the unit should have next; an 8B model waits for them from some thousand on.
//!
//! Not done: weights as bytes with one scale for each 256 (`tdpbusd`, twice the products a cycle) would need weights and
//! activations rounded once more, which the quality gate has yet to see; the making of weights into bf16 between the
//! products of others, which would hide it.

use super::super::tile::Decode;
use super::floats::{self, Floats};
use super::unit::{self, LINES, Line, Rows, Step};
use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;
use std::cell::Cell;

/// Most panels of a call.
pub(super) const PANELS: usize = 16;
/// Groups of 32 weights per block of K.
const K_GROUPS: usize = 16;
/// Lines of two tiles.
const PAIR: usize = 2 * LINES;

/// Grown to the largest call of a thread.
#[derive(Default)]
struct Scratch {
    /// `[K_GROUPS][2]` tiles of weights.
    weights: Vec<Line>,
    /// `[pairs of panels][blocks of 16 rows][2]` tiles of sums; a line is an activation row.
    sums: Vec<Line>,
    /// `[blocks][16][K / 32 + 1]`: copies of activation rows that do not lie at one distance, or are too few.
    rows: Vec<Line>,
}

thread_local! {
    static SCRATCH: Cell<Scratch> = Cell::default();
}

/// One tile of a format.
///
/// # Safety
/// AMX with bf16, permitted by the system; AVX-512 F, BW, VL and VNNI; whole panels in `t.weights`; `t.rows` writable
/// values behind each pointer of `t.out`; activations in bf16.
#[inline(always)]
pub(super) unsafe fn run<D: Decode>(t: &Tile<'_>)
where
    D::Group: Floats,
{
    let (groups, panels) = (t.cols / 32, t.rows.div_ceil(PANEL));
    // Taken out and put back: what a closure does is not compiled for the caller's ISA.
    let mut s = SCRATCH.take();
    let blocks = blocks(t, &mut s.rows);
    let per_pair = blocks.len() * PAIR;
    grow(&mut s.weights, K_GROUPS * PAIR);
    grow(&mut s.sums, panels.div_ceil(2) * per_pair);
    let weights = s.weights.as_mut_ptr();
    // SAFETY: pointers stay inside the panels, the activation rows, the scratch (sized above) and `out`.
    unsafe {
        unit::configure();
        for first in (0..groups).step_by(K_GROUPS) {
            let n = K_GROUPS.min(groups - first);
            for (pair, sums) in s.sums.chunks_mut(per_pair).take(panels.div_ceil(2)).enumerate() {
                for p in 2 * pair..panels.min(2 * pair + 2) {
                    let panel = t.weights.as_ptr().add(p * groups * D::BYTES);
                    for g in 0..n {
                        floats::write(&D::group(panel, first + g), weights.add((2 * g + p % 2) * LINES));
                    }
                }
                sweep(&blocks, first, Step { weights, sums: sums.as_mut_ptr(), begin: first == 0, n });
                if first + n == groups {
                    store(t, pair, sums);
                }
            }
        }
        unit::release();
    }
    SCRATCH.set(s);
}

/// At least so many lines; what is in them does not matter.
fn grow(lines: &mut Vec<Line>, n: usize) {
    if lines.len() < n {
        lines.resize(n, Line::ZERO);
    }
}

/// The activation rows in blocks of 16: in place where they lie at one distance, else copied.
fn blocks(t: &Tile<'_>, copies: &mut Vec<Line>) -> Vec<Rows> {
    let distance = |a: &[ActRow<'_>]| (a[1].bf16.as_ptr() as usize).wrapping_sub(a[0].bf16.as_ptr() as usize);
    let even = |a: &[ActRow<'_>]| a.windows(2).all(|w| distance(w) == distance(&a[..2]));
    let lines = t.cols / 32 + 1;
    grow(copies, t.acts.len().div_ceil(LINES) * LINES * lines);
    let copied = t.acts.chunks(LINES).zip(copies.chunks_exact_mut(LINES * lines)).map(|(acts, copy)| {
        if acts.len() == LINES && even(acts) {
            return Rows { at: acts[0].bf16.as_ptr(), distance: distance(acts) };
        }
        for (i, row) in copy.chunks_exact_mut(lines).enumerate() {
            let bytes = acts.get(i).map_or(&[][..], |act| act.bf16.as_chunks::<64>().0);
            row.iter_mut().zip(bytes).for_each(|(line, bytes)| line.0 = *bytes);
            row[bytes.len()..].fill(Line::ZERO);
        }
        Rows { at: copy.as_ptr().cast(), distance: 64 * lines }
    });
    copied.collect()
}

/// Two panels, from group `first` on, times all activation rows.
#[inline(always)]
unsafe fn sweep(blocks: &[Rows], first: usize, step: Step) {
    let from = |rows: Rows| Rows { at: rows.at.wrapping_add(64 * first), ..rows };
    for (i, rows) in blocks.chunks(2).enumerate() {
        // SAFETY: each block has 16 rows of whole groups, and two tiles of sums.
        unsafe {
            let step = Step { sums: step.sums.add(2 * i * PAIR), ..step };
            match *rows {
                [a, b] => unit::two_by_two([from(a), from(b)], step),
                [a] => unit::one_by_two(from(a), step),
                _ => {}
            }
        }
    }
}

/// Copies the sums of two panels to their rows.
#[inline(always)]
unsafe fn store(t: &Tile<'_>, pair: usize, sums: &[Line]) {
    for p in 2 * pair..t.rows.div_ceil(PANEL).min(2 * pair + 2) {
        let mask = (0xffff_u32 >> (PANEL - (t.rows - p * PANEL).min(PANEL))) as __mmask16;
        for (i, &out) in t.out.iter().enumerate() {
            let line = &sums[i / LINES * PAIR + p % 2 * LINES + i % LINES];
            // SAFETY: a line has sixteen sums; the rows of panel p are writable behind `out`.
            unsafe { _mm512_mask_storeu_ps(out.add(p * PANEL), mask, _mm512_load_ps(line.0.as_ptr().cast())) };
        }
    }
}
