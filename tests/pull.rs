//! Downloads from outside: the program against a hub on this computer that does all that hubs and networks do wrong.

#[path = "common/fake_hub.rs"]
mod fake_hub;

use fake_hub::{At, COMMIT, FakeHub, Fault, noise, sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const REPO: &str = "us/Model-GGUF";
const FILE: &str = "Model-Q4_K_M.gguf";

/// A hub, and a cache that is empty at first.
struct Bench {
    hub: FakeHub,
    home: TempDir,
}

/// What a command did.
struct Done {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Done {
    fn of(output: Output) -> Done {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        let done = Done { code: output.status.code(), out: text(output.stdout), said: text(output.stderr) };
        assert!(!done.said.contains("panicked"), "{}", done.said);
        done
    }

    fn ok(self) -> Done {
        assert_eq!(self.code, Some(0), "{}", self.said);
        self
    }

    fn failed(self, code: i32, words: &[&str]) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{}", self.said);
        words.iter().for_each(|w| assert!(self.said.contains(w), "{w:?} is not in: {}", self.said));
    }
}

impl Bench {
    fn new() -> Bench {
        Bench { hub: FakeHub::start(), home: tempfile::tempdir().expect("a folder") }
    }

    fn with(bytes: &[u8]) -> Bench {
        let bench = Bench::new();
        bench.hub.add(REPO, FILE, bytes);
        bench
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapwing"));
        for name in
            ["HF_TOKEN", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE", "SSL_CERT_FILE", "HF_TOKEN_PATH"]
        {
            command.env_remove(name);
        }
        for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "all_proxy", "https_proxy", "http_proxy"] {
            command.env_remove(name);
        }
        command.args(args).env("HF_ENDPOINT", &self.hub.endpoint).env("HF_HOME", self.home.path());
        command.env("HOME", self.home.path()).env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: &[&str]) -> Done {
        Done::of(self.command(args).output().expect("the program starts"))
    }

    fn pull(&self) -> Done {
        self.run(&["pull", REPO])
    }

    fn folder(&self) -> PathBuf {
        self.home.path().join("hub/models--us--Model-GGUF")
    }

    /// Names in the folder of the blobs.
    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder().join("blobs")).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.map(|e| e.file_name().into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    /// The file is in the cache as other programs expect it, and nothing else.
    fn assert_whole(&self, bytes: &[u8]) {
        let blob = self.folder().join("blobs").join(sha256(bytes));
        assert!(fs::read(&blob).expect("a blob") == bytes, "the bytes differ");
        let pointer = self.folder().join("snapshots").join(COMMIT).join(FILE);
        assert!(fs::read(pointer).expect("a snapshot") == bytes);
        assert_eq!(fs::read_to_string(self.folder().join("refs/main")).expect("a ref"), COMMIT);
        assert_eq!(self.blobs(), [sha256(bytes)]);
    }
}

#[test]
fn a_pull_is_laid_out_for_all_and_not_repeated() {
    let bytes = noise(1, 1_300_000);
    let bench = Bench::with(&bytes);
    let path = bench.pull().ok().out;
    assert_eq!(Path::new(path.trim()), bench.folder().join("snapshots").join(COMMIT).join(FILE));
    bench.assert_whole(&bytes);
    let ranges = bench.hub.seen().iter().filter(|s| s.at == At::File && s.range.is_some()).count();
    assert!(ranges >= 4, "{ranges} ranges");
    assert_eq!(bench.hub.sent(), bytes.len() as u64, "no byte twice");
    #[cfg(unix)]
    assert_eq!(fs::read_link(path.trim()).expect("a link"), Path::new("../../blobs").join(sha256(&bytes)));

    bench.hub.forget();
    let again = bench.run(&["pull", "us/model-gguf:q4_k_m"]).ok();
    assert!(again.said.contains("here already") && again.out == path, "{}", again.said);
    assert!(bench.hub.seen().iter().all(|s| s.at == At::List));
}

#[test]
fn the_token_goes_to_the_hub_only() {
    let bytes = noise(2, 600_000);
    let bench = Bench::with(&bytes);
    bench.run(&["pull", REPO, "-hft", "hf_secret"]).ok();
    let seen = bench.hub.seen();
    assert!(seen.iter().any(|s| s.at == At::File) && seen.iter().any(|s| s.at == At::Resolve));
    for s in seen {
        assert_eq!(s.authorization.is_some(), s.at != At::File, "{s:?}");
    }
    fs::remove_dir_all(bench.folder()).unwrap();
    bench.hub.forget();
    fs::write(bench.home.path().join("token"), "hf_from_login\n").unwrap();
    let empty_is_none = bench.command(&["pull", REPO]).env("HF_TOKEN", "").output().unwrap();
    Done::of(empty_is_none).ok();
    assert_eq!(bench.hub.seen()[0].authorization.as_deref(), Some("Bearer hf_from_login"));
}

#[test]
fn troubles_that_pass_are_waited_out() {
    let bytes = noise(3, 1_300_000);
    for (at, fault, times) in [
        (At::File, Fault::CloseAfter(100_000), 5),
        (At::File, Fault::CloseAfter(0), 2),
        (At::File, Fault::StallAfter(50_000), 1),
        (At::File, Fault::Status(500, ""), 3),
        (At::File, Fault::Status(403, ""), 1),
        (At::File, Fault::Status(429, "Retry-After: 1\r\n"), 1),
        (At::Resolve, Fault::Status(503, ""), 2),
        (At::List, Fault::Status(502, ""), 2),
        (At::List, Fault::Status(429, "Retry-After: 1\r\n"), 1),
    ] {
        let bench = Bench::with(&bytes);
        bench.hub.fault(at, fault.clone(), times);
        let done = bench.pull().ok();
        bench.assert_whole(&bytes);
        if matches!(fault, Fault::Status(429, _)) {
            assert!(done.said.contains("429 (too many requests); trying again in 1"), "{}", done.said);
        }
    }
}

#[test]
fn troubles_that_stay_are_explained() {
    let bench = Bench::with(&noise(4, 1000));
    let try_twice = ["pull", REPO, "--retries", "2"];
    for (at, status, headers, words) in [
        (At::List, 500, "", &["answers 500", "2 times in a row"][..]),
        (At::Resolve, 500, "", &["answers 500"]),
        (At::List, 401, "", &["no such repository, or it is private", "HF_TOKEN"]),
        (At::List, 403, "X-Error-Code: GatedRepo\r\n", &["is gated", "accept its terms at", "us/Model-GGUF"]),
        (At::Resolve, 403, "X-Error-Code: GatedRepo\r\n", &["is gated"]),
        (At::List, 404, "X-Error-Code: RevisionNotFound\r\n", &["no branch", "\"main\""]),
        (At::List, 429, "Retry-After: 7200\r\n", &["wait 120 minutes"]),
    ] {
        bench.hub.forget();
        bench.hub.fault(at, Fault::Status(status, headers), 100);
        bench.run(&try_twice).failed(1, words);
    }
    bench.hub.forget();
    bench.run(&["pull", "them/near-GGUF"]).failed(2, &["no such repository (404)", "near: us/near-GGUF"]);
    bench.run(&["pull", "nonsense"]).failed(2, &["USER/REPO"]);
    let mut gone = bench.command(&["pull", REPO, "--retries", "2"]);
    gone.env("HF_ENDPOINT", "http://127.0.0.1:9");
    Done::of(gone.output().unwrap()).failed(1, &["127.0.0.1"]);
    assert!(!bench.folder().join("refs").exists(), "a failed pull notes nothing");
}

#[test]
fn a_wrong_hash_is_refused() {
    let bytes = noise(5, 700_000);
    let bench = Bench::new();
    bench.hub.add_claiming(REPO, FILE, &bytes, &"ab".repeat(32), bytes.len() as u64);
    bench.pull().failed(1, &["SHA-256", &sha256(&bytes), &"ab".repeat(32), "refused"]);
    assert!(bench.blobs().is_empty() && !bench.folder().join("snapshots").exists());
}

#[test]
fn a_spoilt_part_is_found_and_fetched_again() {
    let bytes = noise(6, 1_300_000);
    let bench = Bench::with(&bytes);
    bench.hub.allow(900_000);
    let mut child = bench.command(&["pull", REPO]).spawn().unwrap();
    wait_for(|| bench.hub.is_exhausted());
    std::thread::sleep(Duration::from_millis(1200));
    child.kill().unwrap();
    child.wait().unwrap();
    let part = bench.folder().join("blobs").join(format!("{}.lapwing.incomplete", sha256(&bytes)));
    fs::write(&part, noise(7, bytes.len())).unwrap();
    bench.hub.allow(i64::MAX);
    let done = bench.pull().ok();
    assert!(done.said.contains("here from before") && done.said.contains("starting from nothing"), "{}", done.said);
    bench.assert_whole(&bytes);
}

#[test]
fn servers_without_ranges_and_with_new_tags() {
    let bytes = noise(8, 1_300_000);
    let bench = Bench::with(&bytes);
    bench.hub.fault(At::File, Fault::IgnoreRange, 1000);
    let done = bench.pull().ok();
    assert!(done.said.contains("from the start in one go"), "{}", done.said);
    bench.assert_whole(&bytes);

    let bench = Bench::with(&bytes);
    bench.hub.fault(At::File, Fault::CloseAfter(100_000), 2);
    bench.hub.fault(At::File, Fault::NewTag, 1);
    let done = bench.pull().ok();
    assert!(done.said.contains("asking the hub again"), "{}", done.said);
    bench.assert_whole(&bytes);
}

/// The file changes between two pulls, with part of the old one here.
#[test]
fn a_new_version_replaces_the_part_of_the_old_one() {
    let (old, new) = (noise(9, 1_300_000), noise(10, 1_200_000));
    let bench = Bench::with(&old);
    bench.hub.allow(600_000);
    let mut child = bench.command(&["pull", REPO]).spawn().unwrap();
    wait_for(|| bench.hub.is_exhausted());
    child.kill().unwrap();
    child.wait().unwrap();
    bench.hub.allow(i64::MAX);
    bench.hub.add(REPO, FILE, &new);
    assert!(bench.pull().ok().said.contains("older version"));
    bench.assert_whole(&new);
}

#[test]
fn shards_and_choices() {
    let bench = Bench::new();
    let names =
        ["m-Q8_0-00001-of-00003.gguf", "m-Q8_0-00002-of-00003.gguf", "m-Q8_0-00003-of-00003.gguf", "d/m-BF16.gguf"];
    for (seed, name) in names.iter().enumerate() {
        bench.hub.add(REPO, name, &noise(seed as u64, 5000));
    }
    let done = bench.run(&["pull", "us/Model-GGUF:q8_0"]).ok();
    assert!(done.out.trim().ends_with(names[0]));
    for (seed, name) in names[..3].iter().enumerate() {
        let path = bench.folder().join("snapshots").join(COMMIT).join(name);
        assert!(fs::read(path).unwrap() == noise(seed as u64, 5000));
    }
    bench.pull().failed(2, &["has no Q4_K_M", "\n  BF16 ", "\n  Q8_0 ", "d/m-BF16.gguf", "and 2 more"]);
    bench.run(&["pull", REPO, "-hff", "d/m-BF16.gguf"]).ok();
    let url = format!("{}/us/Model-GGUF/resolve/main/d/m-BF16.gguf", bench.hub.endpoint);
    assert!(bench.run(&["pull", &url]).ok().said.contains("here already"));
    bench.hub.add("us/part-GGUF", "p-Q4_K_M-00001-of-00002.gguf", b"x");
    bench.run(&["pull", "us/part-GGUF"]).failed(2, &["should have 2 files"]);
    bench.hub.add("us/original", "model.safetensors", b"x");
    bench.run(&["pull", "us/original"]).failed(2, &["no GGUF", "-GGUF"]);
}

#[test]
fn what_is_here_needs_no_network() {
    let bytes = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/dense-bf16.gguf")).unwrap();
    let bench = Bench::with(&bytes);
    bench.run(&["pull", REPO, "--offline"]).failed(2, &["is not in", "--offline"]);
    assert!(bench.hub.seen().is_empty());
    let tokenize = ["tokenize", "-hf", "us/Model-GGUF", "-p", "x", "--ids-only"];
    let ids = bench.run(&tokenize).ok().out;
    bench.assert_whole(&bytes);
    bench.hub.forget();
    assert_eq!(bench.run(&tokenize).ok().out, ids);
    let by_name = bench.run(&["tokenize", "-m", "us/model-gguf:Q4_K_M", "-p", "x", "--ids-only", "--offline"]).ok();
    assert_eq!(by_name.out, ids);
    assert!(bench.run(&["pull", REPO, "--offline"]).ok().out.trim().ends_with(FILE));
    assert!(bench.hub.seen().is_empty(), "the hub is not asked for what is here");
    bench.run(&["tokenize", "-hf", "us/other", "-p", "x", "--offline"]).failed(2, &["us/other", "--offline"]);
    bench.run(&["tokenize", "-hf", REPO, "-m", "x", "-p", "x"]).failed(2, &["cannot be used with"]);
}

#[test]
fn more_than_the_disk_holds_is_not_begun() {
    let bench = Bench::new();
    bench.hub.add_claiming(REPO, FILE, b"x", &"ab".repeat(32), 1 << 60);
    bench.pull().failed(1, &["GB are to be downloaded", "GB left", "HF_HOME"]);
    assert_eq!(bench.hub.sent(), 0);
}

#[test]
fn two_at_once_download_once() {
    let bytes = noise(11, 1_300_000);
    let bench = Bench::with(&bytes);
    bench.hub.allow(500_000);
    let first = bench.command(&["pull", REPO]).spawn().unwrap();
    wait_for(|| bench.hub.is_exhausted());
    let second = bench.command(&["pull", REPO]).spawn().unwrap();
    wait_for(|| bench.hub.seen().iter().filter(|s| s.at == At::List).count() == 2);
    std::thread::sleep(Duration::from_millis(100));
    bench.hub.allow(i64::MAX);
    for child in [first, second] {
        Done::of(child.wait_with_output().unwrap()).ok();
    }
    bench.assert_whole(&bytes);
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_here() {
    let bytes = noise(12, 1_300_000);
    let bench = Bench::with(&bytes);
    bench.hub.allow(700_000);
    let child = bench.command(&["pull", REPO]).spawn().unwrap();
    wait_for(|| bench.hub.is_exhausted());
    std::thread::sleep(Duration::from_millis(100));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let done = Done::of(child.wait_with_output().unwrap());
    assert_eq!(done.code, Some(130), "{}", done.said);
    assert!(done.said.contains("are kept, the same command goes on"), "{}", done.said);
    let sent = bench.hub.sent();
    bench.hub.allow(i64::MAX);
    assert!(bench.pull().ok().said.contains("here from before"));
    bench.assert_whole(&bytes);
    assert!(bench.hub.sent() - sent < 1_300_000, "part of it was not sent again");
}

fn wait_for(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "it did not happen in a minute");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Kills the child as soon as the allowed bytes are sent and `delay` has passed; false when it had ended before.
fn kill(bench: &Bench, mut child: Child, delay: Duration) -> bool {
    while !bench.hub.is_exhausted() {
        if child.try_wait().expect("a child").is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    std::thread::sleep(delay);
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    running
}

/// A hundred downloads killed without warning, after a random number of bytes or at a random time: whatever has its name
/// in the cache is whole, each goes on where it was, and in the end every byte is there once and in its place.
#[test]
fn a_hundred_kills_lose_no_byte() {
    let bench = Bench::new();
    let random = noise(std::process::id().into(), 400_000);
    let mut draw = random.chunks(4).map(|c| u64::from(u32::from_le_bytes([c[0], c[1], c[2], c[3]])));
    let mut draw = move |limit: u64| draw.next().expect("enough random numbers") % limit;
    let (mut kills, mut resumed, mut version, mut size) = (0, 0, 100, 0);
    while kills < 100 {
        version += 1;
        let bytes = noise(version, 300_000 + draw(500_000) as usize);
        bench.hub.add(REPO, FILE, &bytes);
        size += bytes.len();
        let _gone = fs::remove_dir_all(bench.folder());
        for _ in 0..=draw(9) {
            let by_bytes = draw(3) > 0;
            bench.hub.allow(if by_bytes { draw(bytes.len() as u64) as i64 } else { i64::MAX });
            let child = bench.command(&["pull", REPO]).spawn().expect("the program starts");
            let delay = Duration::from_millis(draw(if by_bytes { 20 } else { 90 }));
            if !by_bytes {
                std::thread::sleep(delay);
                bench.hub.allow(0);
            }
            kills += u32::from(kill(&bench, child, if by_bytes { delay } else { Duration::ZERO }));
            if let Ok(there) = fs::read(bench.folder().join("blobs").join(sha256(&bytes))) {
                assert!(there == bytes, "only a whole file has its name");
            }
        }
        bench.hub.allow(i64::MAX);
        let done = bench.pull().ok();
        resumed += u32::from(done.said.contains("here from before"));
        bench.assert_whole(&bytes);
    }
    assert!(resumed > 0, "none of {} downloads went on with what was there", version - 100);
    let (files, sent) = (version - 100, bench.hub.sent());
    eprintln!("{kills} kills of {files} downloads, {resumed} resumed at the last; {sent} bytes sent for {size}");
}
