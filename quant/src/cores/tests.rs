//! Made-up machines.

use std::collections::HashMap;

use super::*;

/// A tree of files.
#[derive(Default)]
struct Tree(HashMap<String, String>);

impl Tree {
    /// A machine with these online CPUs, all of them allowed.
    fn new(online: &str) -> Self {
        Self::default().file("/sys/devices/system/cpu/online", online).allow(online)
    }

    fn file(mut self, path: &str, text: &str) -> Self {
        self.0.insert(path.to_owned(), format!("{text}\n"));
        self
    }

    fn allow(self, list: &str) -> Self {
        self.file(
            "/proc/self/status",
            &format!("Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t{list}\nMems_allowed:\t1"),
        )
    }

    /// The hardware threads of one core.
    fn core(mut self, list: &str) -> Self {
        for cpu in linux::cpu_list(list).unwrap() {
            self = self.file(&format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"), list);
        }
        self
    }

    fn capacity(mut self, cpus: std::ops::Range<usize>, capacity: u32) -> Self {
        for cpu in cpus {
            self = self.file(&format!("/sys/devices/system/cpu/cpu{cpu}/cpu_capacity"), &capacity.to_string());
        }
        self
    }

    fn cores(&self) -> Option<Cores> {
        linux::cores(&|path| self.0.get(path).cloned())
    }
}

/// Perf cores, physical cores, logical CPUs, default threads.
fn summary(tree: &Tree) -> (Vec<usize>, Vec<usize>, usize, usize) {
    let cores = tree.cores().unwrap();
    let threads = default_threads(&cores);
    (cores.perf, cores.all_physical, cores.logical, threads)
}

#[test]
fn a_virtual_machine_with_two_cpus() {
    let tree = Tree::new("0-1").core("0").core("1").capacity(0..2, 1024);
    assert_eq!(summary(&tree), (vec![0, 1], vec![0, 1], 2, 2));
}

/// 6 performance cores with two threads each, 8 efficiency cores.
fn alder_lake() -> Tree {
    let mut tree = Tree::new("0-19");
    for core in 0..6 {
        tree = tree.core(&format!("{}-{}", 2 * core, 2 * core + 1));
    }
    for cpu in 12..20 {
        tree = tree.core(&cpu.to_string());
    }
    tree.file("/sys/devices/cpu_core/cpus", "0-11").file("/sys/devices/cpu_atom/cpus", "12-19")
}

#[test]
fn an_alder_lake_laptop() {
    let perf = vec![0, 2, 4, 6, 8, 10];
    let all: Vec<usize> = perf.iter().copied().chain(12..20).collect();
    assert_eq!(summary(&alder_lake()), (perf, all, 20, 6));
    // Allowed: the second thread of core 0, core 2, two efficiency cores.
    assert_eq!(summary(&alder_lake().allow("1,4-5,12-13")), (vec![1, 4], vec![1, 4, 12, 13], 5, 2));
    // Only efficiency cores are allowed.
    assert_eq!(summary(&alder_lake().allow("12-14")), (vec![12, 13, 14], vec![12, 13, 14], 3, 3));
}

#[test]
fn a_ryzen_with_8_cores_and_16_threads() {
    let tree = (0..8).fold(Tree::new("0-15"), |tree, core| tree.core(&format!("{core},{}", core + 8)));
    let all: Vec<usize> = (0..8).collect();
    assert_eq!(summary(&tree), (all.clone(), all, 16, 8));
}

#[test]
fn arm_big_little() {
    let tree = (0..8).fold(Tree::new("0-7"), |tree, cpu| tree.core(&cpu.to_string()));
    let tree = tree.capacity(0..4, 414).capacity(4..8, 1024);
    assert_eq!(summary(&tree), (vec![4, 5, 6, 7], (0..8).collect(), 8, 4));
    // One prime core, three big, four little.
    let tree = tree.capacity(0..4, 325).capacity(4..7, 860);
    assert_eq!(summary(&tree).0, [4, 5, 6, 7]);
    assert_eq!(summary(&tree.allow("0-2")).0, [0, 1, 2]);
}

#[test]
fn a_container_with_a_quota_v2() {
    let tree = (0..8).fold(Tree::new("0-7"), |tree, cpu| tree.core(&cpu.to_string()));
    let tree = tree
        .file("/proc/self/cgroup", "0::/")
        .file("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate")
        .file("/sys/fs/cgroup/cpu.max", "250000 100000");
    assert_eq!(tree.cores().unwrap().quota, Some(2.5));
    assert_eq!(summary(&tree).3, 2);
    let tree = tree.file("/sys/fs/cgroup/cpu.max", "50000 100000");
    assert_eq!(summary(&tree).3, 1);
    let tree = tree.file("/sys/fs/cgroup/cpu.max", "max 100000");
    assert_eq!(tree.cores().unwrap().quota, None);
    // The quota of a parent holds too; without mountinfo the usual place is taken.
    let mut tree = tree.file("/proc/self/cgroup", "0::/user.slice/app.scope");
    tree.0.remove("/proc/self/mountinfo");
    let tree = tree
        .file("/sys/fs/cgroup/user.slice/cpu.max", "300000 100000")
        .file("/sys/fs/cgroup/user.slice/app.scope/cpu.max", "600000 100000");
    assert_eq!(tree.cores().unwrap().quota, Some(3.0));
}

#[test]
fn a_container_with_a_quota_v1() {
    let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                  33 31 0:30 /docker/ab /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                  34 31 0:31 /docker/ab /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";
    let tree = Tree::new("0-3")
        .file("/proc/self/cgroup", "9:cpuset:/docker/ab\n4:cpu,cpuacct:/docker/ab/child\n0::/")
        .file("/proc/self/mountinfo", mounts)
        .file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "150000")
        .file("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000")
        .file("/sys/fs/cgroup/cpu,cpuacct/child/cpu.cfs_quota_us", "-1")
        .file("/sys/fs/cgroup/cpu,cpuacct/child/cpu.cfs_period_us", "50000");
    assert_eq!(tree.cores().unwrap().quota, Some(3.0));
    assert_eq!(summary(&tree), (vec![0, 1, 2, 3], vec![0, 1, 2, 3], 4, 3));
    let tree = tree.file("/sys/fs/cgroup/cpu,cpuacct/child/cpu.cfs_quota_us", "100000");
    assert_eq!(tree.cores().unwrap().quota, Some(2.0));
}

