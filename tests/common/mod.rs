//! What the integration tests share: where the data sets are, figures from safetensors files, distances of logits.
//!
//! Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code, reason = "every test binary uses a different part")]

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

/// Largest KL divergence (nats) from exact arithmetic on committed files whose weights are quantized.
pub const ROUNDED: f64 = 1e-2;

/// llama.cpp's KL divergence (AVX-512 + AMX, f16 KV) of p0, p1, p2, from the README of ../shared/golden.
pub const LLAMA_CPP: [(&str, &str, [f64; 3]); 8] = [
    ("dense-tied", "Q8_0", [1.88e-3, 2.85e-3, 2.42e-3]),
    ("dense-tied", "Q4_K_M", [6.45e-3, 5.81e-3, 9.33e-3]),
    ("dense-untied", "Q8_0", [1.43e-3, 2.67e-3, 5.84e-3]),
    ("dense-untied", "Q4_K_M", [3.51e-3, 5.01e-3, 7.84e-3]),
    ("moe", "Q8_0", [1.58e-3, 3.13e-2, 5.95e-3]),
    ("moe", "Q4_K_M", [2.07e-2, 1.23e-1, 9.28e-3]),
    ("yarn", "Q8_0", [3.33e-3, 3.30e-3, 4.78e-3]),
    ("yarn", "Q4_K_M", [3.86e-3, 7.53e-3, 9.32e-3]),
];

/// llama.cpp's KL divergence (commit 0c1e570, AVX-512, f16 KV, the better of --repack 0 and 1) from exact arithmetic on
/// the files of ../shared/golden/formats, over all 200 rows of p2 of dense-tied.
pub const LLAMA_CPP_FORMATS: [(&str, f64); 14] = [
    ("BF16", 2.87e-4),
    ("F16", 5.57e-6),
    ("IQ4_NL", 3.78e-3),
    ("IQ4_XS", 8.42e-3),
    ("Q2_K", 8.25e-3),
    ("Q3_K_S", 7.94e-3),
    ("Q4_0", 3.51e-3),
    ("Q4_1", 4.01e-3),
    ("Q4_K_S", 7.97e-3),
    ("Q5_0", 3.92e-3),
    ("Q5_1", 3.86e-3),
    ("Q5_K_S", 8.52e-3),
    ("Q6_K", 8.98e-3),
    ("Q8_0", 3.59e-3),
];

/// Root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A committed model, or the figures beside it: `tests/fixtures/models/NAME`.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures/models").join(name)
}

/// The larger data sets that are not part of the repository: `LAPWING_SHARED`, else `../shared`, else `../../shared`.
///
/// Where none is there, says so past cargo's capture of output and returns nothing: the test then passes without
/// having tested. A `LAPWING_SHARED` that names no directory is a mistake and panics.
pub fn shared(test: &str) -> Option<PathBuf> {
    let found = find_shared(std::env::var_os("LAPWING_SHARED").map(PathBuf::from), root());
    if found.is_none() {
        loud(&format!("SKIPPED {test}: ../shared is absent"));
    }
    found
}

/// As [`shared`], with the variable's value and the repository's root given.
pub fn find_shared(named: Option<PathBuf>, root: &Path) -> Option<PathBuf> {
    if let Some(dir) = named {
        assert!(dir.is_dir(), "LAPWING_SHARED={} is not a directory: unset it or correct it", dir.display());
        return Some(dir);
    }
    ["../shared", "../../shared"].iter().map(|up| root.join(up)).find(|dir| dir.join("golden").is_dir())
}

/// Writes a line to stderr that `cargo test` does not swallow (its capture sees only the print macros).
pub fn loud(line: &str) {
    writeln!(std::io::stderr().lock(), "\n{line}").expect("stderr is open");
}

/// Values with their shape, outermost dimension first.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    pub shape: Vec<usize>,
    pub values: Vec<T>,
}

impl<T> Array<T> {
    /// Length of the innermost dimension.
    pub fn cols(&self) -> usize {
        *self.shape.last().expect("an array has a shape")
    }

    /// Number of rows of [`Array::cols`] values.
    pub fn rows(&self) -> usize {
        self.values.len() / self.cols()
    }
}

/// A safetensors file read whole.
pub struct Figures {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl Figures {
    /// Reads the file; panics with its path where that fails, as everything here does.
    pub fn read(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let bytes = std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        Self { path, bytes }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()))
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors().tensor(name).is_ok()
    }

    fn get<T, const N: usize>(&self, name: &str, dtype: Dtype, of: fn([u8; N]) -> T) -> Array<T> {
        let tensors = self.tensors();
        let tensor = tensors.tensor(name).unwrap_or_else(|e| panic!("{}: {name}: {e}", self.path.display()));
        assert_eq!(tensor.dtype(), dtype, "{}: type of {name}", self.path.display());
        let (values, rest) = tensor.data().as_chunks::<N>();
        assert!(rest.is_empty(), "{}: {name} ends within a value", self.path.display());
        Array { shape: tensor.shape().to_vec(), values: values.iter().map(|b| of(*b)).collect() }
    }

    /// The f32 tensor of that name.
    pub fn f32(&self, name: &str) -> Array<f32> {
        self.get(name, Dtype::F32, f32::from_le_bytes)
    }

    /// The i64 tensor of that name.
    pub fn i64(&self, name: &str) -> Array<i64> {
        self.get(name, Dtype::I64, i64::from_le_bytes)
    }

    /// Token ids stored as i64.
    pub fn ids(&self, name: &str) -> Vec<u32> {
        let to_id = |id: &i64| u32::try_from(*id).expect("a token id fits 32 bits");
        self.i64(name).values.iter().map(to_id).collect()
    }

    /// The free-text metadata of the file.
    pub fn metadata(&self) -> HashMap<String, String> {
        let (_, header) =
            SafeTensors::read_metadata(&self.bytes).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        header.metadata().clone().unwrap_or_default()
    }
}

/// Mean over rows of KL(reference || ours), in nats, between rows of `cols` logits; computed in f64.
pub fn kl_divergence(reference: &[f32], ours: &[f32], cols: usize) -> f64 {
    assert_eq!(reference.len(), ours.len(), "as many logits on both sides");
    assert!(!reference.is_empty() && reference.len().is_multiple_of(cols), "whole rows of {cols}");
    let rows = reference.len() / cols;
    let sum: f64 = reference.chunks(cols).zip(ours.chunks(cols)).map(|(r, o)| kl_row(r, o)).sum();
    sum / rows as f64
}

fn kl_row(reference: &[f32], ours: &[f32]) -> f64 {
    let (p, q) = (log_softmax(reference), log_softmax(ours));
    p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum()
}

fn log_softmax(row: &[f32]) -> Vec<f64> {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max) as f64;
    let norm = max + row.iter().map(|x| (*x as f64 - max).exp()).sum::<f64>().ln();
    row.iter().map(|x| *x as f64 - norm).collect()
}

/// Largest |a - b|; infinite where either holds a NaN, so that no bound passes it.
pub fn max_abs_diff(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len(), "as many values on both sides");
    let gap =
        |(x, y): (&f32, &f32)| if x.is_nan() || y.is_nan() { f64::INFINITY } else { (*x as f64 - *y as f64).abs() };
    a.iter().zip(b).map(gap).fold(0.0, f64::max)
}

/// Index of the largest value, the first of equals.
pub fn argmax(row: &[f32]) -> usize {
    assert!(!row.is_empty(), "argmax of nothing");
    (1..row.len()).fold(0, |best, i| if row[i] > row[best] { i } else { best })
}
