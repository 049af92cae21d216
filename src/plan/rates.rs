//! How fast the kernels are on this machine, with which numbers of threads: measured in about a second, kept in a file.
//!
//! An entry is for one processor, instruction set, set of cores and source of power; another of these is another entry.

use super::sample;
use crate::error::{Error, Result};
use lapwing_quant::DType;
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels::Kernels;
use lapwing_quant::probe::rates::{self as probe, Bench, Rate};
use lapwing_quant::threads::Pool;
use serde::{Deserialize, Serialize};
use std::cmp::Ordering::Equal;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Formats that are always measured, the most usual first: those of the published models' mixes. Others are measured
/// when a model has them, and go by the one of the nearest size until then.
pub const FORMATS: [DType; 5] = [DType::Q4_K, DType::Q6_K, DType::Q8_0, DType::Q5_K, DType::Q3_K];
/// Bytes of what is measured: four times the last cache, so that hardly a part of it is still there in the next pass,
/// but at least and at most so many.
const BYTES: (usize, usize) = (96 << 20, 256 << 20);
/// Seconds after which a measurement is made anew: 30 days; one of a busy machine after 10 minutes.
pub const KEEP: u64 = 30 * 86_400;
const KEEP_BUSY: u64 = 600;
/// What a measurement may take; on a machine so busy that it takes longer, the rest is inferred.
const PATIENCE: Duration = Duration::from_secs(5);
/// A number of threads must be better than a smaller one by this to be chosen.
const WORTH: f64 = 1.03;
/// Where the usual pass takes so many times the shortest, others take the processor away.
const UNSTEADY: f64 = 1.3;

/// What was measured of a format.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Bytes of weights per second when one row is multiplied, as for a generated token.
    pub bytes_per_second: f64,
    /// Multiplications per second when many rows are, as for a prompt.
    pub products_per_second: f64,
    /// Seconds that a block of a generated token takes besides its bytes.
    pub block_seconds: f64,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Which machine and program: see [`key`].
    pub key: String,
    /// When, in seconds since 1970.
    pub measured: u64,
    /// Whether others took the processor away meanwhile.
    pub busy: bool,
    /// Best number of threads for generated tokens.
    pub threads: usize,
    /// Best number of threads for prompts.
    pub threads_batch: usize,
    /// By the format's name.
    pub formats: BTreeMap<String, Speed>,
    /// Attention: products per second of a prompt, bytes of keys and values per second of a generated token.
    pub attention: (f64, f64),
}

impl Rates {
    /// The rates of a format.
    pub fn format(&self, dtype: DType) -> Speed {
        let bits = |d: DType| 8.0 * d.block_bytes() as f64 / d.block_len() as f64;
        let far = |d: &DType| (bits(*d) - bits(dtype)).abs();
        let near = DType::ALL.iter().filter(|d| self.formats.contains_key(d.name()));
        let near = near.min_by(|a, b| (**a != dtype, far(a)).partial_cmp(&(**b != dtype, far(b))).unwrap_or(Equal));
        let found = near.and_then(|d| self.formats.get(d.name())).copied();
        found.unwrap_or(Speed { bytes_per_second: 1e9, products_per_second: 1e9, block_seconds: 0.0 })
    }

    /// Those of `formats` that were not measured.
    pub fn lacks(&self, formats: &[DType]) -> Vec<DType> {
        formats.iter().copied().filter(|d| !self.formats.contains_key(d.name())).collect()
    }
}

/// What an entry is for: this machine as this program (`build` tells one from another) uses it.
pub fn key(cpu: &str, isa: &str, cores: &Cores, power: &str, build: &str) -> String {
    let quota = cores.quota.map_or(String::new(), |q| format!(", quota {q}"));
    let Cores { perf, all_physical, logical, .. } = cores;
    let cores = format!("{} of {} cores, {logical} threads{quota}", perf.len(), all_physical.len());
    format!("{cpu}; {isa}; {cores}; {power}; lapwing {build}")
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
    /// Whether others are known to use the processor.
    pub busy: bool,
}

impl Setup<'_> {
    /// Bytes that are read from memory and not from a cache.
    fn bytes(&self) -> usize {
        self.cache.map_or(BYTES.0, |cache| cache.saturating_mul(4).clamp(BYTES.0, BYTES.1))
    }

    fn cpus(&self, threads: usize) -> Vec<usize> {
        lapwing_quant::cores::pin_plan(self.cores, threads).unwrap_or_default()
    }

    fn pool(&self, threads: usize) -> Result<Pool> {
        Pool::new(threads, &self.cpus(threads)).map_err(Error::limit)
    }
}

