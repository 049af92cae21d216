//! Groups with a scale and an offset each: `x = scale * code + offset`, codes from 0 up.
//!
//! For given codes, scale and offset are a linear regression. Which codes to use is searched: the range of the group is
//! divided into somewhat more or fewer steps than there are codes, starting somewhat below or above its lowest value
//! ([`Grid`]); the codes give their regression, and the best of all is rounded and fitted again.
//!
//! Everything is calculated with `u = x - base`, where `base` is the lowest value, so that a group far from zero loses
//! no digits.

use super::codes::round_within;
use super::lanes::{LANES, Lanes, Row, Vector};
use super::tile::{Groups, Stored, inverse, stored, stored_all};

/// Times that the winner is rounded and fitted again.
const REFINEMENTS: usize = 3;

/// The divisions to try: steps in the range beyond the highest code, and where the first begins, in steps.
pub(crate) type Grid = [(f32, f32)];

/// A grid of A numbers of steps, `more.0` to `more.1` beyond the highest code, with B begins each: around the half of
/// what is more, up to `around` on either side.
pub(crate) const fn grid<const A: usize, const B: usize>(more: (f32, f32), around: f32) -> [[(f32, f32); B]; A] {
    let (mut grid, mut a) = ([[(0.0, 0.0); B]; A], 0);
    while a < A {
        let beyond = more.0 + (more.1 - more.0) * a as f32 / (A - 1) as f32;
        let mut b = 0;
        while b < B {
            grid[a][b] = (beyond, beyond / 2.0 + around * (2.0 * b as f32 / (B - 1) as f32 - 1.0));
            b += 1;
        }
        a += 1;
    }
    grid
}

/// Groups relative to their base.
pub(crate) struct Based<'a, const N: usize> {
    /// The groups, of which `x` now is `u`.
    pub groups: &'a mut Groups<N>,
    /// What was subtracted from each.
    pub base: Row,
    /// The highest code.
    pub top: f32,
    /// The largest offset allowed, relative to the base.
    pub limit: Row,
}

impl<'a, const N: usize> Based<'a, N> {
    /// With `free`, any offset goes; else it must not be above 0.
    #[inline(always)]
    pub fn new<L: Lanes>(l: L, groups: &'a mut Groups<N>, top: f32, free: bool) -> Self {
        let mut base = l.load(&groups.x[0]);
        for x in &groups.x {
            base = base.min(l.load(x));
        }
        if !free {
            base = base.min(l.splat(0.0));
        }
        for x in &mut groups.x {
            *x = (l.load(x) - base).store();
        }
        let limit = if free { l.splat(f32::INFINITY) } else { l.splat(0.0) - base };
        Self { groups, base: base.store(), top, limit: limit.store() }
    }
}

/// The best scale and offset of each group.
pub(crate) struct Fit<V> {
    /// The scale: 0 for a constant group.
    pub scale: V,
    /// The offset, relative to the base.
    pub offset: V,
    /// The mean code.
    pub mean: V,
    /// How fast the error grows beside the scale, when the offset follows as far as it may.
    pub curvature: V,
    gain: V,
}

/// Sums over a group that do not depend on codes.
#[derive(Clone, Copy)]
pub(crate) struct Fixed<V> {
    /// Sum of the importances.
    pub w: V,
    /// Sum of the weighted values.
    pub x: V,
}

/// Tries each division of the grid.
#[inline(always)]
pub(crate) fn search<L: Lanes, const N: usize>(l: L, g: &Based<'_, N>, grid: &Grid) -> (Fit<L::V>, Fixed<L::V>) {
    let zero = l.splat(0.0);
    let mut fixed = Fixed { w: zero, x: zero };
    let mut range = zero;
    for j in 0..N {
        let (x, w) = (l.load(&g.groups.x[j]), l.load(&g.groups.w[j]));
        fixed = Fixed { w: fixed.w + w, x: fixed.x + w * x };
        range = range.max(x);
    }
    let offset = (fixed.x / fixed.w).min(l.load(&g.limit));
    let gain = offset * (fixed.x + fixed.x - offset * fixed.w);
    let mut best = Fit { scale: zero, offset, mean: zero, curvature: zero, gain };
    let per_unit = inverse(l, range);
    // One loop, as everything here is inlined, once for each format and instruction set.
    for i in 0..grid.len() + REFINEMENTS {
        let (inverse_scale, start) = match grid.get(i) {
            Some(&(more, start)) => (per_unit * l.splat(g.top + more), l.splat(start)),
            None => (inverse(l, best.scale), best.offset * inverse(l, best.scale)),
        };
        best = better(l, g, fixed, inverse_scale, start, best);
    }
    (best, fixed)
}

