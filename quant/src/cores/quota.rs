//! The limits of Linux control groups, version 1 and 2: CPU time and memory.
//!
//! `/proc/self/cgroup` names the group, `/proc/self/mountinfo` says where its hierarchy is mounted and which group is
//! the root of the mount (in a container without a namespace of its own, that is the container's group). The quota of
//! every group from there up to the mount holds; the smallest counts.

use super::linux::Read;

/// CPUs' worth of time that this process may use; `None` when there is no limit.
pub(super) fn cpus(read: Read) -> Option<f64> {
    let groups = read("/proc/self/cgroup")?;
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let v2 = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let v1 = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|c| c == "cpu").then_some(path)
    });
    let v2 = v2.and_then(|path| {
        let mount = mount(&mounts, "cgroup2", None).unwrap_or(("/", "/sys/fs/cgroup"));
        smallest(mount, path, &|dir| limit_v2(&read(&format!("{dir}/cpu.max"))?))
    });
    let v1 = v1.and_then(|path| {
        let mount = mount(&mounts, "cgroup", Some("cpu")).unwrap_or(("/", "/sys/fs/cgroup/cpu"));
        let file = |dir: &str, name: &str| read(&format!("{dir}/{name}"));
        smallest(mount, path, &|dir| limit_v1(&file(dir, "cpu.cfs_quota_us")?, &file(dir, "cpu.cfs_period_us")?))
    });
    v1.into_iter().chain(v2).reduce(f64::min)
}

/// Bytes of memory that this process may still take before its control groups stop it; `None` when there is no limit.
/// Pages of files that the system can drop count as free.
pub(super) fn memory(read: Read) -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let mounts = read("/proc/self/mountinfo").unwrap_or_default();
    let number = |path: String| read(&path)?.trim().parse::<f64>().ok();
    let stat = |dir: &str, name: &str| {
        let text = read(&format!("{dir}/memory.stat"))?;
        text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
    };
    let room = |dir: &str, limit: &str, usage: &str, file: &str| {
        // A limit near 2^63 is version 1's way to say that there is none.
        let limit = number(format!("{dir}/{limit}")).filter(|&n| n < 9e18)?;
        let used = number(format!("{dir}/{usage}")).unwrap_or(0.0) - stat(dir, file).unwrap_or(0.0);
        Some((limit - used.max(0.0)).max(0.0))
    };
    let v2 = groups.lines().find_map(|line| line.strip_prefix("0::")).and_then(|path| {
        let mount = mount(&mounts, "cgroup2", None).unwrap_or(("/", "/sys/fs/cgroup"));
        smallest(mount, path, &|dir| room(dir, "memory.max", "memory.current", "inactive_file "))
    });
    let v1 = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        controllers.split(',').any(|c| c == "memory").then_some(path)
    });
    let v1 = v1.and_then(|path| {
        let mount = mount(&mounts, "cgroup", Some("memory")).unwrap_or(("/", "/sys/fs/cgroup/memory"));
        let (limit, usage) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
        smallest(mount, path, &|dir| room(dir, limit, usage, "total_inactive_file "))
    });
    v1.into_iter().chain(v2).reduce(f64::min).map(|bytes| bytes as u64)
}

/// Root and mount point of the first mount of a file system type that has the option.
fn mount<'a>(mounts: &'a str, kind: &str, option: Option<&str>) -> Option<(&'a str, &'a str)> {
    mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (found, options) = (right.next()?, right.nth(1).unwrap_or_default());
        if found != kind || option.is_some_and(|o| options.split(',').all(|have| have != o)) {
            return None;
        }
        let mut left = left.split(' ').skip(3);
        Some((left.next()?, left.next()?))
    })
}

/// The smallest limit from the group `path` up to the mount.
fn smallest(mount: (&str, &str), path: &str, limit: &dyn Fn(&str) -> Option<f64>) -> Option<f64> {
    let (root, point) = mount;
    let root = root.trim_end_matches('/');
    let below = path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut group = below.unwrap_or("").trim_end_matches('/');
    let mut smallest: Option<f64> = None;
    loop {
        let found = limit(&format!("{}{group}", point.trim_end_matches('/')));
        smallest = smallest.into_iter().chain(found).reduce(f64::min);
        let Some((parent, _)) = group.rsplit_once('/') else { return smallest };
        group = parent;
    }
}

/// `cpu.max`: quota (or `max`) and period.
fn limit_v2(text: &str) -> Option<f64> {
    let mut fields = text.split_whitespace();
    ratio(fields.next()?, fields.next().unwrap_or("100000"))
}

/// `cpu.cfs_quota_us` (-1: none) and `cpu.cfs_period_us`.
fn limit_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota.trim(), period.trim())
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}
