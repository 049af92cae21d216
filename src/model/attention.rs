//! The attention half of a block: projections, QK-norm, rotation, cache, grouped-query attention, output.

use super::weights::Source;
use super::{Compute, Config};
use crate::batch::Batch;
use crate::error::Result;
use crate::kv::Store;
use lapwing_quant::DType;
use lapwing_quant::acts::{ActKinds, Acts};
use lapwing_quant::attend::{self, Heads, Prepare};
use lapwing_quant::weight::{self, Product, Rows, Weight};

/// One block's attention weights, named as in the file.
pub struct Attention {
    pub(super) attn_q: Weight,
    pub(super) attn_k: Weight,
    pub(super) attn_v: Weight,
    pub(super) attn_output: Weight,
    attn_q_norm: Vec<f32>,
    attn_k_norm: Vec<f32>,
    heads: Heads,
    eps: f32,
}

/// Buffers of the attention half, reused by all blocks.
#[derive(Default)]
pub struct AttentionScratch {
    /// `[tokens, n_heads * head_dim]`
    q: Vec<f32>,
    /// `[tokens, n_kv_heads * head_dim]`
    k: Vec<f32>,
    v: Vec<f32>,
    /// `[tokens, n_heads * head_dim]`
    pub(super) mixed: Vec<f32>,
    /// `[tokens, head_dim / 2]`, filled once per pass.
    pub(super) cos: Vec<f32>,
    pub(super) sin: Vec<f32>,
}

impl Attention {
    /// Loads `blk.N.attn_*`.
    pub fn load(source: &Source<'_>, c: &Config, blk: &str) -> Result<Self> {
        let Heads { n_heads, n_kv_heads, head_dim } = c.heads;
        let (q, kv) = (n_heads * head_dim, n_kv_heads * head_dim);
        let attn_output = source.matrix(&format!("{blk}.attn_output.weight"), c.n_embd, q)?;
        Ok(Self {
            attn_q: source.matrix(&format!("{blk}.attn_q.weight"), q, c.n_embd)?,
            attn_k: source.matrix(&format!("{blk}.attn_k.weight"), kv, c.n_embd)?,
            attn_v: source.matrix(&format!("{blk}.attn_v.weight"), kv, c.n_embd)?.precise(),
            // What inputs of 8 bits lose is almost all that Q8_0 loses: there this matrix needs more, too.
            attn_output: if attn_output.dtype() == DType::Q8_0 { attn_output.precise() } else { attn_output },
            attn_q_norm: source.vector(&format!("{blk}.attn_q_norm.weight"), head_dim)?,
            attn_k_norm: source.vector(&format!("{blk}.attn_k_norm.weight"), head_dim)?,
            heads: c.heads,
            eps: c.eps,
        })
    }

    /// The forms of its input that the projections read.
    pub fn input_kinds(&self) -> ActKinds {
        self.attn_q.acts().and(self.attn_k.acts()).and(self.attn_v.acts())
    }

    /// Everything up to the output projection: fills `scratch.mixed`, and the cache at the batch's slots.
    pub fn mix(
        &self,
        c: Compute<'_>,
        batch: &Batch,
        h: &Acts,
        (store, layer): (&mut Store, usize),
        s: &mut AttentionScratch,
    ) {
        let n = h.n();
        s.q.resize(n * self.attn_q.rows(), 0.0);
        s.k.resize(n * self.attn_k.rows(), 0.0);
        s.v.resize(n * self.attn_v.rows(), 0.0);
        s.mixed.resize(n * self.attn_q.rows(), 0.0);
        let mut products = [
            Product { weight: &self.attn_q, rows: Rows::All, out: &mut s.q },
            Product { weight: &self.attn_k, rows: Rows::All, out: &mut s.k },
            Product { weight: &self.attn_v, rows: Rows::All, out: &mut s.v },
        ];
        weight::run(c.team, h, &mut products);
        let prepare = Prepare {
            heads: self.heads,
            norms: (&self.attn_q_norm, &self.attn_k_norm),
            eps: self.eps,
            rotation: (&s.cos, &s.sin),
            slots: batch.slots(),
        };
        attend::prepare(c.team, c.kernels, &prepare, (&mut s.q, &mut s.k, &s.v), store.layer_mut(layer));
        let spans = batch.query_spans();
        attend::attend(c.team, c.kernels, self.heads, store.layer(layer), &spans, &s.q, &mut s.mixed);
    }
}