/// The regression on the codes `u * inverse_scale - start`, where that is better than `best`.
#[inline(always)]
fn better<L: Lanes, const N: usize>(
    l: L,
    g: &Based<'_, N>,
    fixed: Fixed<L::V>,
    inverse_scale: L::V,
    start: L::V,
    best: Fit<L::V>,
) -> Fit<L::V> {
    let zero = l.splat(0.0);
    let (mut q1, mut q2, mut xq) = (zero, zero, zero);
    for j in 0..N {
        let (x, w) = (l.load(&g.groups.x[j]), l.load(&g.groups.w[j]));
        let q = round_within(l, x * inverse_scale - start, 0.0, g.top);
        let wq = w * q;
        q1 = q1 + wq;
        q2 = q2 + wq * q;
        xq = xq + wq * x;
    }
    let determinant = fixed.w * q2 - q1 * q1;
    let offset = (q2 * fixed.x - q1 * xq) / determinant;
    let limit = l.load(&g.limit);
    // With a NaN (all codes alike) the limit, too. An offset at its limit does not follow the scale.
    let curvature = offset.if_less(limit, determinant / fixed.w, q2);
    let offset = offset.min(limit);
    let scale = (xq - offset * q1) / q2;
    let gain =
        scale * (xq + xq - scale * q2 - (offset + offset) * q1) + offset * (fixed.x + fixed.x - offset * fixed.w);
    let gain = zero.if_less(scale, gain, best.gain);
    Fit {
        scale: best.gain.if_less(gain, scale, best.scale),
        offset: best.gain.if_less(gain, offset, best.offset),
        mean: best.gain.if_less(gain, q1 / fixed.w, best.mean),
        curvature: best.gain.if_less(gain, curvature, best.curvature),
        gain: best.gain.if_less(gain, gain, best.gain),
    }
}

/// Groups whose scales and offsets are stored as f16 each.
pub(crate) struct Coded<const N: usize> {
    /// The scale of each group.
    pub scales: [Stored; LANES],
    /// The offset of each group.
    pub offsets: [Stored; LANES],
    /// Code j of each group.
    pub codes: [Row; N],
}

impl<const N: usize> Coded<N> {
    /// How many of the first `groups` have a scale or an offset beyond f16.
    pub fn clamped(&self, groups: usize) -> usize {
        self.scales.iter().zip(&self.offsets).take(groups).filter(|(d, m)| d.clamped || m.clamped).count()
    }
}

/// Searches scales and offsets, stores the offset, fits the scale to what was stored, and rounds to the codes.
#[inline(always)]
pub(crate) fn encode<L: Lanes, const N: usize>(l: L, groups: &mut Groups<N>, top: f32, grid: &Grid) -> Coded<N> {
    let unit = groups.unit;
    let g = Based::new(l, groups, top, true);
    let (fit, fixed) = search(l, &g, grid);
    let base = l.load(&g.base);
    let (mut offsets, values) = stored_all(&(fit.offset + base).store(), &unit);
    let offset = l.load(&values) - base;
    let per_unit = inverse(l, fit.scale);
    let (mut q2, mut xq) = (l.splat(0.0), l.splat(0.0));
    for j in 0..N {
        let (x, w) = (l.load(&g.groups.x[j]) - offset, l.load(&g.groups.w[j]));
        let q = round_within(l, x * per_unit, 0.0, top);
        q2 = q2 + w * q * q;
        xq = xq + w * q * x;
    }
    let (scales, values) = stored_all(&(xq * inverse(l, q2)).store(), &unit);
    let means = (fixed.x / fixed.w + base).store();
    for lane in 0..LANES {
        // Where the scale is too small for f16, all there is to choose is one value for the whole group.
        if values.0[lane] == 0.0 {
            offsets[lane] = stored(means.0[lane], unit.0[lane]);
        }
    }
    let per_unit = inverse(l, l.load(&values));
    let mut codes = g.groups.x;
    for codes in &mut codes {
        *codes = round_within(l, (l.load(codes) - offset) * per_unit, 0.0, top).store();
    }
    Coded { scales, offsets, codes }
}
