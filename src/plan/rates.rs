//! How fast the kernels are on this machine, with which numbers of threads: measured in about a second, kept in a file.
//!
//! An entry is for one processor, instruction set, set of cores and source of power; another of these is another entry.

use crate::error::{Error, Result};
use lapwing_quant::DType;
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels::Kernels;
use lapwing_quant::probe::rates::{self as probe, Bench, Rate};
use lapwing_quant::threads::Pool;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Formats that are measured; others go by the one of the nearest size.
const FORMATS: [DType; 7] = [DType::Q3_K, DType::Q4_K, DType::Q5_K, DType::Q6_K, DType::Q8_0, DType::BF16, DType::F32];
/// Bytes of a measured matrix, where the cache is not larger.
const BYTES: (usize, usize) = (48 << 20, 192 << 20);
/// Seconds after which a measurement is made anew: 30 days.
pub const KEEP: u64 = 30 * 86_400;
/// What a measurement may take; on a machine so busy that it takes longer, the rest is inferred.
const PATIENCE: Duration = Duration::from_secs(4);
/// A number of threads must be better than a smaller one by this to be chosen.
const WORTH: f64 = 1.03;

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Which machine: see [`key`].
    pub key: String,
    /// When, in seconds since 1970.
    pub measured: u64,
    /// Best number of threads for generated tokens.
    pub threads: usize,
    /// Best number of threads for prompts.
    pub threads_batch: usize,
    /// By the format's name: bytes per second of a generated token, products per second of a prompt.
    pub formats: BTreeMap<String, (f64, f64)>,
    /// Products per second of attention.
    pub attention: f64,
    /// Seconds of an empty parallel region.
    pub region: f64,
}

impl Rates {
    /// The rates of a format.
    pub fn format(&self, dtype: DType) -> Rate {
        let bits = |d: DType| 8.0 * d.block_bytes() as f64 / d.block_len() as f64;
        let far = |d: &DType| (bits(*d) - bits(dtype)).abs();
        let near = FORMATS.into_iter().filter(|d| self.formats.contains_key(d.name()));
        let near = near.min_by(|a, b| far(a).total_cmp(&far(b)));
        let found = near.and_then(|d| self.formats.get(d.name())).copied().unwrap_or((1e9, 1e9));
        Rate { bytes_per_second: found.0, products_per_second: found.1 }
    }
}

/// What an entry is for.
pub fn key(cpu: &str, isa: &str, cores: &Cores, power: &str) -> String {
    let quota = cores.quota.map_or(String::new(), |q| format!(", quota {q}"));
    let Cores { perf, all_physical, logical, .. } = cores;
    format!("{cpu}; {isa}; {} of {} cores, {logical} threads{quota}; {power}", perf.len(), all_physical.len())
}

/// How to measure.
pub struct Setup<'a> {
    /// The kernels.
    pub kernels: &'static Kernels,
    /// The cores to use.
    pub cores: &'a Cores,
    /// Threads for generated tokens and for prompts, where they are not to be found out.
    pub threads: (Option<usize>, Option<usize>),
    /// Bytes of the last cache.
    pub cache: Option<usize>,
}

/// Measures; `now` is in seconds since 1970.
///
/// # Errors
/// When memory or threads are not to be had.
pub fn measure(setup: &Setup<'_>, key: String, now: u64) -> Result<Rates> {
    let Setup { kernels, cores, .. } = *setup;
    let candidates = candidates(cores);
    let given = [setup.threads.0, setup.threads.1].into_iter().flatten();
    let most = candidates.iter().copied().chain(given).max().unwrap_or(1);
    let pool =
        Pool::new(most, &lapwing_quant::cores::pin_plan(cores, most).unwrap_or_default()).map_err(Error::limit)?;
    let bytes = setup.cache.map_or(BYTES.0, |cache| (2 * cache).clamp(BYTES.0, BYTES.1));
    let mut bench = Bench::new(DType::Q4_K, bytes, kernels, &pool).map_err(Error::limit)?;
    let began = Instant::now();
    let usual = lapwing_quant::cores::default_threads(cores).min(most);
    let mut sweep: Vec<(usize, Rate)> = vec![(usual, bench.rate(&pool, usual))];
    for &n in candidates.iter().filter(|&&n| n != usual) {
        if began.elapsed() < PATIENCE / 2 {
            sweep.push((n, bench.rate(&pool, n)));
        }
    }
    sweep.sort_by_key(|(n, _)| *n);
    let best = |rate: fn(&Rate) -> f64| best(&sweep.iter().map(|(n, r)| (*n, rate(r))).collect::<Vec<_>>());
    let threads = setup.threads.0.unwrap_or_else(|| best(|r| r.bytes_per_second));
    let threads_batch = setup.threads.1.unwrap_or_else(|| best(|r| r.products_per_second));
    drop(bench);
    let mut formats = BTreeMap::new();
    // The most usual first: whatever the patience, one is measured.
    let mut order = FORMATS;
    order.sort_by_key(|d| (*d != DType::Q4_K, *d != DType::Q6_K, *d != DType::Q8_0));
    for dtype in order {
        if !formats.is_empty() && began.elapsed() > PATIENCE {
            break;
        }
        let mut bench = Bench::new(dtype, bytes, kernels, &pool).map_err(Error::limit)?;
        let read = bench.rate(&pool, threads).bytes_per_second;
        let products = bench.rate(&pool, threads_batch).products_per_second;
        formats.insert(dtype.name().to_owned(), (read, products));
    }
    let attention = probe::attention(&pool, threads_batch, kernels);
    let region = probe::region(&pool, threads);
    Ok(Rates { key, measured: now, threads, threads_batch, formats, attention, region })
}

