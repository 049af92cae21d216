//! The AMX tile: one or two panels of weights times any number of prompt rows, in bfloat16 with f32 sums.
//!
//! ```text
//! b = the panels' weights as bf16, once per call                       (L2; 64 bytes = 2 k of 16 weight rows)
//! for each block of 512 k:                                             (its 32 KB of b stay in L1)
//!     for each 32 activation rows:
//!         c[2][2] += a[2] * b[2], 32 k at a time, in the eight tile registers
//! out = c
//! ```
//! Tricks: sums stay f32 inside the matrix unit over all of K, so there is no scaling of partial sums at all, and the
//! error is bf16's rounding of weights and activations, well below that of 8-bit activations; activations are read
//! where they lie, as their rows have one distance; a 2 x 2 block loads two tiles for each two it multiplies, of which
//! the weights' come from L1. A tile of b is one kilobyte in a row: tile loads with a distance of 4 KB take ten times as
//! long, which is also why c is kept in tile order and copied to its rows at the end.
//!
//! A (weight row, activation row) pair sees the same products in the same order whatever block it is in: the matrix
//! unit adds pairs of k in order, and rows of a tile never meet. Rows that a block lacks are zeros.
//!
//! Not measured: written for processors that were not at hand, and tested on an emulator; block sizes follow figures
//! of loads and products of single instructions.

use crate::acts::ActRow;
use crate::kernels::avx512::{Decode, Floats};
use crate::kernels::{PANEL, Tile};
use std::arch::x86_64::*;
use std::cell::RefCell;

