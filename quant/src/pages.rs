//! What the system knows about the pages of a mapped file.

/// Bytes of `bytes` whose pages are in memory now, so that reading them touches no disk. An estimate: pages come and
/// go. `None` where the system has no such call or refuses it.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
pub fn resident_bytes(bytes: &[u8]) -> Option<usize> {
    // SAFETY: sysconf has no preconditions.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok().filter(|p| p.is_power_of_two())?;
    let Some(last) = bytes.len().checked_sub(1) else { return Some(0) };
    let start = bytes.as_ptr() as usize;
    let first_page = start & !(page - 1);
    let pages = ((start + last) & !(page - 1)) / page - first_page / page + 1;
    let mut flags = vec![0u8; pages.min(1 << 16)];
    let mut resident = 0;
    for done in (0..pages).step_by(flags.len()) {
        let n = (pages - done).min(flags.len());
        let from = first_page + done * page;
        // SAFETY: `from` is page-aligned and the `n` pages from it all hold bytes of the live slice `bytes`, so they
        // are mapped; `flags` has room for the one byte per page that the call writes. The pages are not accessed.
        let failed = unsafe { libc::mincore(from as *mut _, n * page, flags.as_mut_ptr().cast()) } != 0;
        if failed {
            return None;
        }
        resident += flags[..n].iter().filter(|&&flag| flag & 1 != 0).count();
    }
    Some((resident * page).min(bytes.len()))
}

/// Bytes of `bytes` whose pages are in memory now; this system has no call for it.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd")))]
pub fn resident_bytes(_bytes: &[u8]) -> Option<usize> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_just_written_is_resident() {
        let bytes = vec![1u8; 10 << 20];
        assert_eq!(resident_bytes(&bytes), Some(bytes.len()));
        assert_eq!(resident_bytes(&bytes[5000..5001]), Some(1));
        assert_eq!(resident_bytes(&[]), Some(0));
    }

    #[test]
    fn memory_never_touched_is_not() {
        let bytes = vec![0u8; 64 << 20];
        assert!(resident_bytes(&bytes).unwrap() < 4 << 20);
    }
}
