//! Qwen3, dense and mixture of experts: loading, and the forward pass over a batch.

use super::attention::{Attention, AttentionScratch};
use super::ffn::{Ffn, FfnScratch};
use super::rope::RopeFlags;
use super::weights::Source;
use super::{Compute, Config};
use crate::batch::Batch;
use crate::error::{Error, Result};
use crate::gguf::Gguf;
use crate::kv::Store;
use lapwing_quant::acts::{ActKinds, Acts};
use lapwing_quant::kernels::Kernels;
use lapwing_quant::threads::Pool;
use lapwing_quant::weight::{self, Product, Rows, Weight};
use std::sync::Arc;

/// The model: immutable after loading.
pub struct Qwen3 {
    config: Config,
    kernels: &'static Kernels,
    token_embd: Weight,
    blk: Vec<Block>,
    output_norm: Vec<f32>,
    /// Absent where the embedding serves as output.
    output: Option<Weight>,
}

struct Block {
    attn_norm: Vec<f32>,
    attn: Attention,
    ffn_norm: Vec<f32>,
    ffn: Ffn,
}

/// How to load.
pub struct LoadOptions {
    /// The kernels to compute with.
    pub kernels: &'static Kernels,
    /// What the user says about rotation.
    pub rope: RopeFlags,
    /// Whether weights are arranged for the kernels; otherwise they stay where they are in the map.
    pub repack: bool,
}

