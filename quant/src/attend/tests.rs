//! Preparing and attending against plain f64 loops, for every table, cache type, head shape and page border.

use super::*;
use crate::kernels::available;
use crate::threads::Pool;

fn noise(seed: &mut u32) -> f32 {
    *seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    (*seed >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Softmax attention of one query row over `keys` and `values`, `[n, d]` each; and the mean of the values' largest
/// magnitudes under the same weights.
fn plain(q: &[f32], keys: &[f32], values: &[f32], d: usize) -> (Vec<f64>, f64) {
    let dot = |k: &[f32]| q.iter().zip(k).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>() / (d as f64).sqrt();
    let scores: Vec<f64> = keys.chunks_exact(d).map(dot).collect();
    let top = scores.iter().fold(f64::MIN, |m, &s| m.max(s));
    let weights: Vec<f64> = scores.iter().map(|s| (s - top).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mean = |of: &dyn Fn(&[f32]) -> f64| -> f64 {
        weights.iter().zip(values.chunks_exact(d)).map(|(w, v)| w * of(v)).sum::<f64>() / sum
    };
    let largest = |v: &[f32]| v.iter().fold(0f64, |m, &v| m.max(f64::from(v).abs()));
    ((0..d).map(|c| mean(&|v| f64::from(v[c]))).collect(), mean(&largest))
}

struct Case {
    heads: Heads,
    dtype: KvType,
    past: usize,
    len: usize,
    generated: bool,
}

impl Case {
    fn total(&self) -> usize {
        self.past + self.len
    }

    /// Keys and values `[total, n_kv_heads, head_dim]`, queries `[len, n_heads, head_dim]`.
    fn random(&self) -> [Vec<f32>; 3] {
        let mut seed = 11;
        let kv = self.total() * self.heads.n_kv_heads * self.heads.head_dim;
        [kv, kv, self.len * self.heads.n_heads * self.heads.head_dim]
            .map(|n| (0..n).map(|_| noise(&mut seed)).collect())
    }

    /// Stores keys and values page by page in scattered pages, attends with the last `len` tokens; gives what was stored
    /// and the result.
    fn run(&self, kernels: &'static Kernels, threads: usize, [keys, values, q]: &[Vec<f32>; 3]) -> [Vec<f32>; 3] {
        let (Heads { n_kv_heads, head_dim: d, .. }, t) = (self.heads, self.dtype);
        let pages: Vec<u32> = (0..self.total().div_ceil(PAGE) as u32).rev().map(|p| p + 1).collect();
        let places = Places { first: 0, step: self.heads.page_bytes(t) };
        let mut planes = [0, 1].map(|_| vec![0u8; (pages.len() + 1) * places.step]);
        let mut stored = [vec![0f32; keys.len()], vec![0f32; keys.len()]];
        for (i, source) in [keys, values].into_iter().enumerate() {
            for (p, token) in source.chunks_exact(n_kv_heads * d).enumerate() {
                for (h, head) in token.chunks_exact(d).enumerate() {
                    let row = t.row_bytes(d);
                    let at = places.head(self.heads, t, pages[p / PAGE], h) + p % PAGE * row;
                    t.narrow(kernels, head, &mut planes[i][at..at + row]);
                    let to = (p * n_kv_heads + h) * d;
                    t.widen(kernels, &planes[i][at..at + row], &mut stored[i][to..to + d]);
                }
            }
        }
        let mut out = vec![0f32; q.len()];
        let span = QuerySpan { first: 0, len: self.len, past: self.past, pages: &pages, generated: self.generated };
        let view = |i: usize| Plane { bytes: &planes[i], dtype: t, places };
        let pool = Pool::new(threads, &[]).unwrap();
        pool.enter(threads, |team| attend(team, kernels, self.heads, (view(0), view(1)), &[span], q, &mut out));
        let [keys, values] = stored;
        [keys, values, out]
    }

    /// Compares a result with what the stored keys and values mean; errors are relative to the largest value and grow
    /// with the largest key.
    fn check(&self, kernels: &Kernels, q: &[f32], [keys, values, out]: &[Vec<f32>; 3]) {
        let Heads { n_heads, n_kv_heads, head_dim: d } = self.heads;
        // Prompts go through integers of 13 bits on x86.
        let integers = kernels.name.starts_with("avx") && !self.generated && self.dtype != KvType::F32;
        let near = if integers { 2e-4 } else { 1e-6 };
        let near = near * keys.iter().fold(1f64, |m, &k| m.max(f64::from(k).abs()));
        for token in 0..self.len {
            for h in 0..n_heads {
                let kv = h / (n_heads / n_kv_heads);
                let of_head = |s: &[f32]| -> Vec<f32> {
                    (0..=self.past + token).flat_map(|p| s[(p * n_kv_heads + kv) * d..][..d].to_vec()).collect()
                };
                let at = (token * n_heads + h) * d;
                let (want, largest) = plain(&q[at..at + d], &of_head(keys), &of_head(values), d);
                for (got, want) in out[at..at + d].iter().zip(want) {
                    let error = (f64::from(*got) - want).abs();
                    assert!(
                        error <= near * largest,
                        "{kernels:?} token {token} head {h}: {got} not {want} ({largest})"
                    );
                }
            }
        }
    }
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
                        let inputs = case.random();
                        let one = case.run(kernels, 1, &inputs);
                        case.check(kernels, &inputs[2], &one);
                        assert_eq!(one, case.run(kernels, 3, &inputs), "threads do not matter");
                    }
                }
            }
        }
    }
}

