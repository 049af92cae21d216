//! Gathers an importance matrix while a model reads: sums of squares of every product's inputs, column by column.
//!
//! Matrices with one input (`attn_q`, `attn_k`, `attn_v`) share their sums until they are written. Rows are added in
//! the order of the text, columns or experts are shared out among threads, so the sums depend on neither.

use crate::engine::{Input, Observe};
use crate::error::{Error, Result};
use crate::imatrix::{Entry, Imatrix};
use lapwing_quant::acts::Acts;
use lapwing_quant::threads::Team;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Collects; see the module's opening.
#[derive(Default)]
pub struct Collector {
    /// By the first matrix's name.
    sites: Mutex<BTreeMap<String, Site>>,
    /// Whether the inputs of the output matrix are wanted.
    output: bool,
}

/// One input, and the matrices it goes to.
struct Site {
    names: Vec<String>,
    /// `[matrices, columns]`
    sums: Vec<f64>,
    counts: Vec<u64>,
}

impl Collector {
    /// An empty one; with `output` it also takes the inputs of the output matrix, which needs every row's logits.
    pub fn new(output: bool) -> Self {
        Self { output, ..Self::default() }
    }

    /// What there is so far, as a matrix over chunks of `chunk_size` tokens.
    ///
    /// # Errors
    /// When some activation was no finite number.
    pub fn imatrix(&self, chunk_size: usize) -> Result<Imatrix> {
        let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let mut imatrix = Imatrix::new(chunk_size as u64);
        for site in sites.values() {
            for name in &site.names {
                let entry = Entry::new(site.sums.clone(), site.counts.clone()).map_err(|e| {
                    Error::runtime(format!(
                        "the inputs of {name} cannot be counted: {e}; the model overflows on this text"
                    ))
                })?;
                imatrix.insert(name, entry)?;
            }
        }
        Ok(imatrix)
    }
}

impl Observe for Collector {
    fn input(&self, team: &Team<'_>, input: &Input<'_>) {
        if input.layer.is_none() && !self.output {
            return;
        }
        let names = input.names();
        let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
        let (matrices, cols) = (input.experts.map_or(1, <[_]>::len), input.acts.k());
        let site = sites.entry(names[0].clone()).or_insert_with(|| Site {
            names,
            sums: vec![0.0; matrices * cols],
            counts: vec![0; matrices],
        });
        match input.experts {
            None => {
                add_all(team, input.acts, &mut site.sums);
                site.counts[0] += input.acts.n() as u64;
            }
            Some(rows) => {
                team.rows(&mut site.sums, cols, |e, sums| {
                    rows[e].iter().for_each(|&row| add(sums, input.acts.row(row as usize).x));
                });
                site.counts.iter_mut().zip(rows).for_each(|(n, rows)| *n += rows.len() as u64);
            }
        }
    }
}

/// Adds the squares of all rows, columns shared out in strips.
fn add_all(team: &Team<'_>, acts: &Acts, sums: &mut [f64]) {
    let cols = sums.len();
    let strip = [256, 128, 64, 32].into_iter().find(|w| cols.is_multiple_of(*w)).unwrap_or(cols);
    team.rows(sums, strip, |i, sums| {
        (0..acts.n()).for_each(|row| add(sums, &acts.row(row).x[i * strip..(i + 1) * strip]));
    });
}

fn add(sums: &mut [f64], row: &[f32]) {
    sums.iter_mut().zip(row).for_each(|(sum, &x)| *sum += f64::from(x) * f64::from(x));
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapwing_quant::acts::ActKinds;
    use lapwing_quant::kernels;
    use lapwing_quant::threads::Pool;

    /// Row `r`, column `c` holds `r + c / 64`.
    fn collect(threads: usize, cols: usize, experts: Option<&[Vec<u32>]>) -> Imatrix {
        let pool = Pool::new(threads, &[]).unwrap();
        let collector = Collector::new(false);
        pool.enter(threads, |team| {
            let mut acts = Acts::new(cols, ActKinds::FLOATS, kernels::best());
            acts.fill(
                team,
                3,
                |_| true,
                |r, row| {
                    row.iter_mut().enumerate().for_each(|(c, x)| *x = r as f32 + c as f32 / 64.0);
                },
            );
            for weights in [&["ffn_gate", "ffn_up"][..], &["ffn_down"]] {
                collector.input(team, &Input { layer: Some(2), weights, acts: &acts, experts });
            }
            collector.input(team, &Input { layer: None, weights: &["output"], acts: &acts, experts: None });
        });
        collector.imatrix(3).unwrap()
    }

    #[test]
    fn squares_of_all_rows() {
        for (threads, cols) in [(1, 256), (3, 256), (2, 96), (2, 33)] {
            let m = collect(threads, cols, None);
            let names: Vec<&str> = m.entries().map(|(name, _)| name).collect();
            assert_eq!(names, ["blk.2.ffn_down.weight", "blk.2.ffn_gate.weight", "blk.2.ffn_up.weight"]);
            let entry = m.entry(names[1]).unwrap();
            let square = |r: f64, c: f64| (r + c / 64.0) * (r + c / 64.0);
            let want: Vec<f64> = (0..cols).map(|c| (0..3).map(|r| square(f64::from(r), c as f64)).sum()).collect();
            assert_eq!((entry.sums(), entry.counts(), m.chunks()), (&want[..], &[3][..], 1));
        }
    }

    #[test]
    fn experts_take_their_rows() {
        let rows = [vec![0, 2], vec![], vec![1]];
        let m = collect(2, 1, Some(&rows));
        let entry = m.entry("blk.2.ffn_up.weight").unwrap();
        assert_eq!((entry.sums(), entry.counts()), (&[4.0, 0.0, 1.0][..], &[2, 0, 1][..]));
        assert_eq!(entry.never_hit(), 1);
    }
}
