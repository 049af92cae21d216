//! One table of kernels per instruction set, and the rules by which a table is chosen.
//!
//! A [`Cell`] says how one ISA multiplies one format: which layout the weights must be in, which form of the
//! activations it reads, and the tile functions for prompt rows and for generated rows. A table that improves on
//! another names what it improves and inherits the rest.
//!
//! Invariant: a `&'static Kernels` is only handed out by [`available`], [`best`] and [`by_name`] (and, to tests, by
//! `emulated`), after the machine was asked; therefore the safe methods here may call the `target_feature` functions
//! that the table holds.

mod body;
mod halves;
pub(crate) mod page;
#[cfg(target_arch = "x86_64")]
mod pairs;
pub(crate) mod peak;
mod scalar;
mod simd;
mod tile_f32;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod avxvnni;
#[cfg(target_arch = "aarch64")]
mod neon;

use crate::acts::{ActKinds, ActRow, CodesMut};
use crate::formats::DType;
use crate::panel::Layout;

/// Weight rows that a tile works on at once.
pub const PANEL: usize = 16;

/// What a tile function reads and writes: a panel of up to [`PANEL`] weight rows, or more where its cell says so, times
/// any number of activation rows.
///
/// The result of a (weight row, activation row) pair never depends on which other rows are in the same call.
pub struct Tile<'a> {
    /// The weights' format.
    pub dtype: DType,
    /// The rows' bytes in the cell's layout.
    pub weights: &'a [u8],
    /// Weight rows in use, up to 16 for each panel.
    pub rows: usize,
    /// Weights per row.
    pub cols: usize,
    /// The activation rows (any of them may repeat).
    pub acts: &'a [ActRow<'a>],
    /// Result of row r and activation row i goes to `out[i][r]`.
    pub out: &'a [*mut f32],
}

/// A tile function. Unsafe because it needs its ISA, and `rows` writable values behind each pointer of `out`.
pub type TileFn = unsafe fn(&Tile<'_>);

/// How one ISA multiplies one format.
#[derive(Clone, Copy)]
pub struct Cell {
    /// The layout that the weights must be in.
    pub layout: Layout,
    /// The forms of the activations that the tiles read.
    pub acts: ActKinds,
    /// Panels that the tile for prompt rows takes at once, at most: 1 or an even number.
    pub prompt_panels: usize,
    /// Activation rows that a tile takes at once, at most.
    pub most_rows: usize,
    /// For rows of the prompt.
    pub prompt: TileFn,
    /// For rows of generated (or drafted) tokens.
    pub generated: TileFn,
}

/// Activation rows for tiles that keep sums of theirs in L1; tiles of x86 take six at a time.
pub(crate) const FEW_ROWS: usize = 126;
/// Activation rows for tiles to which more are always welcome: what they make of weights, they make once per call.
pub(crate) const MOST_ROWS: usize = 512;

/// The kernels of one instruction set.
pub struct Kernels {
    /// What `--isa` calls it.
    pub name: &'static str,
    supported: fn() -> bool,
    cell: fn(DType) -> Cell,
    wide_cell: fn(DType) -> Option<Cell>,
    rows_cell: fn(DType) -> Cell,
    /// Row operations on f32.
    pub vector: VectorOps,
    encode: unsafe fn(DType, &crate::quantize::tile::Tile, &mut [u8]) -> usize,
}

impl Kernels {
    /// The best cell of a format.
    pub fn cell(&self, dtype: DType) -> Cell {
        (self.cell)(dtype)
    }

    /// The cell of a format for weights that need more than 8 bits of their inputs, where there is one besides the best.
    pub fn wide_cell(&self, dtype: DType) -> Option<Cell> {
        (self.wide_cell)(dtype)
    }

    /// The cell of a format that reads the file's own rows.
    pub fn rows_cell(&self, dtype: DType) -> Cell {
        (self.rows_cell)(dtype)
    }

    /// Quantizes the first weights of a tile to whole blocks, as many as `out` holds; every table gives the same bytes.
    /// Gives the number of blocks that were clamped to the format's range.
    pub(crate) fn encode(&self, dtype: DType, tile: &crate::quantize::tile::Tile, out: &mut [u8]) -> usize {
        // SAFETY: the table's holder proves the ISA.
        unsafe { (self.encode)(dtype, tile, out) }
    }
}

impl std::fmt::Debug for Kernels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every table, widest first. `scalar` is last and always there.
const TABLES: &[&Kernels] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::amx::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avx512::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avxvnni::TABLE,
    #[cfg(target_arch = "x86_64")]
    &avx2::TABLE,
    #[cfg(target_arch = "aarch64")]
    &neon::I8MM,
    #[cfg(target_arch = "aarch64")]
    &neon::DOTPROD,
    #[cfg(target_arch = "aarch64")]
    &neon::TABLE,
    &scalar::TABLE,
];

