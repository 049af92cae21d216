//! The feed-forward half of a block: one gated MLP, or a router and many of them.

use super::weights::Source;
use super::{Compute, Config};
use crate::error::Result;
use crate::model::config::Experts;
use lapwing_quant::acts::{ActKinds, Acts};
use lapwing_quant::kernels::Kernels;
use lapwing_quant::weight::{self, Product, Rows, Weight};

/// Dense or mixture of experts; the only difference between the two architectures.
pub enum Ffn {
    /// One gated MLP.
    Dense(Mlp),
    /// A router and experts.
    Moe(Moe),
}

/// A gated MLP: `down(silu(gate(h)) * up(h))`.
pub struct Mlp {
    ffn_gate: Weight,
    ffn_up: Weight,
    ffn_down: Weight,
}

/// Router and experts; each token goes to the `used` likeliest, whose weights are renormalized to sum to one.
pub struct Moe {
    ffn_gate_inp: Weight,
    ffn_gate_exps: Vec<Weight>,
    ffn_up_exps: Vec<Weight>,
    ffn_down_exps: Vec<Weight>,
    experts: Experts,
}

/// Buffers of the feed-forward half, reused by all blocks.
pub struct FfnScratch {
    gate: Vec<f32>,
    up: Vec<f32>,
    act: Acts,
    router: Vec<f32>,
    down: Vec<f32>,
}

impl FfnScratch {
    /// Buffers for blocks like `ffn`.
    pub fn new(ffn: &Ffn, kernels: &'static Kernels) -> Self {
        let width = match ffn {
            Ffn::Dense(m) => m.ffn_down.cols(),
            Ffn::Moe(m) => m.experts.ffn,
        };
        let (gate, up, router, down) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { gate, up, router, down, act: Acts::new(width, ActKinds::default(), kernels) }
    }
}

impl Ffn {
    /// Loads `blk.N.ffn_*`.
    pub fn load(source: &Source<'_>, c: &Config, blk: &str) -> Result<Self> {
        let name = |part: &str| format!("{blk}.{part}.weight");
        let Some(e) = c.experts else {
            return Ok(Self::Dense(Mlp {
                ffn_gate: source.matrix(&name("ffn_gate"), c.n_ff, c.n_embd)?,
                ffn_up: source.matrix(&name("ffn_up"), c.n_ff, c.n_embd)?,
                ffn_down: source.matrix(&name("ffn_down"), c.n_embd, c.n_ff)?.precise(),
            }));
        };
        let down = source.experts(&name("ffn_down_exps"), c.n_embd, e.ffn, e.count)?;
        Ok(Self::Moe(Moe {
            ffn_gate_inp: source.matrix(&name("ffn_gate_inp"), e.count, c.n_embd)?,
            ffn_gate_exps: source.experts(&name("ffn_gate_exps"), e.ffn, c.n_embd, e.count)?,
            ffn_up_exps: source.experts(&name("ffn_up_exps"), e.ffn, c.n_embd, e.count)?,
            ffn_down_exps: down.into_iter().map(Weight::precise).collect(),
            experts: e,
        }))
    }

    /// Every matrix, to be repacked.
    pub fn weights_mut(&mut self) -> Vec<&mut Weight> {
        match self {
            Self::Dense(m) => vec![&mut m.ffn_gate, &mut m.ffn_up, &mut m.ffn_down],
            Self::Moe(m) => {
                let exps = m.ffn_gate_exps.iter_mut().chain(&mut m.ffn_up_exps).chain(&mut m.ffn_down_exps);
                std::iter::once(&mut m.ffn_gate_inp).chain(exps).collect()
            }
        }
    }

    /// The matrices that one token is multiplied with, each with how many of its kind that is.
    pub fn per_token(&self) -> Vec<(&Weight, usize)> {
        match self {
            Self::Dense(m) => vec![(&m.ffn_gate, 1), (&m.ffn_up, 1), (&m.ffn_down, 1)],
            Self::Moe(m) => {
                let exps = [&m.ffn_gate_exps, &m.ffn_up_exps, &m.ffn_down_exps];
                let used = exps.into_iter().map(|exps| (&exps[0], m.experts.used));
                std::iter::once((&m.ffn_gate_inp, 1)).chain(used).collect()
            }
        }
    }

    /// The forms of its input that are read.
    pub fn input_kinds(&self) -> ActKinds {
        match self {
            Self::Dense(m) => m.ffn_gate.acts().and(m.ffn_up.acts()),
            Self::Moe(m) => m.ffn_gate_inp.acts().and(kinds(&m.ffn_gate_exps)).and(kinds(&m.ffn_up_exps)),
        }
    }

    /// `out = ffn(h)`, `[tokens, n_embd]`.
    pub fn forward(&self, c: Compute<'_>, h: &Acts, s: &mut FfnScratch, out: &mut [f32]) {
        match self {
            Self::Dense(m) => m.forward(c, h, s, out),
            Self::Moe(m) => m.forward(c, h, s, out),
        }
    }
}

