//! Which processor cores this process may use, how many threads that makes, and pinning a thread to one.
//!
//! Decode is bound by memory and every thread waits for the slowest at each barrier, so the default is one thread per
//! *physical performance* core: no second hardware thread of a core, no efficiency core, nothing outside the affinity
//! mask, no more than the cgroup's CPU quota.
//!
//! * Linux: sysfs and procfs, read as text (`cores/linux.rs`, `cores/quota.rs`), tested on made-up trees.
//! * macOS: `sysctl` counts, and the ids are only a count; threads cannot be pinned there, but are given the class of
//!   work that performance cores do.
//! * Windows: `GetLogicalProcessorInformationEx`, and CPU sets to pin with (`cores/windows.rs`), first processor group
//!   only.
//! * Elsewhere, or when nothing can be read: as many cores as `std::thread::available_parallelism` says.

#[cfg(any(target_os = "linux", target_os = "android", test))]
mod linux;
#[cfg(target_os = "macos")]
mod macos;
#[cfg(any(target_os = "linux", target_os = "android", test))]
mod quota;
#[cfg(any(windows, test))]
mod windows;

/// The cores this process may use. Never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Cores {
    /// One logical CPU of each allowed physical performance core, ascending. When no performance core is allowed
    /// (or none is known as such), all allowed physical cores.
    pub perf: Vec<usize>,
    /// One logical CPU of each allowed physical core, ascending.
    pub all_physical: Vec<usize>,
    /// Allowed logical CPUs.
    pub logical: usize,
    /// CPU time the cgroup allows, in CPUs (2.5: two and a half); `None`: no limit.
    pub quota: Option<f64>,
}

/// Looks at the machine. To be called before any thread is pinned; the mask of the whole process is what counts.
pub fn detect() -> Cores {
    platform().unwrap_or_else(|| Cores::uniform(parallelism()))
}

/// One thread per performance core, at most the whole CPUs of the quota, at least one.
pub fn default_threads(cores: &Cores) -> usize {
    let most = cores.quota.map_or(usize::MAX, |cpus| cpus.floor() as usize);
    cores.perf.len().min(most).max(1)
}

/// The CPU to pin each of `threads` threads to: performance cores first, then the other physical cores. `None` when
/// there are more threads than physical cores: then the operating system places them better.
pub fn pin_plan(cores: &Cores, threads: usize) -> Option<Vec<usize>> {
    let others = cores.all_physical.iter().filter(|cpu| !cores.perf.contains(cpu));
    let plan: Vec<usize> = cores.perf.iter().chain(others).copied().take(threads).collect();
    (plan.len() == threads).then_some(plan)
}

/// Bytes of memory left under the limits of this process's control groups; `None` without such limits.
pub fn memory_left() -> Option<u64> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return quota::memory(&|path| std::fs::read_to_string(path).ok());
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

/// The CPUs of a list like `0-3,8`, as `--cpu-range` has it, ascending.
///
/// # Errors
/// When it is no such list.
pub fn parse_range(text: &str) -> Result<Vec<usize>, String> {
    let part = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<usize>().ok()?, last.trim().parse::<usize>().ok()?);
        (first <= last && last < MAX_CPUS).then_some(first..=last)
    };
    let list = text.split(',').map(part).collect::<Option<Vec<_>>>();
    let list = list.ok_or_else(|| format!("{text:?} is no list of CPUs like 0-3 or 0,2,4-7"))?;
    let mut cpus: Vec<usize> = list.into_iter().flatten().collect();
    cpus.sort_unstable();
    cpus.dedup();
    Ok(cpus)
}

/// The CPUs of a mask in hexadecimal digits, as `--cpu-mask` has it: bit 0 is CPU 0.
///
/// # Errors
/// When it is no such number, or has no bit set.
pub fn parse_mask(text: &str) -> Result<Vec<usize>, String> {
    let digits = text.trim().trim_start_matches("0x").trim_start_matches("0X");
    let bits = |(at, c): (usize, char)| {
        let digit = c.to_digit(16)?;
        Some((0..4).filter(move |bit| digit >> bit & 1 == 1).map(move |bit| 4 * at + bit))
    };
    let found = (digits.len() <= MAX_CPUS / 4).then(|| digits.chars().rev().enumerate().map(bits).collect());
    let cpus: Vec<usize> = found.flatten().map(|list: Vec<_>| list.into_iter().flatten().collect()).unwrap_or_default();
    match cpus.is_empty() {
        true => Err(format!("{text:?} is no mask of CPUs in hexadecimal, like ff or 0x55")),
        false => Ok(cpus),
    }
}

/// More CPUs than any system is built for.
const MAX_CPUS: usize = 1 << 14;

impl Cores {
    /// Only these CPUs: those of them that this process may use. `None` when it may use none of them.
    ///
    /// The user has chosen them, so each counts as a core of its own.
    #[must_use]
    pub fn only(&self, cpus: &[usize], allowed: &dyn Fn(usize) -> bool) -> Option<Self> {
        let cpus: Vec<usize> = cpus.iter().copied().filter(|&cpu| allowed(cpu)).collect();
        let logical = cpus.len();
        (logical > 0).then(|| Self { perf: cpus.clone(), all_physical: cpus, logical, quota: self.quota })
    }

    /// `n` equal cores, numbered from 0.
    fn uniform(n: usize) -> Self {
        let ids: Vec<usize> = (0..n.max(1)).collect();
        Self { logical: ids.len(), perf: ids.clone(), all_physical: ids, quota: None }
    }
}

fn parallelism() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn platform() -> Option<Cores> {
    linux::cores(&|path| std::fs::read_to_string(path).ok())
}

#[cfg(target_os = "macos")]
fn platform() -> Option<Cores> {
    macos::cores()
}

#[cfg(windows)]
fn platform() -> Option<Cores> {
    windows::cores()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", windows)))]
fn platform() -> Option<Cores> {
    None
}

/// Whether the affinity mask of this process has the CPU; where the system does not tell, whether there are so many.
pub fn is_allowed(cpu: usize) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(list) = linux::allowed(&|path| std::fs::read_to_string(path).ok()) {
        return list.contains(&cpu);
    }
    cpu < parallelism()
}

/// Keeps the calling thread on one logical CPU. False when the system refuses or has no such thing (macOS, which is
/// only told that the thread is worth a performance core, and small systems).
pub fn pin_current_thread(cpu: usize) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::keep_thread(&[cpu]);
    #[cfg(windows)]
    return windows::keep_thread(cpu);
    #[cfg(target_os = "macos")]
    macos::ask_for_performance();
    #[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
    {
        let _ = cpu;
        false
    }
}

/// Keeps this process to these logical CPUs: threads that are started from now on, by the calling thread or by one that
/// it started. False when the system refuses or has no such thing.
pub fn hold(cpus: &[usize]) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    return linux::keep_thread(cpus);
    #[cfg(windows)]
    return windows::keep_process(cpus);
    #[cfg(not(any(target_os = "linux", target_os = "android", windows)))]
    {
        let _ = cpus;
        false
    }
}

#[cfg(test)]
mod tests;
