//! The table for x86 with the matrix unit (AMX, bfloat16): prompt rows go through it, all else is AVX-512's.
//!
//! The unit's instructions are used through `asm!`, its intrinsics being unstable. A process must ask Linux for its
//! registers once, as [`crate::isa::has_amx`] does; other systems are not asked, and have the AVX-512 table. Before the
//! table is handed out, the unit multiplies a small matrix ([`check`]); one that errs is not used.
//!
//! Everything here was tested with the unit's instructions emulated (`emulator`), on machines without one: results are
//! known to be right, speeds are not known at all. What `tile` says of cycles is computed from published figures of
//! single instructions.

mod check;
mod floats;
mod tile;
mod unit;

#[cfg(all(any(test, feature = "emulate-amx"), target_os = "linux"))]
mod emulator;

use super::{small, supers};
use crate::acts::ActKinds;
use crate::formats::DType;
use crate::kernels::{Cell, Kernels, MOST_ROWS, Tile, TileFn};
use std::sync::OnceLock;

pub(in crate::kernels) use unit::multiply_only;

/// The AMX table.
pub(crate) static TABLE: Kernels =
    Kernels { name: "amx", supported: || state() == State::Right, cell, wide_cell, ..super::TABLE };

/// What is known of this machine's matrix unit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Right,
    Wrong,
}

/// Looks for the unit and has it multiply, once.
fn state() -> State {
    static STATE: OnceLock<State> = OnceLock::new();
    *STATE.get_or_init(|| match crate::isa::has_amx() {
        false => State::Absent,
        // SAFETY: the unit is there, and the tile is that of the format.
        true => match unsafe { check::multiplies(q8_0) } {
            true => State::Right,
            false => State::Wrong,
        },
    })
}

/// Whether there is a unit that fails its check.
pub(in crate::kernels) fn is_wrong() -> bool {
    state() == State::Wrong
}

/// See [`crate::kernels::emulated`].
#[cfg(all(any(test, feature = "emulate-amx"), target_os = "linux"))]
pub(in crate::kernels) fn emulated() -> Option<&'static Kernels> {
    if state() != State::Absent || !crate::isa::has_avx512() {
        return None;
    }
    emulator::install();
    Some(&TABLE)
}

/// Tiles of the formats in panels.
macro_rules! matrices {
    ($($dtype:ident $tile:ident $decode:path,)*) => {
        fn matrix(dtype: DType) -> Option<TileFn> {
            match dtype {
                $(DType::$dtype => Some($tile),)*
                _ => None,
            }
        }

        $(#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
        unsafe fn $tile(t: &Tile<'_>) {
            // SAFETY: this function needs the same ISA and the same promise about `out`.
            unsafe { tile::run::<$decode>(t) }
        })*
    };
}
matrices! {
    Q4_0 q4_0 small::Q4_0,
    Q4_1 q4_1 small::Q4_1,
    Q5_0 q5_0 small::Q5_0,
    Q5_1 q5_1 small::Q5_1,
    IQ4_NL iq4_nl small::Iq4Nl,
    Q8_0 q8_0 small::Q8_0,
    Q2_K q2_k supers::Q2K,
    Q3_K q3_k supers::Q3K,
    Q4_K q4_k supers::Q4K,
    Q5_K q5_k supers::Q5K,
    Q6_K q6_k supers::Q6K,
    IQ4_XS iq4_xs supers::Iq4Xs,
}

/// The cell with the unit's tile for prompt rows, where the format has one.
fn with_matrix(base: Cell, dtype: DType) -> Cell {
    matrix(dtype).map_or(base, |prompt| {
        let acts = ActKinds { bf16: true, ..base.acts };
        Cell { acts, prompt, prompt_panels: tile::PANELS, most_rows: MOST_ROWS, ..base }
    })
}

fn cell(dtype: DType) -> Cell {
    with_matrix(super::cell(dtype), dtype)
}

fn wide_cell(dtype: DType) -> Option<Cell> {
    super::wide_cell(dtype).map(|base| with_matrix(base, dtype))
}

#[cfg(test)]
mod tests;
