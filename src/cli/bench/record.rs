//! One test's result with everything that llama-bench reports about it, by its field names, and some fields more.

use super::limits::Limits;
use super::machine;
use super::measure::Test;
use super::model_name::ModelName;
use lapwing_quant::attend::KvType;
use serde::Serialize;
use std::time::Duration;

/// What all tests of one loaded model have in common.
pub struct Setting {
    /// The model.
    pub model: ModelName,
    /// Threads for everything.
    pub threads: usize,
    /// Nanoseconds from opening the file to a model ready to read.
    pub load_ns: u64,
    /// What the threads could do at most, where measured.
    pub limits: Option<Limits>,
    /// Types of cached keys and values.
    pub cache: (KvType, KvType),
    /// Instruction set in use.
    pub isa: &'static str,
    /// Bytes of weights that one generated token reads.
    pub bytes_per_token: u64,
    /// Bytes of keys and values of a cached token, all layers.
    pub cache_bytes_per_token: u64,
    /// Products of weights that a prompt's token takes, the head not counted: of integers, and of floats.
    pub products_per_token: (u64, u64),
    /// Whether weights are arranged for the kernels.
    pub repack: bool,
}

/// The result of one test. The first fields, up to `samples_ts`, are llama-bench's.
#[derive(Clone, Debug, Serialize)]
pub struct Record {
    /// Commit of the build: `LAPWING_BUILD_COMMIT` when it was compiled, else "unknown".
    pub build_commit: &'static str,
    /// Number of the build; 0, since versions here have names.
    pub build_number: u32,
    /// Name of the processor.
    pub cpu_info: String,
    /// Name of the accelerator: none.
    pub gpu_info: &'static str,
    /// What computes.
    pub backends: &'static str,
    /// The model's path.
    pub model_filename: String,
    /// Architecture, size, quantization.
    pub model_type: String,
    /// Bytes of all tensors.
    pub model_size: u64,
    /// Weights of all tensors.
    pub model_n_params: u64,
    /// `-b`
    pub n_batch: usize,
    /// `-ub`
    pub n_ubatch: usize,
    /// `-t`
    pub n_threads: usize,
    /// `-ctk`
    pub type_k: &'static str,
    /// `-ctv`
    pub type_v: &'static str,
    /// Layers on an accelerator: none.
    pub n_gpu_layers: u32,
    /// Whether weights are used where they are in the mapped file.
    pub use_mmap: bool,
    /// Tokens of the prompt.
    pub n_prompt: usize,
    /// Tokens generated.
    pub n_gen: usize,
    /// Tokens of each sequence in the cache before.
    pub n_depth: usize,
    /// When the test began, UTC.
    pub test_time: String,
    /// Mean time of a repetition.
    pub avg_ns: u64,
    /// Sample standard deviation of it.
    pub stddev_ns: u64,
    /// Mean of the repetitions' tokens per second.
    pub avg_ts: f64,
    /// Sample standard deviation of it.
    pub stddev_ts: f64,
    /// Time of each repetition.
    pub samples_ns: Vec<u64>,
    /// Tokens per second of each repetition.
    pub samples_ts: Vec<f64>,
    /// Version of this program.
    pub build_version: &'static str,
    /// The test's name.
    pub test: String,
    /// Instruction set in use.
    pub isa: &'static str,
    /// Sequences side by side; rates are of all of them together.
    pub n_parallel: usize,
    /// Median time of a repetition.
    pub median_ns: u64,
    /// Median of the repetitions' tokens per second.
    pub median_ts: f64,
    /// Nanoseconds that loading took, reading the file included.
    pub load_ns: u64,
    /// Most resident memory since loading began, in bytes; absent where the system does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_rss_bytes: Option<u64>,
    /// Bytes per second that the threads read from memory; absent with `--no-limits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bandwidth: Option<f64>,
    /// Multiply-adds of bfloat16 per second that the matrix unit in use, which multiplies the rows of prompts, does at
    /// most; absent with `--no-limits`, and with other instruction sets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bf16: Option<f64>,
    /// Multiply-adds of bytes per second that the instruction set in use does at most; absent with `--no-limits`, and
    /// where its kernels multiply floats only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_int8: Option<f64>,
    /// The same of f32.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_f32: Option<f64>,
    /// Bytes of weights that one generated token reads.
    pub bytes_per_token: u64,
    /// Products of weights and integers that a prompt's token takes, the head not counted.
    pub integer_products_per_token: u64,
    /// The same of weights and floats.
    pub float_products_per_token: u64,
    /// Part of the bandwidth that generation used for weights and for the keys and values of all tokens before; for
    /// tests that only generate. Sequences side by side read the weights once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth_share: Option<f64>,
    /// Part of the peaks that reading a prompt used for products with weights; those of attention are not counted. For
    /// tests that only read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compute_share: Option<f64>,
}

