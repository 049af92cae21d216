//! Preparing and attending against plain f64 loops, for every table, cache type, head shape and page border.

use super::*;
use crate::kernels::available;
use crate::threads::Pool;

fn noise(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Softmax attention of one query row over `keys` and `values`, `[n, d]` each.
fn plain(q: &[f32], keys: &[f32], values: &[f32], d: usize) -> Vec<f64> {
    let dot = |k: &[f32]| q.iter().zip(k).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / (d as f64).sqrt();
    let scores: Vec<f64> = keys.chunks_exact(d).map(dot).collect();
    let top = scores.iter().fold(f64::MIN, |m, &s| m.max(s));
    let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    (0..d)
        .map(|c| weights.iter().zip(values.chunks_exact(d)).map(|(w, v)| w * f64::from(v[c])).sum::<f64>() / sum)
        .collect()
}

struct Case {
    heads: Heads,
    dtype: KvType,
    past: usize,
    len: usize,
    generated: bool,
}

/// Stores `past + len` random keys and values page by page in scattered pages, attends with the last `len`.
fn check(kernels: &'static Kernels, case: &Case, threads: usize) -> Vec<f32> {
    let (Heads { n_heads, n_kv_heads, head_dim: d }, t) = (case.heads, case.dtype);
    let total = case.past + case.len;
    let pages: Vec<u32> = (0..total.div_ceil(PAGE) as u32).rev().map(|p| p + 1).collect();
    let mut seed = 11;
    let mut random = |n: usize| (0..n).map(|_| noise(&mut seed)).collect::<Vec<f32>>();
    let (keys, values) = (random(total * n_kv_heads * d), random(total * n_kv_heads * d));
    let q = random(case.len * n_heads * d);
    let row = t.row_bytes(d);
    let mut planes = [0, 1].map(|_| vec![0u8; (pages.len() + 1) * n_kv_heads * PAGE * row]);
    let mut stored = [vec![0f32; keys.len()], vec![0f32; keys.len()]];
    for (i, source) in [&keys, &values].into_iter().enumerate() {
        for (p, token) in source.chunks_exact(n_kv_heads * d).enumerate() {
            for (h, head) in token.chunks_exact(d).enumerate() {
                let at = ((pages[p / PAGE] as usize * n_kv_heads + h) * PAGE + p % PAGE) * row;
                t.narrow(kernels, head, &mut planes[i][at..at + row]);
                let to = (p * n_kv_heads + h) * d;
                t.widen(kernels, &planes[i][at..at + row], &mut stored[i][to..to + d]);
            }
        }
    }
    let mut out = vec![0f32; q.len()];
    let span = QuerySpan { first: 0, len: case.len, past: case.past, pages: &pages, generated: case.generated };
    let view = |i: usize| Plane { bytes: &planes[i], dtype: t };
    let pool = Pool::new(threads, &[]).unwrap();
    pool.enter(threads, |team| attend(team, kernels, case.heads, (view(0), view(1)), &[span], &q, &mut out));
    for token in 0..case.len {
        for h in 0..n_heads {
            let kv = h / (n_heads / n_kv_heads);
            let of_head = |s: &[f32]| -> Vec<f32> {
                (0..=case.past + token).flat_map(|p| s[(p * n_kv_heads + kv) * d..][..d].to_vec()).collect()
            };
            let at = (token * n_heads + h) * d;
            let want = plain(&q[at..at + d], &of_head(&stored[0]), &of_head(&stored[1]), d);
            for (got, want) in out[at..at + d].iter().zip(want) {
                assert!((f64::from(*got) - want).abs() < 2e-6, "{kernels:?} token {token} head {h}: {got} not {want}");
            }
        }
    }
    out
}

#[test]
fn attention_is_a_softmax_over_all_earlier_positions() {
    for kernels in available() {
        for (n_heads, n_kv_heads, head_dim) in [(4, 2, 64), (6, 2, 128), (3, 1, 32), (2, 2, 100)] {
            let heads = Heads { n_heads, n_kv_heads, head_dim };
            for (_, dtype) in KvType::ALL {
                if dtype == KvType::Q8_0 && head_dim % 32 != 0 {
                    continue;
                }
                for (past, len) in [(0, 1), (0, 5), (63, 2), (64, 1), (130, 20), (200, 1), (510, 4)] {
                    for generated in [false, true] {
                        let case = Case { heads, dtype, past, len, generated };
                        let one = check(kernels, &case, 1);
                        assert_eq!(one, check(kernels, &case, 3), "threads do not matter");
                    }
                }
            }
        }
    }
}

#[test]
fn prepared_queries_and_keys_are_normalized_rotated_and_stored() {
    let heads = Heads { n_heads: 4, n_kv_heads: 2, head_dim: 8 };
    for kernels in available() {
        let mut seed = 5;
        let mut random = |n: usize| (0..n).map(|_| noise(&mut seed)).collect::<Vec<f32>>();
        let (mut q, mut k, v) = (random(2 * 32), random(2 * 16), random(2 * 16));
        let (q_norm, k_norm, angles) = (random(8), random(8), random(2 * 4));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.iter().map(|a| (a.cos(), a.sin())).unzip();
        let meaning = |head: &[f32], weight: &[f32], token: usize| -> Vec<f32> {
            let mean: f32 = head.iter().map(|x| x * x).sum::<f32>() / 8.0;
            let n: Vec<f32> = head.iter().zip(weight).map(|(x, w)| x / (mean + 1e-6).sqrt() * w).collect();
            let turn = |i: usize| {
                let (c, s) = (cos[token * 4 + i % 4], sin[token * 4 + i % 4]);
                if i < 4 { n[i] * c - n[i + 4] * s } else { n[i] * c + n[i - 4] * s }
            };
            (0..8).map(turn).collect()
        };
        let want = |x: &[f32], w: &[f32], per: usize| -> Vec<f32> {
            x.chunks_exact(8).enumerate().flat_map(|(i, head)| meaning(head, w, i / per)).collect()
        };
        let (want_q, want_k) = (want(&q, &q_norm, 4), want(&k, &k_norm, 2));
        let mut planes = [vec![0u8; 2 * 2 * PAGE * 32], vec![0u8; 2 * 2 * PAGE * 32]];
        let [keys, values] = &mut planes;
        let slots = [PAGE + 3, 7];
        let args = Prepare { heads, norms: (&q_norm, &k_norm), eps: 1e-6, rotation: (&cos, &sin), slots: &slots };
        let plane = |bytes| PlaneMut { bytes, dtype: KvType::F32 };
        Pool::new(2, &[]).unwrap().enter(2, |team| {
            prepare(team, kernels, &args, (&mut q, &mut k, &v), (plane(keys), plane(values)));
        });
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&q, &want_q));
        for (token, slot) in slots.into_iter().enumerate() {
            for h in 0..2 {
                let at = ((slot / PAGE * 2 + h) * PAGE + slot % PAGE) * 32;
                let mut row = [0f32; 8];
                KvType::F32.widen(kernels, &planes[0][at..at + 32], &mut row);
                assert!(near(&row, &want_k[(token * 2 + h) * 8..]));
                KvType::F32.widen(kernels, &planes[1][at..at + 32], &mut row);
                assert_eq!(row, v[(token * 2 + h) * 8..][..8]);
            }
        }
    }
}

#[test]
#[should_panic(expected = "two tokens share a slot")]
fn two_tokens_cannot_be_stored_in_one_slot() {
    let heads = Heads { n_heads: 1, n_kv_heads: 1, head_dim: 2 };
    let (mut q, mut k, v, one) = ([0f32; 4], [0f32; 4], [0f32; 4], [1f32; 2]);
    let (mut a, mut b) = (vec![0u8; PAGE * 8], vec![0u8; PAGE * 8]);
    let args = Prepare { heads, norms: (&one, &one), eps: 1e-6, rotation: (&one, &one), slots: &[4, 4] };
    Pool::new(1, &[]).unwrap().enter(1, |team| {
        let planes = (PlaneMut { bytes: &mut a, dtype: KvType::F32 }, PlaneMut { bytes: &mut b, dtype: KvType::F32 });
        prepare(team, crate::kernels::best(), &args, (&mut q, &mut k, &v), planes);
    });
}
