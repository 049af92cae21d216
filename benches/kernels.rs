//! Products and row operations, one thread, every instruction set of this machine:
//!
//!     cargo bench --bench kernels -- --save-baseline before
//!     cargo bench --bench kernels -- --baseline before [FILTER]
//!
//! Names are `product/FORMAT/ISA/ROWSxCOLS/n=N`, `vector/OP/ISA/N` and `quantize/FORMAT/ISA/N`. For n = 1, 4 and 8 (rows
//! of generated tokens) the rate is that of the weights, in bytes per second; for n = 32 (prompt rows) one element is
//! one multiply-add. What is quantized is BF16, and the rate that of its bytes.

#![allow(missing_docs, reason = "criterion's macro writes a public function without any")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use lapwing::sample::Rng;
use lapwing_quant::DType;
use lapwing_quant::acts::Acts;
use lapwing_quant::buffer::{Bytes, Owner};
use lapwing_quant::kernels::{self, Kernels};
use lapwing_quant::quantize::{self, Values};
use lapwing_quant::threads::Pool;
use lapwing_quant::weight::{self, Product, Rows, Weight};
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

fn value(rng: &mut Rng) -> f32 {
    (rng.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0
}

/// Random weights without infinite, NaN or denormal values, which would change the speed of arithmetic.
fn random_weight(dtype: DType, rows: usize, cols: usize, kernels: &'static Kernels) -> Weight {
    let mut rng = Rng::new(1);
    let len = dtype.row_bytes(cols).expect("whole blocks") * rows;
    let bytes: Vec<u8> = match dtype {
        DType::F32 => (0..len / 4).flat_map(|_| value(&mut rng).to_le_bytes()).collect(),
        // The upper half of an f32 is a bf16; as an f16 it is some other plain number.
        DType::BF16 | DType::F16 => (0..len / 2)
            .flat_map(|_| {
                let [_, _, low, high] = value(&mut rng).to_le_bytes();
                [low, high]
            })
            .collect(),
        // Without the upper exponent bit a half is below 2, wherever in the block it stands.
        _ => (0..len).map(|_| rng.next_u64() as u8 & 0x3b).collect(),
    };
    let owner: Owner = Arc::new(bytes);
    let bytes = Bytes::mapped(owner, 0..len).expect("the whole buffer");
    Weight::new(dtype, rows, cols, bytes, kernels).expect("a sound matrix")
}

fn products(c: &mut Criterion) {
    let pool = Pool::new(1, &[]).expect("a thread");
    for &dtype in DType::ALL {
        for kernels in kernels::available() {
            // The plain form is the oracle, not a thing to wait for.
            let (rows, cols) = if kernels.name == "scalar" { (256, 1024) } else { (1024, 4096) };
            let mut weight = random_weight(dtype, rows, cols, kernels);
            pool.enter(1, |team| weight.repack(team)).expect("memory for a small matrix");
            let mut group = c.benchmark_group(format!("product/{}/{}", dtype.name(), kernels.name));
            for n in [1, 4, 8, 32] {
                let mut acts = Acts::new(cols, weight.acts(), kernels);
                pool.enter(1, |team| {
                    acts.fill(
                        team,
                        n,
                        |_| n >= 32,
                        |i, row| {
                            let mut rng = Rng::new(2 + i as u64);
                            row.iter_mut().for_each(|v| *v = value(&mut rng));
                        },
                    );
                });
                let macs = (rows * cols * n) as u64;
                group.throughput(if n < 32 {
                    Throughput::Bytes(weight.size() as u64)
                } else {
                    Throughput::Elements(macs)
                });
                let mut out = vec![0.0; n * rows];
                group.bench_function(BenchmarkId::from_parameter(format!("{rows}x{cols}/n={n}")), |b| {
                    pool.enter(1, |team| {
                        b.iter(|| {
                            let product = Product { weight: &weight, rows: Rows::All, out: &mut out };
                            weight::run(team, &acts, &mut [product]);
                        });
                    });
                    black_box(&out);
                });
            }
            group.finish();
        }
    }
}

fn vectors(c: &mut Criterion) {
    /// Values per row: the width of an 8B model.
    const N: usize = 4096;
    let mut rng = Rng::new(3);
    let mut row = || (0..N).map(|_| value(&mut rng)).collect::<Vec<f32>>();
    let (a, b, mut out) = (row(), row(), row());
    let halves = vec![0x3b; 2 * N];
    let (cos, sin) = (vec![0.6; 64], vec![0.8; 64]);
    for kernels in kernels::available() {
        let v = &kernels.vector;
        let mut run = |name: &str, n: usize, op: &mut dyn FnMut(&mut [f32])| {
            let mut group = c.benchmark_group(format!("vector/{name}/{}", kernels.name));
            group.throughput(Throughput::Elements(n as u64));
            group.bench_function(BenchmarkId::from_parameter(n), |bencher| bencher.iter(|| op(black_box(&mut out))));
            group.finish();
        };
        run("dot", N, &mut |_| {
            black_box(v.dot(&a, &b));
        });
        run("rms_norm", N, &mut |out| v.rms_norm(&a, &b, 1e-6, out));
        run("silu_mul", N, &mut |out| v.silu_mul(&a, &b, out));
        run("softmax", N, &mut |out| {
            out.copy_from_slice(&a);
            v.softmax(out);
        });
        run("rope", 128, &mut |out| v.rope(&mut out[..128], &cos, &sin));
        run("widen_f16", N, &mut |out| v.widen_f16(&halves, out));
        let mut bytes = vec![0; 2 * N];
        run("narrow_f16", N, &mut |_| v.narrow_f16(&a, black_box(&mut bytes)));
    }
}

fn quantizers(c: &mut Criterion) {
    /// Values: few enough for one thread to take at once.
    const N: usize = 16 * 1024;
    let pool = Pool::new(1, &[]).expect("a thread");
    let mut rng = Rng::new(4);
    let values: Vec<u8> = (0..N)
        .flat_map(|_| {
            let [_, _, low, high] = (0..4).map(|_| value(&mut rng)).sum::<f32>().to_le_bytes();
            [low, high]
        })
        .collect();
    for &dtype in DType::ALL {
        let mut out = vec![0; dtype.row_bytes(N).expect("whole blocks")];
        let rows = quantize::Rows { dtype, values: Values::BF16(&values), cols: N, importance: None };
        for kernels in kernels::available() {
            let mut group = c.benchmark_group(format!("quantize/{}/{}", dtype.name(), kernels.name));
            group.throughput(Throughput::Bytes(values.len() as u64));
            group.bench_function(BenchmarkId::from_parameter(N), |b| {
                b.iter(|| quantize::quantize(black_box(&rows), kernels, &pool, black_box(&mut out)).expect("numbers"));
            });
            group.finish();
        }
    }
}

fn brief() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(100), Duration::from_millis(400));
    Criterion::default().sample_size(10).warm_up_time(warm_up).measurement_time(measure).without_plots()
}

criterion_group!(name = benches; config = brief(); targets = products, vectors, quantizers);
criterion_main!(benches);
