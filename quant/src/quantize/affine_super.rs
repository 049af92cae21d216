//! Super-blocks of groups with `x = (d * scale) * code - dmin * minimum`: two f16 for all, two integers for each group.
//!
//! As in [`super::symmetric_super`]: each group's own regression; `d` and `dmin` that bring scales and minima near
//! integers; then each group's integers by trying those around the ideal ones, the minima around the one that suits
//! the scale tried; then `d` and `dmin` as the regression on all the codes, and the integers again.

use super::affine::{self, Based, Fit, Fixed, Grid};
use super::codes::round_within;
use super::lanes::{LANES, Lanes, Row, Vector};
use super::symmetric_super::common_scale;
use super::tile::{Groups, Stored, inverse, stored};

/// What a format can say, and how long to search.
pub(crate) struct Search<'a> {
    /// The highest code.
    pub top: f32,
    /// The highest integer scale and minimum.
    pub scale_top: f32,
    /// What is tried for each group by itself.
    pub grid: &'a Grid,
    /// What the largest scale, and the largest minimum, is divided to.
    pub scale_reaches: &'a [Row],
    /// Integer scales tried on either side, and minima: the first time, and the others.
    pub windows: [(i32, i32); 2],
    /// Times that `d` and `dmin` are fitted.
    pub rounds: usize,
}

/// Encoded super-blocks.
pub(crate) struct Coded<const N: usize> {
    /// `d` and `dmin` of the super-block that a group belongs to.
    pub d: [Common; LANES],
    /// Integer scale of each group.
    pub scales: Row,
    /// Integer minimum of each group.
    pub mins: Row,
    /// Code j of each group.
    pub codes: [Row; N],
}

/// What the groups of a super-block share.
#[derive(Clone, Copy)]
pub(crate) struct Common {
    /// The scale of the scales.
    pub d: Stored,
    /// The scale of the minima.
    pub dmin: Stored,
}

impl Common {
    /// Whether either is beyond f16.
    pub fn clamped(&self) -> bool {
        self.d.clamped || self.dmin.clamped
    }
}

/// Encodes the super-blocks of `groups.share` groups each.
#[inline(always)]
pub(crate) fn encode<L: Lanes, const N: usize>(l: L, groups: &mut Groups<N>, search: &Search<'_>) -> Coded<N> {
    let (share, unit) = (groups.share, groups.unit);
    let g = Based::new(l, groups, search.top, false);
    let (fit, fixed) = affine::search(l, &g, search.grid);
    let min = l.splat(0.0) - (fit.offset + l.load(&g.base));
    let ideal = Ideal { fit, fixed, min };
    let mut common = first_common(l, &ideal, search, &unit, share);
    let mut best = Integers::nothing();
    for round in 0..=search.rounds {
        if round > 0 {
            let sums = Sums::of(l, &g, &best);
            for s in (0..LANES).step_by(share) {
                if let Some((d, dmin)) = sums.regression(&best, s..s + share) {
                    common[s..s + share].fill(Common { d: stored(d, unit.0[s]), dmin: stored(dmin, unit.0[s]) });
                }
            }
        }
        let next = Integers::search(l, &g, &ideal, &common, search, search.windows[round.min(1)]);
        best.take_better(&next, share);
    }
    let (scale, offset) = best.values(l, &g);
    let per_unit = inverse(l, scale);
    let mut codes = g.groups.x;
    for codes in &mut codes {
        *codes = round_within(l, (l.load(codes) - offset) * per_unit, 0.0, g.top).store();
    }
    Coded { d: best.common, scales: best.scale, mins: best.min, codes }
}

/// What each group would have by itself.
struct Ideal<V> {
    fit: Fit<V>,
    fixed: Fixed<V>,
    /// The minimum: the offset from zero, negated.
    min: V,
}

/// `d` and `dmin` that come near the groups' own scales and minima.
#[inline(always)]
fn first_common<L: Lanes>(l: L, ideal: &Ideal<L::V>, search: &Search<'_>, unit: &Row, share: usize) -> [Common; LANES] {
    let (scales, curvature) = (ideal.fit.scale.store(), ideal.fit.curvature.store());
    let (mins, weights) = (ideal.min.store(), ideal.fixed.w.store());
    let mut common = [Common { d: stored(0.0, 1.0), dmin: stored(0.0, 1.0) }; LANES];
    for s in (0..LANES).step_by(share) {
        let group = s..s + share;
        let (reaches, range) = (search.scale_reaches, (0.0, search.scale_top));
        let d = common_scale(l, &scales.0[group.clone()], &curvature.0[group.clone()], reaches, range);
        let dmin = common_scale(l, &mins.0[group.clone()], &weights.0[group.clone()], reaches, range);
        common[group].fill(Common { d: stored(d, unit.0[s]), dmin: stored(dmin, unit.0[s]) });
    }
    common
}

/// Integer scales and minima with what they multiply, and the error that this leaves.
struct Integers {
    common: [Common; LANES],
    scale: Row,
    min: Row,
    error: Row,
}

impl Integers {
    /// Worse than anything.
    fn nothing() -> Self {
        let (zeros, none) = (Row([0.0; LANES]), Common { d: stored(0.0, 1.0), dmin: stored(0.0, 1.0) });
        Self { common: [none; LANES], scale: zeros, min: zeros, error: Row([f32::INFINITY; LANES]) }
    }

