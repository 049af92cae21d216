//! A hub and a file server on this computer, for tests of downloads: HTTP/1.1 over plain TCP, with faults on demand.
//!
//! Include it with `#[path = "common/fake_hub.rs"] mod fake_hub;`. As on the real hub a file's address redirects to the
//! other server, which knows ranges, tags and `If-Range`; the hash is in the redirect.
#![allow(dead_code, reason = "every test binary uses a different part")]

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const PIECE: usize = 8 << 10;

/// Which of the answers a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// The list of a repository's files.
    List,
    /// The hub's address of a file.
    Resolve,
    /// The file server.
    File,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status, with these header lines.
    Status(u16, &'static str),
    /// The connection is closed after so many bytes of the body.
    CloseAfter(usize),
    /// Nothing more comes after so many bytes of the body.
    StallAfter(usize),
    /// The whole file in answer to a range.
    IgnoreRange,
    /// Another tag than before.
    NewTag,
}

/// A request that was seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub at: At,
    pub path: String,
    pub range: Option<(u64, u64)>,
    pub authorization: Option<String>,
    pub if_range: Option<String>,
}

#[derive(Clone)]
struct Stored {
    bytes: Arc<Vec<u8>>,
    /// What the hub says of it.
    sha256: String,
    size: u64,
}

#[derive(Default)]
struct State {
    files: Mutex<BTreeMap<(String, String), Stored>>,
    faults: Mutex<Vec<(At, Fault, usize)>>,
    seen: Mutex<Vec<Seen>>,
    /// Bytes of files that may still be sent.
    allowed: AtomicI64,
    sent: AtomicU64,
    /// Connections of an older generation end when they wait.
    generation: AtomicU64,
    tag: AtomicU64,
    file_server: Mutex<String>,
}

/// The two servers.
pub struct FakeHub {
    state: Arc<State>,
    pub endpoint: String,
}

/// SHA-256 in hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Bytes that repeat nowhere, so that a misplaced piece shows.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

impl FakeHub {
    pub fn start() -> FakeHub {
        let state = Arc::new(State { allowed: AtomicI64::new(i64::MAX), ..State::default() });
        let serve = |is_hub: bool| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = format!("http://{}", listener.local_addr().expect("bound"));
            let state = Arc::clone(&state);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let state = Arc::clone(&state);
                    std::thread::spawn(move || converse(&state, stream, is_hub));
                }
            });
            address
        };
        let endpoint = serve(true);
        let file_server = serve(false);
        *state.file_server.lock().unwrap() = file_server;
        FakeHub { state, endpoint }
    }

    /// Adds a file; of the same name, puts it in its place.
    pub fn add(&self, repo: &str, path: &str, bytes: &[u8]) {
        self.add_claiming(repo, path, bytes, &sha256(bytes), bytes.len() as u64);
    }

    /// Adds a file of which the hub says something else than is true.
    pub fn add_claiming(&self, repo: &str, path: &str, bytes: &[u8], sha256: &str, size: u64) {
        let stored = Stored { bytes: Arc::new(bytes.to_vec()), sha256: sha256.to_owned(), size };
        self.state.files.lock().unwrap().insert((repo.to_owned(), path.to_owned()), stored);
    }

    /// The next `times` answers there go wrong.
    pub fn fault(&self, at: At, fault: Fault, times: usize) {
        self.state.faults.lock().unwrap().push((at, fault, times));
    }

    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    pub fn forget(&self) {
        self.state.seen.lock().unwrap().clear();
        self.state.faults.lock().unwrap().clear();
    }

    /// From now on so many bytes of files are sent, then nothing; connections that wait for more are closed.
    pub fn allow(&self, bytes: i64) {
        self.state.generation.fetch_add(1, SeqCst);
        self.state.allowed.store(bytes, SeqCst);
    }

    /// Whether the bytes that were allowed are sent.
    pub fn is_exhausted(&self) -> bool {
        self.state.allowed.load(SeqCst) <= 0
    }

    /// Bytes of files sent so far.
    pub fn sent(&self) -> u64 {
        self.state.sent.load(SeqCst)
    }
}

/// A request's path and headers in small letters; nothing when the connection ends.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.trim().to_owned()),
            None => return Some((path, headers)),
        };
    }
}

fn converse(state: &State, stream: TcpStream, is_hub: bool) {
    let mut writer = stream.try_clone().expect("a second handle");
    let mut reader = BufReader::new(stream);
    while let Some((path, headers)) = read_request(&mut reader) {
        let at = match (is_hub, path.starts_with("/api/")) {
            (false, _) => At::File,
            (true, true) => At::List,
            (true, false) => At::Resolve,
        };
        let range = headers.get("range").and_then(|text| {
            let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
            Some((start.parse().ok()?, end.parse().ok()?))
        });
        let get = |name: &str| headers.get(name).cloned();
        let seen = Seen { at, path, range, authorization: get("authorization"), if_range: get("if-range") };
        state.seen.lock().unwrap().push(seen.clone());
        if answer(state, &mut writer, &seen, take_fault(state, at)).is_none() {
            return;
        }
    }
}

