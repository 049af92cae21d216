//! Topology from Windows.
//!
//! `GetLogicalProcessorInformationEx` fills a buffer with one record per physical core. Its layout on 64-bit systems
//! (offsets in bytes, little-endian): 0 kind (u32), 4 size of the record (u32), 9 efficiency class (u8; the highest
//! are the performance cores), 30 number of groups (u16), 32 first mask of logical processors (u64), 40 its group
//! (u16). A process starts in one group of at most 64 processors; masks of other groups are left out.

use super::Cores;

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

/// The cores of this machine.
#[cfg(all(windows, target_pointer_width = "64"))]
pub(super) fn cores() -> Option<Cores> {
    use std::ffi::c_void;

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
