//! What only the integer tiles of NEON have to prove: no sum overflows, and all tables give the same bits, for any
//! number of activation rows, alone or together.

use crate::DType;
use crate::acts::Acts;
use crate::buffer::Bytes;
use crate::kernels::{Kernels, available};
use crate::threads::{Pool, Team};
use crate::weight::{self, Product, Rows, Weight};
use std::ops::Range;
use std::sync::Arc;

const COLS: usize = 512;
const ROWS: usize = 21;
const ACTS: usize = 5;

/// Activation rows to multiply with: each way through a tile.
const LISTS: [&[u32]; 4] = [&[0, 1, 2, 3, 4], &[4, 2, 0], &[1, 3], &[4]];

/// Products of all rows, repacked, with the lists' rows of activations `x` `[ACTS, COLS]`.
fn products(team: &Team<'_>, kernels: &'static Kernels, dtype: DType, bytes: &[u8], x: &[f32]) -> [Vec<f32>; 4] {
    let bytes = Bytes::mapped(Arc::new(bytes.to_vec()), 0..bytes.len()).unwrap();
    let mut weight = Weight::new(dtype, ROWS, COLS, bytes, kernels).unwrap();
    assert!(weight.repack(team).unwrap() > 0, "{} has an integer tile", dtype.name());
    let mut acts = Acts::new(COLS, weight.acts(), kernels);
    acts.fill(team, ACTS, |_| true, |i, row| row.copy_from_slice(&x[i * COLS..(i + 1) * COLS]));
    LISTS.map(|list| {
        let mut out = vec![0f32; list.len() * ROWS];
        let mut product = [Product { weight: &weight, rows: Rows::Some(list), out: &mut out }];
        weight::run(team, &acts, &mut product);
        out
    })
}

/// The bytes of a block that are scales of its parts, and its f16 numbers.
fn parts(dtype: DType) -> (Range<usize>, &'static [usize]) {
    match dtype {
        DType::Q2_K => (0..16, &[80, 82]),
        DType::Q3_K => (96..108, &[108]),
        DType::Q6_K => (192..208, &[208]),
        DType::IQ4_XS => (2..8, &[0]),
        DType::Q4_K | DType::Q5_K => (4..16, &[0, 2]),
        DType::Q4_1 | DType::Q5_1 => (0..0, &[0, 2]),
        _ => (0..0, &[0]),
    }
}

/// All rows of blocks with numbers of one: `codes(i)` and `scales(i)` give the other bytes.
fn rows(dtype: DType, mut codes: impl FnMut() -> u8, mut scales: impl FnMut() -> u8) -> Vec<u8> {
    let (inner, numbers) = parts(dtype);
    let mut bytes = vec![0u8; ROWS * COLS / dtype.block_len() * dtype.block_bytes()];
    for block in bytes.chunks_exact_mut(dtype.block_bytes()) {
        for (i, b) in block.iter_mut().enumerate() {
            *b = if inner.contains(&i) { scales() } else { codes() };
        }
        for &at in numbers {
            block[at..at + 2].copy_from_slice(&half::f16::ONE.to_le_bytes());
        }
    }
    bytes
}

fn tables() -> Vec<&'static Kernels> {
    available().filter(|t| t.name.starts_with("neon")).collect()
}

fn blocks() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|d| d.block_len() > 1)
}