/// Names of all tables in this program for this kind of processor, widest first.
pub fn known() -> impl Iterator<Item = (&'static str, bool)> {
    TABLES.iter().map(|t| (t.name, (t.supported)()))
}

/// The tables this machine can run, widest first.
pub fn available() -> impl Iterator<Item = &'static Kernels> {
    TABLES.iter().copied().filter(|t| (t.supported)())
}

/// The widest table this machine can run.
pub fn best() -> &'static Kernels {
    available().next().unwrap_or(&scalar::TABLE)
}

/// What is wrong with this machine's instruction sets: one that it says it has, and that gives wrong products, is not used.
pub fn distrusted() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return avx512::amx::is_wrong()
        .then_some("the matrix unit of this machine (AMX) multiplies wrongly and is not used");
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// The matrix unit's table, for tests on a machine of Linux and AVX-512 that has no such unit: from now on, each of the
/// unit's instructions in this process is emulated, which takes about a thousand times as long. `None` where the unit is
/// (its table is among [`available`]), and on other machines. No command of the program calls this.
#[cfg(any(test, feature = "emulate-amx"))]
pub fn emulated() -> Option<&'static Kernels> {
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    return avx512::amx::emulated();
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    None
}

/// The table of that name.
///
/// # Errors
/// When there is no such table, or this machine cannot run it; the message lists what it can.
pub fn by_name(name: &str) -> Result<&'static Kernels, String> {
    let mine = || available().map(|t| t.name).collect::<Vec<_>>().join(", ");
    match TABLES.iter().copied().find(|t| t.name == name) {
        Some(t) if (t.supported)() => Ok(t),
        Some(_) => {
            let why = distrusted().filter(|_| name == "amx").map_or(String::new(), |why| format!(" ({why})"));
            Err(format!("this machine cannot run instruction set '{name}'{why}; it has: {}", mine()))
        }
        None => Err(format!("there is no instruction set '{name}' in this program; this machine has: {}", mine())),
    }
}

