//! Every table against the plain meaning: each format, odd sizes, any number of activation rows, gathered rows.

use super::*;
use crate::acts::{Acts, Codes};
use crate::buffer::Bytes;
use crate::threads::Pool;
use crate::weight::{self, Product, Rows, Weight};
use std::sync::Arc;

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
    fn f32(&mut self) -> f32 {
        self.next() as f32 / (1u64 << 30) as f32 - 1.0
    }
}

/// Random rows of a format with sane scales.
fn random_rows(dtype: DType, rows: usize, cols: usize, rng: &mut Rng) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..rows * dtype.row_bytes(cols).unwrap()).map(|_| rng.next() as u8).collect();
    let mut put = |at: usize, v: f32| bytes[at..at + 2].copy_from_slice(&half::f16::from_f32(v).to_le_bytes());
    let n = rows * cols / dtype.block_len();
    for b in 0..n {
        let at = b * dtype.block_bytes();
        match dtype {
            DType::F16 => put(at, rng.f32()),
            DType::Q2_K => (put(at + 80, rng.f32()), put(at + 82, rng.f32())).0,
            DType::Q3_K => put(at + 108, rng.f32()),
            DType::Q6_K => put(at + 208, rng.f32()),
            DType::Q4_1 | DType::Q5_1 | DType::Q4_K | DType::Q5_K => (put(at, rng.f32()), put(at + 2, rng.f32())).0,
            DType::F32 | DType::BF16 => {}
            _ => put(at, rng.f32()),
        }
    }
    if matches!(dtype, DType::F32 | DType::BF16) {
        let wide = dtype.block_bytes();
        for b in bytes.chunks_exact_mut(wide) {
            b.copy_from_slice(&rng.f32().to_le_bytes()[4 - wide..]);
        }
    }
    bytes
}

/// All that runs here: a matrix unit emulated where there is none.
fn tables() -> impl Iterator<Item = &'static Kernels> {
    emulated().into_iter().chain(available())
}

/// A weight as a matrix unit reads it: bf16, to nearest, ties away from zero.
fn rounded(w: f32) -> f32 {
    f32::from_bits((w.to_bits() + 0x8000) & 0xffff_0000)
}

/// What a product of row `w` and an activation row means: exact f64 sums over the form that the cell reads. Where that
/// is bf16, so is the weight. And how far a result may be from it.
fn meaning(w: &[f32], act: &ActRow<'_>, kinds: ActKinds) -> (f64, f64) {
    let value = |k: usize| match kinds {
        ActKinds { bf16: true, .. } if !act.bf16.is_empty() => {
            f64::from(half::bf16::from_le_bytes([act.bf16[2 * k], act.bf16[2 * k + 1]]))
        }
        ActKinds { q8: true, rest, .. } => {
            let code = |c: &crate::acts::Codes<'_, i8>| f64::from(c.codes[k]) * f64::from(c.scales[k / 32]);
            code(&act.q8) + if rest { code(&act.rest) } else { 0.0 }
        }
        ActKinds { q16: true, .. } => {
            f64::from(act.q16.codes[k / 4 * 4 + [0, 2, 1, 3][k % 4]]) * f64::from(act.q16.scales[k / 32])
        }
        _ => f64::from(act.x[k]),
    };
    let weight = |w: f32| if act.bf16.is_empty() { w } else { rounded(w) };
    let terms = (0..w.len()).map(|k| f64::from(weight(w[k])) * value(k));
    let (sum, size, most) =
        terms.fold((0.0, 0.0, 0.0), |(s, size, most), t: f64| (s + t, size + t.abs(), t.abs().max(most)));
    // A weight that is computed on another way than here now and then is rounded to the other side, a step of 2^-7 away:
    // one of some thousands.
    let sides = if act.bf16.is_empty() { 0.0 } else { 4.0 * most / 128.0 };
    (sum, size * 3e-6 + 1e-6 + sides)
}

