//! The large GGUFs of ../shared/golden, dequantized: equal to the `gguf` Python package bit for bit, by the hashes
//! that scripts/dequant_golden.py wrote. (The small fixtures, which every clone has, are tested in quant/tests.)

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use gguf_rs_lib::prelude::GGUFFileReader;
use lapwing_quant::{DType, formats};

const GOLDEN_TSV: &str = include_str!("fixtures/formats/golden.tsv");

/// What a file holds in one type: tensors, weights, hash of the weights.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    tensors: u64,
    weights: u64,
    hash: u64,
}

type Key = (String, String);

/// The golden files, where this machine has them.
fn golden() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("LAPWING_SHARED").map(PathBuf::from);
    let places = shared.into_iter().chain([root.join("../shared"), root.join("../../shared")]);
    places.map(|place| place.join("golden")).find(|golden| golden.is_dir())
}

fn expected() -> BTreeMap<Key, Summary> {
    let lines = GOLDEN_TSV.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let [file, dtype, tensors, weights, hash] = line.split('\t').collect::<Vec<_>>()[..] else {
                panic!("golden.tsv: {line:?}")
            };
            let summary = Summary {
                tensors: tensors.parse().expect("a number of tensors"),
                weights: weights.parse().expect("a number of weights"),
                hash: u64::from_str_radix(hash, 16).expect("a hash"),
            };
            ((file.to_owned(), dtype.to_owned()), summary)
        })
        .collect()
}

/// The summand of the weight at `index`; `hash_of` of the script.
fn hash(index: u64, weight: f32) -> u64 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mixed = (u64::from(weight.to_bits()) + 1).wrapping_mul(K);
    (mixed ^ mixed >> 32).wrapping_mul(index.wrapping_mul(K) | 1)
}

/// Dequantizes every tensor of a file.
fn summaries(path: &Path, file: &str) -> BTreeMap<Key, Summary> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{file}: {e}"));
    let reader = GGUFFileReader::new(Cursor::new(&bytes)).unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut found: BTreeMap<Key, Summary> = BTreeMap::new();
    for info in reader.tensor_infos() {
        let dtype = DType::from_ggml_id(info.tensor_type() as u32)
            .unwrap_or_else(|| panic!("{file}: {} has type {:?}", info.name(), info.tensor_type()));
        let start = (reader.tensor_data_offset() + info.data_offset()) as usize;
        let rows = info.element_count() as usize / dtype.block_len();
        let mut weights = vec![0.0; info.element_count() as usize];
        formats::dequantize(dtype, &bytes[start..][..rows * dtype.block_bytes()], &mut weights);
        let summary = found.entry((file.to_owned(), dtype.name().to_owned())).or_default();
        for &weight in &weights {
            summary.hash = summary.hash.wrapping_add(hash(summary.weights, weight));
            summary.weights += 1;
        }
        summary.tensors += 1;
    }
    found
}

#[test]
fn every_golden_file_dequantizes_as_in_python() {
    let Some(golden) = golden() else {
        eprintln!("SKIPPED: ../shared is absent; the golden GGUFs were not dequantized");
        return;
    };
    let expected = expected();
    let files: std::collections::BTreeSet<&String> = expected.keys().map(|(file, _)| file).collect();
    let mut found = BTreeMap::new();
    for file in files {
        found.extend(summaries(&golden.join(file), file));
    }
    for (key, summary) in &expected {
        assert_eq!(found.get(key), Some(summary), "{key:?}");
    }
    assert_eq!(found.len(), expected.len(), "types that golden.tsv does not know");
}

#[test]
fn the_golden_files_hold_every_format() {
    let expected = expected();
    for dtype in DType::ALL {
        let found = expected.iter().find(|((_, name), summary)| name == dtype.name() && summary.weights > 10_000);
        assert!(found.is_some(), "golden.tsv has no {}", dtype.name());
    }
}