#[test]
fn the_largest_sums_fit() {
    Pool::new(1, &[]).unwrap().enter(1, |team| {
        for dtype in blocks() {
            let scales: &[u8] = if parts(dtype).0.is_empty() { &[0] } else { &[0, 0x7f, 0x80, 0xff] };
            for (code, &scale) in [0, 0x80, 0xff].into_iter().flat_map(|c| scales.iter().map(move |s| (c, s))) {
                let bytes = rows(dtype, || code, || scale);
                let mut row = vec![0f32; COLS];
                crate::formats::dequantize(dtype, &bytes[..bytes.len() / ROWS], &mut row);
                let sum: f64 = row.iter().map(|&w| f64::from(w)).sum();
                let size: f64 = row.iter().map(|&w| f64::from(w.abs())).sum();
                for kernels in tables() {
                    for x in [2.0f32, -2.0] {
                        let want = f64::from(x) * sum;
                        for v in products(team, kernels, dtype, &bytes, &[x; ACTS * COLS]).into_iter().flatten() {
                            assert!(
                                (f64::from(v) - want).abs() <= 1e-5 * size + 1e-6,
                                "{kernels:?} {} codes {code:#x} scales {scale:#x}: {v} not {want}",
                                dtype.name()
                            );
                        }
                    }
                }
            }
        }
    });
}

#[test]
fn all_tables_give_the_same_bits() {
    let mut seed = 11u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    Pool::new(1, &[]).unwrap().enter(1, |team| {
        for dtype in blocks() {
            let x: Vec<f32> = (0..ACTS * COLS).map(|_| next() as f32 / 3e3 - 10.0).collect();
            let random: Vec<u8> = (0..1 << 17).map(|_| next() as u8).collect();
            let (mut codes, mut scales) = (random.iter().copied().cycle(), random.iter().rev().copied().cycle());
            let bytes = rows(dtype, || codes.next().unwrap(), || scales.next().unwrap());
            let mut results = tables().into_iter().map(|t| (t.name, products(team, t, dtype, &bytes, &x)));
            let (first, want) = results.next().unwrap();
            assert!(want[0].iter().all(|v| v.is_finite()) && want[0].iter().any(|v| *v != want[0][0]));
            for (list, some) in LISTS.iter().zip(&want) {
                for (&i, some) in list.iter().zip(some.chunks_exact(ROWS)) {
                    let all = &want[0][i as usize * ROWS..][..ROWS];
                    let same = some.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{} {first}: activation row {i} among {list:?}", dtype.name());
                }
            }
            for (name, got) in results {
                for (got, want) in got.iter().zip(&want) {
                    let same = got.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{} differs between {first} and {name}", dtype.name());
                }
            }
        }
    });
}

/// Generated rows of floats are widened in registers, rows of a prompt in a buffer.
#[test]
fn floats_have_the_same_bits_in_both_roles() {
    let mut seed = 5u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / 1e6 - 8.0
    };
    Pool::new(1, &[]).unwrap().enter(1, |team| {
        for (cols, n) in [(64, 1), (37, 2), (15, 3), (2, 5)] {
            let x: Vec<f32> = (0..n * cols).map(|_| next()).collect();
            let w: Vec<f32> = (0..ROWS * cols).map(|_| next()).collect();
            for kernels in tables() {
                for dtype in [DType::F16, DType::BF16] {
                    let mut bytes = vec![0u8; 2 * w.len()];
                    if dtype == DType::F16 {
                        kernels.vector.narrow_f16(&w, &mut bytes);
                    } else {
                        kernels.vector.narrow_bf16(&w, &mut bytes);
                    }
                    let len = bytes.len();
                    let bytes = Bytes::mapped(Arc::new(bytes), 0..len).unwrap();
                    let weight = Weight::new(dtype, ROWS, cols, bytes, kernels).unwrap();
                    let [prompt, generated] = [true, false].map(|role| {
                        let mut acts = Acts::new(cols, weight.acts(), kernels);
                        acts.fill(team, n, |_| role, |i, row| row.copy_from_slice(&x[i * cols..(i + 1) * cols]));
                        let mut out = vec![0f32; n * ROWS];
                        let mut product = [Product { weight: &weight, rows: Rows::All, out: &mut out }];
                        weight::run(team, &acts, &mut product);
                        out
                    });
                    let same = prompt.iter().zip(&generated).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same, "{kernels:?} {} {cols} columns, {n} rows", dtype.name());
                    assert!(prompt.iter().any(|v| *v != 0.0));
                }
            }
        }
    });
}
