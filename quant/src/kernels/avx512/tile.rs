//! The AVX-512 tile skeleton: interleaved weight rows times any number of integer activation rows.
//!
//! ```text
//! few activation rows (up to 32, 8 with two panels):    (sums in registers, weights unpacked in registers)
//!     for each eight of them, for each group of 32 weights:
//!         ask for the cache lines that are needed a while later
//!         group = unpack;  sums += group * activations
//! many, with one panel or two:                          (weights unpacked once per call)
//!     for each block of up to 32 groups:
//!         scratch = unpack the groups of both panels, into L1
//!         for each six activation rows:
//!             sums = results so far, in registers
//!             for each group in scratch:  sums += group * activations
//!             results = sums
//! ```
//! What `sums += group * activations` is, `group.rs` says. Tricks: a vector is a line of the panel, so a lane is a row
//! and nothing is ever summed across lanes; a VNNI instruction multiplies a line by a broadcast quad (8-bit) or pair
//! (16-bit) and adds to 32-bit sums, with no step between; two panels times six rows are twelve chains of additions,
//! which hide the latency of five cycles, and need two loads for three products, where one panel needs one each. A panel
//! is one stream of bytes; yet the prefetcher of the processor gives up at each border of 4 KiB, so tiles ask in
//! advance. Sixteen sequences of a small model in Q4_K_M are 1.6 times as fast for that in unpacked groups, and 1.9 times
//! in blocks of eight rows, where weights are unpacked again for each; 32 sequences 1.35 and 1.5 times.
//!
//! Tried for one row, and slower out of memory, though faster out of L2: the eight groups of a record unrolled, so that
//! their scales are read once. The hints T1 and T2 are up to 8 % behind T0, which NTA is not; distances of 4 to 12 KiB
//! make no difference that could be measured, for Q4_K 2 KiB are too few.
//!
//! For prompts: 32 groups unpacked at once instead of 16, and no bounds or branches around a block, are 8 % of Q4_K's
//! speed (280 to 303 G products a second of one thread, 3072 x 1024 times 504 rows). No gain: to ask for the lines of
//! results in advance; rows of results that are no multiple of 4 KB apart.
//!
//! A (weight row, activation row) pair sees the same operations in the same order whatever the block it is in: all
//! paths are instances of one `Fold::fold`, over the groups in order.

use super::group::Fold;
use crate::acts::ActRow;
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;
use std::mem::MaybeUninit;

/// Most activation rows whose sums stay in registers beside weights that are unpacked on the way.
const FEW: usize = 8;
/// Activation rows of a block in `sweep`.
const SHARE: usize = 6;
/// Most groups that are unpacked at once in `sweep`.
const BLOCK: usize = 32;
/// Bytes of unpacked groups that leave room in L1 for the activations of a block.
const UNPACKED: usize = 40 << 10;
/// Most activation rows that meet one panel in blocks of FEW: unpacking it again, out of L1, costs less than writing it
/// unpacked and reading that.
const SOME: usize = 32;
/// How far ahead of their use a panel's bytes are asked for.
const AHEAD: usize = 8192;

/// A format's half of the tile.
pub(super) trait Decode {
    /// How its weights look unpacked.
    type Group: Fold;
    /// Bytes of a group of 32 weights of 16 rows: its share of a record.
    const BYTES: usize;
    /// Unpacks group `g` of a panel.
    unsafe fn group(panel: *const u8, g: usize) -> Self::Group;
}

/// One tile of a format: one panel, or two.
///
/// # Safety
/// AVX-512 F, BW, VL and VNNI; whole panels in `t.weights`; `t.rows` writable values behind each pointer of `t.out`.
#[inline(always)]
pub(super) unsafe fn run<D: Decode>(t: &Tile<'_>) {
    // SAFETY: all pointers stay inside the panels, the activation rows (whose lengths equal `cols`) and `out`.
    unsafe {
        let n = t.acts.len();
        match (n > FEW, t.rows > PANEL) {
            (true, true) => return sweep::<D, 2>(t),
            (true, false) if n > SOME => return sweep::<D, 1>(t),
            _ => {}
        }
        for p in 0..t.rows.div_ceil(PANEL) {
            for first in (0..n).step_by(FEW) {
                match n - first {
                    1 => few::<D, 1>(t, p, first),
                    2 => few::<D, 2>(t, p, first),
                    3 => few::<D, 3>(t, p, first),
                    4 => few::<D, 4>(t, p, first),
                    5 | 6 => few::<D, 6>(t, p, first),
                    _ => few::<D, 8>(t, p, first),
                }
            }
        }
    }
}

