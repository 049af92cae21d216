//! Cores of a Mac: counts from `sysctl`, where level 0 are the performance cores, and the class of work that runs on them.

use super::Cores;

/// The cores of this machine; the ids are only a count.
pub(super) fn cores() -> Option<Cores> {
    let physical = sysctl(c"hw.physicalcpu")?;
    // Absent on machines whose cores are all alike.
    let perf = sysctl(c"hw.perflevel0.physicalcpu").unwrap_or(physical).min(physical);
    let logical = sysctl(c"hw.logicalcpu").unwrap_or(physical);
    Some(Cores { perf: (0..perf).collect(), all_physical: (0..physical).collect(), logical, quota: None })
}

/// A positive 32-bit number of the kernel's.
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

/// Says that the calling thread does what the user waits for: such work is given performance cores. A hint; where it is
/// refused the system decides as it would have.
pub(super) fn ask_for_performance() {
    // SAFETY: the call takes no pointers and concerns the calling thread only.
    let _hint = unsafe { libc::pthread_set_qos_class_self_np(libc::qos_class_t::QOS_CLASS_USER_INITIATED, 0) };
}
