//! One page for many rows of a prompt: two products of matrices with the softmax between them.
//!
//! ```text
//! turned = keys, transposed: [width][PAGE], so that a lane is a key
//! for each ROWS rows:  weights = soften(q * turned)         -- sums over the width in registers
//! for each ROWS rows:  acc = acc * keep + weights * values  -- a lane is a column
//! ```
//! Both products go through the same tile: ROWS rows times 2 or 4 vectors of sums in registers, so a step loads those
//! vectors once for six rows. The keys (32 KB for heads of 128) stay in L1 for all rows, then the values do; rows
//! come from L2. Slots that no row of a tile sees are skipped.

use super::{QueryRows, ask, most, soften};
use crate::attend::PAGE;
use crate::kernels::simd::Simd;

/// Rows of a tile. Six rows times four vectors of 16 lanes are 24 of 32 registers; times two, 12 of 16.
pub(crate) const ROWS: usize = 6;

/// What [`attend`] reads and writes; the number of rows is a multiple of [`ROWS`], the width of 64.
pub(crate) struct PromptArgs<'a> {
    pub rows: QueryRows<'a>,
    /// Whether arithmetic is that of floats; as it was for the queries.
    #[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "elsewhere there are only floats"))]
    pub exact: bool,
    /// `[PAGE, width]` keys, which are lost; those that no row sees may be anything.
    pub keys: &'a mut [f32],
    /// `[PAGE, width]` values, likewise.
    pub values: &'a mut [f32],
    /// Scratch: `[width, PAGE]`.
    pub turned: &'a mut [f32],
    /// Scratch: `[rows, PAGE]`.
    pub weights: &'a mut [f32],
    /// Scratch: `[rows]`.
    pub keep: &'a mut [f32],
    /// Scratch: `[rows]`.
    pub factor: &'a mut [f32],
    /// Stored keys and values that will be wanted after these.
    pub next: [&'a [u8]; 2],
}