/// Sharp and flat distributions, values of very different sizes, slots that are all zero and have most of the weight.
#[test]
fn sizes_of_keys_and_values_do_not_matter() {
    let heads = Heads { n_heads: 2, n_kv_heads: 1, head_dim: 128 };
    for kernels in available() {
        for (generated, dtype) in [false, true].into_iter().flat_map(|g| [(g, KvType::F32), (g, KvType::BF16)]) {
            for sharpness in [0.0, 1.0, 8.0, 40.0] {
                let case = Case { heads, dtype, past: 150, len: 7, generated };
                let [mut keys, mut values, q] = case.random();
                keys.iter_mut().for_each(|k| *k *= sharpness);
                for (p, v) in values.chunks_exact_mut(128).enumerate() {
                    let size = if p % 5 == 0 { 0.0 } else { 2f32.powi(p as i32 * 7 % 40 - 30) };
                    v.iter_mut().for_each(|v| *v *= size);
                }
                // A sink: every query has a large product with it, and it has next to no value.
                keys[..128].copy_from_slice(&q[..128]);
                let inputs = [keys, values, q];
                case.check(kernels, &inputs[2], &case.run(kernels, 2, &inputs));
            }
        }
    }
}

#[test]
fn what_is_not_finite_shows_in_the_rows_that_see_it() {
    let heads = Heads { n_heads: 2, n_kv_heads: 1, head_dim: 64 };
    for kernels in available() {
        for (generated, bad) in [(false, f32::NAN), (true, f32::NAN), (false, f32::INFINITY), (true, f32::INFINITY)] {
            // An infinite key may only mean a weight of zero.
            for (which, dtype) in
                (usize::from(bad == f32::INFINITY)..3).flat_map(|w| [(w, KvType::F32), (w, KvType::F16)])
            {
                let case = Case { heads, dtype, past: 100, len: 40, generated };
                let mut inputs = case.random();
                // Position 130 of keys and values; the query of the 31st token.
                let at = if which == 2 { 30 * 2 * 64 } else { 130 * 64 };
                inputs[which][at + 5] = bad;
                let out = &case.run(kernels, 1, &inputs)[2];
                let finite = |token: usize| out[token * 128..token * 128 + 64].iter().all(|v| v.is_finite());
                assert!((0..26).all(finite), "{kernels:?}: positions before its page do not see it");
                assert!(!finite(30), "{kernels:?}, {generated}, input {which}: it is seen");
                assert!(which == 2 || !(30..40).any(finite), "{kernels:?}: it is seen by all later ones");
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
        let places = Places { first: 0, step: heads.page_bytes(KvType::F32) };
        let plane = |bytes| PlaneMut { bytes, dtype: KvType::F32, places };
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
        let places = Places { first: 0, step: heads.page_bytes(KvType::F32) };
        let plane = |bytes| PlaneMut { bytes, dtype: KvType::F32, places };
        prepare(team, crate::kernels::best(), &args, (&mut q, &mut k, &v), (plane(&mut a), plane(&mut b)));
    });
}
