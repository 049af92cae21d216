//! Every format's meaning against the `gguf` Python package, on the fixtures of scripts/dequant_golden.py; and the
//! promises of `dequantize` and `dot` on random blocks. The fixtures are built in, so that the test binary runs alone
//! (under an emulator, say).

use lapwing_quant::DType;
use lapwing_quant::formats::{dequantize, dot, is_finite};

macro_rules! fixtures {
    ($($name:literal)*) => {
        [$(($name, include_bytes!(concat!("../../tests/fixtures/formats/", $name, ".bin")).as_slice()),)*]
    };
}

const FIXTURES: &[(&str, &[u8])] = &fixtures! {
    "F32" "F16" "BF16" "Q4_0" "Q4_1" "Q5_0" "Q5_1" "Q8_0" "Q2_K" "Q3_K" "Q4_K" "Q5_K" "Q6_K" "IQ4_NL" "IQ4_XS"
};

/// Bits of `x`; one value for all NaNs, as their bits depend on the machine.
fn bits(x: f32) -> u32 {
    if x.is_nan() { f32::NAN.to_bits() } else { x.to_bits() }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ z >> 31
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }

    /// In -1..1.
    fn float(&mut self) -> f32 {
        self.next() as i32 as f32 / i32::MAX as f32
    }
}

#[test]
fn weights_equal_the_python_packages() {
    for &dtype in DType::ALL {
        let &(_, fixture) = FIXTURES
            .iter()
            .find(|(name, _)| *name == dtype.name())
            .unwrap_or_else(|| panic!("{} has no fixture", dtype.name()));
        let blocks = fixture.len() / (dtype.block_bytes() + 4 * dtype.block_len());
        assert!(blocks >= 9, "{}: only {blocks} blocks", dtype.name());
        let (bytes, expected) = fixture.split_at(blocks * dtype.block_bytes());
        assert_eq!(expected.len(), 4 * blocks * dtype.block_len(), "{}: odd size", dtype.name());
        let mut weights = vec![0.0; blocks * dtype.block_len()];
        dequantize(dtype, bytes, &mut weights);
        for (i, (w, expected)) in weights.iter().zip(expected.as_chunks().0).enumerate() {
            let expected = f32::from_le_bytes(*expected);
            let (block, at) = (i / dtype.block_len(), i % dtype.block_len());
            let name = dtype.name();
            assert_eq!(bits(*w), bits(expected), "{name} block {block} weight {at}: {w:e}, not {expected:e}");
        }
    }
}