impl Mlp {
    fn forward(&self, c: Compute<'_>, h: &Acts, s: &mut FfnScratch, out: &mut [f32]) {
        let (n, width) = (h.n(), self.ffn_down.cols());
        c.tell(&["ffn_gate", "ffn_up"], h, None);
        s.gate.resize(n * width, 0.0);
        s.up.resize(n * width, 0.0);
        let mut products = [
            Product { weight: &self.ffn_gate, rows: Rows::All, out: &mut s.gate },
            Product { weight: &self.ffn_up, rows: Rows::All, out: &mut s.up },
        ];
        weight::run(c.team, h, &mut products);
        let part = |i: usize| i * width..(i + 1) * width;
        s.act.want(c.forms(self.ffn_down.acts()));
        s.act.fill(
            c.team,
            n,
            |i| h.is_prompt(i),
            |i, row| c.kernels.vector.silu_mul(&s.gate[part(i)], &s.up[part(i)], row),
        );
        c.tell(&["ffn_down"], &s.act, None);
        weight::run(c.team, &s.act, &mut [Product { weight: &self.ffn_down, rows: Rows::All, out }]);
    }
}

/// Which token goes to which expert, sorted by expert, prompts first within each.
struct Routing {
    /// Per expert, the rows of its tokens.
    tokens: Vec<Vec<u32>>,
    /// First pair of each expert.
    first: Vec<usize>,
    /// Per token, its (pair, weight) in the order of the router's ranking.
    of_token: Vec<Vec<(usize, f32)>>,
    /// The token of each pair.
    token_of: Vec<u32>,
}

impl Moe {
    fn forward(&self, c: Compute<'_>, h: &Acts, s: &mut FfnScratch, out: &mut [f32]) {
        let (n, e) = (h.n(), self.experts);
        c.tell(&["ffn_gate_inp"], h, None);
        s.router.resize(n * e.count, 0.0);
        let router = Product { weight: &self.ffn_gate_inp, rows: Rows::All, out: &mut s.router };
        weight::run(c.team, h, &mut [router]);
        let r = self.route(c, &mut s.router, n);
        c.tell(&["ffn_gate_exps", "ffn_up_exps"], h, Some(&r.tokens));
        let pairs = r.token_of.len();
        s.gate.resize(pairs * e.ffn, 0.0);
        s.up.resize(pairs * e.ffn, 0.0);
        let mut products = by_expert(&self.ffn_gate_exps, &r.tokens, &mut s.gate);
        products.extend(by_expert(&self.ffn_up_exps, &r.tokens, &mut s.up));
        weight::run(c.team, h, &mut products);
        drop(products);
        let part = |i: usize| i * e.ffn..(i + 1) * e.ffn;
        s.act.want(c.forms(kinds(&self.ffn_down_exps)));
        s.act.fill(
            c.team,
            pairs,
            |i| h.is_prompt(r.token_of[i] as usize),
            |i, row| c.kernels.vector.silu_mul(&s.gate[part(i)], &s.up[part(i)], row),
        );
        let width = self.ffn_down_exps[0].rows();
        s.down.resize(pairs * width, 0.0);
        let ranges: Vec<Vec<u32>> =
            r.tokens.iter().zip(&r.first).map(|(t, &f)| (f as u32..(f + t.len()) as u32).collect()).collect();
        c.tell(&["ffn_down_exps"], &s.act, Some(&ranges));
        let mut products = by_expert(&self.ffn_down_exps, &ranges, &mut s.down);
        weight::run(c.team, &s.act, &mut products);
        drop(products);
        let down = &s.down;
        c.team.rows(out, width, |i, row| {
            row.fill(0.0);
            for &(pair, weight) in &r.of_token[i] {
                c.kernels.vector.add_scaled(row, &down[pair * width..(pair + 1) * width], weight);
            }
        });
    }

    /// Softmax over the experts, the `used` largest (the lower index first among equals), renormalized.
    fn route(&self, c: Compute<'_>, logits: &mut [f32], n: usize) -> Routing {
        let e = self.experts;
        let mut chosen: Vec<Vec<(usize, f32)>> = Vec::with_capacity(n);
        for row in logits.chunks_exact_mut(e.count) {
            c.kernels.vector.softmax(row);
            let mut order: Vec<usize> = (0..e.count).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]).then(a.cmp(&b)));
            order.truncate(e.used);
            let sum: f32 = order.iter().map(|&x| row[x]).sum();
            chosen.push(order.into_iter().map(|x| (x, row[x] / sum)).collect());
        }
        let mut tokens = vec![Vec::new(); e.count];
        for (t, choice) in chosen.iter().enumerate() {
            choice.iter().for_each(|&(x, _)| tokens[x].push(t as u32));
        }
        let mut first = Vec::with_capacity(e.count);
        let mut token_of = Vec::with_capacity(n * e.used);
        for list in &tokens {
            first.push(token_of.len());
            token_of.extend(list);
        }
        let pair = |x: usize, t: usize| first[x] + tokens[x].partition_point(|&o| (o as usize) < t);
        let place = |(t, choice): (usize, &Vec<(usize, f32)>)| choice.iter().map(|&(x, w)| (pair(x, t), w)).collect();
        let of_token = chosen.iter().enumerate().map(place).collect();
        Routing { tokens, first, of_token, token_of }
    }
}

/// The forms of activations that some matrices read.
fn kinds(weights: &[Weight]) -> ActKinds {
    weights.iter().fold(ActKinds::default(), |k, w| k.and(w.acts()))
}

/// One product per expert that has tokens; results lie one after the other in `out`.
fn by_expert<'a>(weights: &'a [Weight], lists: &'a [Vec<u32>], mut out: &'a mut [f32]) -> Vec<Product<'a>> {
    let mut products = Vec::new();
    for (weight, list) in weights.iter().zip(lists).filter(|(_, l)| !l.is_empty()) {
        let (mine, rest) = out.split_at_mut(list.len() * weight.rows());
        out = rest;
        products.push(Product { weight, rows: Rows::Some(list), out: mine });
    }
    products
}
