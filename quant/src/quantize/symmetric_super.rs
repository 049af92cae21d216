//! Super-blocks of groups with `x = (d * scale) * code`: one f16 `d`, and an integer scale for each group.
//!
//! 1. Each group's own best scale ([`super::symmetric`]).
//! 2. `d`: of a list of values, the one that brings the scales nearest to integers, each group's deviation counted by
//!    how fast its error grows.
//! 3. Each group's integer scale: those around the ideal one are tried, and the true error decides.
//! 4. With scales and codes fixed the best `d` is a quotient of sums; with it, step 3 again. The better one stays.

use super::codes::{Codes, round_within};
use super::lanes::{LANES, Lanes, Row, Vector};
use super::symmetric;
use super::tile::{Groups, Stored, inverse, stored};

/// What a format can say, and how long to search.
pub(crate) struct Search<'a> {
    /// Lowest and highest integer scale.
    pub scales: (f32, f32),
    /// What a group's extreme value is divided to in step 1.
    pub reaches: &'a [f32],
    /// What the largest scale is divided to in step 2; a multiple of sixteen of them.
    pub scale_reaches: &'a [Row],
    /// Integer scales tried on either side, in step 3 and in step 4.
    pub windows: (i32, i32),
    /// Times that step 4 is done.
    pub rounds: usize,
}

/// Sixteen values from `from` on, `step` apart.
pub(super) const fn spread(from: f32, step: f32) -> Row {
    let (mut values, mut lane) = ([0.0; LANES], 0);
    while lane < LANES {
        values[lane] = from + step * lane as f32;
        lane += 1;
    }
    Row(values)
}

/// Encoded super-blocks.
pub(crate) struct Coded<const N: usize> {
    /// `d` of the super-block that a group belongs to.
    pub d: [Stored; LANES],
    /// Integer scale of each group.
    pub scales: Row,
    /// Code j of each group.
    pub codes: [Row; N],
}

/// Encodes the super-blocks of `g.share` groups each.
#[inline(always)]
pub(crate) fn encode<L: Lanes, C: Codes, const N: usize>(l: L, g: &Groups<N>, search: &Search<'_>) -> Coded<N> {
    let fit = symmetric::search::<L, C, N>(l, g, search.reaches);
    let (ideal, curvature) = (fit.scale.store(), fit.curvature.store());
    let share = g.share;
    let mut d = [stored(0.0, 1.0); LANES];
    for s in (0..LANES).step_by(share) {
        let common =
            common_scale(l, &ideal.0[s..s + share], &curvature.0[s..s + share], search.scale_reaches, search.scales);
        d[s..s + share].fill(stored(common, g.unit.0[s]));
    }
    let mut best = Scaled::nothing();
    for round in 0..=search.rounds {
        if round > 0 {
            best.fit(&mut d, &g.unit, share);
        }
        let window = if round == 0 { search.windows.0 } else { search.windows.1 };
        best.take_better(&nearest_scales::<L, C, N>(l, g, &d, &ideal, search, window), share);
    }
    let per_unit = inverse(l, l.load(&Row(best.d.map(|d| d.value))) * l.load(&best.scale));
    let mut codes = g.x;
    for codes in &mut codes {
        *codes = C::nearest(l, l.load(codes) * per_unit).store();
    }
    Coded { d: best.d, scales: best.scale, codes }
}

/// Step 2: of the values that divide the largest of `ideal` to one of `reaches`, the one whose multiples by `range`
/// come nearest to all of `ideal`. Each lane tries another.
#[inline(always)]
pub(super) fn common_scale<L: Lanes>(
    l: L,
    ideal: &[f32],
    curvature: &[f32],
    reaches: &[Row],
    (low, high): (f32, f32),
) -> f32 {
    let extreme = ideal.iter().fold(0f32, |a, &b| if b.abs() > a.abs() { b } else { a });
    let (mut best, mut least) = (0.0, f32::INFINITY);
    for reaches in reaches {
        let reaches = l.load(reaches);
        let (d, per_unit) = (l.splat(extreme) / reaches, reaches * inverse(l, l.splat(extreme)));
        let mut error = l.splat(0.0);
        for (&ideal, &curvature) in ideal.iter().zip(curvature) {
            let ideal = l.splat(ideal);
            let off = ideal - d * round_within(l, ideal * per_unit, low, high);
            error = error + off * off * l.splat(curvature);
        }
        let (d, error) = (d.store(), error.store());
        for lane in 0..LANES {
            if error.0[lane] < least {
                (best, least) = (d.0[lane], error.0[lane]);
            }
        }
    }
    best
}