#[test]
fn offline_cpus_and_missing_files() {
    // CPUs 1 and 3 are off but in the mask; their siblings remain.
    let tree = Tree::new("0,2").allow("0-3").core("0").core("2");
    assert_eq!(summary(&tree), (vec![0, 2], vec![0, 2], 2, 2));
    let tree = Tree::default().allow("2-3,5");
    assert_eq!(summary(&tree), (vec![2, 3, 5], vec![2, 3, 5], 3, 3));
    assert_eq!(summary(&Tree::default().file("/sys/devices/system/cpu/online", "0-2")).3, 3);
    // One core without a capacity: nothing is known.
    assert_eq!(summary(&Tree::new("0-2").capacity(0..1, 1024).capacity(1..2, 300)).0, [0, 1, 2]);
    assert_eq!(Tree::default().cores(), None);
    assert_eq!(Tree::new("0-1").allow("4-5").cores(), None);
}

#[test]
fn cpu_lists() {
    assert_eq!(linux::cpu_list(" 0-2,7,4-5\n"), Some(vec![0, 1, 2, 4, 5, 7]));
    assert_eq!(linux::cpu_list("3,3,2-3"), Some(vec![2, 3]));
    for bad in ["", "\n", "a", "3-1", "0-99999999999", "0-20000", "1,,2", "-1", "1-", "18446744073709551616"] {
        assert_eq!(linux::cpu_list(bad), None, "{bad:?}");
    }
}

#[test]
fn plans_for_pinning() {
    let cores = alder_lake().allow("0-13").cores().unwrap();
    assert_eq!(pin_plan(&cores, 2), Some(vec![0, 2]));
    assert_eq!(pin_plan(&cores, 7), Some(vec![0, 2, 4, 6, 8, 10, 12]));
    assert_eq!(pin_plan(&cores, 9), None);
}

