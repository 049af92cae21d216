//! Topology from Windows, and keeping threads to processors.
//!
//! `GetLogicalProcessorInformationEx` fills a buffer with one record per physical core. Its layout on 64-bit systems
//! (offsets in bytes, little-endian): 0 kind (u32), 4 size of the record (u32), 9 efficiency class (u8; the highest
//! are the performance cores), 30 number of groups (u16), 32 first mask of logical processors (u64), 40 its group
//! (u16). A process starts in one group of at most 64 processors; masks of other groups are left out.
//!
//! Threads are kept to processors by CPU sets, which the system leaves again when it must (to save power, say), unlike
//! an affinity mask. `GetSystemCpuSetInformation` fills a buffer with one record per logical processor: 0 size of the
//! record (u32), 4 type (u32; 0: what follows), 8 id of the set (u32), 12 group (u16), 14 number in the group (u8).

use super::Cores;
#[cfg(windows)]
use std::ffi::c_void;

/// Reads the records; `process_mask` has the bits of the allowed processors of group 0. `None` when the records are
/// malformed or no core is allowed.
pub(super) fn parse(records: &[u8], process_mask: u64) -> Option<Cores> {
    let mut cores: Vec<(u8, usize)> = Vec::new();
    let mut logical = 0;
    let mut rest = records;
    while !rest.is_empty() {
        let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (kind, size) = (word(0)?, usize::try_from(word(4)?).ok()?);
        let record = rest.get(..size).filter(|r| r.len() >= 42)?;
        let mask = u64::from_le_bytes(record[32..40].try_into().ok()?) & process_mask;
        let group = u16::from_le_bytes([record[40], record[41]]);
        if kind == 0 && group == 0 && mask != 0 {
            logical += mask.count_ones() as usize;
            cores.push((record[9], mask.trailing_zeros() as usize));
        }
        rest = &rest[size..];
    }
    cores.sort_unstable_by_key(|(_, cpu)| *cpu);
    let best = cores.iter().map(|(class, _)| *class).max()?;
    let perf = cores.iter().filter(|(class, _)| *class == best).map(|(_, cpu)| *cpu).collect();
    let all_physical = cores.into_iter().map(|(_, cpu)| cpu).collect();
    Some(Cores { perf, all_physical, logical, quota: None })
}

/// The CPU sets of these processors of group 0; `None` when the records are malformed or lack one.
pub(super) fn cpu_sets(records: &[u8], cpus: &[usize]) -> Option<Vec<u32>> {
    let mut sets = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let word = |at: usize| Some(u32::from_le_bytes(rest.get(at..at + 4)?.try_into().ok()?));
        let (size, kind) = (usize::try_from(word(0)?).ok()?, word(4)?);
        let record = rest.get(..size).filter(|r| r.len() >= 16)?;
        if kind == 0 && record[12..14] == [0, 0] {
            sets.push((usize::from(record[14]), word(8)?));
        }
        rest = &rest[size..];
    }
    cpus.iter().map(|&cpu| sets.iter().find(|(of, _)| *of == cpu).map(|(_, id)| *id)).collect()
}

/// Keeps the calling thread on one logical processor.
#[cfg(windows)]
pub(super) fn keep_thread(cpu: usize) -> bool {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetCurrentThread() -> *mut c_void;
        fn SetThreadSelectedCpuSets(thread: *mut c_void, ids: *const u32, count: u32) -> i32;
    }
    system_cpu_sets(&[cpu]).is_some_and(|ids| {
        // SAFETY: the handle is the calling thread's own, and `ids` points to as many integers as it says.
        unsafe { SetThreadSelectedCpuSets(GetCurrentThread(), ids.as_ptr(), ids.len() as u32) != 0 }
    })
}

/// Keeps all threads of this process that are not kept elsewhere on these logical processors.
#[cfg(windows)]
pub(super) fn keep_process(cpus: &[usize]) -> bool {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetCurrentProcess() -> *mut c_void;
        fn SetProcessDefaultCpuSets(process: *mut c_void, ids: *const u32, count: u32) -> i32;
    }
    system_cpu_sets(cpus).is_some_and(|ids| {
        // SAFETY: the handle is this process's own, and `ids` points to as many integers as it says.
        unsafe { SetProcessDefaultCpuSets(GetCurrentProcess(), ids.as_ptr(), ids.len() as u32) != 0 }
    })
}

/// [`cpu_sets`] of this machine.
#[cfg(windows)]
fn system_cpu_sets(cpus: &[usize]) -> Option<Vec<u32>> {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetCurrentProcess() -> *mut c_void;
        fn GetSystemCpuSetInformation(
            records: *mut c_void,
            length: u32,
            needed: *mut u32,
            process: *mut c_void,
            flags: u32,
        ) -> i32;
    }
    let mut length = 0;
    // SAFETY: with a length of 0 nothing is written but the length that is needed.
    unsafe { GetSystemCpuSetInformation(std::ptr::null_mut(), 0, &raw mut length, GetCurrentProcess(), 0) };
    if length == 0 || length > 1 << 20 {
        return None;
    }
    // u64s, so that the buffer is aligned as the records are.
    let mut buffer = vec![0_u64; (length as usize).div_ceil(8)];
    let (start, room) = (buffer.as_mut_ptr().cast(), length);
    // SAFETY: `start` points to at least `room` writable bytes; the handle is this process's own.
    if unsafe { GetSystemCpuSetInformation(start, room, &raw mut length, GetCurrentProcess(), 0) } == 0 {
        return None;
    }
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    cpu_sets(bytes.get(..length.min(room) as usize)?, cpus)
}

/// The cores of this machine.
#[cfg(all(windows, target_pointer_width = "64"))]
pub(super) fn cores() -> Option<Cores> {
    #[link(name = "kernel32")]
    unsafe extern "system" {
        fn GetLogicalProcessorInformationEx(kind: i32, buffer: *mut u8, length: *mut u32) -> i32;
        fn GetCurrentProcess() -> *mut c_void;
        fn GetProcessAffinityMask(process: *mut c_void, process_mask: *mut usize, system_mask: *mut usize) -> i32;
    }
    /// Records of physical cores.
    const PROCESSOR_CORE: i32 = 0;

    let mut length = 0;
    // SAFETY: with a length of 0 nothing is written but the length that is needed.
    unsafe { GetLogicalProcessorInformationEx(PROCESSOR_CORE, std::ptr::null_mut(), &raw mut length) };
    if length == 0 || length > 1 << 20 {
        return None;
    }
    // u64s, so that the buffer is aligned as the records are.
    let mut buffer = vec![0_u64; (length as usize).div_ceil(8)];
    let start = buffer.as_mut_ptr().cast::<u8>();
    // SAFETY: `start` points to at least `length` writable bytes.
    if unsafe { GetLogicalProcessorInformationEx(PROCESSOR_CORE, start, &raw mut length) } == 0 {
        return None;
    }
    let (mut mask, mut system) = (0_usize, 0_usize);
    // SAFETY: the handle is this process's own, both pointers are to writable integers.
    if unsafe { GetProcessAffinityMask(GetCurrentProcess(), &raw mut mask, &raw mut system) } == 0 {
        return None;
    }
    // A mask of 0: the process has threads in several groups.
    let mask = if mask == 0 { u64::MAX } else { mask as u64 };
    let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
    parse(bytes.get(..length as usize)?, mask)
}

/// The records have another layout on 32-bit systems, which are not asked.
#[cfg(all(windows, not(target_pointer_width = "64")))]
pub(super) fn cores() -> Option<Cores> {
    None
}
