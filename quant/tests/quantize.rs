//! What the quantizers promise: errors below a bound for each format, the same bytes on every instruction set and number
//! of threads, and sound blocks from every finite input.

use lapwing_quant::DType;
use lapwing_quant::formats::{dequantize, is_finite};
use lapwing_quant::kernels::{self, Kernels};
use lapwing_quant::quantize::{BadValue, Outcome, Rows, Values, quantize};
use lapwing_quant::threads::Pool;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    /// In 0..1.
    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Nearly normal: variance 1, magnitude at most 6.
    fn normal(&mut self) -> f32 {
        ((0..12).map(|_| self.uniform()).sum::<f64>() - 6.0) as f32
    }

    fn normals(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.normal()).collect()
    }
}

fn bytes_of(x: &[f32]) -> Vec<u8> {
    x.iter().flat_map(|x| x.to_le_bytes()).collect()
}

struct Setting<'a> {
    kernels: &'static Kernels,
    threads: usize,
    importance: Option<&'a [f32]>,
}

fn best() -> Setting<'static> {
    Setting { kernels: kernels::best(), threads: 1, importance: None }
}

type Result = std::result::Result<(Vec<u8>, Outcome), BadValue>;

fn run(dtype: DType, values: Values<'_>, cols: usize, with: &Setting<'_>) -> Result {
    let pool = Pool::new(with.threads, &[]).expect("threads");
    let mut out = vec![0xA5; values.len() / cols * dtype.row_bytes(cols).expect("whole blocks")];
    let rows = Rows { dtype, values, cols, importance: with.importance };
    quantize(&rows, with.kernels, &pool, &mut out).map(|outcome| (out, outcome))
}

/// Quantizes f32 in rows of `cols`.
fn blocks(dtype: DType, x: &[f32], cols: usize, with: &Setting<'_>) -> (Vec<u8>, Outcome) {
    run(dtype, Values::F32(&bytes_of(x)), cols, with).unwrap_or_else(|e| panic!("{dtype:?}: {e}"))
}

/// There and back.
fn round_trip(dtype: DType, x: &[f32], cols: usize) -> (Vec<f32>, Outcome) {
    let (bytes, outcome) = blocks(dtype, x, cols, &best());
    assert!(is_finite(dtype, &bytes), "{dtype:?}: a scale is not finite");
    let mut back = vec![f32::NAN; x.len()];
    dequantize(dtype, &bytes, &mut back);
    (back, outcome)
}

