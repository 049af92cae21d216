//! Which processor cores this process may use, how many threads that makes, and pinning a thread to one.
//!
//! Decode is bound by memory and every thread waits for the slowest at each barrier, so the default is one thread per
//! *physical performance* core: no second hardware thread of a core, no efficiency core, nothing outside the affinity
//! mask, no more than the cgroup's CPU quota.
//!
//! * Linux: sysfs and procfs, read as text (`cores/linux.rs`, `cores/quota.rs`), tested on made-up trees.
//! * macOS: `sysctl` counts; threads cannot be pinned there, and the ids are only a count.
//! * Windows: `GetLogicalProcessorInformationEx` (`cores/windows.rs`), first processor group only; no pinning.
//! * Elsewhere, or when nothing can be read: as many cores as `std::thread::available_parallelism` says.

#[cfg(any(target_os = "linux", target_os = "android", test))]
mod linux;
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

impl Cores {
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
    let physical = sysctl(c"hw.physicalcpu")?;
    // Absent on machines whose cores are all alike.
    let perf = sysctl(c"hw.perflevel0.physicalcpu").unwrap_or(physical).min(physical);
    let logical = sysctl(c"hw.logicalcpu").unwrap_or(physical);
    Some(Cores { perf: (0..perf).collect(), all_physical: (0..physical).collect(), logical, quota: None })
}

/// A positive 32-bit number of the kernel's.
#[cfg(target_os = "macos")]
fn sysctl(name: &std::ffi::CStr) -> Option<usize> {
    let mut value: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>();
    let out = (&raw mut value).cast();
    // SAFETY: `name` ends with a zero byte, `out` points to `size` writable bytes, and nothing is set.
    let rc = unsafe { libc::sysctlbyname(name.as_ptr(), out, &raw mut size, std::ptr::null_mut(), 0) };
    if rc != 0 || size != size_of::<libc::c_int>() {
        return None;
    }
    usize::try_from(value).ok().filter(|&n| n > 0)
}

#[cfg(windows)]
fn platform() -> Option<Cores> {
    windows::cores()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", windows)))]
fn platform() -> Option<Cores> {
    None
}

/// Keeps the calling thread on one logical CPU. False when the system refuses or has no such thing (all but Linux).
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn pin_current_thread(cpu: usize) -> bool {
    if cpu >= 8 * size_of::<libc::cpu_set_t>() {
        return false;
    }
    // SAFETY: `cpu_set_t` is a bit set of integers, for which all zeros is a value.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` is below the number of bits of `set`.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: the pointer is to a whole `cpu_set_t` of the size given; 0 is the calling thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) == 0 }
}

/// Keeps the calling thread on one logical CPU. False when the system refuses or has no such thing (all but Linux).
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn pin_current_thread(_cpu: usize) -> bool {
    false
}

#[cfg(test)]
mod tests;
