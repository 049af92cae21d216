//! Groups with one scale each: `x = scale * code`, codes on both sides of zero.
//!
//! For given codes the best scale is `sum(w x q) / sum(w q^2)`, and it takes `sum(w x q)^2 / sum(w q^2)` off the error.
//! Which codes to use is searched: each of a list of scales (given as what the group's extreme value is divided to)
//! rounds the group to codes, the codes give their best scale, and the best of all is rounded and fitted again.

use super::codes::Codes;
use super::lanes::{LANES, Lanes, Row, Vector};
use super::tile::{Groups, Stored, inverse, stored_all};

/// Times that the winner is rounded and fitted again.
const REFINEMENTS: usize = 2;

/// What an extreme value is divided to: LOW values evenly from `low.0` to `low.1`, and the others so in `high`.
pub(crate) const fn reaches<const LOW: usize, const ALL: usize>(low: (f32, f32), high: (f32, f32)) -> [f32; ALL] {
    let (mut values, mut i) = ([0.0; ALL], 0);
    while i < ALL {
        let ((from, to), at, of) = if i < LOW { (low, i, LOW) } else { (high, i - LOW, ALL - LOW) };
        values[i] = from + (to - from) * at as f32 / (of - 1) as f32;
        i += 1;
    }
    values
}

/// The best scale of each group.
pub(crate) struct Fit<V> {
    /// The scale: 0 for a group of zeros.
    pub scale: V,
    /// How fast the error grows beside it: `sum(w q^2)`.
    pub curvature: V,
    /// What the scale takes off the error.
    gain: V,
}

/// Tries to divide each group's extreme value to each of `reaches`, in units of the codes.
#[inline(always)]
pub(crate) fn search<L: Lanes, C: Codes, const N: usize>(l: L, g: &Groups<N>, reaches: &[f32]) -> Fit<L::V> {
    let zero = l.splat(0.0);
    let (mut extreme, mut top) = (zero, zero);
    for x in &g.x {
        let x = l.load(x);
        let magnitude = x.max(zero - x);
        extreme = top.if_less(magnitude, x, extreme);
        top = top.max(magnitude);
    }
    let mut best = Fit { scale: zero, curvature: zero, gain: zero };
    let per_unit = inverse(l, extreme);
    // One loop, as everything here is inlined, once for each format and instruction set.
    for i in 0..reaches.len() + REFINEMENTS {
        let inverse_scale =
            if let Some(&reach) = reaches.get(i) { per_unit * l.splat(reach) } else { inverse(l, best.scale) };
        best = better::<L, C, N>(l, g, inverse_scale, best);
    }
    best
}

/// The fit to the codes that `inverse_scale` rounds to, where that is better than `best`.
#[inline(always)]
fn better<L: Lanes, C: Codes, const N: usize>(l: L, g: &Groups<N>, inverse_scale: L::V, best: Fit<L::V>) -> Fit<L::V> {
    let (mut xq, mut qq) = (l.splat(0.0), l.splat(0.0));
    for j in 0..N {
        let (x, w) = (l.load(&g.x[j]), l.load(&g.w[j]));
        let q = C::nearest(l, x * inverse_scale);
        let wq = w * q;
        xq = xq + wq * x;
        qq = qq + wq * q;
    }
    let scale = xq / qq;
    let gain = scale * xq;
    Fit {
        scale: best.gain.if_less(gain, scale, best.scale),
        curvature: best.gain.if_less(gain, qq, best.curvature),
        gain: best.gain.if_less(gain, gain, best.gain),
    }
}

/// Groups whose scales are stored as f16 each.
pub(crate) struct Coded<const N: usize> {
    /// The scale of each group.
    pub scales: [Stored; LANES],
    /// Code j of each group.
    pub codes: [Row; N],
}

/// Searches scales, stores them, and rounds to the codes of what was stored.
#[inline(always)]
pub(crate) fn encode<L: Lanes, C: Codes, const N: usize>(l: L, g: &Groups<N>, reaches: &[f32]) -> Coded<N> {
    let (scales, values) = stored_all(&search::<L, C, N>(l, g, reaches).scale.store(), &g.unit);
    let per_unit = inverse(l, l.load(&values));
    let mut codes = g.x;
    for codes in &mut codes {
        *codes = C::nearest(l, l.load(codes) * per_unit).store();
    }
    Coded { scales, codes }
}