impl Setting {
    /// See [`Record::bandwidth_share`].
    fn bandwidth_share(&self, test: &Test, tokens_per_second: f64) -> Option<f64> {
        let generates_only = test.shape.n_prompt == 0;
        let past = test.depth as f64 + test.shape.n_gen as f64 / 2.0;
        let sequences = test.parallel as f64;
        let bytes = self.bytes_per_token as f64 + sequences * past * self.cache_bytes_per_token as f64;
        self.limits.filter(|_| generates_only).map(|l| tokens_per_second / sequences * bytes / l.bandwidth)
    }

    /// See [`Record::compute_share`].
    fn compute_share(&self, test: &Test, tokens_per_second: f64) -> Option<f64> {
        let peaks = self.limits.filter(|_| test.shape.n_gen == 0)?.peaks?;
        let (integers, floats) = self.products_per_token;
        // A table whose kernels take integers has a peak of them. A matrix unit takes their place for prompts.
        let peak = peaks.bf16.or(peaks.int8);
        let seconds = if integers > 0 { integers as f64 / peak? } else { 0.0 } + floats as f64 / peaks.f32;
        Some(tokens_per_second * seconds)
    }
}

impl Record {
    /// The result of a test from the times of its repetitions.
    pub fn new(s: &Setting, test: &Test, test_time: String, times: &[Duration], peak_rss: Option<u64>) -> Self {
        let samples_ns: Vec<u64> = times.iter().map(|t| t.as_nanos() as u64).collect();
        let ns: Vec<f64> = samples_ns.iter().map(|&n| n as f64).collect();
        let samples_ts: Vec<f64> = ns.iter().map(|n| 1e9 * test.tokens() as f64 / n.max(1.0)).collect();
        let avg_ts = mean(&samples_ts);
        let peaks = s.limits.and_then(|l| l.peaks);
        let type_name = |t: KvType| KvType::ALL.iter().find(|(_, k)| *k == t).map_or("", |(name, _)| name);
        Self {
            build_commit: option_env!("LAPWING_BUILD_COMMIT").unwrap_or("unknown"),
            build_number: 0,
            cpu_info: machine::cpu_name(),
            gpu_info: "",
            backends: "CPU",
            model_filename: s.model.filename.clone(),
            model_type: s.model.kind.clone(),
            model_size: s.model.bytes,
            model_n_params: s.model.parameters,
            n_batch: test.batch,
            n_ubatch: test.ubatch,
            n_threads: s.threads,
            type_k: type_name(s.cache.0),
            type_v: type_name(s.cache.1),
            n_gpu_layers: 0,
            use_mmap: !s.repack,
            n_prompt: test.shape.n_prompt,
            n_gen: test.shape.n_gen,
            n_depth: test.depth,
            test_time,
            avg_ns: mean(&ns) as u64,
            stddev_ns: deviation(&ns) as u64,
            avg_ts,
            stddev_ts: deviation(&samples_ts),
            median_ns: median(&ns) as u64,
            median_ts: median(&samples_ts),
            samples_ns,
            samples_ts,
            build_version: env!("CARGO_PKG_VERSION"),
            test: test.name(),
            isa: s.isa,
            n_parallel: test.parallel,
            load_ns: s.load_ns,
            peak_rss_bytes: peak_rss,
            memory_bandwidth: s.limits.map(|l| l.bandwidth),
            peak_bf16: peaks.and_then(|p| p.bf16),
            peak_int8: peaks.and_then(|p| p.int8),
            peak_f32: peaks.map(|p| p.f32),
            bytes_per_token: s.bytes_per_token,
            integer_products_per_token: s.products_per_token.0,
            float_products_per_token: s.products_per_token.1,
            bandwidth_share: s.bandwidth_share(test, avg_ts),
            compute_share: s.compute_share(test, avg_ts),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Sample standard deviation; 0 of a single value.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::Shape;
    use super::*;
    use lapwing_quant::probe::peaks::Peaks;

    /// A result in 1, 2 and 5 seconds.
    pub fn example(n_prompt: usize, n_gen: usize) -> Record {
        let shape = Shape { n_prompt, n_gen };
        of(Test { shape, parallel: 1, depth: 0, batch: 2048, ubatch: 512, repetitions: 3, warmup: true })
    }

    fn of(test: Test) -> Record {
        let model = ModelName {
            filename: "a \"b\".gguf".into(),
            kind: "qwen3 0.6B Q8_0".into(),
            bytes: 3 << 30,
            parameters: 751_632_384,
        };
        let setting = Setting {
            model,
            threads: 4,
            load_ns: 1_500_000_000,
            limits: Some(Limits { bandwidth: 1e9, peaks: Some(Peaks { bf16: None, int8: Some(4e9), f32: 1e9 }) }),
            cache: (KvType::F16, KvType::Q8_0),
            isa: "scalar",
            bytes_per_token: 100_000_000,
            cache_bytes_per_token: 1_000_000,
            products_per_token: (400_000_000, 10_000_000),
            repack: true,
        };
        let times = [1, 2, 5].map(Duration::from_secs);
        Record::new(&setting, &test, "2026-01-31T12:00:00Z".into(), &times, Some(1 << 30))
    }

    #[test]
    fn figures_by_hand() {
        let r = example(0, 10);
        assert_eq!(r.samples_ts, [10.0, 5.0, 2.0]);
        assert_eq!((r.median_ts, r.median_ns), (5.0, 2_000_000_000));
        assert_eq!(r.avg_ns, 2_666_666_666);
        assert!((r.avg_ts - 17.0 / 3.0).abs() < 1e-12);
        // Deviations from 17/3: 13/3, -2/3, -11/3; squares sum to 294/9.
        assert!((r.stddev_ts - (294.0 / 18.0f64).sqrt()).abs() < 1e-12);
        // 100 MB of weights and 5 tokens of 1 MB.
        assert!((r.bandwidth_share.unwrap() - 17.0 / 3.0 * 0.105).abs() < 1e-12);
        assert_eq!(r.compute_share, None);
        assert_eq!((r.type_k, r.type_v), ("f16", "q8_0"));
        let r = example(10, 0);
        assert_eq!(r.bandwidth_share, None, "a prompt's tokens share the weights");
        // 0.1 s of integers and 0.01 s of floats a token.
        assert!((r.compute_share.unwrap() - 17.0 / 3.0 * 0.11).abs() < 1e-12);
    }

    #[test]
    fn sequences_side_by_side_read_the_weights_once() {
        let shape = Shape { n_prompt: 0, n_gen: 10 };
        let r = of(Test { shape, parallel: 8, depth: 20, batch: 1, ubatch: 1, repetitions: 3, warmup: true });
        assert_eq!(r.samples_ts, [80.0, 40.0, 16.0]);
        assert_eq!((r.n_parallel, r.test.as_str()), (8, "tg10 x8 @ d20"));
        // 17/3 passes a second, each of 100 MB of weights and 8 * 25 tokens of 1 MB.
        assert!((r.bandwidth_share.unwrap() - 17.0 / 3.0 * 0.3).abs() < 1e-12);
    }

    #[test]
    fn medians_and_deviations_of_few() {
        assert_eq!((median(&[]), median(&[3.0]), median(&[4.0, 1.0])), (0.0, 3.0, 2.5));
        assert_eq!((deviation(&[3.0]), deviation(&[1.0, 3.0])), (0.0, 2f64.sqrt()));
    }
}
