//! The sign of life before the first token: how much is read, how much of it the cache had, how long it will take.

use super::thousands;
use crate::cli::output;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// How long reading must take, or must be expected to take, before it is shown.
const PATIENCE: Duration = Duration::from_millis(700);
/// How often a line is printed when there is no terminal.
const LINES: Duration = Duration::from_secs(5);

/// What is going to be read.
#[derive(Clone, Copy, Debug)]
pub struct ReadingOptions {
    /// Tokens of the prompt.
    pub total: usize,
    /// How many of them the cache has, so that they are not read again.
    pub cached: usize,
    /// Tokens per second that were read before, when that is known.
    pub rate: Option<f64>,
}

/// Shows that a prompt is read; nothing at all when that is quick. Gone once dropped.
pub struct Reading {
    options: ReadingOptions,
    started: Instant,
    last_line: Instant,
    bar: Option<ProgressBar>,
}

impl Reading {
    /// Starts; shown at once if it is known to take long.
    pub fn new(options: ReadingOptions) -> Self {
        let now = Instant::now();
        let mut reading = Self { options, started: now, last_line: now, bar: None };
        if remaining(options, 0, Duration::ZERO).is_some_and(|left| left > PATIENCE) {
            reading.show(0);
        }
        reading
    }

    /// This many tokens are read, those of the cache not counted.
    pub fn update(&mut self, done: usize) {
        if self.bar.is_some() || self.started.elapsed() >= PATIENCE {
            self.show(done);
        }
    }

    fn show(&mut self, done: usize) {
        let text = status(self.options, remaining(self.options, done, self.started.elapsed()));
        if output::interactive() {
            let new = self.options.total.saturating_sub(self.options.cached);
            let bar = self.bar.get_or_insert_with(|| {
                let bar = ProgressBar::with_draw_target(Some(new as u64), ProgressDrawTarget::stderr());
                let style = ProgressStyle::with_template("{msg} [{bar:16}]");
                bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
            });
            bar.set_message(text);
            bar.set_position(done as u64);
        } else if done == 0 || self.last_line.elapsed() >= LINES {
            self.last_line = Instant::now();
            output::note(&text);
        }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The time that is left: by the rate so far, or before anything is read by the rate known.
fn remaining(options: ReadingOptions, done: usize, elapsed: Duration) -> Option<Duration> {
    let rate = match done {
        0 => options.rate?,
        _ => done as f64 / elapsed.as_secs_f64(),
    };
    let left = options.total.saturating_sub(options.cached).saturating_sub(done);
    Duration::try_from_secs_f64(left as f64 / rate).ok()
}

fn status(options: ReadingOptions, left: Option<Duration>) -> String {
    let cached = match options.cached {
        0 => String::new(),
        n => format!(" ({} cached)", thousands(n)),
    };
    let left = left.map_or(String::new(), |left| format!(", about {:.0} s", left.as_secs_f64().round().max(1.0)));
    format!("reading {} tokens{cached}{left}", thousands(options.total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        let options = ReadingOptions { total: 8214, cached: 6100, rate: Some(41.45) };
        let at_once = remaining(options, 0, Duration::ZERO);
        assert_eq!(status(options, at_once), "reading 8,214 tokens (6,100 cached), about 51 s");
        // Half of the new ones in ten seconds: the rate so far counts.
        let half = remaining(options, 1057, Duration::from_secs(10));
        assert_eq!(status(options, half), "reading 8,214 tokens (6,100 cached), about 10 s");
        let unknown = ReadingOptions { total: 7, cached: 0, rate: None };
        assert_eq!(status(unknown, remaining(unknown, 0, Duration::ZERO)), "reading 7 tokens");
        assert_eq!(remaining(ReadingOptions { rate: Some(0.0), ..options }, 0, Duration::ZERO), None);
    }
}
