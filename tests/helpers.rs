//! Tests of what the integration tests share: a wrong yardstick would let everything pass.

mod common;

use common::*;

#[test]
fn kl_divergence_of_known_rows() {
    let even = [0.0, 0.0];
    let skewed = [3f32.ln(), 0.0];
    // KL((3/4, 1/4) || (1/2, 1/2)) and the other way round, by hand.
    let there = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
    let back = 0.5 * (0.5f64 / 0.75).ln() + 0.5 * 2f64.ln();
    assert!((kl_divergence(&skewed, &even, 2) - there).abs() < 1e-7);
    assert!((kl_divergence(&even, &skewed, 2) - back).abs() < 1e-7);
    assert_eq!(kl_divergence(&skewed, &skewed, 2), 0.0);
    let two_rows = kl_divergence(&[skewed, even].concat(), &[even, even].concat(), 2);
    assert!((two_rows - there / 2.0).abs() < 1e-7, "the mean over rows");
}

#[test]
fn kl_divergence_survives_large_logits_and_ignores_shifts() {
    let row = [1000.0, 999.0, -1000.0];
    let shifted = [500.0, 499.0, -1500.0];
    assert!(kl_divergence(&row, &shifted, 3).abs() < 1e-9);
    assert!(kl_divergence(&row, &[0.0, 0.0, f32::NAN], 3).is_nan(), "a NaN is below no bound");
}

#[test]
#[should_panic(expected = "whole rows")]
fn kl_divergence_refuses_part_of_a_row() {
    kl_divergence(&[0.0; 3], &[0.0; 3], 2);
}

#[test]
fn max_abs_diff_sees_sign_and_nan() {
    assert_eq!(max_abs_diff(&[1.0, -2.0], &[1.5, 2.0]), 4.0);
    assert_eq!(max_abs_diff(&[1.0, f32::NAN], &[1.0, f32::NAN]), f64::INFINITY);
    assert_eq!(max_abs_diff(&[], &[]), 0.0);
}

#[test]
fn argmax_takes_the_first_of_equals() {
    assert_eq!(argmax(&[0.0, 3.0, -1.0, 3.0]), 1);
    assert_eq!(argmax(&[f32::NEG_INFINITY, -5.0]), 1);
}

#[test]
fn figures_read_back() {
    let figures = Figures::read(fixture("dense-bf16.safetensors"));
    let (ids, logits) = (figures.ids("p0.ids"), figures.f32("p0.logits"));
    assert!(!ids.is_empty() && figures.i64("p0.ids").shape == [ids.len()]);
    assert_eq!((logits.shape.as_slice(), logits.rows(), logits.cols()), ([4, 320].as_slice(), 4, 320));
    assert_eq!(figures.ids("p0.greedy").len(), 32);
    assert_eq!(argmax(&logits.values[3 * 320..]) as u32, figures.ids("p0.greedy")[0], "the prompt's last row");
    assert!(figures.has("yarn.logits") && !figures.has("p9.logits"));
    assert!(figures.metadata()["about"].contains("Ice melts."));
}

#[test]
#[should_panic(expected = "type of p0.ids")]
fn figures_refuse_another_type() {
    Figures::read(fixture("dense-bf16.safetensors")).f32("p0.ids");
}

#[test]
fn shared_is_found_beside_or_above_and_missed_elsewhere() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let repository = dir.path().join("worktrees/one");
    std::fs::create_dir_all(&repository).expect("made");
    assert_eq!(find_shared(None, &repository), None);
    std::fs::create_dir_all(dir.path().join("shared/golden")).expect("made");
    assert!(find_shared(None, &repository).is_some(), "two levels up");
    assert!(find_shared(None, &dir.path().join("worktrees")).is_some(), "one level up");
    assert_eq!(find_shared(Some(repository.clone()), &repository), Some(repository), "the variable wins");
}

#[test]
#[should_panic(expected = "LAPWING_SHARED")]
fn shared_named_but_missing_is_a_mistake() {
    find_shared(Some("/nonexistent/shared".into()), root());
}
