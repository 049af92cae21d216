//! Probabilities as whole numbers.
//!
//! A token's weight is `e^x` in units of 2^-40, rounded, where `x <= 0` is its distance from the best logit
//! (divided by the temperature). Sums of integers do not depend on the order of adding, and the exponential is made
//! of additions and multiplications only, so which token is drawn does not depend on the machine's C library, on
//! vector width or on the order in which candidates are visited. What is lost: a token more than 28.4 nats below the
//! best (probability under 1e-12) has weight 0 and is never drawn.

/// Weight of the best token: 1.0.
pub(super) const ONE: u64 = 1 << 40;

/// Most weights that can be added without overflow.
pub(super) const MAX_TERMS: usize = 1 << 23;

/// Every `x` below this has weight 0: `41 ln 2` is 28.42.
pub(super) const LOWEST: f64 = -29.0;

/// `e^x` for `x <= 0`, within 2 units in the last place, by basic arithmetic only and without branches, so that loops
/// over it vectorise. Below -700 it stays at `e^-700`, about 1e-304.
///
/// `x = k ln 2 + r` with `|r| <= 0.35`; `e^r` by its series, `2^k` by its bits.
pub(super) fn exp(x: f64) -> f64 {
    /// Adding and subtracting it rounds to a whole number.
    const ROUND: f64 = 6_755_399_441_055_744.0;
    /// ln 2 in two parts; the first has enough trailing zeros for `k * LN2_HIGH` to be exact.
    const LN2_HIGH: f64 = f64::from_bits(0x3FE6_2E42_FEE0_0000);
    const LN2_LOW: f64 = f64::from_bits(0x3DEA_39EF_3579_3C76);
    /// `1 / n!`, highest power first.
    const SERIES: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let x = x.max(-700.0);
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN2_HIGH) - k * LN2_LOW;
    let series = SERIES.iter().fold(0.0, |sum, c| sum * r + c);
    // The low bits of `shifted` are k; with the bias added and moved up they are the exponent of 2^k.
    series * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// The weight of a token `x <= 0` away from the best.
pub(super) fn weight(x: f64) -> u64 {
    /// Added to a number below 2^52, it rounds to a whole number and leaves it in the low bits.
    const TO_BITS: f64 = 4_503_599_627_370_496.0;
    (exp(x) * ONE as f64 + TO_BITS).to_bits() & ((1 << 52) - 1)
}

/// The greatest f32 that is not above `bound`: `v >= bound` exactly when `v >= floor(bound)`, for no v is lost.
pub(super) fn floor_f32(bound: f64) -> f32 {
    let near = bound as f32;
    if f64::from(near) > bound { near.next_down() } else { near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_the_exponential() {
        for i in 0..200_000 {
            let x = -f64::from(i) * 0.003_437; // down to -687
            let (ours, std) = (exp(x), x.exp());
            assert!((ours - std).abs() <= 1e-15 * std, "e^{x}: {ours} and {std}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-0.0), 1.0);
        assert!(exp(-701.0) < 1e-303);
        assert!(exp(f64::NEG_INFINITY) < 1e-303);
    }

    #[test]
    fn weights_fall_and_end_at_zero() {
        assert_eq!(weight(0.0), ONE);
        assert_eq!(weight(LOWEST), 0);
        assert_eq!(weight(f64::NEG_INFINITY), 0);
        assert_eq!((weight(-28.4), weight(-28.43)), (1, 0));
        assert!((MAX_TERMS as u64).checked_mul(ONE).is_some());
        let mut last = ONE;
        for i in 0..290_000 {
            let w = weight(-f64::from(i) * 1e-4);
            assert!(w <= last);
            last = w;
        }
    }

    #[test]
    fn floor_never_loses() {
        for bound in [0.1_f64, -0.1, 1e-60, -1e-60, 3.0, 16_777_217.0, -16_777_217.0] {
            let f = floor_f32(bound);
            assert!(f64::from(f) <= bound && f64::from(f.next_up()) > bound, "{bound} {f}");
        }
    }
}
