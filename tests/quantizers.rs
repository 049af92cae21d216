//! Our blocks against llama.cpp's, on the tensors of ../shared/golden/formats: the error of every tensor is at most
//! theirs, and formats without a search have their bytes.

mod common;

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use common::{loud, shared};
use gguf_rs_lib::prelude::GGUFFileReader;
use lapwing_quant::quantize::{Rows, Values, quantize};
use lapwing_quant::threads::Pool;
use lapwing_quant::{DType, formats, kernels};

/// A tensor of a file: its type, row length and bytes.
struct Stored {
    dtype: DType,
    cols: usize,
    bytes: Vec<u8>,
}

fn tensors(path: &Path) -> BTreeMap<String, Stored> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let reader = GGUFFileReader::new(Cursor::new(&bytes)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let tensors = reader.tensor_infos().iter().map(|info| {
        let dtype = DType::from_ggml_id(info.tensor_type() as u32).expect("a known format");
        let start = (reader.tensor_data_offset() + info.data_offset()) as usize;
        let (count, cols) = (info.element_count() as usize, info.shape().dims()[0] as usize);
        let bytes = bytes[start..][..count / dtype.block_len() * dtype.block_bytes()].to_vec();
        (info.name().to_owned(), Stored { dtype, cols, bytes })
    });
    tensors.collect()
}

fn squared_error(exact: &[f32], dtype: DType, bytes: &[u8]) -> f64 {
    let mut found = vec![0.0; exact.len()];
    formats::dequantize(dtype, bytes, &mut found);
    exact.iter().zip(&found).map(|(a, b)| f64::from(a - b).powi(2)).sum()
}

#[test]
fn no_tensor_has_a_larger_error_than_llama_cpps() {
    let Some(golden) = shared("no_tensor_has_a_larger_error_than_llama_cpps").map(|dir| dir.join("golden")) else {
        return;
    };
    let exact = tensors(&golden.join("dense-tied/lcpp-f32.gguf"));
    let pool = Pool::new(2, &[]).expect("threads");
    let mut worse = Vec::new();
    let files = ["BF16", "F16", "IQ4_NL", "IQ4_XS", "Q2_K", "Q3_K_S", "Q4_0", "Q4_1", "Q4_K_S", "Q5_0", "Q5_1"];
    for file in files.into_iter().chain(["Q5_K_S", "Q6_K", "Q8_0"]) {
        let (mut ours_all, mut theirs_all, mut worst) = (0.0, 0.0, 0f64);
        for (name, theirs) in tensors(&golden.join(format!("formats/dense-tied-{file}.gguf"))) {
            let exact = &exact[&name];
            assert_eq!((exact.dtype, exact.cols), (DType::F32, theirs.cols), "{file} {name}");
            let mut ours = vec![0; theirs.bytes.len()];
            let rows =
                Rows { dtype: theirs.dtype, values: Values::F32(&exact.bytes), cols: exact.cols, importance: None };
            let outcome = quantize(&rows, kernels::best(), &pool, &mut ours).expect("numbers");
            assert_eq!(outcome.clamped, 0, "{file} {name}");
            if matches!(theirs.dtype, DType::F32 | DType::F16 | DType::BF16 | DType::Q8_0) {
                assert!(ours == theirs.bytes, "{file} {name}: bytes differ");
                continue;
            }
            let exact: Vec<f32> = exact.bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
            let [ours, theirs] = [&ours, &theirs.bytes].map(|bytes| squared_error(&exact, theirs.dtype, bytes));
            (ours_all, theirs_all, worst) = (ours_all + ours, theirs_all + theirs, worst.max(ours / theirs));
            if ours > theirs {
                worse.push(format!("{file} {name}: squared error {ours:.4e}, llama.cpp's {theirs:.4e}"));
            }
        }
        if theirs_all > 0.0 {
            let (all, worst) = ((ours_all / theirs_all).sqrt(), worst.sqrt());
            loud(&format!("{file}: RMSE {all:.4} of llama.cpp's, {worst:.4} on the worst tensor"));
        }
    }
    assert!(worse.is_empty(), "larger errors than llama.cpp's:\n{}", worse.join("\n"));
}
