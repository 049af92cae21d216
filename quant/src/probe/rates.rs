//! How fast the real kernels are on this machine: weights of one format times one row and times many, and attention.
//!
//! Each figure is the median of several passes, so that it is what the machine gives, not what it gave once.

use crate::acts::{ActKinds, Acts};
use crate::attend::{self, Heads, KvType, PAGE, Places, Plane, QuerySpan};
use crate::buffer::{Aligned, Bytes};
use crate::formats::DType;
use crate::kernels::Kernels;
use crate::threads::Pool;
use crate::weight::{self, Product, Rows, Weight};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Columns of the probed matrices: the width of a model of middle size.
const COLS: usize = 4096;
/// Rows of the matrix that a prompt is multiplied with: it is computing that takes the time, not memory.
const PROMPT_ROWS: usize = 1024;
/// A figure that takes longer than this is taken from fewer passes.
const PATIENCE: Duration = Duration::from_millis(100);
/// Every byte of the probed weights; as a scale (f16, bf16 or f32) an ordinary number.
const FILL: u8 = 0x3c;

/// The rates of one format with a number of threads.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Bytes of weights per second when one row is multiplied, as for a generated token.
    pub bytes_per_second: f64,
    /// Multiplications per second when many rows are, as for a prompt.
    pub products_per_second: f64,
}

/// A matrix of one format, arranged for the kernels, with rows to multiply it with.
pub struct Bench {
    /// Larger than the cache, and a small one for prompts.
    large: Weight,
    small: Weight,
    one: Acts,
    many: Acts,
    out: Vec<f32>,
}

impl Bench {
    /// A matrix of about `bytes` bytes; it should be larger than the last cache.
    ///
    /// # Errors
    /// When there is no such memory.
    pub fn new(dtype: DType, bytes: usize, kernels: &'static Kernels, pool: &Pool) -> Result<Self, String> {
        let row = dtype.row_bytes(COLS).ok_or("no whole blocks")?;
        let rows = (bytes / row).next_multiple_of(16).max(16);
        let matrix = |rows: usize| {
            let mut content = Aligned::zeroed(rows * row)?;
            content.fill(FILL);
            let mut weight = Weight::new(dtype, rows, COLS, Bytes::Own(Arc::new(content)), kernels)?;
            pool.enter(pool.threads(), |team| weight.repack(team))?;
            Ok::<Weight, String>(weight)
        };
        let (large, small) = (matrix(rows)?, matrix(rows.min(PROMPT_ROWS))?);
        let kinds: ActKinds = large.acts();
        let prompt = large.row_block(usize::MAX);
        let (mut one, mut many) = (Acts::new(COLS, kinds, kernels), Acts::new(COLS, kinds, kernels));
        pool.enter(pool.threads(), |team| {
            let value = |i: usize, row: &mut [f32]| {
                row.iter_mut().enumerate().for_each(|(k, v)| *v = ((i + k) % 17) as f32 / 8.0 - 1.0);
            };
            one.fill(team, 1, |_| false, value);
            many.fill(team, prompt, |_| true, value);
        });
        let out = vec![0.0; rows.max(small.rows() * prompt)];
        Ok(Self { large, small, one, many, out })
    }

    /// The rates with `threads` threads.
    pub fn rate(&mut self, pool: &Pool, threads: usize) -> Rate {
        let Self { large, small, one, many, out } = self;
        let (rows, prompt_rows) = (large.rows(), small.rows());
        // Some milliseconds each, so more of them: what others do to a machine comes and goes in tens of milliseconds.
        let single = median(15, || {
            let out = &mut out[..rows];
            pool.enter(threads, |team| {
                weight::run(team, one, &mut [Product { weight: large, rows: Rows::All, out }]);
            });
        });
        let prompt = median(5, || {
            let out = &mut out[..prompt_rows * many.n()];
            pool.enter(threads, |team| {
                weight::run(team, many, &mut [Product { weight: small, rows: Rows::All, out }]);
            });
        });
        Rate {
            bytes_per_second: large.size() as f64 / single,
            products_per_second: (prompt_rows * COLS * many.n()) as f64 / prompt,
        }
    }
}

/// Heads of the models of middle size.
const HEADS: Heads = Heads { n_heads: 16, n_kv_heads: 8, head_dim: 128 };

/// Multiplications per second of attention over f16 keys and values, for a prompt.
pub fn attention(pool: &Pool, threads: usize, kernels: &'static Kernels) -> f64 {
    const TOKENS: usize = 512;
    // Each token looks at half of all tokens, for scores and for values.
    (HEADS.n_heads * HEADS.head_dim * TOKENS * TOKENS) as f64 / attention_seconds(pool, threads, kernels, (0, TOKENS))
}

/// Bytes of f16 keys and values per second that one generated token looks at, where there are `bytes` of them.
pub fn attention_of_one(pool: &Pool, threads: usize, kernels: &'static Kernels, bytes: usize) -> f64 {
    let token = 2 * HEADS.n_kv_heads * KvType::F16.row_bytes(HEADS.head_dim);
    let past = (bytes / token).max(PAGE);
    ((past + 1) * token) as f64 / attention_seconds(pool, threads, kernels, (past, 1))
}

/// Seconds of attention of `len` tokens behind `past` others.
fn attention_seconds(pool: &Pool, threads: usize, kernels: &'static Kernels, (past, len): (usize, usize)) -> f64 {
    let pages: Vec<u32> = (0..(past + len).div_ceil(PAGE) as u32).collect();
    let keys = vec![FILL; pages.len() * PAGE * HEADS.n_kv_heads * KvType::F16.row_bytes(HEADS.head_dim)];
    let values = keys.clone();
    let places = Places { first: 0, step: HEADS.page_bytes(KvType::F16) };
    let plane = |bytes| Plane { bytes, dtype: KvType::F16, places };
    let q = vec![0.01; len * HEADS.n_heads * HEADS.head_dim];
    let mut out = vec![0.0; q.len()];
    let span = QuerySpan { first: 0, len, past, pages: &pages, generated: len == 1 };
    median(5, || {
        pool.enter(threads, |team| {
            attend::attend(team, kernels, HEADS, (plane(&keys), plane(&values)), &[span], &q, &mut out);
        });
    })
}

/// The median of the seconds that some passes take, after one that is not counted unless [`PATIENCE`] is out.
fn median(passes: usize, mut pass: impl FnMut()) -> f64 {
    let began = Instant::now();
    let mut timed = || {
        let started = Instant::now();
        pass();
        started.elapsed().as_secs_f64().max(1e-9)
    };
    let mut times = vec![timed()];
    for i in 0..passes {
        if began.elapsed() > PATIENCE {
            break;
        }
        let time = timed();
        if i == 0 {
            times.clear();
        }
        times.push(time);
    }
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels;

    #[test]
    fn every_format_has_rates_on_every_table() {
        let pool = Pool::new(2, &[]).unwrap();
        for table in kernels::available() {
            for dtype in [DType::Q4_K, DType::Q6_K, DType::Q8_0, DType::BF16] {
                let rate = Bench::new(dtype, 64 << 10, table, &pool).unwrap().rate(&pool, 2);
                for figure in [rate.bytes_per_second, rate.products_per_second] {
                    assert!(figure.is_finite() && figure > 0.0, "{} {dtype:?}: {rate:?}", table.name);
                }
            }
        }
        assert!(attention(&pool, 2, kernels::best()) > 0.0);
        assert!(attention_of_one(&pool, 2, kernels::best(), 1 << 20) > 0.0);
    }
}
