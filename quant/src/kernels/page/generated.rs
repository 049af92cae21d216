//! One page for the few rows of a generated token: keys and values are read as they are stored, into registers.
//!
//! ```text
//! for up to 4 rows (heads of a group, or drafted tokens):
//!     for each 4 keys:  scores[r][j..j + 4] = sums of lanes of q[r] * widen(k[j..j + 4])
//!     weights = soften(scores)
//!     for each slot j:  acc[r] += weights[r][j] * widen(v[j])     -- acc in registers
//! ```
//! The rows share each load. This runs at the speed of memory, so what comes next is asked for early: while keys are
//! read, the next page's keys, and likewise values.

use super::{QueryRows, ask, most, soften};
use crate::attend::{KvType, PAGE};
use crate::kernels::simd::Simd;

/// Keys whose sums are in registers at once.
const KEYS: usize = 4;

/// One head's rows of a page.
#[derive(Clone, Copy)]
pub(crate) struct Stored<'a> {
    /// The rows, at least as many as are seen.
    pub bytes: &'a [u8],
    pub dtype: KvType,
    /// Rows that will be read after these, if known.
    pub next: &'a [u8],
}

/// What [`attend`] reads and writes.
pub(crate) struct GeneratedArgs<'a> {
    pub rows: QueryRows<'a>,
    pub keys: Stored<'a>,
    pub values: Stored<'a>,
}

impl GeneratedArgs<'_> {
    pub(crate) fn fits(&self) -> bool {
        let (width, n) = (self.rows.width, self.rows.most());
        let holds = |s: &Stored<'_>| {
            let row = s.dtype.row_bytes(width);
            s.bytes.len() >= n * row && (s.dtype != KvType::Q8_0 || width.is_multiple_of(32))
        };
        self.rows.fits() && holds(&self.keys) && holds(&self.values)
    }
}

/// Folds one page into the state of each row.
///
/// # Safety
/// The instruction set of S is there, and the arguments fit.
#[inline(always)]
pub(crate) unsafe fn attend<S: Simd>(mut args: GeneratedArgs<'_>) {
    let n = args.rows.visible.len();
    let mut first = 0;
    while first < n {
        // SAFETY: passed on to the caller; there are as many rows.
        first += unsafe {
            match n - first {
                4.. if S::REGISTERS == 32 => some_rows::<S, 4>(&mut args, first),
                2.. => some_rows::<S, 2>(&mut args, first),
                _ => some_rows::<S, 1>(&mut args, first),
            }
        };
        // Asked for once is enough.
        args.keys.next = &[];
        args.values.next = &[];
    }
}

/// Rows `first..first + R`; gives R.
#[inline(always)]
unsafe fn some_rows<S: Simd, const R: usize>(args: &mut GeneratedArgs<'_>, first: usize) -> usize {
    let QueryRows { width, q, acc, top, sum, visible } = &mut args.rows;
    let visible = &visible[first..first + R];
    let n = most(visible);
    if n == 0 {
        return R;
    }
    let mut weights = [[0f32; PAGE]; R];
    let mut keep = [0f32; R];
    let part = Part { width: *width, n };
    // SAFETY: n rows of keys and values are there, and R rows of queries and sums, by the caller.
    unsafe {
        let q: [*const f32; R] = std::array::from_fn(|r| q[(first + r) * *width..].as_ptr());
        match args.keys.dtype {
            KvType::F32 => scores::<S, F32, R>(&part, q, &args.keys, &mut weights),
            KvType::F16 => scores::<S, F16, R>(&part, q, &args.keys, &mut weights),
            KvType::BF16 => scores::<S, BF16, R>(&part, q, &args.keys, &mut weights),
            KvType::Q8_0 => scores::<S, Q8_0, R>(&part, q, &args.keys, &mut weights),
        }
        for r in 0..R {
            keep[r] = soften::<S>(&mut weights[r], usize::from(visible[r]), &mut top[first + r], &mut sum[first + r]);
        }
        let acc: [*mut f32; R] = std::array::from_fn(|r| acc[(first + r) * *width..].as_mut_ptr());
        let state = State { weights: &weights, keep, acc };
        match args.values.dtype {
            KvType::F32 => values::<S, F32, R>(&part, &args.values, &state),
            KvType::F16 => values::<S, F16, R>(&part, &args.values, &state),
            KvType::BF16 => values::<S, BF16, R>(&part, &args.values, &state),
            KvType::Q8_0 => values::<S, Q8_0, R>(&part, &args.values, &state),
        }
    }
    R
}

/// The first `n` rows, of `width` values each.
struct Part {
    width: usize,
    n: usize,
}

struct State<'a, const R: usize> {
    weights: &'a [[f32; PAGE]; R],
    keep: [f32; R],
    acc: [*mut f32; R],
}