/// N activation rows from `first` on; the last one again and again when there are not so many.
#[inline(always)]
unsafe fn rows<'a, const N: usize>(acts: &'a [ActRow<'a>], first: usize) -> [&'a ActRow<'a>; N] {
    // SAFETY: there is a last one, by the caller.
    std::array::from_fn(|i| unsafe { acts.get_unchecked((first + i).min(acts.len() - 1)) })
}

/// The lanes of panel `p` that are rows of the tile.
#[inline(always)]
fn lanes(t: &Tile<'_>, p: usize) -> __mmask16 {
    (0xffff_u32 >> (PANEL - (t.rows - p * PANEL).min(PANEL))) as __mmask16
}

/// Asks for the bytes a while behind group `g` of a panel.
#[inline(always)]
fn ask<D: Decode>(panel: *const u8, g: usize) {
    for line in 0..D::BYTES.div_ceil(64) {
        // SAFETY: a prefetch may have any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(panel.wrapping_add(g * D::BYTES + AHEAD + 64 * line).cast()) };
    }
}

/// Panel `p` times N rows of the tile from `first` on, as far as there are so many.
#[inline(always)]
unsafe fn few<D: Decode, const N: usize>(t: &Tile<'_>, p: usize, first: usize) {
    // SAFETY: passed on from `run`.
    unsafe {
        let panel = t.weights.as_ptr().add(p * (t.cols / 32 * D::BYTES));
        let acts = rows::<N>(t.acts, first);
        let mut sums = [[_mm512_setzero_ps(); N]];
        for g in 0..t.cols / 32 {
            ask::<D>(panel, g);
            Fold::fold([&D::group(panel, g)], g, acts, &mut sums);
        }
        for (&sum, &out) in sums[0].iter().zip(&t.out[first..]) {
            _mm512_mask_storeu_ps(out.add(p * PANEL), lanes(t, p), sum);
        }
    }
}

/// P panels times all rows of the tile.
#[inline(always)]
unsafe fn sweep<D: Decode, const P: usize>(t: &Tile<'_>) {
    let groups = t.cols / 32;
    let mut scratch = [const { [const { MaybeUninit::<D::Group>::uninit() }; BLOCK] }; P];
    let block_len = (UNPACKED / (P * size_of::<D::Group>())).clamp(1, BLOCK);
    for first in (0..groups).step_by(block_len) {
        let n = block_len.min(groups - first);
        for (p, scratch) in scratch.iter_mut().enumerate() {
            // SAFETY: panel p is in the tile.
            let panel = unsafe { t.weights.as_ptr().add(p * groups * D::BYTES) };
            for (g, scratch) in scratch[..n].iter_mut().enumerate() {
                ask::<D>(panel, first + g);
                // SAFETY: group `first + g` is in the panel.
                scratch.write(unsafe { D::group(panel, first + g) });
            }
        }
        // SAFETY: the first n groups of each panel were just written.
        let part: [&[D::Group]; P] =
            std::array::from_fn(|p| unsafe { std::slice::from_raw_parts(scratch[p].as_ptr().cast(), n) });
        for row in (0..t.acts.len()).step_by(SHARE) {
            // SAFETY: passed on from `run`.
            unsafe {
                match t.acts.len() - row {
                    1 | 2 => block::<D::Group, P, 2>(t, &part, first, row),
                    3 | 4 => block::<D::Group, P, 4>(t, &part, first, row),
                    _ => block::<D::Group, P, SHARE>(t, &part, first, row),
                }
            }
        }
    }
}

/// Adds the products of unpacked groups, from group `first` on, with N activation rows, from `row` on, to the results.
#[inline(always)]
unsafe fn block<G: Fold, const P: usize, const N: usize>(t: &Tile<'_>, part: &[&[G]; P], first: usize, row: usize) {
    // SAFETY: passed on from `run`; masks leave alone what is not a row of the tile. A row that stands in for one that
    // is not there is written more than once, with the same.
    unsafe {
        let acts = rows::<N>(t.acts, row);
        let outs: [*mut f32; N] = std::array::from_fn(|i| *t.out.get_unchecked((row + i).min(t.acts.len() - 1)));
        let lanes: [__mmask16; P] = std::array::from_fn(|p| lanes(t, p));
        let mut sums = [[_mm512_setzero_ps(); N]; P];
        if first > 0 {
            for p in 0..P {
                for i in 0..N {
                    sums[p][i] = _mm512_maskz_loadu_ps(lanes[p], outs[i].add(p * PANEL));
                }
            }
        }
        for g in 0..part[0].len() {
            Fold::fold(std::array::from_fn(|p| part[p].get_unchecked(g)), first + g, acts, &mut sums);
        }
        for p in 0..P {
            for i in 0..N {
                _mm512_mask_storeu_ps(outs[i].add(p * PANEL), lanes[p], sums[p][i]);
            }
        }
    }
}
