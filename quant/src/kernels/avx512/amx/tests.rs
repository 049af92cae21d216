//! The table of the matrix unit beyond what every table is tested for: its check, its blocks, threads.

use super::*;
use crate::acts::Acts;
use crate::buffer::{Aligned, Bytes};
use crate::threads::Pool;
use crate::weight::{self, Product, Rows, Weight};
use std::sync::Arc;

/// The table, where this machine can run it or emulate it; says so if not.
fn table() -> Option<&'static Kernels> {
    let found = emulated().or_else(|| (state() == State::Right).then_some(&TABLE));
    if found.is_none() {
        eprintln!("SKIPPED: no AVX-512, or a matrix unit that errs");
    }
    found
}

#[test]
fn the_check_finds_a_tile_that_errs() {
    if table().is_none() {
        return;
    }
    unsafe fn one_bit(t: &Tile<'_>) {
        // SAFETY: by the caller; the last row's last value is one of the results.
        unsafe {
            q8_0(t);
            *t.out[t.out.len() - 1].add(t.rows - 1) += 1.0;
        }
    }
    unsafe fn nothing(_: &Tile<'_>) {}
    // SAFETY: the unit is there, or emulated.
    unsafe {
        assert!(check::multiplies(q8_0));
        assert!(!check::multiplies(one_bit));
        assert!(!check::multiplies(nothing));
    }
}

/// A matrix of Q4_0 with numbers that repeat nothing, for a table.
fn matrix(rows: usize, cols: usize, kernels: &'static Kernels) -> Weight {
    let mut bytes = Aligned::zeroed(rows * cols / 32 * 18).unwrap();
    for (i, block) in bytes.chunks_exact_mut(18).enumerate() {
        block[..2].copy_from_slice(&half::f16::from_f32(0.01 + (i % 13) as f32 / 512.0).to_le_bytes());
        block[2..].iter_mut().enumerate().for_each(|(j, b)| *b = (((i * 16 + j) * 40_503) >> 5) as u8);
    }
    Weight::new(DType::Q4_0, rows, cols, Bytes::Own(Arc::new(bytes)), kernels).unwrap()
}

fn values(i: usize, row: &mut [f32]) {
    row.iter_mut().enumerate().for_each(|(k, v)| *v = ((i * 31 + k * 17) % 101) as f32 / 25.0 - 2.0);
}

/// More rows than a call takes, more panels than a call takes, a number of panels that is odd: whatever the number of
/// threads, and whichever rows are beside a row, its results have the same bits.
#[test]
fn blocks_threads_and_neighbours_change_nothing() {
    const SHAPE: (usize, usize, usize) = (16 * 18 + 5, 544, 530);
    let Some(kernels) = table() else { return };
    let (rows, cols, n) = SHAPE;
    let mut weight = matrix(rows, cols, kernels);
    let mut first: Option<Vec<f32>> = None;
    for threads in 1..=3 {
        let pool = Pool::new(threads, &[]).unwrap();
        pool.enter(threads, |team| {
            weight.repack(team).unwrap();
            let mut acts = Acts::new(cols, weight.acts(), kernels);
            acts.fill(team, n, |i| i < n - 3, values);
            let mut all = vec![f32::NAN; n * rows];
            weight::run(team, &acts, &mut [Product { weight: &weight, rows: Rows::All, out: &mut all }]);
            assert!(all.iter().all(|v| v.is_finite()));
            let same = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits());
            for i in [0, 15, 31, 511, 512, n - 4, n - 3, n - 1] {
                let mut alone = vec![f32::NAN; rows];
                let list = [i as u32];
                weight::run(team, &acts, &mut [Product { weight: &weight, rows: Rows::Some(&list), out: &mut alone }]);
                assert!(same(&alone, &all[i * rows..]), "row {i} alone, {threads} threads");
            }
            assert!(same(first.get_or_insert_with(|| all.clone()), &all), "{threads} threads");
        });
    }
}

/// Rows of both roles in one step: prompt rows go through the unit, generated ones have the bits of AVX-512.
#[test]
fn roles_decide_alone() {
    let Some(kernels) = table() else { return };
    let (rows, cols, n) = (48, 1024, 9);
    let product = |kernels: &'static Kernels, prompts: usize| {
        let mut weight = matrix(rows, cols, kernels);
        let mut all = vec![f32::NAN; n * rows];
        Pool::new(1, &[]).unwrap().enter(1, |team| {
            weight.repack(team).unwrap();
            let mut acts = Acts::new(cols, weight.acts(), kernels);
            acts.fill(team, n, |i| i < prompts, values);
            weight::run(team, &acts, &mut [Product { weight: &weight, rows: Rows::All, out: &mut all }]);
        });
        all
    };
    let (prompt, mixed, generated) = (product(kernels, n), product(kernels, 4), product(kernels, 0));
    assert_eq!(mixed[..4 * rows], prompt[..4 * rows]);
    assert_eq!(mixed[4 * rows..], generated[4 * rows..]);
    assert_eq!(generated, product(&super::super::TABLE, 0));
    assert_ne!(prompt, generated);
}
