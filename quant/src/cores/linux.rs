//! Topology from Linux's text files.
//!
//! `read` gives a file's text by absolute path, or `None`; each file may be missing, and is in many virtual machines
//! and containers:
//! * `/proc/self/status`, `Cpus_allowed_list`: the affinity mask (cpusets included; offline CPUs may be in it);
//! * `/sys/devices/system/cpu/online`;
//! * `cpuN/topology/thread_siblings_list`: the hardware threads of N's core;
//! * `/sys/devices/cpu_core/cpus`: the performance cores of Intel hybrids;
//! * `cpuN/cpu_capacity`: the speed of ARM cores (and of newer hybrids), 1024 for the fastest.

use super::{Cores, quota};

/// More CPUs than Linux can be built for; ids from there on are nonsense.
const MAX_CPUS: usize = 1 << 14;

/// A file's text by its path.
pub(super) type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The cores that the files describe; `None` when not even the allowed CPUs are known.
pub(super) fn cores(read: Read) -> Option<Cores> {
    let online = read("/sys/devices/system/cpu/online").and_then(|text| cpu_list(&text));
    let allowed = match (allowed(read), online) {
        (Some(mask), Some(online)) => mask.into_iter().filter(|cpu| online.contains(cpu)).collect(),
        (mask, online) => mask.or(online)?,
    };
    let all_physical: Vec<usize> = allowed.iter().copied().filter(|&cpu| is_first(read, cpu, &allowed)).collect();
    if all_physical.is_empty() {
        return None;
    }
    let perf = performance(read, &all_physical);
    Some(Cores { perf, all_physical, logical: allowed.len(), quota: quota::cpus(read) })
}

/// The affinity mask.
pub(super) fn allowed(read: Read) -> Option<Vec<usize>> {
    let status = read("/proc/self/status")?;
    cpu_list(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

/// Whether no allowed CPU of the same core comes before this one.
fn is_first(read: Read, cpu: usize, allowed: &[usize]) -> bool {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = read(&path).and_then(|text| cpu_list(&text)).unwrap_or_default();
    !siblings.iter().any(|s| *s < cpu && allowed.contains(s))
}

/// Those of the cores that are performance cores; all when that is not known or none is.
fn performance(read: Read, physical: &[usize]) -> Vec<usize> {
    let of_type = read("/sys/devices/cpu_core/cpus").and_then(|text| cpu_list(&text));
    let perf: Vec<usize> = match of_type {
        Some(list) => physical.iter().copied().filter(|cpu| list.contains(cpu)).collect(),
        None => fast(read, physical),
    };
    if perf.is_empty() { physical.to_vec() } else { perf }
}

/// Cores with at least two thirds of the capacity of the fastest: big and prime cores of ARM's three-tier designs
/// (over 0.8) are, little ones (under 0.5) are not. None when a core has no capacity.
fn fast(read: Read, physical: &[usize]) -> Vec<usize> {
    let capacity = |cpu: &usize| -> Option<(usize, u64)> {
        let text = read(&format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity"))?;
        Some((*cpu, text.trim().parse::<u32>().ok()?.into()))
    };
    let Some(list) = physical.iter().map(capacity).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let best = list.iter().map(|(_, c)| *c).max().unwrap_or(0);
    list.into_iter().filter(|(_, c)| 3 * c >= 2 * best).map(|(cpu, _)| cpu).collect()
}

/// A list such as `0-3,8,10-11`, ascending and without repetition; `None` when it is empty or malformed.
pub(super) fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut list = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= MAX_CPUS || list.len() >= MAX_CPUS {
            return None;
        }
        list.extend(first..=last);
    }
    list.sort_unstable();
    list.dedup();
    Some(list)
}

/// Keeps the calling thread, and those that it starts, on these logical CPUs.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn keep_thread(cpus: &[usize]) -> bool {
    if cpus.iter().any(|&cpu| cpu >= 8 * size_of::<libc::cpu_set_t>()) {
        return false;
    }
    // SAFETY: `cpu_set_t` is a bit set of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for &cpu in cpus {
        // SAFETY: `cpu` is below the number of bits of `set`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: the pointer is to a whole `cpu_set_t` of the size given; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0 }
}