#[inline(always)]
unsafe fn scores<S: Simd, E: Element, const R: usize>(
    part: &Part,
    q: [*const f32; R],
    keys: &Stored<'_>,
    out: &mut [[f32; PAGE]; R],
) {
    let row = keys.dtype.row_bytes(part.width);
    for j in (0..part.n).step_by(KEYS) {
        // SAFETY: row numbers are below n (past the last key the last one is repeated; nobody uses that score), columns
        // below the width, and KEYS divides PAGE.
        unsafe {
            ask::<S>(keys.next, j * row, KEYS * row);
            let k: [*const u8; KEYS] = std::array::from_fn(|i| keys.bytes.as_ptr().add((j + i).min(part.n - 1) * row));
            let mut sums = [[S::splat(0.0); KEYS]; R];
            for c in (0..part.width).step_by(S::LANES) {
                let k: [S::V; KEYS] = std::array::from_fn(|i| E::load::<S>(k[i], c));
                for r in 0..R {
                    let q = S::load(q[r].add(c));
                    for i in 0..KEYS {
                        sums[r][i] = S::fma(q, k[i], sums[r][i]);
                    }
                }
            }
            for r in 0..R {
                out[r][j..j + KEYS].copy_from_slice(&S::sums(sums[r]));
            }
        }
    }
}

/// As many columns at once as there are registers for their sums.
#[inline(always)]
unsafe fn values<S: Simd, E: Element, const R: usize>(part: &Part, values: &Stored<'_>, state: &State<'_, R>) {
    let mut values = *values;
    let mut at = 0;
    // SAFETY: passed on to the caller.
    unsafe {
        at = match S::REGISTERS / R {
            32 | 16 => columns::<S, E, R, 8>(part, at, &values, state),
            8 => columns::<S, E, R, 4>(part, at, &values, state),
            _ => columns::<S, E, R, 2>(part, at, &values, state),
        };
        if at > 0 {
            values.next = &[];
        }
        columns::<S, E, R, 1>(part, at, &values, state);
    }
}

/// All whole blocks of C vectors of columns from `start` on; gives where they end.
#[inline(always)]
unsafe fn columns<S: Simd, E: Element, const R: usize, const C: usize>(
    part: &Part,
    start: usize,
    values: &Stored<'_>,
    state: &State<'_, R>,
) -> usize {
    let (mut next, row) = (values.next, values.dtype.row_bytes(part.width));
    let mut at = start;
    while at + C * S::LANES <= part.width {
        // SAFETY: columns are below the width, rows below n.
        unsafe {
            let mut sum = [[S::splat(0.0); C]; R];
            for r in 0..R {
                for c in 0..C {
                    sum[r][c] = S::mul(S::load(state.acc[r].add(at + c * S::LANES)), S::splat(state.keep[r]));
                }
            }
            for j in 0..part.n {
                ask::<S>(next, j * row, row);
                let v = values.bytes.as_ptr().add(j * row);
                let v: [S::V; C] = std::array::from_fn(|c| E::load::<S>(v, at + c * S::LANES));
                for r in 0..R {
                    let w = S::splat(state.weights[r][j]);
                    for c in 0..C {
                        sum[r][c] = S::fma(w, v[c], sum[r][c]);
                    }
                }
            }
            for r in 0..R {
                for c in 0..C {
                    S::store(sum[r][c], state.acc[r].add(at + c * S::LANES));
                }
            }
        }
        next = &[];
        at += C * S::LANES;
    }
    at
}

/// How a type is read: LANES values of a row from column `at`, a multiple of LANES.
trait Element {
    /// # Safety
    /// The instruction set of S is there, and the row has those values.
    unsafe fn load<S: Simd>(row: *const u8, at: usize) -> S::V;
}

struct F32;
struct F16;
struct BF16;
struct Q8_0;

impl Element for F32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(row: *const u8, at: usize) -> S::V {
        // SAFETY: the row has them, by the caller; the load needs no alignment.
        unsafe { S::load(row.add(4 * at).cast()) }
    }
}

impl Element for F16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(row: *const u8, at: usize) -> S::V {
        // SAFETY: the row has them, by the caller.
        unsafe { S::load_f16(row.add(2 * at)) }
    }
}

impl Element for BF16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(row: *const u8, at: usize) -> S::V {
        // SAFETY: the row has them, by the caller.
        unsafe { S::load_bf16(row.add(2 * at)) }
    }
}

impl Element for Q8_0 {
    #[inline(always)]
    unsafe fn load<S: Simd>(row: *const u8, at: usize) -> S::V {
        // SAFETY: the row has the block of 32 (a scale of two bytes, then the codes), of which LANES is a divisor.
        unsafe {
            let block = row.add(at / 32 * 34);
            S::mul(S::load_i8(block.add(2 + at % 32)), S::splat_f16(block))
        }
    }
}
