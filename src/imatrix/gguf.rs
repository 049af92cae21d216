//! llama.cpp's GGUF form: for each tensor an F32 `NAME.in_sum2` of `[columns, matrices]` and `NAME.counts` of
//! `[1, matrices]`, with the keys `general.type`, `imatrix.datasets`, `imatrix.chunk_count`, `imatrix.chunk_size`.

use std::collections::BTreeMap;
use std::path::Path;

use gguf_rs_lib::builder::GGUFBuilder;
use gguf_rs_lib::format::metadata::{MetadataArray, MetadataValue};
use gguf_rs_lib::format::types::GGUFValueType;
use gguf_rs_lib::tensor::TensorType;
use lapwing_quant::DType;

use super::{Entry, Imatrix, MAX_DATASETS, MAX_ENTRIES};
use crate::error::{Error, Result};
use crate::gguf::{Gguf, OpenOptions, Tensor};

const SUMS: &str = ".in_sum2";
const COUNTS: &str = ".counts";
const DATASETS: &str = "imatrix.datasets";
const CHUNK_COUNT: &str = "imatrix.chunk_count";
const CHUNK_SIZE: &str = "imatrix.chunk_size";

/// Reads the file.
pub(super) fn read(path: &Path) -> Result<Imatrix> {
    let gguf = Gguf::open(path, &OpenOptions::default())?;
    let shown = path.display();
    let mut pairs: BTreeMap<&str, (Option<Tensor<'_>>, Option<Tensor<'_>>)> = BTreeMap::new();
    for tensor in gguf.tensors() {
        if let Some(name) = tensor.name().strip_suffix(SUMS) {
            pairs.entry(name).or_default().0 = Some(tensor);
        } else if let Some(name) = tensor.name().strip_suffix(COUNTS) {
            pairs.entry(name).or_default().1 = Some(tensor);
        }
    }
    if pairs.is_empty() || pairs.len() > MAX_ENTRIES {
        let what = format!("{shown}: has {} tensors called NAME{SUMS}", pairs.len());
        return Err(Error::file(format!("{what}; this is no importance matrix: make one with `lapwing imatrix`")));
    }
    let mut imatrix = Imatrix {
        datasets: gguf.meta().strings(DATASETS)?.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        chunk_size: gguf.meta().uint(CHUNK_SIZE)?.unwrap_or(0),
        ..Imatrix::default()
    };
    imatrix.datasets.truncate(MAX_DATASETS);
    for (name, pair) in pairs {
        let (Some(sums), Some(counts)) = pair else {
            let (has, lacks) = if pair.0.is_some() { (SUMS, COUNTS) } else { (COUNTS, SUMS) };
            return Err(Error::file(format!("{shown}: has {name}{has} but no {name}{lacks}; make the file again")));
        };
        let entry = Entry::new(values(sums)?, read_counts(counts)?);
        let entry = entry.map_err(|e| Error::file(format!("{}: {e}; make the file again", sums.described())))?;
        imatrix.insert(name, entry)?;
    }
    Ok(imatrix)
}

fn values(tensor: Tensor<'_>) -> Result<Vec<f64>> {
    tensor.expect_dtype(&[DType::F32])?;
    let (values, _) = tensor.bytes().as_chunks::<4>();
    Ok(values.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect())
}

/// Counts are whole numbers in F32.
fn read_counts(tensor: Tensor<'_>) -> Result<Vec<u64>> {
    let count = |v: f64| (v.is_finite() && v >= 0.0).then(|| v.round() as u64);
    let found = values(tensor)?;
    found.iter().map(|&v| count(v)).collect::<Option<_>>().ok_or_else(|| {
        Error::file(format!(
            "{}: holds a count that is no number of 0 or more; make the file again",
            tensor.described()
        ))
    })
}

