//! Watching the inputs of matrix products: what an importance matrix is made of. A pass without an observer pays one
//! test per product, and an observer changes no result.

use super::Compute;
use lapwing_quant::acts::Acts;
use lapwing_quant::threads::Team;

/// Rows that some matrices are about to be multiplied with.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// The block; none for the output matrix.
    pub layer: Option<usize>,
    /// The matrices, by their names in the file without `blk.N.` and `.weight`.
    pub weights: &'a [&'static str],
    /// `[rows, columns]`, the rows in the order of the batch.
    pub acts: &'a Acts,
    /// Of experts: the rows that each of them takes, ascending. Otherwise every matrix takes all rows.
    pub experts: Option<&'a [Vec<u32>]>,
}

impl Input<'_> {
    /// The tensors' full names: `blk.3.attn_q.weight`.
    pub fn names(&self) -> Vec<String> {
        let blk = self.layer.map_or_else(String::new, |layer| format!("blk.{layer}."));
        self.weights.iter().map(|part| format!("{blk}{part}.weight")).collect()
    }
}

/// Someone who wants to see them. Called by the thread that leads the pass, in the order of the products; with an
/// observer every row of a batch goes through the last block too, not only those whose logits are wanted.
pub trait Observe: Sync {
    /// `team` may be used to look through the rows.
    fn input(&self, team: &Team<'_>, input: &Input<'_>);
}

impl Compute<'_> {
    /// Tells the observer, if there is one, what the matrices `weights` of this block are multiplied with.
    pub fn tell(&self, weights: &[&'static str], acts: &Acts, experts: Option<&[Vec<u32>]>) {
        if let Some(observer) = self.observe {
            observer.input(self.team, &Input { layer: self.layer, weights, acts, experts });
        }
    }
}