/// A record as Windows writes it.
fn record(kind: u32, class: u8, mask: u64, group: u16) -> Vec<u8> {
    let mut bytes = vec![0_u8; 48];
    bytes[..4].copy_from_slice(&kind.to_le_bytes());
    bytes[4..8].copy_from_slice(&48_u32.to_le_bytes());
    bytes[9] = class;
    bytes[30] = 1;
    bytes[32..40].copy_from_slice(&mask.to_le_bytes());
    bytes[40..42].copy_from_slice(&group.to_le_bytes());
    bytes
}

#[test]
fn records_of_windows() {
    let hybrid =
        [record(0, 1, 0b11, 0), record(0, 1, 0b1100, 0), record(0, 0, 0b1_0000, 0), record(0, 0, 0b10_0000, 0)];
    let bytes = hybrid.concat();
    let cores = windows::parse(&bytes, u64::MAX).unwrap();
    assert_eq!((cores.perf, cores.all_physical, cores.logical), (vec![0, 2], vec![0, 2, 4, 5], 6));
    let cores = windows::parse(&bytes, 0b11_1010).unwrap();
    assert_eq!((cores.perf, cores.all_physical, cores.logical), (vec![1, 3], vec![1, 3, 4, 5], 4));
    assert_eq!(windows::parse(&bytes, 0b11_0000).unwrap().perf, [4, 5]);
    let others = [record(2, 9, 1, 0), record(0, 0, 0b1, 0), record(0, 5, 0b1, 1)].concat();
    assert_eq!(windows::parse(&others, u64::MAX).unwrap().perf, [0]);
    for cut in 1..48 {
        assert_eq!(windows::parse(&bytes[..cut], u64::MAX), None);
    }
    let mut endless = record(0, 0, 1, 0);
    endless[4..8].fill(0);
    assert_eq!(windows::parse(&endless, u64::MAX), None);
    assert_eq!(windows::parse(&[], u64::MAX), None);
    assert_eq!(windows::parse(&bytes, 0), None);
}

#[test]
fn cpu_sets_of_windows() {
    let set = |kind: u32, id: u32, group: u16, cpu: u8| {
        let mut bytes = vec![0_u8; 32];
        bytes[..4].copy_from_slice(&32_u32.to_le_bytes());
        bytes[4..8].copy_from_slice(&kind.to_le_bytes());
        bytes[8..12].copy_from_slice(&id.to_le_bytes());
        bytes[12..14].copy_from_slice(&group.to_le_bytes());
        bytes[14] = cpu;
        bytes
    };
    let bytes = [set(0, 256, 0, 0), set(0, 257, 0, 1), set(7, 9, 0, 2), set(0, 320, 1, 3), set(0, 259, 0, 3)].concat();
    assert_eq!(windows::cpu_sets(&bytes, &[1, 0, 3]), Some(vec![257, 256, 259]));
    assert_eq!(windows::cpu_sets(&bytes, &[2]), None, "a record of another type");
    assert_eq!(windows::cpu_sets(&bytes, &[9]), None);
    for cut in 1..32 {
        assert_eq!(windows::cpu_sets(&bytes[..cut], &[]), None);
    }
    let mut endless = bytes;
    endless[..4].fill(0);
    assert_eq!(windows::cpu_sets(&endless, &[0]), None);
}

/// In a thread of its own, so that the mask of the test's thread stays as it is.
#[test]
#[cfg(target_os = "linux")]
fn threads_started_later_stay_on_the_chosen_cpus() {
    let mask = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
    };
    let last = *detect().all_physical.last().unwrap();
    let of_child = std::thread::spawn(move || {
        assert!(hold(&[last]));
        std::thread::spawn(mask).join().unwrap()
    });
    assert_eq!(of_child.join().unwrap(), last.to_string());
    assert!(!hold(&[1 << 20]) && !hold(&[]));
}