fn take_fault(state: &State, at: At) -> Option<Fault> {
    let mut faults = state.faults.lock().unwrap();
    let found = faults.iter_mut().find(|(place, _, times)| *place == at && *times > 0)?;
    found.2 -= 1;
    Some(found.1.clone())
}

/// Answers; nothing when the connection is to be closed.
fn answer(state: &State, out: &mut TcpStream, seen: &Seen, fault: Option<Fault>) -> Option<()> {
    if let Some(Fault::Status(status, headers)) = fault {
        return send(out, &format!("{status} Planted"), headers, b"planted");
    }
    if let Some(query) = seen.path.strip_prefix("/api/models?search=") {
        let found = if query.starts_with("near") { r#"[{"id":"us/near-GGUF"}]"# } else { "[]" };
        return send(out, "200 OK", "", found.as_bytes());
    }
    if let Some(rest) = seen.path.strip_prefix("/api/models/") {
        let repo = rest.split("/revision/").next()?;
        return match list(state, repo) {
            Some(json) => send(out, "200 OK", "Content-Type: application/json\r\n", json.as_bytes()),
            None => send(out, "404 Not Found", "X-Error-Code: RepoNotFound\r\n", b"{}"),
        };
    }
    let parts: Vec<&str> = seen.path.split('?').next()?.trim_start_matches('/').splitn(5, '/').collect();
    let [user, repo, _, _, path] = parts[..] else { return send(out, "404 Not Found", "", b"") };
    let stored = state.files.lock().unwrap().get(&(format!("{user}/{repo}"), path.to_owned())).cloned();
    let Some(stored) = stored else { return send(out, "404 Not Found", "X-Error-Code: EntryNotFound\r\n", b"") };
    if seen.at == At::Resolve {
        let server = state.file_server.lock().unwrap().clone();
        let headers = format!(
            "Location: {server}{}?Signature=secret\r\nX-Linked-ETag: \"{}\"\r\nX-Linked-Size: {}\r\nX-Repo-Commit: {COMMIT}\r\n",
            seen.path, stored.sha256, stored.size
        );
        return send(out, "302 Found", &headers, b"");
    }
    send_file(state, out, seen, &stored, fault.as_ref())
}

fn list(state: &State, repo: &str) -> Option<String> {
    let files = state.files.lock().unwrap();
    let of_repo = files.iter().filter(|((r, _), _)| r.eq_ignore_ascii_case(repo));
    let rows: Vec<String> = of_repo
        .map(|((_, path), stored)| {
            let (sha, size) = (&stored.sha256, stored.size);
            format!(
                r#"{{"rfilename":"{path}","size":{size},"blobId":"{COMMIT}","lfs":{{"sha256":"{sha}","size":{size}}}}}"#
            )
        })
        .collect();
    let id = files.keys().find(|(r, _)| r.eq_ignore_ascii_case(repo))?.0.clone();
    Some(format!(r#"{{"id":"{id}","sha":"{COMMIT}","siblings":[{}]}}"#, rows.join(",")))
}

fn send(out: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len());
    out.write_all(&[head.as_bytes(), body].concat()).ok()
}

fn send_file(state: &State, out: &mut TcpStream, seen: &Seen, stored: &Stored, fault: Option<&Fault>) -> Option<()> {
    let generation = state.generation.load(SeqCst);
    if matches!(fault, Some(Fault::NewTag)) {
        state.tag.fetch_add(1, SeqCst);
    }
    let tag = format!("\"tag-{}-{}\"", state.tag.load(SeqCst), &sha256(&stored.bytes)[..8]);
    let size = stored.bytes.len();
    let same = seen.if_range.as_ref().is_none_or(|wanted| *wanted == tag);
    let range = seen.range.filter(|_| same && !matches!(fault, Some(Fault::IgnoreRange)));
    let (status, span, extra) = match range {
        Some((start, end)) if start < size as u64 => {
            let end = (end as usize + 1).min(size);
            let extra = format!("Content-Range: bytes {start}-{}/{size}\r\n", end - 1);
            ("206 Partial Content", start as usize..end, extra)
        }
        Some(_) => return send(out, "416 Range Not Satisfiable", "", b""),
        None => ("200 OK", 0..size, String::new()),
    };
    let body = &stored.bytes[span];
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nETag: {tag}\r\n{extra}\r\n", body.len());
    out.write_all(head.as_bytes()).ok()?;
    let mut sent = 0;
    while sent < body.len() {
        let mut piece = PIECE.min(body.len() - sent);
        if let Some(Fault::CloseAfter(limit) | Fault::StallAfter(limit)) = fault {
            piece = piece.min(limit.saturating_sub(sent));
        }
        let before = state.allowed.fetch_sub(piece as i64, SeqCst);
        let piece = piece.min(before.clamp(0, piece as i64) as usize);
        out.write_all(&body[sent..sent + piece]).ok()?;
        state.sent.fetch_add(piece as u64, SeqCst);
        sent += piece;
        match fault {
            Some(Fault::CloseAfter(limit)) if sent >= *limit => return None,
            Some(Fault::StallAfter(limit)) if sent >= *limit => {
                std::thread::sleep(Duration::from_secs(5));
                return None;
            }
            _ => {}
        }
        while piece == 0 || state.allowed.load(SeqCst) <= 0 {
            if state.generation.load(SeqCst) != generation {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
    Some(())
}