    /// The integers of least error, of those at most `window` from the ideal ones.
    #[inline(always)]
    fn search<L: Lanes, const N: usize>(
        l: L,
        g: &Based<'_, N>,
        ideal: &Ideal<L::V>,
        common: &[Common; LANES],
        search: &Search<'_>,
        window: (i32, i32),
    ) -> Self {
        let zero = l.splat(0.0);
        let (d, dmin) = (l.load(&Row(common.map(|c| c.d.value))), l.load(&Row(common.map(|c| c.dmin.value))));
        let (per_d, per_dmin) = (inverse(l, d), inverse(l, dmin));
        let (base, fit) = (l.load(&g.base), &ideal.fit);
        let middle = round_within(l, fit.scale * per_d, 0.0, search.scale_top);
        let (mut scale, mut min, mut error) = (zero, zero, l.splat(f32::INFINITY));
        for step in -window.0..=window.0 {
            let tried = round_within(l, middle + l.splat(step as f32), 0.0, search.scale_top);
            let factor = d * tried;
            // The minimum moves such that the mean stays.
            let suits = (ideal.min + (factor - fit.scale) * fit.mean) * per_dmin;
            let suits = round_within(l, suits, 0.0, search.scale_top);
            for step in -window.1..=window.1 {
                let tried_min = round_within(l, suits + l.splat(step as f32), 0.0, search.scale_top);
                let e = error_of(l, g, factor, zero - dmin * tried_min - base);
                scale = e.if_less(error, tried, scale);
                min = e.if_less(error, tried_min, min);
                error = e.min(error);
            }
        }
        Self { common: *common, scale: scale.store(), min: min.store(), error: error.store() }
    }

    /// Takes over the super-blocks whose error is smaller in `other`.
    fn take_better(&mut self, other: &Self, share: usize) {
        for s in (0..LANES).step_by(share) {
            let sum = |errors: &Row| errors.0[s..s + share].iter().sum::<f32>();
            if sum(&other.error) < sum(&self.error) {
                for lane in s..s + share {
                    self.common[lane] = other.common[lane];
                    self.scale.0[lane] = other.scale.0[lane];
                    self.min.0[lane] = other.min.0[lane];
                    self.error.0[lane] = other.error.0[lane];
                }
            }
        }
    }

    /// Scale and offset of each group; the offset relative to the base.
    #[inline(always)]
    fn values<L: Lanes, const N: usize>(&self, l: L, g: &Based<'_, N>) -> (L::V, L::V) {
        let d = l.load(&Row(self.common.map(|c| c.d.value)));
        let dmin = l.load(&Row(self.common.map(|c| c.dmin.value)));
        (d * l.load(&self.scale), l.splat(0.0) - dmin * l.load(&self.min) - l.load(&g.base))
    }
}

/// The error that each group is left with.
#[inline(always)]
fn error_of<L: Lanes, const N: usize>(l: L, g: &Based<'_, N>, scale: L::V, offset: L::V) -> L::V {
    let per_unit = inverse(l, scale);
    let mut error = l.splat(0.0);
    for j in 0..N {
        let (x, w) = (l.load(&g.groups.x[j]) - offset, l.load(&g.groups.w[j]));
        let off = scale * round_within(l, x * per_unit, 0.0, g.top) - x;
        error = error + off * off * w;
    }
    error
}

/// Sums over each group's codes.
struct Sums {
    w: Row,
    x: Row,
    q1: Row,
    q2: Row,
    xq: Row,
}

impl Sums {
    #[inline(always)]
    fn of<L: Lanes, const N: usize>(l: L, g: &Based<'_, N>, integers: &Integers) -> Self {
        let (scale, offset) = integers.values(l, g);
        let (per_unit, base, zero) = (inverse(l, scale), l.load(&g.base), l.splat(0.0));
        let (mut sw, mut sx, mut q1, mut q2, mut xq) = (zero, zero, zero, zero, zero);
        for j in 0..N {
            let (u, w) = (l.load(&g.groups.x[j]), l.load(&g.groups.w[j]));
            let q = round_within(l, (u - offset) * per_unit, 0.0, g.top);
            let (x, wq) = (u + base, w * q);
            sw = sw + w;
            sx = sx + w * x;
            q1 = q1 + wq;
            q2 = q2 + wq * q;
            xq = xq + wq * x;
        }
        Self { w: sw.store(), x: sx.store(), q1: q1.store(), q2: q2.store(), xq: xq.store() }
    }

    /// The best `d` and `dmin` for the codes of these groups, if there is a sound one.
    fn regression(&self, integers: &Integers, groups: std::ops::Range<usize>) -> Option<(f32, f32)> {
        let (mut ss, mut sm, mut mm, mut xs, mut xm) = (0f64, 0f64, 0f64, 0f64, 0f64);
        for lane in groups {
            let (s, m) = (f64::from(integers.scale.0[lane]), f64::from(integers.min.0[lane]));
            ss += s * s * f64::from(self.q2.0[lane]);
            sm += s * m * f64::from(self.q1.0[lane]);
            mm += m * m * f64::from(self.w.0[lane]);
            xs += s * f64::from(self.xq.0[lane]);
            xm += m * f64::from(self.x.0[lane]);
        }
        let determinant = ss * mm - sm * sm;
        let (d, dmin) = match (ss > 0.0, mm > 0.0) {
            (true, true) => ((mm * xs - sm * xm) / determinant, (sm * xs - ss * xm) / determinant),
            (true, false) => (xs / ss, 0.0),
            (false, _) => (0.0, -xm / mm),
        };
        (d.is_finite() && dmin.is_finite() && d >= 0.0 && dmin >= 0.0).then_some((d as f32, dmin as f32))
    }
}
