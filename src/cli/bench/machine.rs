//! What the system says about the machine and this process, where it says anything.

use std::time::{SystemTime, UNIX_EPOCH};

/// The processor's own name; "unknown" where the system does not tell.
pub fn cpu_name() -> String {
    system_cpu_name().map(|n| n.trim().to_owned()).filter(|n| !n.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn system_cpu_name() -> Option<String> {
    cpuinfo_name(&std::fs::read_to_string("/proc/cpuinfo").ok()?)
}

#[cfg(target_os = "macos")]
fn system_cpu_name() -> Option<String> {
    let asked = std::process::Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output().ok()?;
    String::from_utf8(asked.stdout).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn system_cpu_name() -> Option<String> {
    std::env::var("PROCESSOR_IDENTIFIER").ok()
}

/// The first `model name` of a Linux `/proc/cpuinfo`.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn cpuinfo_name(text: &str) -> Option<String> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(key, _)| key.trim() == "model name").map(|(_, name)| name.trim().to_owned())
}

/// Most memory that this process has had resident, in bytes, since it began or since [`forget_peak`].
pub fn peak_rss() -> Option<u64> {
    high_water(&std::fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmHWM` of a Linux `/proc/self/status`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Makes [`peak_rss`] start anew; false where the system has no such call.
pub fn forget_peak() -> bool {
    std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes of the largest cache of the first core, where sysfs tells.
pub fn last_cache() -> Option<usize> {
    let size = |index: usize| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        cache_size(&std::fs::read_to_string(path).ok()?)
    };
    (0..8).filter_map(size).max()
}

/// Bytes of a cache size as sysfs writes it: `32768K`, `32M`.
fn cache_size(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.strip_suffix('K') {
        Some(digits) => (digits, 1 << 10),
        None => (text.strip_suffix('M')?, 1 << 20),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Now, in UTC, as `2026-01-31T12:00:00Z`.
pub fn utc_now() -> String {
    utc(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()))
}

/// Seconds since 1970 as date and time.
fn utc(seconds: u64) -> String {
    let (mut days, rest) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (rest / 3600, rest % 3600 / 60, rest % 60);
    format!("{year:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", month + 1, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_system_are_understood() {
        assert_eq!(
            cpuinfo_name("processor\t: 0\nmodel\t\t: 85\nmodel name\t: A CPU @ 2 GHz\n"),
            Some("A CPU @ 2 GHz".into())
        );
        assert_eq!(cpuinfo_name("processor: 0\n"), None);
        assert_eq!(high_water("VmPeak:\t 9 kB\nVmHWM:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(high_water("VmHWM: many kB\n"), None);
        assert_eq!((cache_size("48K\n"), cache_size("36M"), cache_size("?")), (Some(48 << 10), Some(36 << 20), None));
    }

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(utc(951_868_799), "2000-02-29T23:59:59Z");
        assert_eq!(utc(1_704_067_200), "2024-01-01T00:00:00Z");
        assert_eq!(utc(4_107_542_400), "2100-03-01T00:00:00Z");
    }
}