/// Measures the numbers of threads, then [`FORMATS`] and `more`; `now` is in seconds since 1970.
///
/// # Errors
/// When memory or threads are not to be had.
pub fn measure(setup: &Setup<'_>, more: &[DType], key: String, now: u64) -> Result<Rates> {
    let (threads, threads_batch) = best_threads(setup)?;
    let pool = setup.pool(threads.max(threads_batch))?;
    let (kernels, bytes) = (setup.kernels, setup.bytes());
    let prompt = probe::attention(&pool, threads_batch, kernels);
    let attention = (prompt, probe::attention_of_one(&pool, threads, kernels, bytes));
    let (formats, busy) = (BTreeMap::new(), setup.busy);
    let mut rates = Rates { key, measured: now, busy, threads, threads_batch, formats, attention };
    let mut order = FORMATS.to_vec();
    order.extend(more.iter().filter(|d| !FORMATS.contains(d)));
    // A model's own come before others of the list.
    order.sort_by_key(|d| *d != DType::Q4_K && !more.contains(d));
    extend(setup, &mut rates, &order)?;
    Ok(rates)
}

/// Measures further formats.
///
/// # Errors
/// As [`measure`].
pub fn extend(setup: &Setup<'_>, rates: &mut Rates, formats: &[DType]) -> Result<()> {
    let began = Instant::now();
    let most = rates.threads.max(rates.threads_batch);
    let pool = setup.pool(most)?;
    let threads = sample::Setup { kernels: setup.kernels, threads: rates.threads, cpus: &setup.cpus(most) };
    for &dtype in formats {
        if !rates.formats.is_empty() && began.elapsed() > PATIENCE {
            break;
        }
        let mut bench = Bench::new(dtype, setup.bytes(), setup.kernels, &pool).map_err(Error::limit)?;
        let Rate { mut bytes_per_second, products_per_second: again } = bench.rate(&pool, rates.threads);
        let Rate { bytes_per_second: later, mut products_per_second } = bench.rate(&pool, rates.threads_batch);
        if rates.threads == rates.threads_batch {
            // Both figures twice: whoever took the processor away during one of them hardly did during the other.
            bytes_per_second = bytes_per_second.max(later);
            products_per_second = products_per_second.max(again);
        }
        drop(bench);
        let timed = sample::time(dtype, setup.bytes(), threads)?;
        rates.busy |= timed.seconds > UNSTEADY * timed.shortest;
        // Whole passes cost more than the bytes that they read.
        let bytes_per_second = bytes_per_second.max(timed.bytes / timed.seconds);
        let block_seconds = (timed.seconds - timed.bytes / bytes_per_second) / timed.blocks as f64;
        let speed = Speed { bytes_per_second, products_per_second, block_seconds };
        rates.formats.insert(dtype.name().to_owned(), speed);
    }
    Ok(())
}

