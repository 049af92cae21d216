//! Gets the bytes of one file: several connections at once, each on a range of its own, until nothing is missing.
//!
//! The connections are threads, which spend their time waiting for the network (the program's computing threads are
//! quant's). Each takes a segment off the queue and asks for it; bytes are written where they belong and reported to
//! the [`Partial`]. A trouble that may pass is waited out by the connection that met it, on the same segment; one that
//! will not ends all. The caller's thread reports progress and looks whether to stop, and need not wait for reads to end.
//!
//! An address that a redirect led to is used again until it is refused (signed addresses expire), then the hub is
//! asked anew. `If-Range` and the answer's length and tag show a file that changed meanwhile; a server that sends no
//! parts is read from the start in one go.

use super::digest::is_sha256;
use super::http::{Ask, Http, Reply, normal_etag};
use super::partial::{Identity, Partial, cannot_write};
use super::refusal::Asked;
use super::retry::{Passing, Patience, Trouble};
use super::{Event, Watch};
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use ureq::http::Uri;

const LEAST_SEGMENT: u64 = 256 << 10;
const MOST_SEGMENT: u64 = 32 << 20;
const BUFFER: usize = 128 << 10;
/// How often progress is reported and a wish to stop is looked for.
const TICK: Duration = Duration::from_millis(50);
/// Slower than this, a connection counts as stalled.
const LEAST_BYTES_PER_SECOND: u64 = 1024;
/// How often a file may change while it is fetched.
const MAX_CHANGES: u32 = 2;

/// What to fetch, and how.
pub(super) struct Order {
    pub(super) http: Arc<Http>,
    /// The hub's address of the file.
    pub(super) url: Uri,
    /// Connections at once.
    pub(super) lanes: usize,
    /// Tries in a row without progress.
    pub(super) tries: u32,
    /// How long a connection may give nothing, or next to nothing.
    pub(super) stall: Duration,
    /// Keeps other processes from the same file as long as a thread of this one may write to it.
    pub(super) _lock: Arc<File>,
    /// Whose file it is, for messages.
    pub(super) asked: Asked,
}

/// How a transfer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All bytes are there.
    Whole,
    /// It was to stop; what there is, is kept.
    Stopped,
}

/// A transfer under way; threads share it.
pub(super) struct Transfer {
    order: Order,
    stop: AtomicBool,
    state: Mutex<State>,
}

struct State {
    /// Taken out at the end.
    partial: Option<Partial>,
    queue: VecDeque<Range<u64>>,
    /// Where the file really is, once known.
    location: Option<Uri>,
    /// Its tag there, as the server wrote it.
    etag: Option<String>,
    /// Whether to ask for the whole, since parts are not sent.
    whole: bool,
    /// Why it cannot go on as it is.
    ended: Option<Trouble>,
}