fn squares(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// Root mean square error against root mean square.
fn relative_error(x: &[f32], back: &[f32]) -> f64 {
    let off: Vec<f32> = x.iter().zip(back).map(|(a, b)| a - b).collect();
    (squares(&off) / squares(x)).sqrt()
}

/// The formats with the relative error allowed on normal numbers: a few percent above what they have.
const BOUNDS: [(DType, f64); 15] = [
    (DType::F32, 0.0),
    (DType::F16, 3e-4),
    (DType::BF16, 2.4e-3),
    (DType::Q8_0, 6e-3),
    (DType::Q6_K, 0.0183),
    (DType::Q5_K, 0.036),
    (DType::Q5_1, 0.034),
    (DType::Q5_0, 0.0405),
    (DType::Q4_K, 0.073),
    (DType::Q4_1, 0.071),
    (DType::Q4_0, 0.082),
    (DType::IQ4_NL, 0.075),
    (DType::IQ4_XS, 0.076),
    (DType::Q3_K, 0.147),
    (DType::Q2_K, 0.27),
];

#[test]
fn errors_are_below_each_formats_bound() {
    let x = Random(1).normals(64 * 1024);
    assert!(DType::ALL.iter().all(|dtype| BOUNDS.iter().any(|(d, _)| d == dtype)), "a format has no bound");
    for (dtype, bound) in BOUNDS {
        for scale in [1.0, 0.02, 5e-3, 100.0] {
            let x: Vec<f32> = x.iter().map(|x| x * scale).collect();
            let (back, outcome) = round_trip(dtype, &x, 1024);
            let error = relative_error(&x, &back);
            assert!(error <= bound, "{dtype:?} at {scale}: relative error {error:.5}, at most {bound}");
            assert!(bound == 0.0 || error > bound * 0.5, "{dtype:?}: {error:.5} makes the bound {bound} idle");
            assert_eq!(outcome, Outcome::default(), "{dtype:?} at {scale}");
        }
    }
}

/// Inputs of many kinds, in rows of 768: three super-blocks, so a tile of two is split by the row's end.
fn kinds() -> Vec<(&'static str, Vec<f32>)> {
    const N: usize = 768 * 3;
    let mut random = Random(2);
    let normal = random.normals(N);
    let each = |f: &dyn Fn(usize, f32) -> f32| normal.iter().enumerate().map(|(i, &x)| f(i, x)).collect::<Vec<f32>>();
    vec![
        ("zeros", vec![0.0; N]),
        ("negative zeros", vec![-0.0; N]),
        ("a constant", vec![0.3; N]),
        ("a negative constant", vec![-7.0; N]),
        ("positive", each(&|_, x| x.abs() + 0.01)),
        ("negative", each(&|_, x| -x.abs() - 0.01)),
        ("far from zero", each(&|_, x| 10.0 + x * 0.1)),
        ("outliers", each(&|i, x| if i % 301 == 7 { 1000.0 * x } else { x })),
        ("one value", each(&|i, _| if i == 1000 { -2.5 } else { 0.0 })),
        ("sparse", each(&|i, x| if i % 37 == 0 { x } else { 0.0 })),
        ("two values", each(&|_, x| if x > 0.0 { 0.5 } else { -0.5 })),
        ("large and small groups", each(&|i, x| x * 10f32.powi((i / 16 % 12) as i32 - 6))),
        ("subnormal", each(&|_, x| x * 1e-41)),
        ("the smallest", each(&|_, x| if x > 0.0 { f32::from_bits(1) } else { 0.0 })),
        ("tiny", each(&|_, x| x * 1e-30)),
        ("scales below f16", each(&|_, x| x * 1e-7)),
        ("large", each(&|_, x| x * 1e4)),
        ("beyond f16", each(&|_, x| x * 1e9)),
        ("the largest", each(&|_, x| if x > 0.0 { f32::MAX } else { -f32::MAX })),
        ("one of the largest", each(&|i, x| if i % 500 == 3 { f32::MAX } else { x })),
    ]
}

#[test]
fn every_finite_input_gives_sound_blocks() {
    for &dtype in DType::ALL {
        for (kind, x) in kinds() {
            let (back, outcome) = round_trip(dtype, &x, 768);
            assert!(back.iter().all(|x| x.is_finite()), "{dtype:?}, {kind}: weights that are no numbers");
            let allowed = squares(&x) * 1.0001;
            let off: Vec<f32> = x.iter().zip(&back).map(|(a, b)| a / 2.0 - b / 2.0).collect();
            let left = squares(&off) * 4.0;
            assert!(left <= allowed, "{dtype:?}, {kind}: error {left:e} above that of zeros, {allowed:e}");
            if x.iter().all(|&x| x == 0.0) {
                assert!(back.iter().all(|&x| x == 0.0), "{dtype:?}, {kind}: something from nothing");
            }
            let within = x.iter().all(|x| x.abs() < 6e4);
            assert!(!within || outcome.clamped == 0, "{dtype:?}, {kind}: clamped");
        }
    }
}

#[test]
fn simple_inputs_come_back() {
    let kinds = kinds();
    let input = |name: &str| &kinds.iter().find(|(kind, _)| *kind == name).expect("a kind of that name").1;
    for (dtype, bound) in BOUNDS {
        // A constant is one code, two values are two codes: only the scales are rounded.
        for kind in ["a constant", "a negative constant", "two values", "one value"] {
            let (back, _) = round_trip(dtype, input(kind), 768);
            let error = relative_error(input(kind), &back);
            // The table of the IQ4 formats holds no zero, and no two values of the same magnitude.
            let table = matches!(dtype, DType::IQ4_NL | DType::IQ4_XS);
            let allowed = if table { 0.05 } else { 0.004 };
            assert!(error <= allowed, "{dtype:?}, {kind}: relative error {error:.5}, at most {allowed}");
        }
        // Outliers cost their own group something, and their super-block a little.
        let (back, _) = round_trip(dtype, input("outliers"), 768);
        let error = relative_error(input("outliers"), &back);
        assert!(error <= bound.max(1e-3), "{dtype:?}, outliers: relative error {error:.5}");
    }
    for dtype in [DType::Q4_1, DType::Q5_1] {
        let x = input("far from zero");
        let (back, _) = round_trip(dtype, x, 768);
        let moved: Vec<f32> = x.iter().map(|x| x - 10.0).collect();
        let back: Vec<f32> = back.iter().map(|x| x - 10.0).collect();
        let error = relative_error(&moved, &back);
        assert!(error < 0.085, "{dtype:?}: an offset costs precision, relative error {error:.5}");
    }
}

#[test]
fn beyond_the_range_is_clamped_and_said() {
    for &dtype in DType::ALL {
        let mut x = vec![0.25; 3 * 256];
        x[300] = -f32::MAX;
        let (back, outcome) = round_trip(dtype, &x, 256);
        let clamped = usize::from(dtype != DType::F32);
        assert_eq!(outcome.clamped, clamped, "{dtype:?}: one block holds what the format cannot");
        let least = if dtype == DType::F32 { f32::MAX } else { 65504.0 };
        assert!(back[300] <= -least, "{dtype:?}: {} is not the nearest there is", back[300]);
    }
    // The nearest half of 65519 is the largest; 65520 is half way to the one there is no more.
    let (back, outcome) = round_trip(DType::F16, &[65504.0, 65519.0, 65520.0, -1e6], 4);
    assert_eq!((back.as_slice(), outcome.clamped), ([65504.0, 65504.0, 65504.0, -65504.0].as_slice(), 2));
    let largest = f32::from_bits(0x7f7f_0000);
    let (back, outcome) = round_trip(DType::BF16, &[largest, f32::from_bits(0x7f7f_7fff), -f32::MAX], 3);
    assert_eq!((back.as_slice(), outcome.clamped), ([largest, largest, -largest].as_slice(), 1));
}

#[test]
fn bytes_do_not_depend_on_the_machine() {
    let importance: Vec<f32> = Random(3).normals(768).iter().map(|x| (2.0 * x).exp()).collect();
    let mut kinds = kinds();
    kinds.push(("several spans", Random(4).normals(768 * 48)));
    for &dtype in DType::ALL {
        for (kind, x) in &kinds {
            for importance in [None, Some(importance.as_slice())] {
                let plain = kernels::by_name("scalar").expect("the scalar table runs everywhere");
                let expected = blocks(dtype, x, 768, &Setting { kernels: plain, threads: 1, importance });
                for kernels in kernels::available() {
                    for threads in [1, 3] {
                        let found = blocks(dtype, x, 768, &Setting { kernels, threads, importance });
                        assert!(found == expected, "{dtype:?}, {kind}: {kernels:?} on {threads} threads differs");
                    }
                }
            }
        }
    }
}

#[test]
fn rows_do_not_depend_on_each_other() {
    let x = Random(5).normals(5 * 256);
    for &dtype in DType::ALL {
        let together = blocks(dtype, &x, 256, &best()).0;
        let apart: Vec<u8> = x.chunks(256).flat_map(|row| blocks(dtype, row, 256, &best()).0).collect();
        assert!(together == apart, "{dtype:?}");
    }
}

#[test]
fn halves_are_read_as_what_they_mean() {
    let x = Random(6).normals(512);
    let [f16, bf16] = [DType::F16, DType::BF16].map(|dtype| blocks(dtype, &x, 512, &best()).0);
    for (values, source) in [(Values::F16(&f16), DType::F16), (Values::BF16(&bf16), DType::BF16)] {
        let (Values::F16(bytes) | Values::BF16(bytes) | Values::F32(bytes)) = values;
        let mut wide = vec![0.0; 512];
        dequantize(source, bytes, &mut wide);
        for &dtype in DType::ALL {
            let found = run(dtype, values, 512, &best()).expect("numbers").0;
            assert!(found == blocks(dtype, &wide, 512, &best()).0, "{source:?} to {dtype:?}");
        }
        assert!(run(source, values, 512, &best()).expect("numbers").0 == bytes, "{source:?} as it was");
    }
}

#[test]
fn the_first_bad_value_is_named() {
    let x = Random(7).normals(256 * 200);
    for &dtype in DType::ALL {
        for (at, bad) in [(0, f32::NAN), (700, f32::INFINITY), (40_000, f32::NEG_INFINITY), (x.len() - 1, f32::NAN)] {
            let mut x = x.clone();
            *x.last_mut().expect("values") = f32::NAN;
            x[at] = bad;
            let with = Setting { threads: 3, ..best() };
            let found = run(dtype, Values::F32(&bytes_of(&x)), 256, &with).expect_err("not a number");
            assert_eq!(found.index, at, "{dtype:?}");
            assert_eq!(found.value.is_nan(), bad.is_nan(), "{dtype:?}: {}", found.value);
            assert!(found.to_string().contains(&at.to_string()));
        }
    }
    let half = [0x00, 0x3c, 0x00, 0x7c, 0x01, 0x7e];
    let found = run(DType::F32, Values::F16(&half), 3, &best()).expect_err("an infinite half");
    assert_eq!((found.index, found.value), (1, f32::INFINITY));
    let found = run(DType::F32, Values::BF16(&[0x80, 0x3f, 0xc0, 0x7f]), 2, &best()).expect_err("a NaN");
    assert_eq!(found.index, 1);
}

/// Sum of `importance * error^2` over rows of as many columns as there are importances.
fn weighted_error(x: &[f32], back: &[f32], importance: &[f32]) -> f64 {
    let off = x.iter().zip(back).map(|(a, b)| f64::from(a - b).powi(2));
    off.zip(importance.iter().cycle()).map(|(off, &w)| off * f64::from(w)).sum()
}

#[test]
fn importance_moves_the_error_to_where_it_matters_least() {
    let mut random = Random(8);
    let x = random.normals(64 * 512);
    let importance: Vec<f32> = random.normals(512).iter().map(|x| (1.5 * x).exp()).collect();
    let plain_roundings = [DType::F32, DType::F16, DType::BF16, DType::Q8_0];
    for &dtype in DType::ALL {
        let without = blocks(dtype, &x, 512, &best()).0;
        let with = blocks(dtype, &x, 512, &Setting { importance: Some(&importance), ..best() }).0;
        if plain_roundings.contains(&dtype) {
            assert!(with == without, "{dtype:?} is a plain rounding");
            continue;
        }
        let error = |bytes: &[u8]| {
            let mut back = vec![0.0; x.len()];
            dequantize(dtype, bytes, &mut back);
            weighted_error(&x, &back, &importance)
        };
        let (with, without) = (error(&with), error(&without));
        assert!(with < 0.97 * without, "{dtype:?}: weighted error {with:.4} with, {without:.4} without importance");
    }
}

#[test]
fn importances_count_by_their_ratios_and_may_be_anything() {
    let mut random = Random(9);
    let x = random.normals(8 * 512);
    let importance: Vec<f32> = random.normals(512).iter().map(|x| x.exp()).collect();
    let times_four: Vec<f32> = importance.iter().map(|w| w * 4.0).collect();
    let odd: Vec<f32> = importance
        .iter()
        .enumerate()
        .map(|(i, &w)| match i % 6 {
            0 => 0.0,
            1 => f32::NAN,
            2 => -w,
            3 => f32::INFINITY,
            4 => f32::MAX,
            _ => w,
        })
        .collect();
    for &dtype in DType::ALL {
        let of = |importance: &[f32]| blocks(dtype, &x, 512, &Setting { importance: Some(importance), ..best() }).0;
        assert!(of(&importance) == of(&times_four), "{dtype:?}: only ratios count");
        let none = blocks(dtype, &x, 512, &best()).0;
        assert!(of(&[1.0; 512]) == none && of(&[0.0; 512]) == none, "{dtype:?}: all alike is none");
        let strange = of(&odd);
        assert!(is_finite(dtype, &strange), "{dtype:?}");
        let mut back = vec![0.0; x.len()];
        dequantize(dtype, &strange, &mut back);
        assert!(relative_error(&x, &back) < 1.0, "{dtype:?}: no column is given up");
    }
}

/// Blocks worked out by hand: the largest magnitude is 127 steps, ties round away from zero, and the codes belong to
/// the scale before it became a half.
#[test]
fn q8_0_by_hand() {
    let mut x = [0.0; 64];
    x[..8].copy_from_slice(&[127.0, -127.0, 1.5, -1.5, 2.5, -2.5, 0.49, -0.51]);
    // Scale 0.1 / 127 = 7.874e-4, as a half 0x1273; codes 127, 64 (63.5), -32 (-31.75), -127.
    x[32..36].copy_from_slice(&[0.1, 0.05, -0.025, -0.1]);
    let bytes = blocks(DType::Q8_0, &x, 64, &best()).0;
    assert_eq!(bytes[..10], [0x00, 0x3c, 127, 129, 2, 254, 3, 253, 0, 255]);
    assert_eq!(bytes[34..40], [0x73, 0x12, 127, 64, 224, 129]);
    assert!(bytes[10..34].iter().chain(&bytes[40..]).all(|&q| q == 0));
}

#[test]
fn nothing_is_quantized_to_nothing() {
    for &dtype in DType::ALL {
        assert!(blocks(dtype, &[], dtype.block_len(), &best()).0.is_empty());
    }
}

#[test]
#[should_panic(expected = "are not whole blocks")]
fn rows_must_be_whole_blocks() {
    let mut out = [0; 144];
    let pool = Pool::new(1, &[]).expect("a thread");
    let rows = Rows { dtype: DType::Q4_K, values: Values::F32(&[0; 400]), cols: 100, importance: None };
    let _ = quantize(&rows, kernels::best(), &pool, &mut out);
}