fn check(kernels: &'static Kernels, dtype: DType, shape: (usize, usize, usize), rng: &mut Rng, pool: &Pool) -> usize {
    let (rows, cols, n) = shape;
    let bytes = random_rows(dtype, rows, cols, rng);
    let mut w32 = vec![0f32; rows * cols];
    crate::formats::dequantize(dtype, &bytes, &mut w32);
    let len = bytes.len();
    let bytes = Bytes::mapped(Arc::new(bytes), 0..len).unwrap();
    let x: Vec<f32> = (0..n * cols).map(|_| rng.f32() * 3.0).collect();
    let list: Vec<u32> = (0..n as u32).rev().collect();
    // The plain meaning of a large product takes longer than all tables together: of those every seventh pair.
    let every = if rows * cols * n > 1 << 20 { 7 } else { 1 };
    let (mut checked, mut before) = (0, None);
    for (repack, prompt, precise) in
        [(false, true, false), (true, true, false), (true, false, false), (true, true, true), (true, false, true)]
    {
        if precise && prompt {
            before = None;
        }
        pool.enter(2, |team| {
            let mut weight = Weight::new(dtype, rows, cols, bytes.clone(), kernels).unwrap();
            if precise {
                weight = weight.precise();
            }
            if repack {
                weight.repack(team).unwrap();
            }
            let mut row = vec![0f32; cols];
            weight.row(rows - 1, &mut row);
            assert!(row.iter().zip(&w32[(rows - 1) * cols..]).all(|(a, b)| a == b || (a.is_nan() && b.is_nan())));
            let mut acts = Acts::new(cols, weight.acts(), kernels);
            acts.fill(team, n, |_| prompt, |i, row| row.copy_from_slice(&x[i * cols..(i + 1) * cols]));
            let (mut all, mut gathered) = (vec![f32::NAN; n * rows], vec![f32::NAN; n * rows]);
            let mut products = [
                Product { weight: &weight, rows: Rows::All, out: &mut all },
                Product { weight: &weight, rows: Rows::Some(&list), out: &mut gathered },
            ];
            weight::run(team, &acts, &mut products);
            for i in 0..n {
                for r in (0..rows).filter(|r| (i * rows + r).is_multiple_of(every)) {
                    let (want, tolerance) = meaning(&w32[r * cols..(r + 1) * cols], &acts.row(i), weight.acts());
                    let got = f64::from(all[i * rows + r]);
                    assert!(
                        (got - want).abs() <= tolerance,
                        "{kernels:?} {} {rows}x{cols} row {r}, activation {i} of {n}: {got} instead of {want}",
                        dtype.name()
                    );
                    checked += 1;
                }
                let again = &gathered[(n - 1 - i) * rows..][..rows];
                let same = all[i * rows..][..rows].iter().zip(again).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "gathered rows");
            }
            // Whatever the number of activation rows: the same bits, and the same for a generated row where its tile is
            // the prompt's.
            let cell = kernels.cell(dtype);
            if std::ptr::fn_addr_eq(cell.prompt, cell.generated) && repack {
                let other = before.get_or_insert_with(|| all.clone());
                assert!(other.iter().zip(&all).all(|(a, b)| a.to_bits() == b.to_bits()), "roles differ");
            }
            for few in (1..n.min(12)).filter(|few| few % 3 == n % 3 || *few == 1) {
                let some: Vec<u32> = (0..few as u32).map(|i| (n as u32 / 2 + i) % n as u32).collect();
                let mut alone = vec![0f32; few * rows];
                let product = Product { weight: &weight, rows: Rows::Some(&some), out: &mut alone };
                weight::run(team, &acts, &mut [product]);
                for (alone, &i) in alone.chunks_exact(rows).zip(&some) {
                    let among = &all[i as usize * rows..][..rows];
                    assert!(alone.iter().zip(among).all(|(a, b)| a.to_bits() == b.to_bits()), "alone = batched");
                }
            }
        });
    }
    checked
}

#[test]
fn every_table_multiplies_as_the_formats_mean() {
    let pool = Pool::new(2, &[]).unwrap();
    let mut rng = Rng(1);
    // On an emulator, one table is enough to wait for.
    let only = std::env::var("LAPWING_TEST_ISA").ok();
    for kernels in tables().filter(|k| only.as_deref().is_none_or(|only| k.name == only)) {
        let mut checked = 0;
        for &dtype in DType::ALL {
            let unit = dtype.block_len();
            let some = if unit == 1 { 37 } else { 3 * unit };
            for (rows, cols, n) in [
                (1, unit, 1),
                (5, 2 * unit, 2),
                (16, some, 3),
                (33, unit, 4),
                (48, some, 7),
                (16, unit, 37),
                (83, 17 * unit, 40),
            ] {
                checked += check(kernels, dtype, (rows, cols, n), &mut rng, &pool);
            }
        }
        eprintln!("isa {}: {checked} products compared with the plain meaning", kernels.name);
    }
}