/// How far loading is: bytes of weights arranged, of all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Qwen3 {
    /// Checks every tensor, then arranges the weights for the kernels.
    ///
    /// # Errors
    /// Names the file and the key or tensor that is missing, of the wrong shape or type.
    pub fn load(gguf: &Arc<Gguf>, options: LoadOptions, pool: &Pool, progress: Progress<'_>) -> Result<Self> {
        let config = Config::read(gguf, &options.rope)?;
        let source = Source { gguf, kernels: options.kernels, pool };
        let block = |i: usize| {
            let blk = format!("blk.{i}");
            Ok(Block {
                attn_norm: source.vector(&format!("{blk}.attn_norm.weight"), config.n_embd)?,
                attn: Attention::load(&source, &config, &blk)?,
                ffn_norm: source.vector(&format!("{blk}.ffn_norm.weight"), config.n_embd)?,
                ffn: Ffn::load(&source, &config, &blk)?,
            })
        };
        let tied = gguf.tensor("output.weight").is_none();
        let output = if tied { None } else { Some(source.matrix("output.weight", config.n_vocab, config.n_embd)?) };
        let mut model = Self {
            token_embd: source.matrix("token_embd.weight", config.n_vocab, config.n_embd)?,
            blk: (0..config.n_layers).map(block).collect::<Result<_>>()?,
            output_norm: source.vector("output_norm.weight", config.n_embd)?,
            output,
            kernels: options.kernels,
            config,
        };
        if options.repack {
            model.repack(pool, progress)?;
        }
        Ok(model)
    }

    fn repack(&mut self, pool: &Pool, progress: Progress<'_>) -> Result<()> {
        // An embedding that is only looked up in stays in the map.
        let head = self.output.as_mut().unwrap_or(&mut self.token_embd);
        let mut weights: Vec<&mut Weight> = vec![head];
        for b in &mut self.blk {
            let a = &mut b.attn;
            weights.extend([&mut a.attn_q, &mut a.attn_k, &mut a.attn_v, &mut a.attn_output]);
            weights.extend(b.ffn.weights_mut());
        }
        let sizes: Vec<u64> = weights.iter().map(|w| w.size() as u64).collect();
        let (total, mut done) = (sizes.iter().sum(), 0);
        let mut arranger =
            weight::Arranger::new(&mut weights).map_err(|e| Error::limit(e).context("arranging weights"))?;
        for size in sizes {
            pool.enter(pool.threads(), |team| arranger.pack_next(team));
            done += size;
            progress(done, total);
        }
        arranger.finish();
        Ok(())
    }

    /// The hyperparameters.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The matrices of all blocks that one token is multiplied with, each with how many of its kind that is.
    fn per_token(&self) -> impl Iterator<Item = (&Weight, usize)> {
        self.blk.iter().flat_map(|b| {
            let a = &b.attn;
            let attn = [&a.attn_q, &a.attn_k, &a.attn_v, &a.attn_output].map(|w| (w, 1));
            attn.into_iter().chain(b.ffn.per_token())
        })
    }

    /// Bytes of weights that one generated token reads, at most (all used experts, one embedding row).
    pub fn bytes_per_token(&self) -> u64 {
        let head = self.output.as_ref().unwrap_or(&self.token_embd).size();
        (head + self.per_token().map(|(w, n)| n * w.size()).sum::<usize>()) as u64
    }

    /// Products of weights that a prompt's token takes: of integers, and of floats. The head is not counted, since a
    /// prompt needs it once.
    pub fn products_per_token(&self) -> (u64, u64) {
        self.per_token().fold((0, 0), |(integers, floats), (w, n)| {
            let products = (n * w.rows() * w.cols()) as u64;
            let as_floats = w.acts() == ActKinds::FLOATS;
            if as_floats { (integers, floats + products) } else { (integers + products, floats) }
        })
    }

    /// Buffers for forward passes; one set per concurrent pass.
    pub fn scratch(&self) -> Scratch {
        let (c, kernels) = (&self.config, self.kernels);
        let heads = c.heads.n_heads * c.heads.head_dim;
        // Which forms are wanted differs from block to block.
        let rows = |k: usize| Acts::new(k, ActKinds::default(), kernels);
        Scratch {
            x: Vec::new(),
            delta: Vec::new(),
            attn: AttentionScratch::default(),
            attn_in: rows(c.n_embd),
            attn_out: rows(heads),
            ffn_in: rows(c.n_embd),
            ffn: FfnScratch::new(&self.blk[0].ffn, kernels),
            head_in: rows(c.n_embd),
            logits: Vec::new(),
        }
    }

    /// Reads the batch's tokens: keys and values go to `store` at the batch's slots. Returns the logits of the wanted
    /// rows, `[wanted, n_vocab]`. Token ids must be below `n_vocab`.
    pub fn forward<'s>(&self, c: Compute<'_>, batch: &Batch, store: &mut Store, s: &'s mut Scratch) -> &'s [f32] {
        let (n, d) = (batch.tokens().len(), self.config.n_embd);
        let v = &self.kernels.vector;
        self.config.rope.tables(batch.positions(), &mut s.attn.cos, &mut s.attn.sin);
        s.x.resize(n * d, 0.0);
        c.team.rows(&mut s.x, d, |i, row| self.token_embd.row(batch.tokens()[i] as usize, row));
        let all: Vec<usize> = (0..n).collect();
        for (layer, b) in self.blk.iter().enumerate() {
            let c = Compute { layer: Some(layer), ..c };
            let part = |i: usize| i * d..(i + 1) * d;
            s.attn_in.want(c.forms(b.attn.input_kinds()));
            let (role, x) = (|i: usize| batch.is_prompt(i), &mut s.x);
            s.attn_in.fill_beside(c.team, n, role, x, |i, x, row| {
                if layer > 0 {
                    v.add(x, &s.delta[part(i)]);
                }
                v.rms_norm(x, &b.attn_norm, self.config.eps, row);
            });
            c.tell(&["attn_q", "attn_k", "attn_v"], &s.attn_in, None);
            b.attn.mix(c, batch, &s.attn_in, (store, layer), &mut s.attn);
            // Behind the last attention only the rows whose logits are wanted matter, unless somebody watches.
            let narrow = layer + 1 == self.blk.len() && c.observe.is_none();
            let rows = if narrow { batch.wanted() } else { &all };
            if narrow {
                rows.iter().enumerate().for_each(|(to, &from)| s.x.copy_within(part(from), to * d));
                s.x.truncate(rows.len() * d);
            }
            let is_prompt = |i: usize| batch.is_prompt(rows[i]);
            let width = s.attn_out.k();
            let mixed = &s.attn.mixed;
            s.attn_out.want(c.forms(b.attn.attn_output.acts()));
            s.attn_out
                .fill(c.team, rows.len(), is_prompt, |i, row| row.copy_from_slice(&mixed[rows[i] * width..][..width]));
            c.tell(&["attn_output"], &s.attn_out, None);
            s.delta.resize(rows.len() * d, 0.0);
            let output = Product { weight: &b.attn.attn_output, rows: Rows::All, out: &mut s.delta };
            weight::run(c.team, &s.attn_out, &mut [output]);
            s.ffn_in.want(c.forms(b.ffn.input_kinds()));
            s.ffn_in.fill_beside(c.team, rows.len(), is_prompt, &mut s.x, |i, x, row| {
                v.add(x, &s.delta[part(i)]);
                v.rms_norm(x, &b.ffn_norm, self.config.eps, row);
            });
            b.ffn.forward(c, &s.ffn_in, &mut s.ffn, &mut s.delta);
        }
        c.team.rows(&mut s.x, d, |i, row| v.add(row, &s.delta[i * d..(i + 1) * d]));
        self.logits(c, batch, s)
    }

    fn logits<'s>(&self, c: Compute<'_>, batch: &Batch, s: &'s mut Scratch) -> &'s [f32] {
        let (n, d) = (batch.wanted().len(), self.config.n_embd);
        let (norm, eps, x) = (&self.output_norm, self.config.eps, &s.x);
        // The rows wanted are all that is left, unless somebody watches.
        let place = |i: usize| if c.observe.is_some() { batch.wanted()[i] } else { i };
        let residual = |i: usize| &x[place(i) * d..][..d];
        let weight = self.output.as_ref().unwrap_or(&self.token_embd);
        s.head_in.want(c.forms(weight.acts()));
        s.head_in.fill(
            c.team,
            n,
            |i| batch.is_prompt(batch.wanted()[i]),
            |i, row| self.kernels.vector.rms_norm(residual(i), norm, eps, row),
        );
        c.tell(if self.output.is_some() { &["output"] } else { &["token_embd"] }, &s.head_in, None);
        s.logits.resize(n * self.config.n_vocab, 0.0);
        let head = Product { weight, rows: Rows::All, out: &mut s.logits };
        weight::run(c.team, &s.head_in, &mut [head]);
        &s.logits
    }
}

/// Buffers of one forward pass; grown to the largest batch seen.
pub struct Scratch {
    /// `[tokens, n_embd]`: the residual stream.
    x: Vec<f32>,
    /// `[tokens, n_embd]`: what a half block adds to it.
    delta: Vec<f32>,
    attn: AttentionScratch,
    attn_in: Acts,
    attn_out: Acts,
    ffn_in: Acts,
    ffn: FfnScratch,
    head_in: Acts,
    logits: Vec<f32>,
}

impl Scratch {
    /// `[wanted, n_vocab]` logits of the last forward pass.
    pub fn logits(&self) -> &[f32] {
        &self.logits
    }
}