/// How an instruction set goes about it: in floats ([`attend`]), or, unless it must be exact, in integers
/// (`integer.rs`).
pub(crate) trait Prompt {
    /// Turns scaled queries into the form that `page` reads, in place.
    ///
    /// # Safety
    /// The instruction set is there; the rows are `width` long, a multiple of 64.
    unsafe fn queries(q: &mut [f32], width: usize, exact: bool);
    /// Folds one page into the state of each row.
    ///
    /// # Safety
    /// The instruction set is there, and the arguments fit.
    unsafe fn page(args: PromptArgs<'_>);
}

/// Implements [`Prompt`] by floats.
macro_rules! by_floats {
    ($isa:ty) => {
        impl crate::kernels::page::Prompt for $isa {
            #[inline(always)]
            unsafe fn queries(_: &mut [f32], _: usize, _: bool) {}

            #[inline(always)]
            unsafe fn page(args: crate::kernels::page::PromptArgs<'_>) {
                // SAFETY: passed on to the caller.
                unsafe { crate::kernels::page::prompt::attend::<$isa>(args) }
            }
        }
    };
}
pub(crate) use by_floats;

/// Implements [`Prompt`] by integers where floats are not asked for.
#[cfg(target_arch = "x86_64")]
macro_rules! by_integers {
    ($isa:ty) => {
        impl crate::kernels::page::Prompt for $isa {
            #[inline(always)]
            unsafe fn queries(q: &mut [f32], width: usize, exact: bool) {
                if !exact {
                    // SAFETY: passed on to the caller.
                    unsafe { crate::kernels::page::integer::queries::<$isa>(q, width) }
                }
            }

            #[inline(always)]
            unsafe fn page(args: crate::kernels::page::PromptArgs<'_>) {
                // SAFETY: passed on to the caller.
                unsafe {
                    if args.exact {
                        crate::kernels::page::prompt::attend::<$isa>(args)
                    } else {
                        crate::kernels::page::integer::attend::<$isa>(args)
                    }
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
pub(crate) use by_integers;

impl PromptArgs<'_> {
    pub(crate) fn fits(&self) -> bool {
        let (n, width) = (self.rows.visible.len(), self.rows.width);
        self.rows.fits()
            && n.is_multiple_of(ROWS)
            && width.is_multiple_of(64)
            && [self.keys.len(), self.values.len(), self.turned.len()] == [PAGE * width; 3]
            && [self.weights.len(), self.keep.len(), self.factor.len()] == [n * PAGE, n, n]
    }
}

/// Folds one page into the state of each row.
///
/// # Safety
/// The instruction set of S is there, and the arguments fit.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd>(args: PromptArgs<'_>) {
    let PromptArgs { rows, keys, values, turned, weights, keep, next, .. } = args;
    let width = rows.width;
    // SAFETY: passed on to the caller; tiles are inside what fits.
    unsafe {
        turn::<S>(keys, turned, width, rows.most());
        for first in (0..rows.visible.len()).step_by(ROWS) {
            ask_share::<S>(next, first, rows.visible.len());
            let visible = &rows.visible[first..first + ROWS];
            let most = most(visible);
            let tile = Tile {
                a: rows.q[first * width..].as_ptr(),
                a_step: width,
                b: turned.as_ptr(),
                b_step: PAGE,
                depth: width,
                out: weights[first * PAGE..].as_mut_ptr(),
                out_step: PAGE,
                columns: most,
            };
            product::<S>(&tile, None);
            let weights = weights[first * PAGE..][..ROWS * PAGE].as_chunks_mut::<PAGE>().0;
            for (r, scores) in weights.iter_mut().enumerate() {
                let at = first + r;
                keep[at] = soften::<S>(scores, usize::from(visible[r]), &mut rows.top[at], &mut rows.sum[at]);
            }
        }
        for first in (0..rows.visible.len()).step_by(ROWS) {
            let most = most(&rows.visible[first..first + ROWS]);
            let tile = Tile {
                a: weights[first * PAGE..].as_ptr(),
                a_step: PAGE,
                b: values.as_ptr(),
                b_step: width,
                depth: most,
                out: rows.acc[first * width..].as_mut_ptr(),
                out_step: width,
                columns: width,
            };
            product::<S>(&tile, Some(&keep[first..first + ROWS]));
        }
    }
}

/// Asks for the part of `next` that falls to the tile from row `first` on, of `n` rows: all of it would be more at once
/// than a core can wait for.
///
/// # Safety
/// The instruction set of S is there.
#[inline(always)]
pub(super) unsafe fn ask_share<S: Simd>(next: [&[u8]; 2], first: usize, n: usize) {
    for bytes in next {
        let share = (bytes.len() * ROWS).div_ceil(n.max(1)).next_multiple_of(64);
        // SAFETY: passed on to the caller.
        unsafe { ask::<S>(bytes, first / ROWS * share, share) };
    }
}

/// `to[c][j] = keys[j][c]` for at least the first `n` keys.
#[inline(always)]
unsafe fn turn<S: Simd>(keys: &[f32], to: &mut [f32], width: usize, n: usize) {
    for j in (0..n).step_by(S::LANES) {
        for c in (0..width).step_by(4) {
            // SAFETY: LANES divides PAGE and 4 the width, so keys and columns are inside; the caller has the ISA.
            unsafe {
                let columns = S::columns(keys.as_ptr().add(j * width + c), width);
                for (i, column) in columns.into_iter().enumerate() {
                    S::store(column, to.as_mut_ptr().add((c + i) * PAGE + j));
                }
            }
        }
    }
}

/// A product of [`ROWS`] rows of `a` with `b`, to `out`: rows begin `*_step` values apart.
struct Tile {
    a: *const f32,
    a_step: usize,
    b: *const f32,
    b_step: usize,
    /// Values per row of `a`, rows of `b`.
    depth: usize,
    out: *mut f32,
    out_step: usize,
    /// Columns of `b` and `out` that are wanted; more may be read and written, up to a multiple of 64.
    columns: usize,
}

/// `out = a * b`, or `out * keep + a * b`.
#[inline(always)]
unsafe fn product<S: Simd>(t: &Tile, keep: Option<&[f32]>) {
    // SAFETY: passed on to the caller.
    unsafe {
        if S::REGISTERS == 32 {
            product_of::<S, 4>(t, keep);
        } else {
            product_of::<S, 2>(t, keep);
        }
    }
}

#[inline(always)]
unsafe fn product_of<S: Simd, const C: usize>(t: &Tile, keep: Option<&[f32]>) {
    for column in (0..t.columns).step_by(C * S::LANES) {
        // SAFETY: C * LANES divides 64, so all accesses are inside what the caller promised; it has the ISA.
        unsafe {
            let mut sums = [[S::splat(0.0); C]; ROWS];
            if let Some(keep) = keep {
                for r in 0..ROWS {
                    for c in 0..C {
                        let before = S::load(t.out.add(r * t.out_step + column + c * S::LANES));
                        sums[r][c] = S::mul(before, S::splat(keep[r]));
                    }
                }
            }
            let rows: [*const f32; ROWS] = std::array::from_fn(|r| t.a.add(r * t.a_step));
            let mut b = t.b.add(column);
            for k in 0..t.depth {
                let v: [S::V; C] = std::array::from_fn(|c| S::load(b.add(c * S::LANES)));
                for r in 0..ROWS {
                    let a = S::splat(*rows[r].add(k));
                    for c in 0..C {
                        sums[r][c] = S::fma(a, v[c], sums[r][c]);
                    }
                }
                b = b.add(t.b_step);
            }
            for r in 0..ROWS {
                for c in 0..C {
                    S::store(sums[r][c], t.out.add(r * t.out_step + column + c * S::LANES));
                }
            }
        }
    }
}