#[test]
fn required_instruction_sets_are_there() {
    let have: Vec<&str> = tables().map(|t| t.name).collect();
    eprintln!("instruction sets that run here: {}", have.join(", "));
    if let Some(table) = emulated() {
        eprintln!("EMULATED: instruction set {}; this machine lacks it", table.name);
    }
    for (name, there) in known().filter(|k| !k.1 && !have.contains(&k.0)) {
        eprintln!("SKIPPED: instruction set {name} (supported here: {there})");
    }
    for name in std::env::var("LAPWING_REQUIRE_ISA").unwrap_or_default().split(',').filter(|n| !n.is_empty()) {
        assert!(have.contains(&name), "LAPWING_REQUIRE_ISA wants {name}; this machine has {have:?}");
    }
}

fn close(a: &[f32], b: &[f32], tolerance: f32, what: &str) {
    for (i, (x, y)) in a.iter().zip(b).enumerate() {
        assert!((x - y).abs() <= tolerance * y.abs().max(1.0), "{what}[{i}]: {x} instead of {y}");
    }
}

#[test]
fn row_operations_agree_with_plain_loops() {
    for kernels in available() {
        let v = &kernels.vector;
        let mut rng = Rng(2);
        for n in [1usize, 2, 7, 16, 33, 64, 100, 1024] {
            let x: Vec<f32> = (0..n).map(|_| rng.f32() * 8.0).collect();
            let y: Vec<f32> = (0..n).map(|_| rng.f32()).collect();
            let exact: f64 = x.iter().zip(&y).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            close(&[v.dot(&x, &y)], &[exact as f32], 1e-5 * n as f32, "dot");
            let mut out = vec![0.0; n];
            v.rms_norm(&x, &y, 1e-6, &mut out);
            let ms: f64 = x.iter().map(|&a| f64::from(a) * f64::from(a)).sum::<f64>() / n as f64;
            let want: Vec<f32> =
                x.iter().zip(&y).map(|(&a, &w)| (f64::from(a) / (ms + 1e-6).sqrt()) as f32 * w).collect();
            close(&out, &want, 2e-6, "rms_norm");
            v.silu_mul(&x, &y, &mut out);
            let want: Vec<f32> =
                x.iter().zip(&y).map(|(&g, &u)| (f64::from(g) / (1.0 + (-f64::from(g)).exp())) as f32 * u).collect();
            close(&out, &want, 1e-6, "silu_mul");
            let mut soft = x.clone();
            v.softmax(&mut soft);
            let top = x.iter().fold(f32::MIN, |m, &a| m.max(a));
            let e: Vec<f64> = x.iter().map(|&a| f64::from(a - top).exp()).collect();
            let sum: f64 = e.iter().sum();
            close(&soft, &e.iter().map(|&a| (a / sum) as f32).collect::<Vec<_>>(), 1e-6, "softmax");
            let mut sum = x.clone();
            v.add(&mut sum, &y);
            v.add_scaled(&mut sum, &y, 2.0);
            close(&sum, &x.iter().zip(&y).map(|(a, b)| a + 3.0 * b).collect::<Vec<_>>(), 1e-6, "add");
            v.scaled(&x, 3.0, &mut out);
            close(&out, &x.iter().map(|a| 3.0 * a).collect::<Vec<_>>(), 1e-6, "scaled");
            if n.is_multiple_of(2) {
                let (cos, sin): (Vec<f32>, Vec<f32>) = (0..n / 2).map(|i| ((i as f32).cos(), (i as f32).sin())).unzip();
                let mut turned = x.clone();
                v.rope(&mut turned, &cos, &sin);
                let want: Vec<f32> = (0..n)
                    .map(|i| {
                        let (j, h) = (i % (n / 2), n / 2);
                        if i < h { x[i] * cos[j] - x[i + h] * sin[j] } else { x[i] * cos[j] + x[i - h] * sin[j] }
                    })
                    .collect();
                close(&turned, &want, 1e-6, "rope");
            }
            let mut bytes = vec![0u8; 2 * n];
            v.narrow_f16(&x, &mut bytes);
            v.widen_f16(&bytes, &mut out);
            assert_eq!(out, x.iter().map(|&a| half::f16::from_f32(a).to_f32()).collect::<Vec<_>>());
            v.narrow_bf16(&x, &mut bytes);
            v.widen_bf16(&bytes, &mut out);
            assert_eq!(out, x.iter().map(|&a| half::bf16::from_f32(a).to_f32()).collect::<Vec<_>>());
        }
        let edges = [-1e30f32, -88.0, -87.0, 0.0, 1e-8, 50.0, 80.0];
        for e in edges {
            let mut out = [0.0];
            v.silu_mul(&[e], &[1.0], &mut out);
            let want = f64::from(e) / (1.0 + (-f64::from(e)).exp());
            assert!((f64::from(out[0]) - want).abs() <= 1e-6 * want.abs() + 1e-30, "silu({e}) = {} not {want}", out[0]);
        }
    }
}

