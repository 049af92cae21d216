//! Printing: results that may meet a closed pipe, messages, and progress (a bar on a terminal, lines off it).

use super::Stop;
use crate::error::Error;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Writes a result to stdout and flushes it.
pub fn result(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| match e.kind() {
        std::io::ErrorKind::BrokenPipe => Stop::Pipe,
        _ => Stop::Error(Error::runtime(format!("stdout cannot be written: {e}"))),
    })
}

/// A message for the user. A closed stderr is no reason to stop.
pub fn note(text: &str) {
    let _closed_is_fine = writeln!(std::io::stderr().lock(), "{text}");
}

/// Something the user should know before trusting the result.
pub fn warn(text: &str) {
    note(&format!("warning: {text}"));
}

/// The error a command ends with.
pub fn error(e: &Error) {
    note(&format!("error: {e}"));
}

/// Whether stderr is a terminal, so that bars make sense.
pub fn interactive() -> bool {
    std::io::stderr().is_terminal()
}

/// How long a job must take before its progress is shown.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often a line is printed when there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// What the numbers of a progress display count.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Tokens.
    Tokens,
}

/// Progress of one job: amount, rate and remaining time; nothing at all when the job is quick.
pub struct Progress {
    what: String,
    unit: Unit,
    started: Instant,
    bar: Option<ProgressBar>,
    last_line: Instant,
}

impl Progress {
    /// A job called `what`.
    pub fn new(what: &str, unit: Unit) -> Self {
        let now = Instant::now();
        Self { what: what.to_owned(), unit, started: now, bar: None, last_line: now }
    }

    /// Calls the job `what` from here on.
    pub fn say(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        if let Some(bar) = &self.bar {
            bar.set_message(self.what.clone());
        }
    }

    /// `done` of `total` units are done.
    pub fn update(&mut self, done: u64, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        if self.started.elapsed() < PATIENCE || done >= total {
            return;
        }
        if interactive() {
            let units = if self.unit == Unit::Bytes {
                "{bytes}/{total_bytes}, {bytes_per_sec}, {eta} left"
            } else {
                "{pos}/{len} tokens, {per_sec}, {eta} left"
            };
            let template = format!("{{msg}} [{{bar:30}}] {units}");
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_message(self.what.clone());
            bar.set_position(done);
            self.bar = Some(bar);
        } else if self.last_line.elapsed() >= LINES {
            self.last_line = Instant::now();
            let rate = done as f64 / self.started.elapsed().as_secs_f64();
            let left = (total - done) as f64 / rate.max(1e-9);
            let line = match self.unit {
                Unit::Bytes => {
                    format!("{:.0} of {:.0} MB, {:.0} MB/s", done as f64 / 1e6, total as f64 / 1e6, rate / 1e6)
                }
                Unit::Tokens => format!("{done} of {total} tokens, {rate:.1} tokens/s"),
            };
            note(&format!("{}: {line}, about {left:.0} s left", self.what));
        }
    }
}

impl Progress {
    /// Runs `print` while no bar is in its way.
    pub fn suspended<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// A message between, above the bar where there is one.
    pub fn aside(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(text)),
            None => note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Writes a whole file under a temporary name beside it, syncs it and renames it, so that the name never has a part.
pub fn write_file(path: &std::path::Path, bytes: &[u8]) -> crate::error::Result<()> {
    let mut name = path.file_name().map(std::ffi::OsStr::to_os_string).unwrap_or_default();
    name.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(name);
    let write = || {
        let mut file = std::fs::File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    };
    write().map_err(|e| {
        let _nothing_left = std::fs::remove_file(&part);
        Error::file(format!("{}: cannot be written: {e}", path.display()))
    })
}
