//! What only the integer tiles of NEON have to prove: no sum overflows, and both tables give the same bits.

use crate::DType;
use crate::acts::Acts;
use crate::buffer::Bytes;
use crate::kernels::{Kernels, available};
use crate::threads::Pool;
use crate::weight::{self, Product, Rows, Weight};
use std::sync::Arc;

const COLS: usize = 512;
const ROWS: usize = 21;
const ACTS: usize = 6;

/// Products of all rows, repacked, with activations `x` `[ACTS, COLS]`.
fn products(kernels: &'static Kernels, dtype: DType, bytes: &[u8], x: &[f32]) -> Vec<f32> {
    let mut out = vec![0f32; ACTS * ROWS];
    Pool::new(1, &[]).unwrap().enter(1, |team| {
        let bytes = Bytes::mapped(Arc::new(bytes.to_vec()), 0..bytes.len()).unwrap();
        let mut weight = Weight::new(dtype, ROWS, COLS, bytes, kernels).unwrap();
        assert!(weight.repack(team).unwrap() > 0, "{} has an integer tile", dtype.name());
        let mut acts = Acts::new(COLS, weight.acts(), kernels);
        acts.fill(team, ACTS, |_| true, |i, row| row.copy_from_slice(&x[i * COLS..(i + 1) * COLS]));
        weight::run(team, &acts, &mut [Product { weight: &weight, rows: Rows::All, out: &mut out }]);
    });
    out
}

/// Rows of a format whose codes and scales are all as large as they can be, with d = 1.
fn extreme_rows(dtype: DType) -> Vec<u8> {
    let one = half::f16::ONE.to_le_bytes();
    let mut block = vec![0u8; dtype.block_bytes()];
    match dtype {
        // Codes of -128.
        DType::Q8_0 => {
            block.fill(0x80);
            block[..2].copy_from_slice(&one);
        }
        // Codes of 15, scales of 63; no minima, which would cancel.
        DType::Q4_K => {
            block.fill(0xff);
            block[..2].copy_from_slice(&one);
            block[2..4].fill(0);
        }
        // Codes of 0 - 32, scales of -128.
        DType::Q6_K => {
            block[192..208].fill(0x80);
            block[208..].copy_from_slice(&one);
        }
        other => panic!("{} has no integer tile", other.name()),
    }
    block.repeat(ROWS * COLS / dtype.block_len())
}

fn tables() -> Vec<&'static Kernels> {
    available().filter(|t| t.name.starts_with("neon")).collect()
}

#[test]
fn the_largest_sums_fit() {
    let formats = [(DType::Q8_0, -128.0), (DType::Q4_K, 63.0 * 15.0), (DType::Q6_K, 128.0 * 32.0)];
    for kernels in tables() {
        for (dtype, weight) in formats {
            for sign in [1.0f32, -1.0] {
                let got = products(kernels, dtype, &extreme_rows(dtype), &[sign * 2.0; ACTS * COLS]);
                let want = sign * 2.0 * weight * COLS as f32;
                for v in got {
                    assert!((v - want).abs() <= 1e-5 * want.abs(), "{kernels:?} {}: {v} not {want}", dtype.name());
                }
            }
        }
    }
}

#[test]
fn both_tables_give_the_same_bits() {
    let mut seed = 11u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    for dtype in [DType::Q8_0, DType::Q4_K, DType::Q6_K] {
        let x: Vec<f32> = (0..ACTS * COLS).map(|_| next() as f32 / 3e3 - 10.0).collect();
        // Random codes and scales; the halves stay as they are.
        let mut bytes = extreme_rows(dtype);
        let scales = if dtype == DType::Q6_K { 208..210 } else { 0..if dtype == DType::Q4_K { 4 } else { 2 } };
        for (i, b) in bytes.iter_mut().enumerate() {
            if !scales.contains(&(i % dtype.block_bytes())) {
                *b = next() as u8;
            }
        }
        let mut results = tables().into_iter().map(|t| (t.name, products(t, dtype, &bytes, &x)));
        let (first, want) = results.next().unwrap();
        assert!(want.iter().all(|v| v.is_finite()) && want.iter().any(|v| *v != want[0]));
        for (name, got) in results {
            let same = got.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(same, "{} differs between {first} and {name}", dtype.name());
        }
    }
}