/// Numbers of threads worth trying, ascending: half and all of the performance cores, all cores, all hardware threads;
/// never more than the quota.
pub fn candidates(cores: &Cores) -> Vec<usize> {
    let most = cores.quota.map_or(usize::MAX, |cpus| cpus.floor().max(1.0) as usize);
    let (perf, all) = (cores.perf.len(), cores.all_physical.len());
    let mut list: Vec<usize> =
        [perf.div_ceil(2), perf, all, cores.logical].iter().map(|&n| n.min(most).max(1)).collect();
    list.sort_unstable();
    list.dedup();
    list
}

/// The number of threads with the best rate; of near equals the smallest.
fn best(sweep: &[(usize, f64)]) -> usize {
    let mut best: Option<(usize, f64)> = None;
    for &(n, rate) in sweep {
        if best.is_none_or(|(_, found)| rate > found * WORTH) {
            best = Some((n, rate));
        }
    }
    best.map_or(1, |(n, _)| n)
}

/// All entries of the file; none where it is not there or not readable, as it can be made anew.
pub fn load(path: &Path) -> Vec<Rates> {
    std::fs::read(path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default()
}

/// The entry of this key, unless it is older than [`KEEP`].
pub fn find(path: &Path, key: &str, now: u64) -> Option<Rates> {
    load(path).into_iter().find(|r| r.key == key && now.saturating_sub(r.measured) <= KEEP && sound(r))
}

fn sound(rates: &Rates) -> bool {
    let figures = rates.formats.values().flat_map(|(a, b)| [*a, *b]).chain([rates.attention]);
    !rates.formats.is_empty()
        && figures.into_iter().all(|f| f.is_finite() && f > 0.0)
        && (1..=1024).contains(&rates.threads)
        && (1..=1024).contains(&rates.threads_batch)
        && rates.region >= 0.0
}

/// Puts an entry into the file in place of an older one with its key, or with `None` only takes that one out.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(path: &Path, key: &str, entry: Option<&Rates>) -> Result<()> {
    let mut all = load(path);
    all.retain(|r| r.key != key);
    all.extend(entry.cloned());
    let failed = |e: &dyn std::fmt::Display| Error::file(format!("{}: cannot be written: {e}", path.display()));
    let text = serde_json::to_vec_pretty(&all).map_err(|e| failed(&e))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|e| failed(&e))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|e| failed(&e))?;
    std::io::Write::write_all(&mut file, &text).and_then(|()| file.as_file().sync_all()).map_err(|e| failed(&e))?;
    file.persist(path).map_err(|e| failed(&e))?;
    Ok(())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Rates that are the same for all formats.
    pub fn even(bytes: f64, products: f64, attention: f64, region: f64) -> Rates {
        let formats = FORMATS.iter().map(|d| (d.name().to_owned(), (bytes, products))).collect();
        Rates { key: "k".into(), measured: 1000, threads: 2, threads_batch: 4, formats, attention, region }
    }

    #[test]
    fn of_near_equals_the_fewest_threads() {
        assert_eq!(best(&[(2, 10.0), (4, 10.2), (8, 10.25)]), 2);
        assert_eq!(best(&[(2, 10.0), (4, 15.0), (8, 9.0)]), 4);
        assert_eq!(best(&[(1, 5.0), (2, 5.1), (4, 5.2)]), 4);
    }

    #[test]
    fn threads_worth_trying() {
        let cores = |perf: usize, all: usize, logical, quota| Cores {
            perf: (0..perf).collect(),
            all_physical: (0..all).collect(),
            logical,
            quota,
        };
        assert_eq!(candidates(&cores(6, 14, 20, None)), [3, 6, 14, 20]);
        assert_eq!(candidates(&cores(6, 14, 20, Some(4.5))), [3, 4]);
        assert_eq!(candidates(&cores(1, 1, 1, Some(0.5))), [1]);
    }

    #[test]
    fn entries_are_kept_replaced_forgotten_and_grow_old() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/machine.json");
        assert_eq!(find(&path, "k", 1000), None);
        let mut entry = even(1e9, 1e10, 1e9, 1e-6);
        keep(&path, "k", Some(&entry)).unwrap();
        keep(&path, "other", Some(&Rates { key: "other".into(), ..entry.clone() })).unwrap();
        assert_eq!(find(&path, "k", 1000).as_ref(), Some(&entry));
        entry.threads = 3;
        keep(&path, "k", Some(&entry)).unwrap();
        assert_eq!(load(&path).len(), 2);
        assert_eq!(find(&path, "k", 1000 + KEEP).map(|r| r.threads), Some(3));
        assert_eq!(find(&path, "k", 1001 + KEEP), None, "too old");
        keep(&path, "k", None).unwrap();
        assert_eq!((find(&path, "k", 1000), load(&path).len()), (None, 1));
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(find(&path, "other", 1000), None);
    }

    #[test]
    fn a_format_that_was_not_measured_goes_by_its_size() {
        let mut rates = even(1e9, 1e10, 1e9, 0.0);
        rates.formats.insert("Q4_K".into(), (7e9, 7e10));
        assert_eq!(rates.format(DType::IQ4_NL).bytes_per_second, 7e9);
        assert_eq!(rates.format(DType::F16).bytes_per_second, 1e9);
    }
}