#[test]
fn fixtures_hold_every_kind_of_number() {
    for &(name, fixture) in FIXTURES {
        let dtype = *DType::ALL.iter().find(|d| d.name() == name).expect("fixture of a known format");
        let blocks = fixture.len() / (dtype.block_bytes() + 4 * dtype.block_len());
        let weights: Vec<f32> =
            fixture[blocks * dtype.block_bytes()..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
        assert!(weights.iter().any(|w| w.is_nan()), "{name}: no NaN");
        assert!(weights.contains(&0.0), "{name}: no zero");
        let finite: Vec<u32> = weights.iter().filter(|w| w.is_finite()).map(|w| w.to_bits()).collect();
        assert!(finite.len() * 2 > weights.len(), "{name}: mostly not finite");
        assert!(finite.iter().any(|b| b >> 31 == 0) && finite.iter().any(|b| b >> 31 == 1), "{name}: one sign only");
    }
}

#[test]
fn every_f16_and_bf16_has_its_value() {
    for code in 0..=u16::MAX {
        let mut out = [0.0; 2];
        dequantize(DType::F16, &code.to_le_bytes(), &mut out[..1]);
        dequantize(DType::BF16, &code.to_le_bytes(), &mut out[1..]);
        assert_eq!(bits(out[0]), bits(ieee(code, 5, 10)), "f16 {code:#06x}");
        assert_eq!(bits(out[1]), bits(ieee(code, 8, 7)), "bf16 {code:#06x}");
    }
}

/// The value of a 16-bit IEEE number, by definition.
fn ieee(code: u16, exponent_bits: u32, fraction_bits: u32) -> f32 {
    let sign = if code >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(code >> fraction_bits & ((1 << exponent_bits) - 1));
    let fraction = f64::from(code & ((1 << fraction_bits) - 1)) / f64::from(1 << fraction_bits);
    let bias = (1 << (exponent_bits - 1)) - 1;
    let magnitude = match exponent {
        0 => fraction * 2f64.powi(1 - bias),
        e if e == (1 << exponent_bits) - 1 => match fraction {
            0.0 => f64::INFINITY,
            _ => f64::NAN,
        },
        e => (1.0 + fraction) * 2f64.powi(e - bias),
    };
    (sign * magnitude) as f32
}

#[test]
fn dot_is_the_sum_of_the_products_in_order() {
    let mut random = Random(1);
    for &dtype in DType::ALL {
        for blocks in [0, 1, 2, 5] {
            let bytes = random.bytes(blocks * dtype.block_bytes());
            let x: Vec<f32> = (0..blocks * dtype.block_len()).map(|_| random.float()).collect();
            let mut weights = vec![0.0; x.len()];
            dequantize(dtype, &bytes, &mut weights);
            let mut sum = 0f32;
            for (w, x) in weights.iter().zip(&x) {
                sum += w * x;
            }
            assert_eq!(bits(dot(dtype, &bytes, &x)), bits(sum), "{} of {blocks} blocks", dtype.name());
        }
    }
}

#[test]
fn a_block_means_the_same_at_any_place() {
    let mut random = Random(2);
    for &dtype in DType::ALL {
        let bytes = random.bytes(7 * dtype.block_bytes() + 3);
        let bytes = &bytes[3..];
        let mut row = vec![0.0; 7 * dtype.block_len()];
        dequantize(dtype, bytes, &mut row);
        for (block, expected) in bytes.chunks(dtype.block_bytes()).zip(row.chunks(dtype.block_len())) {
            let mut alone = vec![f32::NAN; dtype.block_len()];
            let copy = block.to_vec();
            dequantize(dtype, &copy, &mut alone);
            assert!(alone.iter().zip(expected).all(|(a, b)| bits(*a) == bits(*b)), "{}", dtype.name());
        }
    }
}

#[test]
fn any_bytes_can_be_dequantized() {
    let mut random = Random(3);
    for &dtype in DType::ALL {
        let mut out = vec![0.0; 64 * dtype.block_len()];
        for round in 0..200 {
            let mut bytes = random.bytes(64 * dtype.block_bytes());
            if round % 2 == 1 {
                // Extreme bytes meet: many codes and scales at either end of their range.
                bytes.iter_mut().for_each(|b| *b = [0x00, 0xff, 0x7f, 0x80][usize::from(*b % 4)]);
            }
            dequantize(dtype, &bytes, &mut out);
        }
    }
}

#[test]
fn the_list_is_consistent() {
    for (i, &dtype) in DType::ALL.iter().enumerate() {
        assert_eq!(DType::from_ggml_id(dtype.ggml_id()), Some(dtype));
        assert!(DType::ALL[..i].iter().all(|d| d.name() != dtype.name()));
        assert_eq!(dtype.row_bytes(3 * dtype.block_len()), Some(3 * dtype.block_bytes()));
        assert_eq!(dtype.row_bytes(dtype.block_len() + 1).is_some(), dtype.block_len() == 1);
    }
    assert_eq!(DType::from_ggml_id(9), None, "Q8_1 is no weight format here");
    assert_eq!(FIXTURES.len(), DType::ALL.len(), "a fixture without a format");
}

#[test]
#[should_panic(expected = "35 bytes are not whole blocks")]
fn a_broken_block_is_refused() {
    dequantize(DType::Q8_0, &[0; 35], &mut [0.0; 32]);
}

#[test]
#[should_panic(expected = "1 blocks of 32 weights do not fill 31")]
fn a_wrong_length_of_the_output_is_refused() {
    dequantize(DType::Q8_0, &[0; 34], &mut [0.0; 31]);
}

#[test]
#[should_panic(expected = "1 blocks of 32 weights do not meet 33")]
fn a_wrong_length_of_the_input_is_refused() {
    dot(DType::Q8_0, &[0; 34], &[0.0; 33]);
}

/// The fixtures' blocks are a mix of sound ones and ones whose scales are infinite or NaN.
#[test]
fn a_block_is_finite_when_all_its_weights_are() {
    let mut seen = [0, 0];
    for &dtype in DType::ALL {
        let (len, size) = (dtype.block_len(), dtype.block_bytes());
        let mut weights = vec![0.0; len];
        let mut seed = 9u32;
        for _ in 0..4000 {
            let byte = |s: &mut u32| {
                *s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (*s >> 24) as u8
            };
            let block: Vec<u8> = (0..size).map(|_| byte(&mut seed)).collect();
            dequantize(dtype, &block, &mut weights);
            // A scale can be infinite and yet multiply zeros only, which makes NaN: never a finite block.
            let finite = weights.iter().all(|w| w.is_finite());
            let told = is_finite(dtype, &block);
            assert!(told == finite || (!told && dtype == DType::F16), "{}: {block:02x?}", dtype.name());
            seen[usize::from(finite)] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 100), "{seen:?}");
}