/// Row operations, one function each, all safe to call: the table's holder proves the ISA, lengths are asserted.
#[derive(Clone, Copy)]
pub struct VectorOps {
    dot: unsafe fn(&[f32], &[f32]) -> f32,
    rms_norm: unsafe fn(&[f32], &[f32], f32, &mut [f32]),
    rms_norm_in_place: unsafe fn(&mut [f32], &[f32], f32),
    add: unsafe fn(&mut [f32], &[f32]),
    add_scaled: unsafe fn(&mut [f32], &[f32], f32),
    scaled: unsafe fn(&[f32], f32, &mut [f32]),
    silu_mul: unsafe fn(&[f32], &[f32], &mut [f32]),
    softmax: unsafe fn(&mut [f32]),
    rope: unsafe fn(&mut [f32], &[f32], &[f32]),
    quantize_q8: unsafe fn(&[f32], CodesMut<'_, i8>),
    quantize_q16: unsafe fn(&[f32], CodesMut<'_, i16>),
    widen_f16: unsafe fn(&[u8], &mut [f32]),
    narrow_f16: unsafe fn(&[f32], &mut [u8]),
    widen_bf16: unsafe fn(&[u8], &mut [f32]),
    narrow_bf16: unsafe fn(&[f32], &mut [u8]),
    widen_f32: unsafe fn(&[u8], &mut [f32]),
    widen_q8_0: unsafe fn(&[u8], &mut [f32]),
    narrow_q8_0: unsafe fn(&[f32], &mut [u8]),
    prompt_queries: unsafe fn(&mut [f32], usize, bool),
    attend_prompt: unsafe fn(page::PromptArgs<'_>),
    attend_generated: unsafe fn(page::GeneratedArgs<'_>),
}

macro_rules! safe_ops {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? where $check:expr;)*) => {
        impl VectorOps {
            $($(#[$doc])* pub fn $name(&self, $($arg: $ty),*) $(-> $ret)? {
                assert!($check, concat!("lengths given to ", stringify!($name)));
                // SAFETY: the table's holder proves the ISA; lengths were checked.
                unsafe { (self.$name)($($arg),*) }
            })*
        }
    };
}

safe_ops! {
    /// Sum of products.
    dot(a: &[f32], b: &[f32]) -> f32 where a.len() == b.len();
    /// `out = x / sqrt(mean(x^2) + eps) * weight`.
    rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) where x.len() == weight.len() && x.len() == out.len();
    /// `x += y`.
    add(x: &mut [f32], y: &[f32]) where x.len() == y.len();
    /// `x += y * by`.
    add_scaled(x: &mut [f32], y: &[f32], by: f32) where x.len() == y.len();
    /// `out = x * by`.
    scaled(x: &[f32], by: f32, out: &mut [f32]) where x.len() == out.len();
    /// `out = gate * sigmoid(gate) * up`.
    silu_mul(gate: &[f32], up: &[f32], out: &mut [f32]) where gate.len() == up.len() && gate.len() == out.len();
    /// Softmax in place.
    softmax(x: &mut [f32]) where true;
    /// Rotates the pairs (i, i + n/2) of one head by the angles whose cosines and sines are given (NeoX order).
    rope(x: &mut [f32], cos: &[f32], sin: &[f32]) where x.len() == 2 * cos.len() && cos.len() == sin.len();
    /// f16 bytes to f32.
    widen_f16(src: &[u8], out: &mut [f32]) where src.len() == 2 * out.len();
    /// f32 to f16 bytes, to nearest even.
    narrow_f16(src: &[f32], out: &mut [u8]) where out.len() == 2 * src.len();
    /// bf16 bytes to f32.
    widen_bf16(src: &[u8], out: &mut [f32]) where src.len() == 2 * out.len();
    /// f32 to bf16 bytes, to nearest even.
    narrow_bf16(src: &[f32], out: &mut [u8]) where out.len() == 2 * src.len();
    /// f32 bytes to f32.
    widen_f32(src: &[u8], out: &mut [f32]) where src.len() == 4 * out.len();
    /// Q8_0 blocks to f32.
    widen_q8_0(src: &[u8], out: &mut [f32]) where src.len() * 32 == out.len() * 34;
    /// f32 to Q8_0 blocks.
    narrow_q8_0(src: &[f32], out: &mut [u8]) where out.len() * 32 == src.len() * 34;
}

impl VectorOps {
    /// [`VectorOps::rms_norm`] of `x` into itself.
    pub fn rms_norm_in_place(&self, x: &mut [f32], weight: &[f32], eps: f32) {
        assert_eq!(x.len(), weight.len(), "lengths given to rms_norm_in_place");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.rms_norm_in_place)(x, weight, eps) }
    }

    /// One row in the narrow integer form; see [`crate::acts`].
    pub(crate) fn quantize_q8(&self, x: &[f32], out: CodesMut<'_, i8>) {
        assert!(out.fits(x.len()), "lengths given to a quantizer of activations");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.quantize_q8)(x, out) }
    }

    /// One row in the wide integer form; see [`crate::acts`].
    pub(crate) fn quantize_q16(&self, x: &[f32], out: CodesMut<'_, i16>) {
        assert!(out.fits(x.len()), "lengths given to a quantizer of activations");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.quantize_q16)(x, out) }
    }

    /// Turns scaled rows of queries into the form that `attend_prompt` reads, floats if it must be exact.
    pub(crate) fn prompt_queries(&self, q: &mut [f32], width: usize, exact: bool) {
        assert!(width.is_multiple_of(64) && q.len().is_multiple_of(width), "lengths given to prompt_queries");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.prompt_queries)(q, width, exact) }
    }

    /// Folds one page into the running softmax of each row of a prompt, whose queries were turned.
    pub(crate) fn attend_prompt(&self, args: page::PromptArgs<'_>) {
        assert!(args.fits(), "lengths given to attend_prompt");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.attend_prompt)(args) }
    }

    /// Folds one page into the running softmax of each generated row.
    pub(crate) fn attend_generated(&self, args: page::GeneratedArgs<'_>) {
        assert!(args.fits(), "lengths given to attend_generated");
        // SAFETY: the table's holder proves the ISA; lengths were checked.
        unsafe { (self.attend_generated)(args) }
    }
}

#[cfg(test)]
mod tests;
