//! The instructions of the matrix unit, in blocks of `asm!` between which tile registers hold nothing.
//!
//! All eight tile registers have 16 lines of 64 bytes. A tile in memory is 16 lines at some distance; those of weights
//! and of sums lie line after line, one kilobyte.

use std::arch::asm;

/// A cache line: a line of a tile.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub [u8; 64]);

impl Line {
    pub const ZERO: Self = Self([0; 64]);
}

/// Lines of a tile.
pub(super) const LINES: usize = 16;

/// 16 activation rows in memory.
#[derive(Clone, Copy)]
pub(super) struct Rows {
    pub at: *const u8,
    /// Bytes from one row to the next.
    pub distance: usize,
}

/// What one block of `asm!` multiplies: `n` groups of 32, from the first byte of both on.
#[derive(Clone, Copy)]
pub(super) struct Step {
    /// `[n][2]` tiles of weights.
    pub weights: *const Line,
    /// `[row blocks][2]` tiles of sums.
    pub sums: *mut Line,
    /// Whether sums begin here, whatever is in `sums`.
    pub begin: bool,
    /// Groups, at least one.
    pub n: usize,
}

#[repr(C, align(64))]
struct Config([u8; 64]);

/// Palette 1, all tiles with 16 lines of 64 bytes.
static CONFIG: Config = {
    let (mut bytes, mut tile) = ([0; 64], 0);
    bytes[0] = 1;
    while tile < 8 {
        bytes[16 + 2 * tile] = 64;
        bytes[48 + tile] = LINES as u8;
        tile += 1;
    }
    Config(bytes)
};

/// Makes the tile registers usable by this thread.
///
/// # Safety
/// The unit is there, and this process may use it.
#[inline(always)]
pub(super) unsafe fn configure() {
    // SAFETY: the configuration is one that the unit allows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &CONFIG, options(nostack, readonly, preserves_flags)) };
}

/// Gives the tile registers back, so that the system need not save them.
///
/// # Safety
/// As for [`configure`].
#[inline(always)]
pub(super) unsafe fn release() {
    // SAFETY: by the caller.
    unsafe { asm!("tilerelease", options(nomem, nostack, preserves_flags)) };
}

/// Sums of 32 activation rows and two panels. Each two tiles that are loaded are multiplied with both others.
///
/// # Safety
/// The unit is configured; rows, weights and sums are readable as far as `step` says, four tiles of sums writable.
#[inline(always)]
pub(super) unsafe fn two_by_two([a0, a1]: [Rows; 2], step: Step) {
    // SAFETY: by the caller.
    unsafe {
        asm!(
            "test {begin:e}, {begin:e}",
            "jz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{c} + {line}*1]",
            "tileloadd tmm1, [{c} + {line}*1 + 1024]",
            "tileloadd tmm2, [{c} + {line}*1 + 2048]",
            "tileloadd tmm3, [{c} + {line}*1 + 3072]",
            "3:",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tileloaddt1 tmm4, [{a0} + {d0}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloaddt1 tmm5, [{a1} + {d1}*1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a0}, 64",
            "add {a1}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 3b",
            "tilestored [{c} + {line}*1], tmm0",
            "tilestored [{c} + {line}*1 + 1024], tmm1",
            "tilestored [{c} + {line}*1 + 2048], tmm2",
            "tilestored [{c} + {line}*1 + 3072], tmm3",
            a0 = inout(reg) a0.at => _, a1 = inout(reg) a1.at => _, b = inout(reg) step.weights => _,
            n = inout(reg) step.n => _, c = in(reg) step.sums, d0 = in(reg) a0.distance, d1 = in(reg) a1.distance,
            line = in(reg) 64usize, begin = in(reg) u32::from(step.begin),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Sums of 16 activation rows and two panels.
///
/// # Safety
/// As for [`two_by_two`], with two tiles of sums.
#[inline(always)]
pub(super) unsafe fn one_by_two(a: Rows, step: Step) {
    // SAFETY: by the caller.
    unsafe {
        asm!(
            "test {begin:e}, {begin:e}",
            "jz 2f",
            "tilezero tmm0",
            "tilezero tmm1",
            "jmp 3f",
            "2:",
            "tileloadd tmm0, [{c} + {line}*1]",
            "tileloadd tmm1, [{c} + {line}*1 + 1024]",
            "3:",
            "tileloaddt1 tmm4, [{a} + {d}*1]",
            "tileloadd tmm6, [{b} + {line}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b} + {line}*1 + 1024]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "add {a}, 64",
            "add {b}, 2048",
            "dec {n}",
            "jnz 3b",
            "tilestored [{c} + {line}*1], tmm0",
            "tilestored [{c} + {line}*1 + 1024], tmm1",
            a = inout(reg) a.at => _, b = inout(reg) step.weights => _, n = inout(reg) step.n => _,
            c = in(reg) step.sums, d = in(reg) a.distance, line = in(reg) 64usize,
            begin = in(reg) u32::from(step.begin),
            out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Products of tiles with nothing loaded or stored: `rounds` times four sums side by side.
///
/// # Safety
/// The unit is there, and this process may use it.
pub(in crate::kernels) unsafe fn multiply_only(rounds: u64) {
    // SAFETY: by the caller; tiles are used nowhere outside this block, and a configured tile starts with zeros.
    unsafe {
        configure();
        asm!(
            "2:",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tdpbf16ps tmm1, tmm4, tmm5",
            "tdpbf16ps tmm2, tmm4, tmm5",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "dec {n}",
            "jnz 2b",
            n = inout(reg) rounds.max(1) => _,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _, out("tmm4") _, out("tmm5") _,
            options(nomem, nostack),
        );
        release();
    }
}
