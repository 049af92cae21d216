//! The machine: kernels against the plain ones, threads, memory.

use super::Finding;
use crate::plan::context::Case;
use lapwing_quant::DType;
use lapwing_quant::acts::Acts;
use lapwing_quant::buffer::{Aligned, Bytes};
use lapwing_quant::cores::Cores;
use lapwing_quant::kernels::{self, Kernels};
use lapwing_quant::quantize::{self, Values};
use lapwing_quant::threads::Pool;
use lapwing_quant::weight::{self, Product, Weight};
use std::sync::Arc;

/// Size of the matrices that tables are compared on.
const ROWS: usize = 48;
const COLS: usize = 512;
/// Activation rows: one alone and several together take different kernels.
const TOKENS: usize = 5;
/// Activations are rounded to 8 bits for some kernels and not for others; more than this is no rounding.
const ROUNDING: f64 = 0.02;

/// Compares every table that this machine can run with the plain one, in every format. Returns how many comparisons were
/// made, and what differs.
///
/// # Errors
/// When memory or threads are not to be had.
pub fn self_test(tables: &[&'static Kernels]) -> Result<(usize, Vec<Finding>), String> {
    let scalar = kernels::by_name("scalar")?;
    let pool = Pool::new(2, &[])?;
    let (mut compared, mut found) = (0, Vec::new());
    for &dtype in DType::ALL {
        let bytes = blocks(dtype, scalar)?;
        for is_prompt in [true, false] {
            let want = product(dtype, &bytes, scalar, &pool, is_prompt)?;
            for table in tables {
                let got = product(dtype, &bytes, table, &pool, is_prompt)?;
                compared += 1;
                let off = distance(&got, &want);
                if off > ROUNDING || off.is_nan() {
                    found.push(differs(table, dtype, off));
                }
            }
        }
    }
    Ok((compared, found))
}

/// What is said of a table that gives other results than the plain one.
pub fn differs(table: &Kernels, dtype: DType, off: f64) -> Finding {
    Finding::problem(
        "isa-differs",
        format!(
            "the kernels of {} differ from the plain ones by {:.1} % for {}",
            table.name,
            100.0 * off,
            dtype.name()
        ),
        "the processor, its memory or this program is broken: use --isa scalar, and please report it",
    )
}

/// Distance of two results, relative to their size.
pub fn distance(got: &[f32], want: &[f32]) -> f64 {
    let square = |v: f64| v * v;
    let off: f64 = got.iter().zip(want).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let size: f64 = want.iter().map(|v| square(f64::from(*v))).sum();
    (off / size.max(1e-30)).sqrt()
}

/// Numbers between -1 and 1 that repeat nothing.
fn noise(i: usize) -> f32 {
    let x = (i as u64).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((x ^ (x >> 29)) >> 33) as f32 / (1u64 << 30) as f32 - 1.0
}

fn blocks(dtype: DType, scalar: &'static Kernels) -> Result<Vec<u8>, String> {
    let floats: Vec<u8> = (0..ROWS * COLS).flat_map(|i| noise(i).to_le_bytes()).collect();
    let row = dtype.row_bytes(COLS).ok_or("no whole blocks")?;
    let mut bytes = vec![0; ROWS * row];
    let rows = quantize::Rows { dtype, values: Values::F32(&floats), cols: COLS, importance: None };
    quantize::quantize_here(&rows, scalar, &mut bytes).map_err(|e| e.to_string())?;
    Ok(bytes)
}

fn product(
    dtype: DType,
    bytes: &[u8],
    table: &'static Kernels,
    pool: &Pool,
    is_prompt: bool,
) -> Result<Vec<f32>, String> {
    let mut own = Aligned::zeroed(bytes.len())?;
    own.copy_from_slice(bytes);
    let mut weight = Weight::new(dtype, ROWS, COLS, Bytes::Own(Arc::new(own)), table)?;
    let mut out = vec![0.0; ROWS * TOKENS];
    pool.enter(2, |team| {
        weight.repack(team)?;
        let mut acts = Acts::new(COLS, weight.acts(), table);
        acts.fill(
            team,
            TOKENS,
            |_| is_prompt,
            |i, row| row.iter_mut().enumerate().for_each(|(k, v)| *v = noise(7919 * i + k + 1)),
        );
        let product = Product { weight: &weight, rows: weight::Rows::All, out: &mut out };
        weight::run(team, &acts, &mut [product]);
        Ok::<(), String>(())
    })?;
    Ok(out)
}

/// The instruction set in use, when a wider one could be.
pub fn isa(used: &Kernels, best: &Kernels) -> Option<Finding> {
    (used.name != best.name).then(|| {
        Finding::warning(
            "isa-narrow",
            format!("the instruction set {} is used though this machine has {}", used.name, best.name),
            "leave --isa and LAPWING_ISA out",
        )
    })
}

/// An instruction set that this machine says it has, and that multiplies wrongly.
pub fn distrusted() -> Option<Finding> {
    let advice = "the processor, or what it is a virtual machine of, is broken: please report it";
    kernels::distrusted().map(|what| Finding::warning("isa-wrong", what, advice))
}

/// Numbers of threads that were asked for, against the cores.
pub fn threads(cores: &Cores, asked: &[(&'static str, Option<usize>)]) -> Vec<Finding> {
    asked.iter().filter_map(|(flag, n)| of_threads(cores, flag, (*n)?)).collect()
}

fn of_threads(cores: &Cores, flag: &str, n: usize) -> Option<Finding> {
    let (logical, physical) = (cores.logical, cores.all_physical.len());
    let advice = format!("use {flag} {}, or leave it out", lapwing_quant::cores::default_threads(cores));
    if n > logical {
        let what = format!("{flag} {n}: there are {logical} hardware threads, so that threads wait for each other");
        return Some(Finding::problem("threads-beyond-cores", what, advice));
    }
    if let Some(quota) = cores.quota.filter(|q| n as f64 > q.ceil()) {
        let what =
            format!("{flag} {n}: the control group allows {quota} CPUs, so that threads are stopped again and again");
        return Some(Finding::problem("threads-beyond-quota", what, advice));
    }
    (n > physical).then(|| {
        let what = format!("{flag} {n}: there are {physical} cores; two threads of one core are slower than one");
        Finding::warning("threads-beyond-physical", what, advice)
    })
}

/// Whether the model fits the memory there is, with a context of `n_ctx` tokens.
pub fn memory(case: &Case<'_>, n_ctx: usize) -> Option<Finding> {
    let gb = |bytes: u64| format!("{:.2} GB", bytes as f64 / 1e9);
    let (needs, usable) = (case.needs(n_ctx).total(), case.memory.usable());
    if needs + case.memory.margin() <= usable {
        return None;
    }
    let limit = if case.memory.group.is_some() { " (the control group's limit)" } else { "" };
    let what = format!("the model needs {} with a context of {n_ctx}, {} are free{limit}", gb(needs), gb(usable));
    let advice = case.advice(n_ctx);
    Some(match needs > usable {
        true => Finding::problem("memory-too-small", what, advice),
        false => Finding::warning("memory-tight", what, advice),
    })
}

/// What is said of an instruction set that is not there.
pub fn unknown_isa(error: &str) -> Finding {
    Finding::problem("isa-unknown", error, "leave --isa and LAPWING_ISA out")
}

/// What is said of a settings file that is not sound.
pub fn settings(error: &str) -> Finding {
    Finding::problem("settings-broken", error, "correct the file, or name another with LAPWING_CONFIG")
}