/// Integer scales, and what they come to.
struct Scaled {
    d: [Stored; LANES],
    scale: Row,
    error: Row,
    xq: Row,
    qq: Row,
}

impl Scaled {
    /// Worse than anything.
    fn nothing() -> Self {
        let zeros = Row([0.0; LANES]);
        let error = Row([f32::INFINITY; LANES]);
        Self { d: [stored(0.0, 1.0); LANES], scale: zeros, error, xq: zeros, qq: zeros }
    }

    /// The best `d` for these scales and their codes.
    fn fit(&self, d: &mut [Stored; LANES], unit: &Row, share: usize) {
        for s in (0..LANES).step_by(share) {
            let (xq, qq) = (s..s + share).fold((0.0, 0.0), |(xq, qq), lane| {
                let scale = self.scale.0[lane];
                (xq + scale * self.xq.0[lane], qq + scale * scale * self.qq.0[lane])
            });
            d[s..s + share].fill(stored(if qq > 0.0 { xq / qq } else { 0.0 }, unit.0[s]));
        }
    }

    /// Takes over the super-blocks whose error is smaller in `other`.
    fn take_better(&mut self, other: &Scaled, share: usize) {
        for s in (0..LANES).step_by(share) {
            let sum = |errors: &Row| errors.0[s..s + share].iter().sum::<f32>();
            if sum(&other.error) < sum(&self.error) {
                for lane in s..s + share {
                    self.d[lane] = other.d[lane];
                    self.scale.0[lane] = other.scale.0[lane];
                    self.error.0[lane] = other.error.0[lane];
                    self.xq.0[lane] = other.xq.0[lane];
                    self.qq.0[lane] = other.qq.0[lane];
                }
            }
        }
    }
}

/// Steps 3 and 4: the integer scales of least error, of those at most `window` from the ideal ones.
#[inline(always)]
fn nearest_scales<L: Lanes, C: Codes, const N: usize>(
    l: L,
    g: &Groups<N>,
    d: &[Stored; LANES],
    ideal: &Row,
    search: &Search<'_>,
    window: i32,
) -> Scaled {
    let (low, high) = search.scales;
    let zero = l.splat(0.0);
    let values = l.load(&Row(d.map(|d| d.value)));
    let middle = round_within(l, l.load(ideal) * inverse(l, values), low, high);
    let (mut scale, mut error, mut xq, mut qq) = (zero, l.splat(f32::INFINITY), zero, zero);
    for step in -window..=window {
        let tried = round_within(l, middle + l.splat(step as f32), low, high);
        let factor = values * tried;
        let per_unit = inverse(l, factor);
        let (mut e, mut sum_xq, mut sum_qq) = (zero, zero, zero);
        for j in 0..N {
            let (x, w) = (l.load(&g.x[j]), l.load(&g.w[j]));
            let q = C::nearest(l, x * per_unit);
            let off = factor * q - x;
            e = e + off * off * w;
            let wq = w * q;
            sum_xq = sum_xq + wq * x;
            sum_qq = sum_qq + wq * q;
        }
        scale = e.if_less(error, tried, scale);
        xq = e.if_less(error, sum_xq, xq);
        qq = e.if_less(error, sum_qq, qq);
        error = e.min(error);
    }
    Scaled { d: *d, scale: scale.store(), error: error.store(), xq: xq.store(), qq: qq.store() }
}
