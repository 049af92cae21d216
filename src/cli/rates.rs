//! This machine's speed, as it was measured and kept, or measured now.

use super::bench::machine;
use super::model_args::ComputeArgs;
use super::{output, term};
use crate::engine::Engine;
use crate::error::Result;
use crate::gguf::Gguf;
use crate::plan::rates::{self, Rates, Setup};
use crate::plan::{Shape, Weights, speed};
use lapwing_quant::DType;
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels::Kernels;
use std::fs::Metadata;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// When a measurement is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Only what is kept.
    Kept,
    /// What is kept, or a new one.
    Any,
    /// A new one.
    New,
}

/// The rates of these cores and kernels, those of `formats` among them; none where there are none and none was to be
/// measured.
///
/// # Errors
/// When they cannot be measured.
pub fn rates(
    compute: &ComputeArgs,
    (cores, kernels): (&Cores, &'static Kernels),
    wanted: Wanted,
    formats: &[DType],
) -> Result<Option<Rates>> {
    let threads = (compute.threads, compute.threads_batch.or(compute.threads));
    let asked = if threads == (None, None) { String::new() } else { format!("; threads {threads:?}") };
    let key = rates::key(&machine::cpu_name(), kernels.name, cores, power_source(), &build()) + &asked;
    let (path, now) = (file(), now());
    let kept = path.as_ref().filter(|_| wanted != Wanted::New).and_then(|path| rates::find(path, &key, now));
    let lacks = kept.as_ref().map(|kept| kept.lacks(formats)).unwrap_or_default();
    if wanted == Wanted::Kept || (kept.is_some() && lacks.is_empty()) {
        return Ok(kept);
    }
    output::note("measuring how fast this machine computes (kept for later)");
    let busy = is_busy(load(), cores.logical);
    let setup = Setup { kernels, cores, threads, cache: machine::last_cache(), busy };
    let new = match kept {
        Some(mut kept) => {
            rates::extend(&setup, &mut kept, &lacks)?;
            kept
        }
        None => rates::measure(&setup, formats, key.clone(), now)?,
    };
    match path.map(|path| rates::keep(&path, &key, Some(&new), now)) {
        None => output::warn("there is no folder to keep the measurement in"),
        Some(Err(e)) => output::warn(&format!("the measurement is not kept: {e}")),
        Some(Ok(())) => {}
    }
    Ok(Some(new))
}

/// Tells this program from any other build of it, whose kernels may be faster or slower: version, size and time of the
/// file that it was started from.
fn build() -> String {
    let file = std::env::current_exe().and_then(|path| path.metadata()).ok();
    let seconds = |m: &Metadata| m.modified().ok()?.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs());
    let file = file.map_or(String::new(), |m| format!(" ({} bytes of {})", m.len(), seconds(&m).unwrap_or(0)));
    format!("{}{file}", env!("CARGO_PKG_VERSION"))
}

/// Processes that wanted the processor in the last minute, on average; 0 where the system does not tell.
pub fn load() -> f64 {
    sysinfo::System::load_average().map_or(0.0, |load| load.one)
}

/// Whether so many processes on so many hardware threads leave too little for one more.
pub fn is_busy(load: f64, logical: usize) -> bool {
    load > 0.5 * logical as f64
}

/// Where measurements are kept.
fn file() -> Option<PathBuf> {
    term::state_dir().map(|dir| dir.join("machine.json"))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// How long ago the rates were measured, for people.
pub fn age(rates: &Rates) -> String {
    match now().saturating_sub(rates.measured) {
        0..120 => "just now".to_owned(),
        s @ 120..7200 => format!("{} minutes ago", s / 60),
        s @ 7200..172_800 => format!("{} hours ago", s / 3600),
        s => format!("{} days ago", s / 86_400),
    }
}

/// Where power comes from; processors are slower on a battery.
pub fn power_source() -> &'static str {
    match on_mains() {
        Some(true) => "mains",
        Some(false) => "battery",
        None => "power unknown",
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn on_mains() -> Option<bool> {
    let read = |path: PathBuf| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let mut online = None;
    for supply in std::fs::read_dir("/sys/class/power_supply").ok()?.flatten() {
        if read(supply.path().join("type")).is_some_and(|kind| kind == "Mains" || kind == "USB") {
            let on = read(supply.path().join("online")).is_some_and(|text| text != "0");
            online = Some(online.unwrap_or(false) || on);
        }
    }
    online
}

#[cfg(target_os = "macos")]
fn on_mains() -> Option<bool> {
    let asked = std::process::Command::new("pmset").args(["-g", "ps"]).output().ok()?;
    Some(String::from_utf8(asked.stdout).ok()?.contains("AC Power"))
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn on_mains() -> Option<bool> {
    None
}

/// Parts of the predicted speed below and above which a measurement no longer describes the machine: it has become
/// slower, or was busy when it was measured.
const USUAL: std::ops::Range<f64> = 0.7..1.5;
/// Fewer tokens say nothing.
const ENOUGH: usize = 32;

/// Compares the speed of an answer (`tokens` in `seconds`, behind `past` others) with what the kept rates predict, and
/// forgets them when it is another, so that they are measured anew before the next large model is loaded.
pub fn heard(compute: &ComputeArgs, engine: &Engine, gguf: &Gguf, answer: (usize, f64), past: usize) {
    let (tokens, seconds) = answer;
    if tokens < ENOUGH || seconds <= 0.0 {
        return;
    }
    let Ok(cores) = compute.cores() else { return };
    let kernels = engine.kernels();
    let Ok(Some(kept)) = rates(compute, (&cores, kernels), Wanted::Kept, &[]) else { return };
    let shape = Shape::of(engine.config(), gguf.tensor("output.weight").is_none());
    let Ok(weights) = Weights::of(gguf, &shape) else { return };
    let predicted = speed::decode_rate(&shape, &weights, &kept, past + tokens / 2);
    if has_changed(tokens as f64 / seconds, predicted)
        && let Some(path) = file()
    {
        // Where it cannot be written nothing was kept either.
        let _forgotten = rates::keep(&path, &kept.key, None, now());
    }
}

fn has_changed(measured: f64, predicted: f64) -> bool {
    !USUAL.contains(&(measured / predicted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fall_by_a_third_and_a_rise_by_half_are_changes() {
        assert!(has_changed(6.5, 10.0) && has_changed(16.0, 10.0));
        assert!(!has_changed(7.5, 10.0) && !has_changed(14.0, 10.0));
    }

    #[test]
    fn half_of_the_threads_in_use_is_busy() {
        assert!(is_busy(1.5, 2) && is_busy(9.0, 16));
        assert!(!is_busy(0.4, 2) && !is_busy(8.0, 16) && !is_busy(0.0, 1));
    }

    #[test]
    fn this_build_has_a_name() {
        assert!(build().starts_with(env!("CARGO_PKG_VERSION")) && build().contains("bytes of"), "{}", build());
    }
}