#[test]
fn this_machine() {
    let cores = detect();
    assert!(!cores.perf.is_empty() && cores.perf.len() <= cores.all_physical.len());
    assert!(cores.perf.iter().all(|cpu| cores.all_physical.contains(cpu)));
    assert!(cores.all_physical.len() <= cores.logical, "{cores:?}");
    let threads = default_threads(&cores);
    assert!(threads >= 1 && threads <= cores.perf.len());
}

/// In a thread of its own, so that the mask of the test's thread stays as it is.
#[test]
#[cfg(target_os = "linux")]
fn a_pinned_thread_stays_on_its_cpu() {
    let pinned = |cpu: usize| {
        let run = move || {
            let done = pin_current_thread(cpu);
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            let mask =
                status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned();
            (done, mask)
        };
        std::thread::spawn(run).join().unwrap()
    };
    for cpu in detect().perf {
        assert_eq!(pinned(cpu), (true, cpu.to_string()));
    }
    assert!(!pinned(1 << 20).0);
}

#[test]
fn masks_and_ranges() {
    assert_eq!(parse_range("0-2,8, 10-11"), Ok(vec![0, 1, 2, 8, 10, 11]));
    assert_eq!(parse_range("3,1-3"), Ok(vec![1, 2, 3]));
    assert_eq!(parse_mask("0x55"), Ok(vec![0, 2, 4, 6]));
    assert_eq!(parse_mask("F0"), Ok(vec![4, 5, 6, 7]));
    assert_eq!(parse_mask("100000000000000001"), Ok(vec![0, 68]));
    for bad in ["", "-", "3-1", "x", "99999999", "1,,2"] {
        assert!(parse_range(bad).is_err(), "{bad}");
    }
    for bad in ["", "0", "0x", "g", "-1"] {
        assert!(parse_mask(bad).is_err(), "{bad}");
    }
}

#[test]
fn chosen_cpus_are_those_that_may_be_used() {
    let cores = alder_lake().cores().unwrap();
    let only = cores.only(&[1, 3, 30], &|cpu| cpu < 20).unwrap();
    assert_eq!((only.perf, only.logical), (vec![1, 3], 2));
    assert_eq!(cores.only(&[30], &|cpu| cpu < 20), None);
}

/// A machine whose process is in the group `/a/b` of version 2.
fn group(files: &[(&str, &str)]) -> Option<u64> {
    let mount = "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let mut tree = Tree::new("0").file("/proc/self/cgroup", "0::/a/b").file("/proc/self/mountinfo", mount);
    for (path, text) in files {
        tree = tree.file(&format!("/sys/fs/cgroup/{path}"), text);
    }
    quota::memory(&|path| tree.0.get(path).cloned())
}

#[test]
fn memory_limits_of_every_group_above_hold() {
    assert_eq!(group(&[]), None);
    assert_eq!(group(&[("a/b/memory.max", "max"), ("a/b/memory.current", "5")]), None);
    let inner = [("a/b/memory.max", "1000"), ("a/b/memory.current", "300")];
    assert_eq!(group(&inner), Some(700));
    let cache = ("a/b/memory.stat", "anon 200\ninactive_file 100\n");
    assert_eq!(group(&[inner[0], inner[1], cache]), Some(800));
    let outer = [("a/memory.max", "900"), ("a/memory.current", "850")];
    assert_eq!(group(&[inner[0], inner[1], outer[0], outer[1]]), Some(50));
    assert_eq!(group(&[("a/memory.max", "900"), ("a/memory.current", "950")]), Some(0));
}

#[test]
fn memory_limits_of_version_one() {
    let limited = |limit: &str| {
        let tree = Tree::new("0").file("/proc/self/cgroup", "7:memory:/x\n3:cpu:/y");
        let tree = tree.file("/proc/self/mountinfo", "30 20 0:26 / /cg/mem rw - cgroup cgroup rw,memory");
        let tree = tree.file("/cg/mem/x/memory.limit_in_bytes", limit);
        let tree = tree.file("/cg/mem/x/memory.usage_in_bytes", "400");
        quota::memory(&|path| tree.0.get(path).cloned())
    };
    assert_eq!(limited("1000"), Some(600));
    assert_eq!(limited("9223372036854771712"), None);
}