/// The numbers of threads that generate and read fastest.
fn best_threads(setup: &Setup<'_>) -> Result<(usize, usize)> {
    if let (Some(threads), Some(threads_batch)) = setup.threads {
        return Ok((threads, threads_batch));
    }
    let candidates = candidates(setup.cores);
    let pool = setup.pool(candidates.iter().copied().max().unwrap_or(1))?;
    let mut bench = Bench::new(DType::Q4_K, setup.bytes(), setup.kernels, &pool).map_err(Error::limit)?;
    let began = Instant::now();
    let usual = lapwing_quant::cores::default_threads(setup.cores).min(pool.threads());
    let mut sweep: Vec<(usize, Rate)> = vec![(usual, bench.rate(&pool, usual))];
    for &n in candidates.iter().filter(|&&n| n != usual) {
        if began.elapsed() < PATIENCE / 2 {
            sweep.push((n, bench.rate(&pool, n)));
        }
    }
    sweep.sort_by_key(|(n, _)| *n);
    let best = |rate: fn(&Rate) -> f64| best(&sweep.iter().map(|(n, r)| (*n, rate(r))).collect::<Vec<_>>());
    let threads = setup.threads.0.unwrap_or_else(|| best(|r| r.bytes_per_second));
    Ok((threads, setup.threads.1.unwrap_or_else(|| best(|r| r.products_per_second))))
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

/// The entry of this key, unless it is too old.
pub fn find(path: &Path, key: &str, now: u64) -> Option<Rates> {
    load(path).into_iter().find(|r| r.key == key && is_fresh(r, now) && is_sound(r))
}

fn is_fresh(rates: &Rates, now: u64) -> bool {
    now.saturating_sub(rates.measured) <= if rates.busy { KEEP_BUSY } else { KEEP }
}

fn is_sound(rates: &Rates) -> bool {
    let of_formats = rates.formats.values().flat_map(|s| [s.bytes_per_second, s.products_per_second]);
    !rates.formats.is_empty()
        && of_formats.chain([rates.attention.0, rates.attention.1]).all(|f| f.is_finite() && f > 0.0)
        && rates.formats.values().all(|s| s.block_seconds.is_finite())
        && (1..=1024).contains(&rates.threads)
        && (1..=1024).contains(&rates.threads_batch)
}

/// Puts an entry into the file in place of an older one with its key, or with `None` only takes that one out. Entries
/// that are too old by `now` go, too: each build of the program leaves one.
///
/// # Errors
/// When the file cannot be written.
pub fn keep(path: &Path, key: &str, entry: Option<&Rates>, now: u64) -> Result<()> {
    let mut all = load(path);
    all.retain(|r| r.key != key && is_fresh(r, now));
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
    pub fn even(bytes: f64, products: f64, block_seconds: f64) -> Rates {
        let speed = Speed { bytes_per_second: bytes, products_per_second: products, block_seconds };
        let formats = FORMATS.iter().map(|d| (d.name().to_owned(), speed)).collect();
        let (key, attention) = ("k".into(), (products, bytes));
        Rates { key, measured: 1000, busy: false, threads: 2, threads_batch: 4, formats, attention }
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
        let mut entry = even(1e9, 1e10, 1e-6);
        keep(&path, "k", Some(&entry), 1000).unwrap();
        keep(&path, "other", Some(&Rates { key: "other".into(), ..entry.clone() }), 1000).unwrap();
        assert_eq!(find(&path, "k", 1000).as_ref(), Some(&entry));
        entry.threads = 3;
        keep(&path, "k", Some(&entry), 1000).unwrap();
        assert_eq!(load(&path).len(), 2);
        assert_eq!(find(&path, "k", 1000 + KEEP).map(|r| r.threads), Some(3));
        assert_eq!(find(&path, "k", 1001 + KEEP), None, "too old");
        keep(&path, "k", None, 1000).unwrap();
        assert_eq!((find(&path, "k", 1000), load(&path).len()), (None, 1));
        entry.measured = 1001 + KEEP;
        keep(&path, "k", Some(&entry), 1001 + KEEP).unwrap();
        assert_eq!(load(&path), [entry], "the other one was too old");
        std::fs::write(&path, "torn").unwrap();
        assert_eq!(find(&path, "k", 1000), None);
    }

    #[test]
    fn a_busy_machine_is_measured_again_soon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine.json");
        let busy = Rates { busy: true, ..even(1e9, 1e10, 0.0) };
        keep(&path, "k", Some(&busy), 1000).unwrap();
        assert_eq!(find(&path, "k", 1000 + KEEP_BUSY), Some(busy));
        assert_eq!(find(&path, "k", 1001 + KEEP_BUSY), None);
    }

    #[test]
    fn what_cannot_be_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine.json");
        let spoil: [fn(&mut Rates); 5] = [
            |r| r.threads = 0,
            |r| r.formats.clear(),
            |r| r.attention.1 = 0.0,
            |r| r.formats.values_mut().for_each(|s| s.bytes_per_second = -1.0),
            |r| r.threads_batch = 100_000,
        ];
        for spoil in spoil {
            let mut rates = even(1e9, 1e10, 0.0);
            keep(&path, "k", Some(&rates), 1000).unwrap();
            assert!(find(&path, "k", 1000).is_some());
            spoil(&mut rates);
            keep(&path, "k", Some(&rates), 1000).unwrap();
            assert_eq!(find(&path, "k", 1000), None, "{rates:?}");
        }
    }

    #[test]
    fn another_build_is_another_entry() {
        let cores = Cores { perf: vec![0], all_physical: vec![0], logical: 2, quota: Some(1.5) };
        let key = |isa, power, build| key("A CPU", isa, &cores, power, build);
        assert_eq!(
            key("avx2", "mains", "0.1.0"),
            "A CPU; avx2; 1 of 1 cores, 2 threads, quota 1.5; mains; lapwing 0.1.0"
        );
        let others = [key("avx512", "mains", "0.1.0"), key("avx2", "battery", "0.1.0"), key("avx2", "mains", "0.2.0")];
        assert!(others.iter().all(|other| *other != key("avx2", "mains", "0.1.0")));
    }

    #[test]
    fn a_format_that_was_not_measured_goes_by_its_size() {
        let mut rates = even(1e9, 1e10, 0.0);
        let speed = Speed { bytes_per_second: 7e9, products_per_second: 7e10, block_seconds: 1e-5 };
        rates.formats.insert("Q4_K".into(), speed);
        assert_eq!(rates.format(DType::IQ4_NL), speed);
        assert_eq!(rates.format(DType::F16).bytes_per_second, 1e9);
        rates.formats.insert("IQ4_NL".into(), Speed { bytes_per_second: 3e9, ..speed });
        assert_eq!(rates.format(DType::IQ4_NL).bytes_per_second, 3e9);
        assert_eq!(rates.format(DType::Q4_K), speed);
        assert_eq!(rates.lacks(&[DType::Q4_K, DType::BF16]), [DType::BF16]);
    }

    #[test]
    fn measuring_finds_rates_of_what_was_asked_for() {
        let cores = Cores { perf: vec![], all_physical: vec![], logical: 1, quota: None };
        let setup = Setup {
            kernels: lapwing_quant::kernels::best(),
            cores: &cores,
            threads: (Some(1), Some(1)),
            cache: Some(0),
            busy: false,
        };
        let rates = measure(&setup, &[DType::BF16], "k".into(), 7).unwrap();
        assert!(is_sound(&rates), "{rates:?}");
        assert!(rates.formats.contains_key("Q4_K"));
    }
}