#[test]
fn integer_activations_are_those_of_the_plain_form() {
    let pool = Pool::new(1, &[]).unwrap();
    let mut rng = Rng(4);
    // Ties, tiny and huge groups, zeroes, and plain values.
    let x: Vec<f32> = (0..4096)
        .map(|i| match i / 32 % 5 {
            0 => ((i % 32) as f32 - 16.0) * 127.0 / 32.0,
            1 => rng.f32() * 1e-30,
            2 => rng.f32() * 1e30,
            3 if i % 3 == 0 => 0.0,
            _ => rng.f32(),
        })
        .collect();
    let kinds = ActKinds { x: false, q8: true, q16: true, rest: true, bf16: false };
    let forms = |kernels: &'static Kernels, x: &[f32]| {
        let mut acts = Acts::new(x.len(), kinds, kernels);
        pool.enter(1, |team| acts.fill(team, 1, |_| false, |_, row| row.copy_from_slice(x)));
        let row = acts.row(0);
        let floats = |c: &Codes<'_, i8>| [c.scales, c.dsums, c.halves].concat();
        let wide = [row.q16.scales, row.q16.dsums, row.q16.halves].concat();
        let floats = [floats(&row.q8), floats(&row.rest), wide].concat();
        let bits: Vec<u32> = floats.iter().map(|v| v.to_bits()).collect();
        (row.q8.codes.to_vec(), row.rest.codes.to_vec(), row.q16.codes.to_vec(), bits)
    };
    for len in [4096, 32, 96, 512, 544, 1504] {
        let plain = forms(by_name("scalar").unwrap(), &x[..len]);
        for kernels in available() {
            let same = forms(kernels, &x[..len]) == plain;
            assert!(same, "{kernels:?}, {len} values: codes, scales and sums are not the plain form's");
        }
    }
}

#[test]
fn integer_activations_are_within_half_a_step() {
    let pool = Pool::new(1, &[]).unwrap();
    for kernels in available() {
        let mut rng = Rng(3);
        let x: Vec<f32> = (0..256).map(|i| if i < 32 { 0.0 } else { rng.f32() * i as f32 }).collect();
        let mut acts = Acts::new(256, ActKinds { x: true, q8: true, q16: true, rest: false, bf16: false }, kernels);
        pool.enter(1, |team| acts.fill(team, 1, |_| false, |_, row| row.copy_from_slice(&x)));
        let row = acts.row(0);
        for (k, &x) in x.iter().enumerate() {
            let narrow = f32::from(row.q8.codes[k]) * row.q8.scales[k / 32];
            assert!((narrow - x).abs() <= 0.501 * row.q8.scales[k / 32]);
            let wide = f32::from(row.q16.codes[k / 4 * 4 + [0, 2, 1, 3][k % 4]]) * row.q16.scales[k / 32];
            assert!((wide - x).abs() <= 0.51 * row.q16.scales[k / 32]);
        }
        for g in 0..8 {
            let sum = row.q8.codes[32 * g..32 * g + 32].iter().map(|&c| i32::from(c)).sum::<i32>();
            assert_eq!(row.q8.dsums[g], row.q8.scales[g] * sum as f32);
            let sum = row.q16.codes[32 * g..32 * g + 32].iter().map(|&c| i32::from(c)).sum::<i32>();
            assert_eq!(row.q16.dsums[g], row.q16.scales[g] * sum as f32);
        }
        for h in 0..16 {
            let sum = row.q8.codes[16 * h..16 * h + 16].iter().map(|&c| i32::from(c)).sum::<i32>();
            assert_eq!((row.q8.sums[h], row.q8.halves[h]), (sum, row.q8.scales[h / 2] * sum as f32));
            let sum = row.q16.codes[16 * h..16 * h + 16].iter().map(|&c| i32::from(c)).sum::<i32>();
            assert_eq!((row.q16.sums[h], row.q16.halves[h]), (sum, row.q16.scales[h / 2] * sum as f32));
        }
        for broken in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            pool.enter(1, |team| {
                acts.fill(
                    team,
                    1,
                    |_| false,
                    |_, row| {
                        row.copy_from_slice(&x);
                        row[40] = broken;
                    },
                );
            });
            let row = acts.row(0);
            assert!(row.q8.scales[1].is_nan() && row.q16.scales[1].is_nan(), "{broken} is not hidden");
            assert!(row.q8.scales[2].is_finite());
        }
    }
}