/// Groups of 32 weights per block of K.
const K_GROUPS: usize = 16;
/// Lines of one tile register.
const TILE: usize = 16;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Grown to the largest call of a thread.
#[derive(Default)]
struct Scratch {
    /// `[K / 32][panels][16]`: tiles of weights; line j of a tile has elements 2j and 2j + 1 of 16 rows.
    weights: Vec<Line>,
    /// `[blocks of 16 rows][panels][16]`: tiles of sums; a line is an activation row.
    sums: Vec<Line>,
    /// `[blocks][K / 32 + 1][16]`: copies of activation rows that do not lie at one distance, or are too few.
    rows: Vec<Line>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// 16 activation rows in memory.
#[derive(Clone, Copy)]
struct Rows {
    at: *const u8,
    /// Bytes from one row to the next.
    distance: usize,
}

/// One tile of a format.
///
/// # Safety
/// AMX with bf16, permitted by the system; AVX-512 F, BW, VL, VNNI and BF16; whole panels in `t.weights`; `t.rows`
/// writable values behind each pointer of `t.out`; activations in bf16.
#[inline(always)]
pub(super) unsafe fn run<D: Decode>(t: &Tile<'_>)
where
    D::Group: Floats,
{
    let (groups, panels) = (t.cols / 32, t.rows.div_ceil(PANEL));
    SCRATCH.with_borrow_mut(|s| {
        s.weights.resize(groups * panels * TILE, Line([0; 64]));
        s.sums.clear();
        s.sums.resize(t.acts.len().div_ceil(TILE) * panels * TILE, Line([0; 64]));
        let blocks = blocks(t, &mut s.rows);
        // SAFETY: pointers stay inside the panels, the activation rows, the scratch (sized above) and `out`.
        unsafe {
            for p in 0..panels {
                let panel = t.weights.as_ptr().add(p * (t.weights.len() / panels));
                for g in 0..groups {
                    convert(&D::group(panel, g), &mut s.weights[(g * panels + p) * TILE..][..TILE]);
                }
            }
            configure();
            for first in (0..groups).step_by(K_GROUPS) {
                let n = K_GROUPS.min(groups - first);
                let b = s.weights[first * panels * TILE..].as_ptr().cast();
                for (pair, rows) in blocks.chunks(2).enumerate() {
                    let c = s.sums[2 * pair * panels * TILE..].as_mut_ptr().cast();
                    let at = |i: usize| rows[i].at.add(64 * first);
                    match (panels, rows.len()) {
                        (2, 2) => two_by_two([(at(0), rows[0].distance), (at(1), rows[1].distance)], b, c, n),
                        (2, _) => one_by_two((at(0), rows[0].distance), b, c, n),
                        _ => (0..rows.len()).for_each(|i| one_by_one((at(i), rows[i].distance), b, c.add(1024 * i), n)),
                    }
                }
            }
            std::arch::asm!("tilerelease", options(nostack, preserves_flags));
            store(t, panels, &s.sums);
        }
    });
}

/// The activation rows in blocks of 16: in place where they lie at one distance, else copied.
fn blocks(t: &Tile<'_>, copies: &mut Vec<Line>) -> Vec<Rows> {
    let distance = |a: &[ActRow<'_>]| (a[1].bf16.as_ptr() as usize).wrapping_sub(a[0].bf16.as_ptr() as usize);
    let even = |a: &[ActRow<'_>]| a.windows(2).all(|w| distance(w) == distance(&a[..2]));
    let lines = t.cols / 32 + 1;
    copies.clear();
    copies.resize(t.acts.len().div_ceil(TILE) * TILE * lines, Line([0; 64]));
    let copied = t.acts.chunks(TILE).zip(copies.chunks_exact_mut(TILE * lines)).map(|(acts, copy)| {
        if acts.len() == TILE && even(acts) {
            return Rows { at: acts[0].bf16.as_ptr(), distance: distance(acts) };
        }
        for (act, row) in acts.iter().zip(copy.chunks_exact_mut(lines)) {
            for (line, bytes) in row.iter_mut().zip(act.bf16.as_chunks::<64>().0) {
                line.0 = *bytes;
            }
        }
        Rows { at: copy.as_ptr().cast(), distance: 64 * lines }
    });
    copied.collect()
}

/// A group of 16 weight rows as a tile.
#[inline(always)]
unsafe fn convert<G: Floats>(group: &G, tile: &mut [Line]) {
    // SAFETY: register operations of the caller's ISA; a line has 64 bytes.
    unsafe {
        // Lane 2i of the result is value i of the first half, lane 2i + 1 of the second.
        let order = _mm512_add_epi32(
            _mm512_set1_epi32(16 << 16),
            _mm512_mullo_epi32(
                _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                _mm512_set1_epi32(0x1_0001),
            ),
        );
        for q in 0..8 {
            let w = group.quad(q);
            for j in 0..2 {
                let both: __m512i = std::mem::transmute(_mm512_cvtne2ps_pbh(w[2 * j + 1], w[2 * j]));
                let line = tile[2 * q + j].0.as_mut_ptr();
                _mm512_store_si512(line.cast(), _mm512_permutexvar_epi16(order, both));
            }
        }
    }
}

/// All tiles with 16 lines of 64 bytes.
#[inline(always)]
unsafe fn configure() {
    #[repr(C, align(64))]
    struct Config([u8; 64]);
    let mut config = Config([0; 64]);
    config.0[0] = 1;
    for tile in 0..8 {
        config.0[16 + 2 * tile] = 64;
        config.0[48 + tile] = TILE as u8;
    }
    // SAFETY: the configuration is palette 1 with sizes that it allows.
    unsafe { std::arch::asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly, preserves_flags)) };
}

/// Sums of 32 activation rows and two panels, `n` groups on. Order of the tiles of `c`: (row block, panel).
#[inline(always)]
unsafe fn two_by_two([(a0, d0), (a1, d1)]: [(*const u8, usize); 2], b: *const u8, c: *mut u8, n: usize) {
    // SAFETY: the caller's pointers have 16 rows at their distance, `n` tiles and four tiles behind them.
    unsafe {
        std::arch::asm!(
            "tileloadd tmm0, [{c} + {line}*1]",
            "tileloadd tmm1, [{c} + {line}*1 + 1024]",
            "tileloadd tmm2, [{c} + {line}*1 + 2048]",
            "tileloadd tmm3, [{c} + {line}*1 + 3072]",
            "2:",
            "tileloadd tmm4, [{a0} + {d0}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a1} + {d1}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {line}*1], tmm0",
            "tilestored [{c} + {line}*1 + 1024], tmm1",
            "tilestored [{c} + {line}*1 + 2048], tmm2",
            "tilestored [{c} + {line}*1 + 3072], tmm3",
            a0 = inout(reg) a0 => _, a1 = inout(reg) a1 => _, b = inout(reg) b => _, n = inout(reg) n => _,
            c = in(reg) c, d0 = in(reg) d0, d1 = in(reg) d1, line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of 16 activation rows and two panels.
#[inline(always)]
unsafe fn one_by_two((a, d): (*const u8, usize), b: *const u8, c: *mut u8, n: usize) {
    // SAFETY: as above, with two tiles of sums.
    unsafe {
        std::arch::asm!(
            "tileloadd tmm0, [{c} + {line}*1]",
            "tileloadd tmm1, [{c} + {line}*1 + 1024]",
            "2:",
            "tileloadd tmm4, [{a} + {d}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {line}*1], tmm0",
            "tilestored [{c} + {line}*1 + 1024], tmm1",
            a = inout(reg) a => _, b = inout(reg) b => _, n = inout(reg) n => _,
            c = in(reg) c, d = in(reg) d, line = in(reg) 64usize,
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of 16 activation rows and one panel.
#[inline(always)]
unsafe fn one_by_one((a, d): (*const u8, usize), b: *const u8, c: *mut u8, n: usize) {
    // SAFETY: as above, with one tile of sums, and `n` tiles of weights one after the other.
    unsafe {
        std::arch::asm!(
            "tileloadd tmm0, [{c} + {line}*1]",
            "2:",
            "tileloadd tmm4, [{a} + {d}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "add {a}, 64",
            "add {b}, 1024",
            "dec {n}",
            "jnz 2b",
            "tilestored [{c} + {line}*1], tmm0",
            a = inout(reg) a => _, b = inout(reg) b => _, n = inout(reg) n => _,
            c = in(reg) c, d = in(reg) d, line = in(reg) 64usize,
            out("tmm0") _, out("tmm4") _, out("tmm6") _,
            options(nostack),
        );
    }
}

/// Copies the sums to their rows.
#[inline(always)]
unsafe fn store(t: &Tile<'_>, panels: usize, sums: &[Line]) {
    for (i, &out) in t.out.iter().enumerate() {
        for p in 0..panels {
            let rows = PANEL.min(t.rows - p * PANEL);
            let line = &sums[(i / TILE * panels + p) * TILE + i % TILE];
            // SAFETY: a line has sixteen sums; `rows` values from p * PANEL on are writable behind `out`.
            unsafe {
                let sums = _mm512_load_ps(line.0.as_ptr().cast());
                _mm512_mask_storeu_ps(out.add(p * PANEL), (0xffff_u32 >> (PANEL - rows)) as u16, sums);
            }
        }
    }
}