impl Transfer {
    /// A transfer into `partial`.
    pub(super) fn new(order: Order, partial: Partial) -> Arc<Transfer> {
        let state = State {
            partial: Some(partial),
            queue: VecDeque::new(),
            location: None,
            etag: None,
            whole: false,
            ended: None,
        };
        Arc::new(Transfer { order, stop: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// Fetches what is missing. After it, and only then, [`take`](Self::take) gives the file back.
    pub(super) fn run(self: &Arc<Self>, watch: Watch<'_>) -> Result<Outcome> {
        let mut changes = 0;
        loop {
            let went_on = self.round(watch)?;
            let trouble = self.lock().ended.take();
            let committed = self.with_partial(Partial::commit);
            let note = match trouble {
                _ if !went_on => return committed.map(|()| Outcome::Stopped),
                None => return committed.map(|()| Outcome::Whole),
                Some(Trouble::NoRanges) => {
                    self.lock().whole = true;
                    "the server does not send parts of a file: reading it from the start in one go".to_owned()
                }
                Some(Trouble::Changed(why)) if changes < MAX_CHANGES => {
                    changes += 1;
                    self.begin_again()?;
                    format!("{why}: asking the hub again")
                }
                Some(Trouble::Changed(why)) => return Err(Error::runtime(format!("{why}, again and again"))),
                Some(Trouble::Final(e)) => return Err(e),
                Some(Trouble::Passing(Passing { what, .. })) => return Err(Error::runtime(what)),
                Some(Trouble::Refused(refusal)) => return Err(self.order.asked.refused(&refusal)),
            };
            committed?;
            if !watch(Event::Note(&note)) {
                return Ok(Outcome::Stopped);
            }
        }
    }

    /// The file, when the transfer has ended.
    pub(super) fn take(&self) -> Option<Partial> {
        self.lock().partial.take()
    }

    /// After a change: a file that the hub calls by its hash is still that file if the hub still says so, and its hash
    /// is checked in the end; of any other nothing can be kept.
    fn begin_again(&self) -> Result<()> {
        {
            let mut state = self.lock();
            (state.location, state.etag) = (None, None);
        }
        self.with_partial(|p| if is_sha256(&p.identity().etag) { Ok(()) } else { p.clear() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_partial<T>(&self, act: impl FnOnce(&mut Partial) -> Result<T>) -> Result<T> {
        let taken = || Error::runtime("the transfer has ended");
        act(self.lock().partial.as_mut().ok_or_else(taken)?)
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn end(&self, trouble: Trouble) {
        self.lock().ended.get_or_insert(trouble);
        self.stop.store(true, Ordering::Relaxed);
    }

    /// One go at all that is missing; false when it was to stop.
    fn round(self: &Arc<Self>, watch: Watch<'_>) -> Result<bool> {
        self.stop.store(false, Ordering::Relaxed);
        let (lanes, total) = {
            let mut state = self.lock();
            let Some(partial) = &state.partial else { return Ok(true) };
            let size = partial.identity().size;
            let missing = partial.missing();
            let lanes = if state.whole { 1 } else { self.order.lanes.max(1) };
            state.queue =
                if state.whole { std::iter::once(0..size).collect() } else { segments(&missing, size, lanes) };
            (lanes.min(state.queue.len()), size)
        };
        let (notes, said) = mpsc::channel();
        let mut threads = Vec::new();
        for _ in 0..lanes {
            let (this, notes) = (Arc::clone(self), notes.clone());
            let thread = std::thread::Builder::new().name("download".to_owned()).spawn(move || this.work(&notes));
            threads.push(thread.map_err(|e| Error::runtime(format!("no thread can be started: {e}")))?);
        }
        drop(notes);
        loop {
            let go_on = match said.recv_timeout(TICK) {
                Ok(note) => watch(Event::Note(&note)),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let done = self.lock().partial.as_ref().map_or(0, Partial::done);
            if !go_on || !watch(Event::Received { done, total }) {
                self.stop.store(true, Ordering::Relaxed);
                return Ok(false);
            }
        }
        for thread in threads {
            thread.join().map_err(|_| Error::runtime("a connection's thread failed; this is a fault of lapwing"))?;
        }
        Ok(true)
    }

    /// A connection's life: segment after segment.
    fn work(&self, notes: &Sender<String>) {
        let mut patience = Patience::new(self.order.tries);
        loop {
            let Some(mut range) = self.lock().queue.pop_front() else { return };
            while !range.is_empty() && !self.stopped() {
                let before = range.start;
                let Err(trouble) = self.stream(&mut range) else { break };
                // Without parts, every try is from the start: bytes are no progress.
                if range.start > before && !self.lock().whole {
                    patience.progress();
                }
                let wait = match trouble {
                    Trouble::Passing(passing) => patience.wait(&passing).map(|wait| (wait, passing.what)),
                    other => return self.end(other),
                };
                match wait {
                    Err(e) => return self.end(Trouble::Final(e)),
                    Ok((wait, what)) => {
                        if wait >= Duration::from_secs(1) {
                            // Nobody listens any more when it is to stop, which is seen right below.
                            let _unheard = notes.send(format!("{what}; trying again in {:.0} s", wait.as_secs_f64()));
                        }
                        self.sleep(wait);
                    }
                }
            }
            if self.stopped() {
                return;
            }
        }
    }

    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// Asks for the range and writes what comes; `range.start` moves behind the bytes that are written.
    fn stream(&self, range: &mut Range<u64>) -> Result<(), Trouble> {
        let (location, etag, whole) = {
            let state = self.lock();
            (state.location.clone(), state.etag.clone(), state.whole)
        };
        let wanted = (!whole).then(|| range.clone());
        let ask = Ask { range: wanted, if_range: etag.filter(|tag| !tag.starts_with("W/")) };
        let url = location.as_ref().unwrap_or(&self.order.url);
        // After any trouble the hub is asked for the address again: signed addresses expire.
        let reply = self.order.http.get(url, &ask).inspect_err(|_| self.lock().location = None)?;
        let identity = self.with_partial(|p| Ok(p.identity().clone())).map_err(Trouble::Final)?;
        self.check_reply(&reply, &ask, &identity)?;
        self.lock().location = Some(reply.url.clone());
        if whole {
            self.with_partial(Partial::clear).map_err(Trouble::Final)?;
            range.start = 0;
        }
        self.copy(reply, range)
    }

    /// Whether the answer is the part that was asked for, of the file that was begun.
    fn check_reply(&self, reply: &Reply, ask: &Ask, identity: &Identity) -> Result<(), Trouble> {
        let Identity { etag, size, .. } = identity;
        let size = *size;
        if let Some(linked) = reply.linked_etag.as_ref().filter(|linked| *linked != etag) {
            return Err(Trouble::Final(Error::runtime(format!(
                "the hub's list calls the file {etag}, its file server {linked}: it changed just now; give the command \
                 again"
            ))));
        }
        if let Some(now) = reply.header("etag") {
            let mut state = self.lock();
            let before = state.etag.get_or_insert_with(|| now.to_owned());
            if normal_etag(before) != normal_etag(now) {
                return Err(Trouble::Changed("the file changed on the server".to_owned()));
            }
        }
        let length = reply.header("content-length").and_then(|text| text.trim().parse::<u64>().ok());
        match (reply.status, &ask.range) {
            (206, Some(range)) => match content_range(reply.header("content-range").unwrap_or_default()) {
                Some((start, total)) if start == range.start && total.is_none_or(|total| total == size) => Ok(()),
                Some((_, Some(total))) if total != size => {
                    Err(Trouble::Changed(format!("the file on the server has {total} bytes, not {size}")))
                }
                _ => Err(Trouble::NoRanges),
            },
            (200, range) => {
                if let Some(length) = length.filter(|&length| length != size) {
                    let why = format!("the file on the server has {length} bytes, not {size}");
                    return Err(Trouble::Changed(why));
                }
                let is_all = range.as_ref().is_none_or(|r| *r == (0..size));
                if is_all { Ok(()) } else { Err(Trouble::NoRanges) }
            }
            (status, _) => Err(Trouble::Changed(format!("the server answers {status} to a range of the file"))),
        }
    }

    fn copy(&self, reply: Reply, range: &mut Range<u64>) -> Result<(), Trouble> {
        let shown = super::http::shown(&reply.url);
        let (mut file, path) =
            self.with_partial(|p| Ok((p.writer()?, p.data_path().to_path_buf()))).map_err(Trouble::Final)?;
        let disk = |e: std::io::Error| Trouble::Final(cannot_write(&path, &e));
        file.seek(SeekFrom::Start(range.start)).map_err(disk)?;
        let mut body = reply.body.into_reader();
        let mut buffer = vec![0; BUFFER];
        let (mut window, mut window_start) = (Instant::now(), range.start);
        while !range.is_empty() && !self.stopped() {
            let room = buffer.len().min(usize::try_from(range.end - range.start).unwrap_or(usize::MAX));
            let n = match body.read(&mut buffer[..room]) {
                Ok(0) => return Err(Trouble::Passing(Passing::new(format!("{shown}: closed before the end")))),
                Ok(n) => n,
                Err(e) => return Err(super::http::trouble(ureq::Error::from(e), &shown)),
            };
            file.write_all(&buffer[..n]).map_err(disk)?;
            let end = range.start + n as u64;
            self.with_partial(|p| p.add(range.start..end)).map_err(Trouble::Final)?;
            range.start = end;
            if window.elapsed() >= self.order.stall {
                if range.start - window_start < LEAST_BYTES_PER_SECOND * self.order.stall.as_secs().max(1) {
                    return Err(Trouble::Passing(Passing::new(format!("{shown}: next to nothing comes"))));
                }
                (window, window_start) = (Instant::now(), range.start);
            }
        }
        Ok(())
    }
}

/// Cuts the missing ranges so that each of `lanes` connections has several.
fn segments(missing: &[Range<u64>], size: u64, lanes: usize) -> VecDeque<Range<u64>> {
    let most = (size / (4 * lanes as u64)).clamp(LEAST_SEGMENT, MOST_SEGMENT);
    let cut = |range: &Range<u64>| {
        let range = range.clone();
        (range.start..range.end).step_by(most as usize).map(move |start| start..range.end.min(start + most))
    };
    missing.iter().flat_map(cut).collect()
}

/// `bytes 5-9/100` as (5, 100), `bytes 5-9/*` as (5, unknown).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    let total = if total == "*" { None } else { Some(total.parse().ok()?) };
    Some((start.trim().parse().ok()?, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_what_is_missing() {
        let missing = [0..10, 1_000_000..3_000_000];
        let cut = segments(&missing, 3_000_000, 4);
        assert!(cut.len() > 6 && cut.iter().all(|r| !r.is_empty() && r.end - r.start <= LEAST_SEGMENT));
        let mut set = super::super::extents::Extents::default();
        cut.iter().for_each(|r| set.insert(r.clone()));
        assert_eq!(set.iter().collect::<Vec<_>>(), missing);
        assert_eq!(cut.iter().map(|r| r.end - r.start).sum::<u64>(), set.bytes(), "no two overlap");
        assert!(segments(&[], 10, 4).is_empty());
    }

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, Some(100))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in ["", "bytes", "bytes */100", "bytes 5/100", "items 5-9/100", "bytes 5-9/x"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