/// The bytes of the file. Sums that are too large for f32 (which no real activations give) become the largest f32.
pub(super) fn write(imatrix: &Imatrix) -> Result<Vec<u8>> {
    let failed = |e: gguf_rs_lib::GGUFError| Error::runtime(format!("the importance matrix cannot be written: {e}"));
    let datasets = imatrix.datasets.iter().cloned().map(MetadataValue::String).collect();
    let datasets = MetadataArray::new(GGUFValueType::String, datasets).map_err(failed)?;
    let small = |n: u64| MetadataValue::U32(u32::try_from(n).unwrap_or(u32::MAX));
    let mut builder = GGUFBuilder::new()
        .add_metadata("general.type", MetadataValue::String("imatrix".to_owned()))
        .add_metadata(DATASETS, MetadataValue::Array(Box::new(datasets)))
        .add_metadata(CHUNK_COUNT, small(imatrix.chunks()))
        .add_metadata(CHUNK_SIZE, small(imatrix.chunk_size));
    for (name, entry) in imatrix.entries() {
        let matrices = entry.counts().len() as u64;
        let cols = entry.sums().len() as u64 / matrices;
        let bytes = |values: &mut dyn Iterator<Item = f64>| -> Vec<u8> {
            values.flat_map(|v| (v.min(f64::from(f32::MAX)) as f32).to_le_bytes()).collect()
        };
        let sums = bytes(&mut entry.sums().iter().copied());
        let counts = bytes(&mut entry.counts().iter().map(|&n| n as f64));
        builder = builder
            .add_tensor(format!("{name}{SUMS}"), vec![cols, matrices], TensorType::F32, sums)
            .and_then(|b| b.add_tensor(format!("{name}{COUNTS}"), vec![1, matrices], TensorType::F32, counts))
            .map_err(failed)?;
    }
    builder.build_to_bytes().map(|(bytes, _)| bytes).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Imatrix {
        let mut m = Imatrix { datasets: vec!["a.txt".into(), "b.txt".into()], chunk_size: 4, ..Imatrix::default() };
        m.insert("blk.0.attn_q.weight", Entry::new(vec![0.5, 0.25], vec![8]).unwrap()).unwrap();
        m.insert("blk.0.ffn_up_exps.weight", Entry::new(vec![1.0, 2.0, 0.0, 0.0], vec![3, 0]).unwrap()).unwrap();
        m
    }

    fn reread(bytes: &[u8]) -> Result<Imatrix> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("i.gguf");
        std::fs::write(&path, bytes).unwrap();
        Imatrix::open(&path)
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = sample().to_gguf().unwrap();
        assert_eq!(reread(&bytes).unwrap(), sample());
        assert_eq!(bytes, sample().to_gguf().unwrap(), "the same bytes each time");
    }

    #[test]
    fn half_an_entry_and_no_entry_are_refused() {
        let tensor = |name: &str| {
            let builder = GGUFBuilder::new().add_metadata("general.type", MetadataValue::String("imatrix".into()));
            let builder = builder.add_tensor(name, vec![2], TensorType::F32, vec![0; 8]).unwrap();
            reread(&builder.build_to_bytes().unwrap().0).unwrap_err().to_string()
        };
        assert!(tensor("a.in_sum2").contains("no a.counts"));
        assert!(tensor("a.counts").contains("no a.in_sum2"));
        assert!(tensor("a.weight").contains("no importance matrix"));
    }

    #[test]
    fn broken_numbers_are_refused() {
        for (sum, count, word) in [(f32::NAN, 1.0, "in_sum2"), (1.0, f32::NAN, "counts"), (1.0, -1.0, "counts")] {
            let builder = GGUFBuilder::new()
                .add_tensor("a.in_sum2", vec![1], TensorType::F32, sum.to_le_bytes().to_vec())
                .and_then(|b| b.add_tensor("a.counts", vec![1], TensorType::F32, count.to_le_bytes().to_vec()));
            let e = reread(&builder.unwrap().build_to_bytes().unwrap().0).unwrap_err().to_string();
            assert!(e.contains(word), "{e}");
        }
    }
}
